package sgd

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// variants returns every kind, and what options make of them that has other code behind it.
func variants() []string {
	all := append(Kinds(),
		"logistic:scaler=plain", "logistic:l1=0.001,l2=0.001", "newton:q=0.01", "newton:features=relu", "newton_diag:q=0.001",
		"newton_diag:features=products", "newton_diag:features=hats", "mlp:batch=64", "mlp:optimizer=adam,hidden=8x8x8",
		"mix:scaler=plain", "mix:experts=newton+quad+mlp",
	)
	for _, optimizer := range []string{"adagrad", "adam", "ftrl", "coin"} {
		all = append(all, "logistic:optimizer="+optimizer)
	}
	for _, loss := range []string{"logistic", "squared", "modified_huber"} {
		all = append(all, "linear:loss="+loss)
	}
	return all
}

// eachVariant runs a test for every variant.
func eachVariant(t *testing.T, test func(t *testing.T, spec string)) {
	for _, spec := range variants() {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			test(t, spec)
		})
	}
}

// stateHash returns the SHA-256 of all tensors: name, shape, and little-endian values.
func stateHash(tb testing.TB, m Model) string {
	tb.Helper()
	h := sha256.New()
	for _, tensor := range m.State() {
		_, _ = fmt.Fprintln(h, tensor.Name, tensor.Shape) // a hash takes everything
		if err := binary.Write(h, binary.LittleEndian, tensor.Data); err != nil {
			tb.Fatal(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hard returns SUSY rows with what is hard on arithmetic: weights of all sizes, and columns that grow, stand still, and leap.
func hard(tb testing.TB, n int) *Rows {
	tb.Helper()
	rows := head(susyRows(tb), n)
	other := &Rows{Width: rows.Width + 2, Y: rows.Y}
	r := newRandom(7, "hard")
	for i := range n {
		x := slices.Clone(rows.Row(i))
		if r.uniform() < 0.01 {
			x[r.below(uint64(len(x)))] *= 1e6
		}
		other.X = append(append(other.X, x...), float64(i/300)*1e-3, 1e5+r.normal())
		other.Importance = append(other.Importance, []float64{1, 1, 1, 2, 0.5, 0}[r.below(6)])
	}
	return other
}

// TestGolden holds the state of every variant to the bits that it has had. UPDATE_GOLDEN=1 writes them anew: that is a
// change of the models, after which checkpoints of an earlier build lead elsewhere.
func TestGolden(t *testing.T) {
	measured(t)
	const file = "testdata/golden.json"
	got := make(map[string]string)
	for _, spec := range variants() {
		rows := hard(t, 3000)
		m := newModel(t, spec, rows.Width, 1)
		progress(m, rows)
		got[spec] = stateHash(t, m)
		narrow, wide := rough(t, 3000, 1500)
		m = newModel(t, spec, narrow.Width, 1)
		learnGrowing(m, narrow, wide, 1024)
		got[spec+" on rough rows"] = stateHash(t, m)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		text, err := json.MarshalIndent(got, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for spec, hash := range got {
		if want[spec] != hash {
			t.Errorf("%s on %s/%s: state has the hash %s, want %s", spec, runtime.GOOS, runtime.GOARCH, hash, want[spec])
		}
	}
	if len(want) != len(got) {
		t.Errorf("%s holds %d variants, want %d", file, len(want), len(got))
	}
}

// learnAll lets a model learn rows in runs of the given length.
func learnAll(m Model, rows *Rows, run int) []float64 {
	prob := make([]float64, rows.Len())
	for from := 0; from < rows.Len(); from += run {
		to := min(from+run, rows.Len())
		m.Learn(between(rows, from, to), prob[from:to])
	}
	return prob
}

func TestRunsOfAnyLengthGiveTheSameBits(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 1300)
		whole := newModel(t, spec, rows.Width, 3)
		want := learnAll(whole, rows, rows.Len())
		for _, run := range []int{1, 100, 333} {
			m := newModel(t, spec, rows.Width, 3)
			if got := learnAll(m, rows, run); !slices.Equal(got, want) {
				t.Errorf("runs of %d rows: other answers", run)
			}
			if stateHash(t, m) != stateHash(t, whole) {
				t.Errorf("runs of %d rows: another state", run)
			}
		}
	})
}

func TestAnyNumberOfCoresGivesTheSameBits(t *testing.T) {
	rows := hard(t, 3000)
	onCores(t, rows.Width, []int{1, 2, 5, 16}, func(m Model) { learnAll(m, rows, 1024) })
}

// onCores holds that models of several experts learn to the same state on each of these numbers of cores.
func onCores(t *testing.T, width int, numbers []int, learn func(Model)) {
	t.Helper()
	for _, spec := range []string{"mix", "zoo"} {
		var want string
		for _, n := range numbers {
			there, before := cores, runtime.GOMAXPROCS(n)
			cores = n
			m := newModel(t, spec, width, 3)
			learn(m)
			runtime.GOMAXPROCS(before)
			cores = there
			if got := stateHash(t, m); want == "" {
				want = got
			} else if got != want {
				t.Errorf("%s on %d cores: another state than on one", spec, n)
			}
		}
	}
}

func TestRestartAnywhereGivesTheSameBits(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 1500)
		whole := newModel(t, spec, rows.Width, 3)
		want := learnAll(whole, rows, rows.Len())
		r := newRandom(11, spec)
		cuts := []int{0, 1, 7, 8, 31, 32, 63, 64, 65, 500, 1000, 1024, 1025}
		for range 4 {
			cuts = append(cuts, int(r.below(uint64(rows.Len()))))
		}
		m, at := newModel(t, spec, rows.Width, 3), 0
		slices.Sort(cuts)
		for _, cut := range append(cuts, rows.Len()) {
			got := learnAll(m, between(rows, at, cut), rows.Len())
			if !slices.Equal(got, want[at:cut]) {
				t.Fatalf("rows %d to %d: other answers than without restarts", at, cut)
			}
			at = cut
			restored := newModel(t, spec, rows.Width, 3)
			if err := restored.Restore(m.State()); err != nil {
				t.Fatalf("restore after %d rows: %v", cut, err)
			}
			m = restored
		}
		if stateHash(t, m) != stateHash(t, whole) {
			t.Error("another state than without restarts")
		}
	})
}

func TestAStateThatDoesNotFitIsRefused(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 700)
		m := newModel(t, spec, rows.Width, 3)
		learnAll(m, rows, rows.Len())
		state := m.State()
		refused := func(what, tensor string, state []Tensor) {
			t.Helper()
			err := newModel(t, spec, rows.Width, 3).Restore(state)
			if err == nil || !strings.Contains(err.Error(), tensor) {
				t.Errorf("%s: error %v does not name tensor %s", what, err, tensor)
			}
		}
		for i, tensor := range state {
			without := slices.Delete(slices.Clone(state), i, i+1)
			refused("missing", tensor.Name, without)
			refused("of another type", tensor.Name, append(without, Tensor{tensor.Name, []int{1}, []int8{1}}))
			refused("twice", tensor.Name, append(slices.Clone(state), tensor))
			if longer := grown(tensor); longer.Data != nil {
				refused("too long", tensor.Name, append(without, longer))
			}
		}
		refused("unknown", "nobody's", append(slices.Clone(state), Tensor{"nobody's", []int{1}, []float64{1}}))
		if err := newModel(t, spec, rows.Width+1, 3).Restore(state); err == nil {
			t.Error("the state of a model of another width is not refused")
		}
	})
}

// grown returns the tensor with its last value twice.
func grown(t Tensor) Tensor {
	switch data := t.Data.(type) {
	case []float64:
		if len(data) > 0 {
			t.Data = append(slices.Clone(data), data[len(data)-1])
			return t
		}
	case []uint64:
		if len(data) > 0 {
			t.Data = append(slices.Clone(data), data[len(data)-1])
			return t
		}
	}
	return Tensor{}
}

func TestSnapshotsDoNotChange(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 1200)
		m := newModel(t, spec, rows.Width, 3)
		learnAll(m, head(rows, 800), 800)
		state := stateHash(t, m)
		snapshot := m.Snapshot()
		answers := func() []float64 {
			all := make([]float64, 0, 400)
			var prob [1]float64
			for i := 800; i < 1200; i++ {
				snapshot.Predict(prob[:], rows.Row(i), nil)
				all = append(all, prob[0])
			}
			return all
		}
		before := answers()
		if stateHash(t, m) != state {
			t.Error("answering changed the model")
		}
		done := make(chan []float64)
		go func() { done <- answers() }() // the race detector watches
		learned := learnAll(m, between(rows, 800, 1200), 100)
		if !slices.Equal(<-done, before) || !slices.Equal(answers(), before) {
			t.Error("learning changed the answers of a snapshot")
		}
		// A model that was restored answers alike, and so does, nearly, the model itself at the next row.
		restored := newModel(t, spec, rows.Width, 3)
		learnAll(restored, head(rows, 800), 800)
		if err := restored.Restore(restored.State()); err != nil {
			t.Fatal(err)
		}
		snapshot = restored.Snapshot()
		if !slices.Equal(answers(), before) {
			t.Error("a restored model answers otherwise")
		}
		if math.Abs(learned[0]-before[0]) > 0.02 {
			t.Errorf("the snapshot answers %v where the model answers %v", before[0], learned[0])
		}
	})
}

func TestStateIsACopy(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 600)
		m := newModel(t, spec, rows.Width, 3)
		learnAll(m, head(rows, 300), 300)
		text := func(state []Tensor) []byte {
			var b bytes.Buffer
			for _, tensor := range state {
				if err := binary.Write(&b, binary.LittleEndian, tensor.Data); err != nil {
					t.Fatal(err)
				}
			}
			return b.Bytes()
		}
		state := m.State()
		before := text(state)
		learnAll(m, between(rows, 300, 600), 300)
		if !bytes.Equal(text(state), before) {
			t.Error("learning changed a state that was taken before")
		}
	})
}

func TestNoInputBreaksAModel(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		testWild(t, spec, false)
		testWild(t, spec, true)
	})
}

// testWild lets a model learn from wild rows, of which some may miss values.
func testWild(t *testing.T, spec string, missing bool) {
	t.Helper()
	const width, n = 5, 1500
	r := newRandom(5, "wild")
	wild := []float64{
		0, 1, -1, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-300, 1e300, 1e18, math.Copysign(0, -1),
	}
	if missing {
		wild = append(wild, math.NaN())
	}
	rows := &Rows{Width: width, Missing: missing}
	for range n {
		for range width {
			rows.X = append(rows.X, wild[r.below(uint64(len(wild)))])
		}
		rows.Y = append(rows.Y, float64(r.below(2)))
		rows.Importance = append(rows.Importance, []float64{1, 0, 1e-300, 1e300, 1e6}[r.below(5)])
	}
	m := newModel(t, spec, width, 3)
	for i, p := range learnAll(m, rows, 100) {
		if !(p >= 0 && p <= 1) {
			t.Fatalf("row %d: answer %v", i, p)
		}
	}
	for _, tensor := range m.State() {
		data, ok := tensor.Data.([]float64)
		if ok && slices.ContainsFunc(data, func(v float64) bool { return !finite(v) }) {
			t.Errorf("tensor %s holds a value that is not finite", tensor.Name)
		}
	}
	var prob [1]float64
	snapshot := m.Snapshot()
	for i := range n {
		if snapshot.Predict(prob[:], rows.Row(i), nil); !(prob[0] >= 0 && prob[0] <= 1) {
			t.Fatalf("row %d: a snapshot's answer %v", i, prob[0])
		}
	}
	if restored := newModel(t, spec, width, 3); restored.Restore(m.State()) != nil {
		t.Error("the state is refused")
	}
}

func TestImportance(t *testing.T) {
	rows := head(susyRows(t), 2000)
	with := func(importance func(i int) float64, flip bool) *Rows {
		other := &Rows{Width: rows.Width, X: rows.X, Y: slices.Clone(rows.Y), Importance: make([]float64, rows.Len())}
		for i := range other.Y {
			other.Importance[i] = importance(i)
			if flip && other.Importance[i] == 0 {
				other.Y[i] = 1 - other.Y[i]
			}
		}
		return other
	}
	answers := func(t *testing.T, spec string, rows *Rows) []float64 {
		return learnAll(newModel(t, spec, rows.Width, 3), rows, 500)
	}
	eachVariant(t, func(t *testing.T, spec string) {
		one := answers(t, spec, with(func(int) float64 { return 1 }, false))
		if !slices.Equal(one, answers(t, spec, rows)) {
			t.Error("importance 1 is not what is meant without importance")
		}
		half := func(i int) float64 { return float64(i % 2) }
		if !slices.Equal(answers(t, spec, with(half, false)), answers(t, spec, with(half, true))) {
			t.Error("the labels of rows of importance 0 matter")
		}
		if slices.Equal(one, answers(t, spec, with(func(int) float64 { return 0.01 }, false))) {
			t.Error("importance 0.01 is like importance 1")
		}
	})
}

func TestLearnAndPredictDoNotAllocate(t *testing.T) {
	measured(t)
	for _, spec := range variants() {
		t.Run(spec, func(t *testing.T) {
			rows := susyRows(t)
			m := newModel(t, spec, rows.Width, 1)
			prob := make([]float64, 1000)
			m.Learn(head(rows, 1000), prob)
			parts := make([]*Rows, 0, 21)
			for from := 1000; len(parts) < cap(parts); from += 100 {
				parts = append(parts, between(rows, from, from+100))
			}
			i := 0
			if n := testing.AllocsPerRun(20, func() { m.Learn(parts[i], prob); i++ }); n > 0 {
				t.Errorf("Learn allocates %v times for 100 rows", n)
			}
			snapshot := m.Snapshot()
			if n := testing.AllocsPerRun(100, func() { snapshot.Predict(prob, rows.Row(0), nil) }); n > 0 {
				t.Errorf("Predict allocates %v times", n)
			}
		})
	}
}

func TestRowOfAnotherWidthPanics(t *testing.T) {
	m := newModel(t, "logistic", 3, 1)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	m.Learn(&Rows{Width: 2, X: make([]float64, 2), Y: make([]float64, 1)}, make([]float64, 1))
}

// shuffled returns SUSY rows with each other's labels: nothing can be learned from them.
func shuffled(tb testing.TB, seed uint64) *Rows {
	tb.Helper()
	all := susyRows(tb)
	rows := &Rows{Width: all.Width, X: all.X, Y: slices.Clone(all.Y)}
	r := newRandom(seed, "shuffle")
	for i := len(rows.Y) - 1; i > 0; i-- {
		j := r.below(uint64(i + 1))
		rows.Y[i], rows.Y[j] = rows.Y[j], rows.Y[i]
	}
	return rows
}

func TestNothingIsLearnedFromShuffledLabels(t *testing.T) {
	measured(t)
	const seed, most = 1, 0.515
	rows := shuffled(t, seed)
	eachVariant(t, func(t *testing.T, spec string) {
		if accuracy, _ := progress(newModel(t, spec, rows.Width, 1), rows); accuracy >= most {
			t.Errorf("accuracy %.4f (seed %d)", accuracy, seed)
		}
	})
	t.Run("a model that learns before it answers is caught", func(t *testing.T) {
		m, one := newModel(t, "newton:q=0.1", rows.Width, 1), make([]float64, 1)
		correct := 0
		for i, y := range rows.Y {
			m.Learn(between(rows, i, i+1), one)
			m.Snapshot().Predict(one, rows.Row(i), nil)
			if (one[0] >= 0.5) == (y == 1) {
				correct++
			}
		}
		if accuracy := float64(correct) / float64(rows.Len()); accuracy < most {
			t.Errorf("accuracy %.4f (seed %d)", accuracy, seed)
		}
	})
}

func TestQuality(t *testing.T) {
	measured(t)
	least := []struct {
		kind, stream            string
		leastAccuracy, mostLoss float64
	}{
		{"mix", "susy_10k_balanced", 0.776, 0.477},
		{"mix", "elec2", 0.922, 0.211},
		{"mix", "rbf_moving", 0.78, 0.492},
		{"zoo", "susy_10k_balanced", 0.782, 0.458},
		{"zoo", "elec2", 0.922, 0.201},
		{"zoo", "rbf_moving", 0.950, 0.120},
		{"zoo", "tree_change", 0.958, 0.105},
	}
	for _, tt := range least {
		t.Run(tt.kind+"/"+tt.stream, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= seeds(); seed++ {
				rows := stream(t, tt.stream)
				accuracy, loss := progress(newModel(t, tt.kind, rows.Width, seed), rows)
				t.Logf("seed %d: %.4f / %.4f", seed, accuracy, loss)
				if accuracy < tt.leastAccuracy || loss > tt.mostLoss {
					t.Errorf("seed %d: %.4f / %.4f, want at least %v / at most %v", seed, accuracy, loss, tt.leastAccuracy, tt.mostLoss)
				}
			}
		})
	}
}
