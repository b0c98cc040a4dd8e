package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/sgd"
)

// growing is a stream of which rows get wider, values are missing, and rows have sparse features.
type growing struct {
	cfg    Config
	first  int         // width of the first row
	widths map[int]int // from a row on
	x      [][]float64
	sparse [][]int32
	y      []float64
}

func newGrowing(seed uint64, n, first int, widths map[int]int) *growing {
	g := &growing{first: first, widths: widths}
	g.cfg = configured(Config{Models: names("slow=logistic:rate=0.000001", "newton"), Best: true, TwinAge: 1000})
	rng := rand.New(rand.NewPCG(seed, 80))
	for i := range n {
		x, sum := make([]float64, g.width(i)), rng.NormFloat64()
		for k := range x {
			x[k] = rng.NormFloat64() + float64(i/5000)
			sum += x[k] - float64(i/5000)
			if k > 0 && rng.IntN(4) == 0 || k == 2 && i > 6000 { // the third goes missing
				x[k] = math.NaN()
			}
		}
		var sparse []int32
		for range max(0, rng.IntN(5)-1) {
			f := rng.Int32N(int32(5 + i/100))
			if !slices.Contains(sparse, f) {
				sparse = append(sparse, f)
				sum += float64(f%3) - 1
			}
		}
		g.x, g.sparse, g.y = append(g.x, x), append(g.sparse, sparse), append(g.y, number(sum > 0))
	}
	return g
}

// width returns the width of a row.
func (g *growing) width(row int) int {
	width := g.first
	for from, w := range g.widths {
		if from <= row {
			width = max(width, w)
		}
	}
	return width
}

// stages are the models of a stream and what compares them.
type stages struct {
	*compare
	learners []*learner
}

func (g *growing) begin() *stages {
	s := &stages{compare: newCompare(&g.cfg)}
	for i, spec := range g.cfg.Models {
		s.learners = append(s.learners, &learner{spec: spec, seed: g.cfg.Seed, index: i, see: nothing{}, age: g.cfg.TwinAge})
	}
	return s
}

// goOn has the stages go over the rows up to another one, in batches of random sizes.
func (g *growing) goOn(s *stages, to int, rng *rand.Rand) {
	for from := int(s.records); from < to; {
		next := min(to, from+1+rng.IntN([]int{1, 100, 1024}[rng.IntN(3)]))
		for row := from + 1; row < next; row++ {
			if g.width(row) != g.width(from) {
				next = row
			}
		}
		b := &Batch{Rows: sgd.Rows{Width: g.width(from), Y: g.y[from:next]}, first: uint64(from), answers: make([]answers, len(s.learners))}
		b.layout = record.Positional(b.Width)
		for i := from; i < next; i++ {
			b.X = append(b.X, g.x[i]...)
			b.Missing = b.Missing || slices.ContainsFunc(g.x[i], math.IsNaN)
			b.Sparse = append(b.Sparse, g.sparse[i]...)
			b.SparseEnd = append(b.SparseEnd, len(b.Sparse))
		}
		for _, l := range s.learners {
			l.learn(b)
		}
		s.compare.compare(b)
		from = next
	}
}

// resumed returns stages that go on where others stand.
func (g *growing) resumed(t *testing.T, s *stages) *stages {
	t.Helper()
	again := g.begin()
	for i, l := range again.learners {
		state := s.learners[i].state()
		if err := l.restore(&state, s.learners[i].layout); err != nil {
			t.Fatal(err)
		}
	}
	cut := &Cut{
		Place: Place{Records: s.records, Features: s.width}, Comparison: s.state(), Champion: g.cfg.Models[s.champion].Name,
	}
	if err := again.restore(cut); err != nil {
		t.Fatal(err)
	}
	for _, kept := range []*keptCopy{again.newest, again.predicting} {
		if kept == nil {
			continue
		}
		if want := g.width(int(kept.at) - 1); kept.width != want {
			t.Fatalf("the copy of record %d is of %d features, want %d", kept.at, kept.width, want)
		}
	}
	return again
}

// Stages that go on from their state, at any record, end with the bits of those that never stopped.
func TestRestartsWhileRowsGrow(t *testing.T) {
	const n = 13_000
	for seed, at := range []int{1, 1999, 2000, 2001, 2500, 4000, 11_001} {
		g := newGrowing(uint64(seed), n, 2, map[int]int{at: 5, at + 1: 6, at + 1500: 8})
		rng := rand.New(rand.NewPCG(uint64(seed), 81))
		whole := g.begin()
		g.goOn(whole, n, rng)
		wanted := whole.state()
		for _, stop := range []int{at, at + 1, at + 999, at + 1500, 10_000} {
			s := g.begin()
			for _, stop := range []int{stop - 1, stop, stop + 1, min(stop+700, n)} {
				g.goOn(s, stop, rng)
				s = g.resumed(t, s)
			}
			g.goOn(s, n, rng)
			if d := sameTensors(s.state(), wanted); d != "" {
				t.Fatalf("seed %d, growth at %d, restarts at %d: differs: %s", seed, at, stop, d)
			}
			for i, l := range s.learners {
				if d := sameTensors(l.state().Tensors, whole.learners[i].state().Tensors); d != "" {
					t.Fatalf("seed %d, growth at %d, restarts at %d: model %s differs: %s", seed, at, stop, l.spec.Name, d)
				}
			}
		}
		got := whole.comparison()
		if got.Champion != "newton" || got.Changes != 1 || got.Baselines[2].Records != 8000+2000 || len(got.Stability) != 8 || got.Drift[ofFeatures].Raised == 0 {
			t.Errorf("seed %d: %+v", seed, got)
		}
	}
}

// The copy that predicts is asked for whole rows, their sparse features among it, and the features are compared as row by row.
func TestRowsThatGrowAreComparedAsSingleRows(t *testing.T) {
	const seed, n = 9, 8500
	g := newGrowing(seed, n, 2, map[int]int{2600: 4, 5300: 6})
	g.cfg.Models, g.cfg.Best = names("newton"), false
	s := g.begin()
	g.goOn(s, n, rand.New(rand.NewPCG(seed, 82)))

	age := int(g.cfg.TwinAge)
	stability := evaluate.NewStability(2, age)
	model := g.cfg.Models[0].New(2, g.cfg.Seed)
	var newest, twin sgd.Predictor
	var records, correct uint64
	var loss, prob [1]float64
	for i, x := range g.x {
		stability.Grow(len(x))
		stability.Add(x)
		stability.Collect(x)
		if twin != nil {
			twin.Predict(prob[:], x, g.sparse[i])
			records++
			correct += uint64(number((prob[0] >= .5) == (g.y[i] == 1)))
			loss[0] += sgd.LogLoss(prob[0], g.y[i])
		}
		model.Grow(len(x))
		row := sgd.Rows{Width: len(x), X: x, Missing: true, Y: g.y[i : i+1], Sparse: g.sparse[i], SparseEnd: []int{len(g.sparse[i])}}
		model.Learn(&row, prob[:])
		if (i+1)%age == 0 {
			twin, newest = newest, model.Snapshot()
			stability.Mark()
		}
	}
	if s.frozen.records != records || s.frozen.correct != correct || s.frozen.loss != loss[0] || float64(correct) < .65*float64(records) {
		t.Errorf("seed %d: the twin has %d answers, %d correct, loss %v; want %d, %d, %v",
			seed, s.frozen.records, s.frozen.correct, s.frozen.loss, records, correct, loss[0])
	}
	if d := sameTensors([]sgd.Tensor{list(stabilityPath, s.stability.State())}, []sgd.Tensor{list(stabilityPath, stability.State())}); d != "" {
		t.Error("the features are compared otherwise")
	}
}

// A copy of rows that were narrower says so; a width that rows never had is a fault.
func TestWidthOfCopies(t *testing.T) {
	const seed = 10
	g := newGrowing(seed, 3000, 2, map[int]int{1500: 4, 2500: 5})
	c := g.begin()
	rng := rand.New(rand.NewPCG(seed, 83))
	widths := func() (all []uint64) {
		for _, t := range c.state() {
			if strings.HasSuffix(t.Name, widthSuffix) {
				all = append(all, t.Data.([]uint64)...)
			}
		}
		return all
	}
	for _, tt := range []struct {
		records int
		want    []uint64 // of the newest copy, and of the one that predicts
	}{{1500, nil}, {1501, []uint64{2}}, {2000, []uint64{2}}, {2500, []uint64{2}}, {2501, []uint64{4, 2}}, {3000, []uint64{4}}} {
		g.goOn(c, tt.records, rng)
		if got := widths(); !slices.Equal(got, tt.want) {
			t.Errorf("%d records: widths %v of copies are kept, want %v", tt.records, got, tt.want)
		}
	}
	state := c.state()
	for i, tensor := range state {
		if tensor.Name == predictsPath+widthSuffix {
			state[i].Data = []uint64{6}
		}
	}
	cut := &Cut{Place: Place{Records: c.records, Features: c.width}, Comparison: state, Champion: "slow"}
	if err := newCompare(&g.cfg).restore(cut); err == nil || !strings.Contains(err.Error(), predictsPath+widthSuffix) {
		t.Errorf("a copy of 6 features where rows have 5: %v", err)
	}
}

// Rows may have sparse features alone.
func TestRowsWithoutDenseFeatures(t *testing.T) {
	const seed, n = 11, 3500
	g := newGrowing(seed, n, 0, map[int]int{2700: 1})
	rng := rand.New(rand.NewPCG(seed, 84))
	whole := g.begin()
	g.goOn(whole, n, rng)
	for _, stop := range []int{1500, 2500, 2699, 2700, 2701, 3200} {
		s := g.begin()
		g.goOn(s, stop, rng)
		s = g.resumed(t, s)
		g.goOn(s, n, rng)
		if d := sameTensors(s.state(), whole.state()); d != "" {
			t.Errorf("restart at %d: differs: %s", stop, d)
		}
	}
	if whole.frozen.records != 1500 || whole.stability.Features() != 1 {
		t.Errorf("%+v", whole.comparison())
	}
}
