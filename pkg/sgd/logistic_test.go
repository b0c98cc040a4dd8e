package sgd

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// susy returns the 10,000 rows of SUSY that the project carries, in file order. They are shared: nobody changes them.
var susy = sync.OnceValues(func() (*Rows, error) {
	f, err := os.Open("../../internal/testdata/susy_10k_balanced.csv.gz")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	unzip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows := &Rows{Width: 18}
	lines := csv.NewReader(unzip)
	lines.FieldsPerRecord = 19
	for {
		line, err := lines.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		for i, field := range line {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				rows.Y = append(rows.Y, v)
			} else {
				rows.X = append(rows.X, v)
			}
		}
	}
})

func susyRows(tb testing.TB) *Rows {
	tb.Helper()
	rows, err := susy()
	if err != nil {
		tb.Fatal(err)
	}
	return rows
}

func head(rows *Rows, n int) *Rows {
	return &Rows{Width: rows.Width, X: rows.X[:n*rows.Width], Y: rows.Y[:n]}
}

func newLogistic(tb testing.TB, width int, rate string) *logistic {
	tb.Helper()
	spec, err := Parse("logistic:rate=" + rate)
	if err != nil {
		tb.Fatal(err)
	}
	return spec.New(width, 1).(*logistic)
}

// testdata/reference.json was made by testdata/reference.py, which says how.
func TestLogisticAgreesWithAnIndependentImplementation(t *testing.T) {
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs []struct {
		Rows                            int
		Rate, Loss, Accuracy, Bias      float64
		Losses, Weights, Mean, Variance []float64
	}
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		t.Run(fmt.Sprintf("rows=%d,rate=%g", run.Rows, run.Rate), func(t *testing.T) {
			rows := head(susyRows(t), run.Rows)
			m := newLogistic(t, rows.Width, strconv.FormatFloat(run.Rate, 'g', -1, 64))
			prob := make([]float64, rows.Len())
			m.Learn(rows, prob)

			var losses, correct float64
			first := make([]float64, 0, len(run.Losses))
			for i, p := range prob {
				loss := LogLoss(p, rows.Y[i])
				losses += loss
				if (p >= 0.5) == (rows.Y[i] == 1) {
					correct++
				}
				if i < len(run.Losses) {
					first = append(first, loss)
				}
			}
			n := float64(rows.Len())
			if got := correct / n; got != run.Accuracy {
				t.Errorf("progressive accuracy %v, want %v", got, run.Accuracy)
			}
			agree(t, "progressive log loss", []float64{losses / n}, []float64{run.Loss})
			agree(t, "first losses", first, run.Losses)
			agree(t, "weights", m.weights, run.Weights)
			agree(t, "bias", []float64{m.bias}, []float64{run.Bias})
			agree(t, "scaler/mean", m.scaler.mean, run.Mean)
			agree(t, "scaler/variance", m.scaler.variance, run.Variance)
		})
	}
}

func agree(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-9*math.Abs(want[i]) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// stateHash returns the SHA-256 of all tensors: name, shape, and little-endian values.
func stateHash(tb testing.TB, m Model) string {
	tb.Helper()
	hash := sha256.New()
	for _, tensor := range m.State() {
		_, _ = fmt.Fprintf(hash, "%s %v\n", tensor.Name, tensor.Shape)
		if err := binary.Write(hash, binary.LittleEndian, tensor.Data); err != nil {
			tb.Fatal(err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// The same bits on every machine: on a CPU with and without fused multiply-add, at every GOAMD64 level, on arm64.
func TestLogisticStateIsTheSameBitsEverywhere(t *testing.T) {
	const want = "65e2c22f9c0ab294fc6e6a78ee670da5b0dd45f5fe38acf87072ddc11e145975"
	rows := susyRows(t)
	m := newLogistic(t, rows.Width, "0.5")
	prob := make([]float64, rows.Len())
	m.Learn(rows, prob)
	if got := stateHash(t, m); got != want {
		t.Errorf("state hash %s, want %s", got, want)
	}
}

func TestLogisticDoesNotDependOnHowRowsAreCut(t *testing.T) {
	const seed = 3
	random := rand.New(rand.NewPCG(seed, 0))
	rows := head(susyRows(t), 1000)
	whole, cut := newLogistic(t, rows.Width, "0.5"), newLogistic(t, rows.Width, "0.5")
	wholeProb, cutProb := make([]float64, rows.Len()), make([]float64, rows.Len())
	whole.Learn(rows, wholeProb)
	for from := 0; from < rows.Len(); {
		to := min(from+random.IntN(20), rows.Len())
		cut.Learn(&Rows{Width: rows.Width, X: rows.X[from*rows.Width : to*rows.Width], Y: rows.Y[from:to]}, cutProb[from:to])
		cut.Snapshot()
		cut.State()
		cut.Stats()
		from = to
	}
	if !slices.Equal(wholeProb, cutProb) || !reflect.DeepEqual(whole.State(), cut.State()) {
		t.Errorf("answers or state differ from those of one run (seed %d)", seed)
	}
}

// plain is a logistic written for reading: everything is copied before a row, and put back if the row is refused.
type plain struct {
	rate                    float64
	mean, variance, weights []float64
	bias                    float64
	steps, nonfinite        uint64
}

func (m *plain) answer(x []float64) (prob float64, z []float64) {
	margin := m.bias
	for i := range x {
		zi := 0.0
		if m.variance[i] != 0 {
			zi = min(max((x[i]-m.mean[i])/math.Sqrt(m.variance[i]), -5), 5)
		}
		z = append(z, zi)
		margin += float64(m.weights[i] * zi)
	}
	if math.IsNaN(margin) {
		margin = 0
	}
	return 1 / (1 + exp(-min(max(margin, -30), 30))), z
}

func (m *plain) learn(x []float64, label float64) float64 {
	before := *m
	m.mean, m.variance, m.weights = slices.Clone(m.mean), slices.Clone(m.variance), slices.Clone(m.weights)
	refuse := func() {
		*m = before
		m.nonfinite++
	}
	m.steps++
	a := 1 / float64(m.steps)
	for i := range x {
		d := x[i] - m.mean[i]
		m.mean[i] += float64(a * d)
		m.variance[i] = float64((1 - a) * (m.variance[i] + float64(float64(a*d)*d)))
	}
	if !allFinite(m.mean) || !allFinite(m.variance) {
		refuse()
		prob, _ := m.answer(x)
		return prob
	}
	prob, z := m.answer(x)
	step := float64(m.rate / math.Sqrt(float64(m.steps)) * (prob - label))
	for i := range x {
		m.weights[i] -= float64(step * z[i])
	}
	m.bias -= step
	if !allFinite(m.weights) || !allFinite([]float64{m.bias}) {
		refuse()
	}
	return prob
}

func allFinite(values []float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

func TestLogisticIsThePlainOneBitForBit(t *testing.T) {
	tests := []struct {
		name    string
		rate    string
		value   func(*rand.Rand) float64
		refuses bool
	}{
		{"ordinary values", "0.5", (*rand.Rand).NormFloat64, false},
		{"few distinct values", "0.5", func(r *rand.Rand) float64 { return float64(r.IntN(2)) }, false},
		{"values of all sizes", "0.5", func(r *rand.Rand) float64 {
			return r.NormFloat64() * math.Pow(10, float64(r.IntN(320)-160))
		}, true},
		{"the largest rate", "1e6", (*rand.Rand).NormFloat64, false},
		{"huge values of either sign", "0.5", func(r *rand.Rand) float64 {
			if r.IntN(40) == 0 {
				return 1e308 * float64(2*r.IntN(2)-1)
			}
			return r.NormFloat64()
		}, true},
	}
	for _, tt := range tests {
		for _, width := range []int{0, 1, 3, 18, 65} {
			t.Run(fmt.Sprintf("%s/width=%d", tt.name, width), func(t *testing.T) {
				const seed = 4
				random := rand.New(rand.NewPCG(seed, uint64(width)))
				m := newLogistic(t, width, tt.rate)
				ref := &plain{
					rate: m.schedule.rate, mean: make([]float64, width), variance: make([]float64, width),
					weights: make([]float64, width),
				}
				x, prob := make([]float64, width), make([]float64, 1)
				for n := range 1000 {
					for i := range x {
						x[i] = tt.value(random)
					}
					label := float64(random.IntN(2))
					m.Learn(&Rows{Width: width, X: x, Y: []float64{label}}, prob)
					if want := ref.learn(x, label); math.Float64bits(prob[0]) != math.Float64bits(want) {
						t.Fatalf("row %d: answer %v, want %v (seed %d)", n, prob[0], want, seed)
					}
					if p := prob[0]; !(p > 0 && p < 1) {
						t.Fatalf("row %d: answer %v is no probability (seed %d)", n, p, seed)
					}
					got := [][]float64{m.scaler.mean, m.scaler.variance, m.weights, {m.bias}}
					want := [][]float64{ref.mean, ref.variance, ref.weights, {ref.bias}}
					for i := range got {
						if !slices.Equal(got[i], want[i]) || !allFinite(got[i]) {
							t.Fatalf("row %d: state %v, want %v (seed %d)", n, got, want, seed)
						}
					}
					if m.steps != ref.steps || m.scaler.count != ref.steps || m.refused != ref.nonfinite {
						t.Fatalf("row %d: steps %d, scaler count %d, refused %d; want %d, %d (seed %d)",
							n, m.steps, m.scaler.count, m.refused, ref.steps, ref.nonfinite, seed)
					}
				}
				if tt.refuses && width > 0 && (m.refused == 0 || m.refused == 1000) {
					t.Errorf("%d of 1000 rows refused: the guard was not tried (seed %d)", m.refused, seed)
				}
				if !tt.refuses && m.refused > 0 {
					t.Errorf("%d rows refused, want none (seed %d)", m.refused, seed)
				}
			})
		}
	}
}

func TestLogisticRefusesAStepThatWouldNotBeFinite(t *testing.T) {
	rows := head(susyRows(t), 500)
	m := newLogistic(t, rows.Width, "0.5")
	m.Learn(rows, make([]float64, rows.Len()))
	before := m.State()

	x := slices.Clone(rows.Row(7))
	prob := make([]float64, 1)
	for i := range 10 {
		x[i] = 1e308 * float64(1-2*(i%2))
		m.Learn(&Rows{Width: rows.Width, X: x, Y: []float64{1}}, prob)
		if !(prob[0] > 0 && prob[0] < 1) {
			t.Errorf("answer %v is no probability", prob[0])
		}
		m.Snapshot().Predict(prob, x)
		if !(prob[0] > 0 && prob[0] < 1) {
			t.Errorf("answer %v of the snapshot is no probability", prob[0])
		}
	}
	after := m.State()
	for i := range after {
		if after[i].Name == "nonfinite" {
			if got := after[i].Data.([]uint64)[0]; got != 10 {
				t.Errorf("%d refused steps counted, want 10", got)
			}
			continue
		}
		if !reflect.DeepEqual(after[i], before[i]) {
			t.Errorf("%s changed", after[i].Name)
		}
	}
	stats := m.Stats()
	if stats.NonFinite != 10 || stats.UpdateNorm != 0 {
		t.Errorf("stats %+v, want 10 refused steps and an update of 0", stats)
	}
}

func TestLogisticState(t *testing.T) {
	rows := head(susyRows(t), 10)
	m := newLogistic(t, rows.Width, "0.5")
	m.Learn(rows, make([]float64, rows.Len()))
	want := map[string]string{
		"scaler/count": "[] []uint64", "scaler/mean": "[18] []float64", "scaler/variance": "[18] []float64",
		"weights": "[18] []float64", "bias": "[] []float64", "steps": "[] []uint64", "nonfinite": "[] []uint64",
	}
	got := map[string]string{}
	for _, tensor := range m.State() {
		got[tensor.Name] = fmt.Sprintf("%v %T", tensor.Shape, tensor.Data)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("state %v, want %v", got, want)
	}

	hash := stateHash(t, m)
	for _, tensor := range m.State() {
		if values, ok := tensor.Data.([]float64); ok {
			values[0] = 99
		}
	}
	if stateHash(t, m) != hash {
		t.Error("writing to a copy of the state changed the model")
	}
}

func TestLogisticStats(t *testing.T) {
	m := newLogistic(t, 1, "0.5")
	if got, want := m.Stats(), (Stats{LearningRate: 0.5}); got != want {
		t.Errorf("fresh: %+v, want %+v", got, want)
	}
	// The first row has variance 0 and so z = 0: only the bias moves, by 0.5·(1 - ½).
	m.Learn(&Rows{Width: 1, X: []float64{3}, Y: []float64{1}}, make([]float64, 1))
	if got, want := m.Stats(), (Stats{LearningRate: 0.5 / math.Sqrt(2), UpdateNorm: 0.25}); got != want {
		t.Errorf("after one row: %+v, want %+v", got, want)
	}
	// The second has mean 4 and variance 1, so z = 1.
	m.Learn(&Rows{Width: 1, X: []float64{5}, Y: []float64{1}}, make([]float64, 1))
	step := 0.5 / math.Sqrt2 * (1 - 1/(1+math.Exp(-0.25)))
	got, want := m.Stats(), Stats{LearningRate: 0.5 / math.Sqrt(3), WeightNorm: step, UpdateNorm: step * math.Sqrt2}
	if math.Abs(got.WeightNorm-want.WeightNorm) > 1e-15 || math.Abs(got.UpdateNorm-want.UpdateNorm) > 1e-15 ||
		got.LearningRate != want.LearningRate {
		t.Errorf("after two rows: %+v, want %+v", got, want)
	}
}

func TestSnapshotIsImmutable(t *testing.T) {
	rows := susyRows(t)
	m := newLogistic(t, rows.Width, "0.5")
	m.Learn(head(rows, 1000), make([]float64, 1000))
	snapshot := m.Snapshot()
	answer := func() []float64 {
		probs := make([]float64, 100)
		for i := range probs {
			snapshot.Predict(probs[i:], rows.Row(2000+i))
		}
		return probs
	}
	before, hash := answer(), stateHash(t, m)
	if stateHash(t, m) != hash {
		t.Error("predicting changed the model")
	}
	m.Learn(rows, make([]float64, rows.Len()))
	if !slices.Equal(answer(), before) {
		t.Error("learning changed the answers of a snapshot")
	}

	// Two rows may be answered at the same time, and the race detector watches the model learn meanwhile.
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			if !slices.Equal(answer(), before) {
				t.Error("answers differ between goroutines")
			}
		})
	}
	m.Learn(rows, make([]float64, rows.Len()))
	group.Wait()
}

func TestSnapshotAnswersByTheMomentsAsTheyAre(t *testing.T) {
	rows := head(susyRows(t), 300)
	m := newLogistic(t, rows.Width, "0.5")
	m.Learn(rows, make([]float64, rows.Len()))
	ref := &plain{mean: m.scaler.mean, variance: m.scaler.variance, weights: m.weights, bias: m.bias}
	snapshot, got := m.Snapshot(), make([]float64, 1)
	for i := range rows.Len() {
		snapshot.Predict(got, rows.Row(i))
		if want, _ := ref.answer(rows.Row(i)); got[0] != want {
			t.Fatalf("row %d: %v, want %v", i, got[0], want)
		}
	}
}

func TestRowOfAnotherWidthPanics(t *testing.T) {
	m := newLogistic(t, 3, "0.5")
	calls := map[string]func(){
		"learn":   func() { m.Learn(&Rows{Width: 2, X: make([]float64, 2), Y: make([]float64, 1)}, make([]float64, 1)) },
		"predict": func() { m.Snapshot().Predict(make([]float64, 1), make([]float64, 2)) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

func TestLearnAndPredictDoNotAllocate(t *testing.T) {
	rows := head(susyRows(t), 100)
	m := newLogistic(t, rows.Width, "0.5")
	prob := make([]float64, rows.Len())
	if n := testing.AllocsPerRun(100, func() { m.Learn(rows, prob) }); n != 0 {
		t.Errorf("Learn allocates %v times for 100 rows", n)
	}
	snapshot := m.Snapshot()
	if n := testing.AllocsPerRun(100, func() { snapshot.Predict(prob, rows.Row(0)) }); n != 0 {
		t.Errorf("Predict allocates %v times", n)
	}
}

func TestRowsAreNotChanged(t *testing.T) {
	rows := head(susyRows(t), 50)
	var before, after bytes.Buffer
	write := func(w io.Writer) {
		if err := binary.Write(w, binary.LittleEndian, slices.Concat(rows.X, rows.Y)); err != nil {
			t.Fatal(err)
		}
	}
	write(&before)
	newLogistic(t, rows.Width, "0.5").Learn(rows, make([]float64, rows.Len()))
	write(&after)
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Error("Learn changed its rows")
	}
}

// One operation is one record: predict, scale, learn.
func BenchmarkLearn(b *testing.B) {
	for _, width := range []int{18, 64} {
		b.Run(fmt.Sprintf("width=%d", width), func(b *testing.B) {
			const n = 1000
			random := rand.New(rand.NewPCG(1, 1))
			rows := &Rows{Width: width}
			for range n {
				for range width {
					rows.X = append(rows.X, random.NormFloat64())
				}
				rows.Y = append(rows.Y, float64(random.IntN(2)))
			}
			spec, err := Parse("logistic")
			if err != nil {
				b.Fatal(err)
			}
			m, prob := spec.New(width, 1), make([]float64, n)
			b.ReportAllocs()
			one, i := &Rows{Width: width}, 0
			for b.Loop() {
				one.X, one.Y = rows.Row(i), rows.Y[i:i+1]
				m.Learn(one, prob)
				i = (i + 1) % n
			}
		})
	}
}

func BenchmarkPredict(b *testing.B) {
	rows := susyRows(b)
	m := newLogistic(b, rows.Width, "0.5")
	m.Learn(head(rows, 1000), make([]float64, 1000))
	snapshot, prob, i := m.Snapshot(), make([]float64, 1), 0
	b.ReportAllocs()
	for b.Loop() {
		snapshot.Predict(prob, rows.Row(i))
		i = (i + 1) % rows.Len()
	}
}

func BenchmarkLogLoss(b *testing.B) {
	probs, i := make([]float64, 1024), 0
	for i := range probs {
		probs[i] = float64(i) / 1024
	}
	var sum float64
	for b.Loop() {
		sum += LogLoss(probs[i], float64(i%2))
		i = (i + 1) % len(probs)
	}
	_ = sum
}
