package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"

	"learner/internal/turns"
	"learner/pkg/checkpoint"
	"learner/pkg/metrics"
	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// mixedSnapshot returns a model that has learned rows with a number, a category, and another number, and the numbers of
// categories then. The label is most often 1 in Bonn, and where there is no score.
func mixedSnapshot(t *testing.T, spec string) (*train.Snapshot, *record.Slots) {
	t.Helper()
	specs, err := sgd.ParseModels(spec)
	if err != nil {
		t.Fatal(err)
	}
	layout := record.NewLayout([]record.Column{{Name: "age"}, {Name: "city", Kind: record.Categorical}, {Name: "user.score"}})
	slots, err := record.NewSlots(12, nil)
	if err != nil {
		t.Fatal(err)
	}
	placer, city := record.NewPlacer(layout, slots, true, nil), record.NewHasher("city")
	shape := &record.Shape{Columns: layout.Columns}
	const n = 2000
	rows := sgd.Rows{Width: 2, Missing: true}
	r := rand.New(rand.NewPCG(3, 5))
	for range n {
		cities, y := []string{"Bonn", "Ulm", ""}, 0.0
		at := r.IntN(3)
		row := record.Row{Shape: shape, X: []float64{r.NormFloat64(), r.NormFloat64()}, Hashes: []uint64{0}}
		if cities[at] != "" {
			row.Hashes[0] = city.Text([]byte(cities[at]))
		}
		odds := row.X[0]
		if at == 0 {
			odds += 3
		}
		if r.IntN(4) == 0 {
			row.X[1] = math.NaN()
			odds += 2
		}
		if r.Float64() < 1/(1+math.Exp(2-odds)) {
			y = 1
		}
		rows.X, rows.Sparse, _ = placer.Place(rows.X, rows.Sparse, row, false)
		rows.SparseEnd, rows.Y = append(rows.SparseEnd, len(rows.Sparse)), append(rows.Y, y)
	}
	m := specs[0].New(2, 1)
	m.Learn(&rows, make([]float64, n))
	return &train.Snapshot{
		Model: specs[0].Name, Records: n, Features: 2, Layout: layout, Predictor: m.Snapshot(),
	}, slots
}

// TestColumnsAsked holds what is asked for by columns against what the model answers for numbers and sparse features.
func TestColumnsAsked(t *testing.T) {
	t.Parallel()
	for _, spec := range []string{"logistic", "mix"} {
		s, slots := mixedSnapshot(t, spec)
		c := newAskedColumns(s.Layout, slots, defaults(t).columnNames(s.Layout))
		city, none := record.NewHasher("city"), math.NaN()
		number := func(hash uint64) int32 { return slots.Find(hash) }
		bonn := number(city.Text([]byte("Bonn")))
		noScore, noCity := number(record.NewHasher("user.score").Missing()), number(city.Missing())
		rows := &serve.Rows{
			N: 4, X: []float64{1, 2, -1, none, none, 0, 0, 0}, Missing: true,
			Hashes: []uint64{city.Text([]byte("Bonn")), 0, city.Text([]byte("nowhere")), city.Text([]byte("Bonn"))},
		}
		sparse := [][]int32{{bonn}, {noScore, noCity}, nil, {bonn}}
		x, got, ends := c.place(rows)
		prob := make([]float64, rows.N)
		sgd.PredictRows(s.Predictor, prob, x, got, ends)
		for i := range prob {
			var want [1]float64
			row := rows.X[2*i : 2*i+2]
			sgd.PredictRows(s.Predictor, want[:], row, sparse[i], []int{len(sparse[i])})
			if prob[i] != want[0] {
				t.Errorf("%s, row %d: %v, want %v", spec, i, prob[i], want[0])
			}
			parts := make([]float64, 2+len(sparse[i]))
			wantBase := sgd.Explain(s.Predictor, parts, row, sparse[i])
			wants := []float64{parts[0], 0, parts[1]}
			switch i {
			case 0, 3:
				wants[1] = parts[2]
			case 1:
				wants[1], wants[2] = parts[3], parts[1]+parts[2]
			}
			contributions := []float64{9, 9, 9}
			base := c.explain(contributions, s.Predictor, rows, i)
			for column, v := range contributions {
				if math.Abs(v-wants[column]) > 1e-12 || base != wantBase {
					t.Errorf("%s, row %d, column %d: %v, want %v; base %v, want %v", spec, i, column, v, wants[column], base, wantBase)
				}
			}
		}
		if prob[3] < prob[2]+0.2 {
			t.Errorf("%s: %v in Bonn, %v nowhere", spec, prob[3], prob[2])
		}
	}
}

// TestFormatsOfCategories finds the sparse feature of a category by what an ONNX file says of it, as its reader would.
func TestFormatsOfCategories(t *testing.T) {
	t.Parallel()
	s, slots := mixedSnapshot(t, "logistic")
	cfg := defaults(t)
	cfg.HashBits = 12
	data, err := cfg.onnx(sgd.Spec{Name: "logistic", Kind: "logistic"}, s, slots, "lineage")
	if err != nil {
		t.Fatal(err)
	}
	read := func(key string, to any) {
		entry := append([]byte{1<<3 | 2, byte(len(key))}, key...) // the key, and then the value, of an entry of the metadata
		entry = append(entry, 2<<3|2)
		value, _ := protowire.ConsumeBytes(data[bytes.LastIndex(data, entry)+len(entry):]) // metadata comes last
		if err := json.Unmarshal(value, to); err != nil {
			t.Fatalf("%s is %q: %v", key, value, err)
		}
	}
	var features []string
	var columns []record.Column
	var hash hashDocument
	var known []int64
	read("features", &features)
	read("columns", &columns)
	read("hash", &hash)
	read("slots", &known)
	if !slices.Equal(features, []string{"age", "user.score"}) || !slices.Equal(columns, s.Layout.Columns) {
		t.Errorf("features %q, columns %v", features, columns)
	}
	slot := func(column string, value uint64) int64 {
		text := binary.LittleEndian.AppendUint64(nil, xxhash.Sum64String(column))
		return int64(xxhash.Sum64(binary.LittleEndian.AppendUint64(text, value)) >> (64 - hash.Bits))
	}
	city := record.NewHasher("city")
	for name, c := range map[string]struct {
		slot int64
		want int32
	}{
		"Bonn":    {slot("city", xxhash.Sum64String("Bonn")), slots.Find(city.Text([]byte("Bonn")))},
		"Ulm":     {slot("city", xxhash.Sum64String("Ulm")), slots.Find(city.Text([]byte("Ulm")))},
		"no city": {slot("city", math.MaxUint64), slots.Find(city.Missing())},
	} {
		if at := slices.Index(known, c.slot); at < 0 || int32(at) != c.want {
			t.Errorf("%s is feature %d by the file, and is %d", name, at, c.want)
		}
	}
}

// oneBlock is a train.Source of a block, which is all that there is.
type oneBlock struct {
	block  *record.Block
	blocks chan *record.Block
}

func (s *oneBlock) Blocks() <-chan *record.Block { return s.blocks }
func (s *oneBlock) Release(*record.Block)        {}
func (s *oneBlock) Ends(context.Context, time.Duration) map[int32]record.End {
	return map[int32]record.End{0: {Stable: s.block.Next, Log: s.block.Next, Told: time.Now()}}
}

// TestColumnsThatChange learns records whose schema changes, and looks at metrics, status, and predictions.
func TestColumnsThatChange(t *testing.T) {
	t.Parallel()
	city := record.NewHasher("city")
	before := &record.Shape{Columns: []record.Column{{Name: "age"}, {Name: "city", Kind: record.Categorical}}, Origin: "Avro schema 1"}
	after := &record.Shape{Columns: append(slices.Clone(before.Columns), record.Column{Name: "user.score"}), Origin: "Avro schema 2"}
	block := &record.Block{Next: 400, Batches: []record.Batch{{Last: 399}}}
	for i := range 400 {
		up := float64(i % 2)
		shape, hash := before, city.Text([]byte{"ab"[i%2]})
		if i%10 == 0 {
			hash = 0 // 40 of all
		}
		block.X, block.Hashes = append(block.X, float64(i%7)), append(block.Hashes, hash)
		if i >= 300 {
			shape = after
			if i%4 == 0 {
				block.AppendMissing() // 25 of the newer ones
			} else {
				block.X = append(block.X, up)
			}
		}
		block.EndRow(&record.Record{Offset: int64(i), Time: int64(i)}, shape, up)
	}
	cfg := defaults(t)
	cfg.HashBits = 8
	specs, err := sgd.ParseModels("logistic")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	s := &service{cfg: cfg, log: zap.NewNop(), specs: specs, turns: turns.New(), metrics: metrics.New(registry, metrics.Config{Models: []string{"logistic"}})}
	observer := newObserver(s)
	trainer, err := train.New(s.training(nil, observer))
	if err != nil {
		t.Fatal(err)
	}
	observer.columns(trainer)
	observer.Published(&train.Snapshot{Model: "logistic", Layout: record.NewLayout(before.Columns)})
	source := &oneBlock{block, make(chan *record.Block, 1)}
	source.blocks <- block
	ctx, cancel := context.WithCancel(t.Context())
	var learning sync.WaitGroup
	learning.Go(func() { trainer.Run(ctx, source) })
	for trainer.Snapshots()[0] == nil || trainer.Snapshots()[0].Records < 400 {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("nothing is learned")
		}
	}
	cancel()
	learning.Wait()
	observer.columns(trainer)

	answer := httptest.NewRecorder()
	metrics.Handler(registry).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for _, want := range []string{
		`learner_columns{kind="number"} 2`, `learner_columns{kind="category"} 1`, "learner_missing_values_total 65",
		`learner_category_slots{state="used"} 4`, `learner_category_slots{state="free"} 252`,
		"learner_columns_added_total 1", "learner_schemas_met_total 1", `learner_model_info{algorithm="logistic",classes="2",features="3",format="auto",model="logistic"} 1`,
	} {
		if !strings.Contains(answer.Body.String(), want+"\n") {
			t.Errorf("metrics lack %q", want)
		}
	}
	if n := strings.Count(answer.Body.String(), "\nlearner_model_info{"); n != 1 {
		t.Errorf("%d series of learner_model_info", n)
	}

	s.followed.Store(&followed{
		checkpoint: new(checkpoint.Checkpoint), trainer: trainer, snapshots: trainer.Snapshots(), comparison: trainer.Comparison(),
	})
	st := s.wholeStatus()
	if want := []columnStatus{{"age", "number", 0}, {"city", "category", 40}, {"user.score", "number", 25}}; !slices.Equal(st.Columns, want) {
		t.Errorf("columns %v, want %v", st.Columns, want)
	}
	if c := st.Categories; c.Slots != 256 || c.Used != 4 || c.Collisions < 0.005 || c.Collisions > 0.01 {
		t.Errorf("categories %+v", c)
	}
	event := train.Event{Record: 300, Kind: train.SchemaMet, Schema: "Avro schema 2", Added: "user.score"}
	if len(st.Events) != 1 || st.Events[0].Event != event {
		t.Errorf("events %+v, want %+v", st.Events, event)
	}
	if names := effectNames(st.Models[0].Effects); !slices.Equal(names, []string{"age", "city missing", "user.score", "user.score missing"}) {
		t.Errorf("effects of %q", names)
	}
	p, err := s.predictor("champion")
	if err != nil {
		t.Fatal(err)
	}
	prob := make([]float64, 3)
	p.Predict(prob, &serve.Rows{
		N: 3, X: []float64{3, math.NaN(), 3, math.NaN(), 3, math.NaN()}, Missing: true,
		Hashes: []uint64{city.Text([]byte("a")), city.Text([]byte("b")), city.Text([]byte("c"))},
	})
	if !(prob[0] < prob[2]-0.1 && prob[2] < prob[1]-0.1) {
		t.Errorf("%v: want the second city far above the third, which nobody knows, and that far above the first", prob)
	}
}

// effectNames returns what effects are of, in order.
func effectNames(effects []effect) (names []string) {
	for _, e := range effects {
		names = append(names, e.Feature)
	}
	slices.Sort(names)
	return names
}
