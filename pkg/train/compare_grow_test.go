package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"learner/pkg/evaluate"
	"learner/pkg/sgd"
)

// growing is a stream whose rows get wider, with missing values and sparse features, and what two models make of it. Each row
// and each copy is a function of its number alone.
type growing struct {
	cfg    Config
	first  int         // width of the first row
	widths map[int]int // from a row on
	x      [][]float64
	sparse [][]int32
	y      []float64
	loss   [2][]float64
	copies map[string]modelCopy // by width, number, and model
}

func newGrowing(seed uint64, n int, widths map[int]int) *growing {
	g := &growing{first: 2, widths: widths, copies: map[string]modelCopy{}}
	g.cfg = configured(Config{Models: names("logistic", "newton"), Best: true, TwinAge: 1000})
	rng := rand.New(rand.NewPCG(seed, 80))
	for i := range n {
		x := make([]float64, g.width(i))
		for k := range x {
			x[k] = rng.NormFloat64() + float64(i/5000)
			if k > 0 && rng.IntN(4) == 0 || k == 2 && i > 6000 { // the third goes missing
				x[k] = math.NaN()
			}
		}
		var sparse []int32
		for range max(0, rng.IntN(5)-1) {
			sparse = append(sparse, rng.Int32N(int32(5+i/100)))
		}
		g.x, g.sparse, g.y = append(g.x, x), append(g.sparse, sparse), append(g.y, number(rng.IntN(2) == 0))
		g.loss[0], g.loss[1] = append(g.loss[0], rng.ExpFloat64()), append(g.loss[1], .5*rng.ExpFloat64())
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

// copied returns the copy that a model makes of itself behind so many rows.
func (g *growing) copied(model, rows int) modelCopy {
	width := g.width(rows - 1)
	key := fmt.Sprint(model, rows, width)
	if _, ok := g.copies[key]; !ok {
		m := g.cfg.Models[model].New(width, g.cfg.Seed)
		taught := lessons(uint64(rows), 40, width)
		m.Learn(&taught, make([]float64, 40))
		g.copies[key] = modelCopy{uint64(rows), m.State(), m.Snapshot()}
	}
	return g.copies[key]
}

// knowing is a predictor that goes by the first features of a row, and by its sparse ones.
type knowing struct {
	sgd.Predictor
	width int
}

func (k knowing) Predict(dst, x []float64, sparse []int32) {
	x = slices.Clone(x[:k.width])
	for i, v := range x {
		if math.IsNaN(v) {
			x[i] = 0
		}
	}
	k.Predictor.Predict(dst, x, nil)
	for _, f := range sparse {
		dst[0] += float64(f)
	}
	dst[0] = math.Mod(dst[0], 1)
}

// goOn has a stage go over the rows from one on up to another, in batches of random sizes.
func (g *growing) goOn(c *compare, from, to int, rng *rand.Rand) {
	for from < to {
		next := min(to, from+1+rng.IntN([]int{1, 100, 1024}[rng.IntN(3)]))
		for row := from + 1; row < next; row++ {
			if g.width(row) != g.width(from) {
				next = row
			}
		}
		b := &Batch{Rows: sgd.Rows{Width: g.width(from), Y: g.y[from:next]}, first: uint64(from), answers: make([]answers, 2)}
		for i := from; i < next; i++ {
			b.X = append(b.X, g.x[i]...)
			b.Missing = b.Missing || slices.ContainsFunc(g.x[i], math.IsNaN)
			b.Sparse = append(b.Sparse, g.sparse[i]...)
			b.SparseEnd = append(b.SparseEnd, len(b.Sparse))
		}
		for m := range b.answers {
			a := &b.answers[m]
			a.loss, a.correct = g.loss[m][from:next], make([]uint8, next-from)
			for rows := from + 1; rows <= next; rows++ {
				if rows%int(g.cfg.TwinAge) == 0 {
					made := g.copied(m, rows)
					made.predictor = knowing{made.predictor, b.Width}
					a.copies = append(a.copies, made)
				}
			}
		}
		c.compare(b)
		from = next
	}
}

// resumed returns a stage that goes on where another stands.
func (g *growing) resumed(t *testing.T, c *compare) *compare {
	t.Helper()
	again := newCompare(&g.cfg)
	cut := &Cut{
		Place: Place{Records: c.records, Features: c.width}, Comparison: c.state(), Champion: g.cfg.Models[c.champion].Name,
	}
	if err := again.restore(cut); err != nil {
		t.Fatal(err)
	}
	for _, kept := range []*keptCopy{again.newest, again.predicting} {
		if kept != nil {
			if want := g.width(int(kept.at) - 1); kept.width != want {
				t.Fatalf("the copy of record %d is of %d features, want %d", kept.at, kept.width, want)
			}
			kept.predictor = knowing{kept.predictor, kept.width}
		}
	}
	return again
}

// A stage that goes on from its state, at any record, ends with the bits of one that never stopped.
func TestRestartsWhileRowsGrow(t *testing.T) {
	const n = 14_000
	for seed, at := range []int{1, 1999, 2000, 2001, 2500, 3999, 4000, 12_001} {
		g := newGrowing(uint64(seed), n, map[int]int{at: 5, at + 1: 6, at + 1500: 8})
		rng := rand.New(rand.NewPCG(uint64(seed), 81))
		whole := newCompare(&g.cfg)
		g.goOn(whole, 0, n, rng)
		wanted := whole.state()
		for _, stop := range []int{at - 1, at, at + 1, at + 2, at + 999, at + 1000, at + 1500, at + 1501, 9999, 10_000, 11_000} {
			c := newCompare(&g.cfg)
			g.goOn(c, 0, stop, rng)
			c = g.resumed(t, c)
			for _, again := range []int{stop, stop + 1, stop + 700} {
				again = min(again, n)
				g.goOn(c, int(c.records), again, rng)
				c = g.resumed(t, c)
			}
			g.goOn(c, int(c.records), n, rng)
			if d := sameTensors(c.state(), wanted); d != "" {
				t.Fatalf("seed %d, growth at %d, restart at %d: differs: %s", seed, at, stop, d)
			}
		}
		got := whole.comparison()
		if got.Champion != "newton" || got.Baselines[2].Records < n-2000-2500 || len(got.Stability) != 8 || got.Drift[ofFeatures].Raised == 0 {
			t.Errorf("seed %d: %+v", seed, got)
		}
	}
}

// The copy that predicts is asked for whole rows, their sparse features among it, and the features are compared as row by row.
func TestRowsThatGrowAreComparedAsSingleRows(t *testing.T) {
	const seed, n = 9, 8500
	g := newGrowing(seed, n, map[int]int{2600: 4, 5300: 6})
	g.cfg.Best = false
	c := newCompare(&g.cfg)
	g.goOn(c, 0, n, rand.New(rand.NewPCG(seed, 82)))

	age := int(g.cfg.TwinAge)
	stability := evaluate.NewStability(2, age)
	var newest, twin *knowing
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
		if (i+1)%age == 0 {
			twin, newest = newest, &knowing{g.copied(0, i+1).predictor, len(x)}
			stability.Mark()
		}
	}
	if c.frozen.records != records || c.frozen.correct != correct || c.frozen.loss != loss[0] || records == 0 {
		t.Errorf("the twin has %d answers, %d correct, loss %v; want %d, %d, %v",
			c.frozen.records, c.frozen.correct, c.frozen.loss, records, correct, loss[0])
	}
	if d := sameTensors([]sgd.Tensor{list(stabilityPath, c.stability.State())}, []sgd.Tensor{list(stabilityPath, stability.State())}); d != "" {
		t.Error("the features are compared otherwise")
	}
}

// A copy of rows that were narrower says so; a width that rows never had is a fault.
func TestWidthOfCopies(t *testing.T) {
	const seed = 10
	g := newGrowing(seed, 3000, map[int]int{1500: 4, 2500: 5})
	c := newCompare(&g.cfg)
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
		g.goOn(c, int(c.records), tt.records, rng)
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
	cut := &Cut{Place: Place{Records: c.records, Features: c.width}, Comparison: state, Champion: "logistic"}
	if err := newCompare(&g.cfg).restore(cut); err == nil || !strings.Contains(err.Error(), predictsPath+widthSuffix) {
		t.Errorf("a copy of 6 features where rows have 5: %v", err)
	}
}

// Rows may have sparse features alone.
func TestRowsWithoutDenseFeatures(t *testing.T) {
	const seed = 11
	g := newGrowing(seed, 3500, nil)
	g.widths = map[int]int{2700: 1}
	g.first = 0
	for i := range g.x {
		g.x[i] = g.x[i][:g.width(i)]
	}
	rng := rand.New(rand.NewPCG(seed, 84))
	whole := newCompare(&g.cfg)
	g.goOn(whole, 0, 3500, rng)
	for _, stop := range []int{1500, 2500, 2699, 2700, 2701, 3200} {
		c := newCompare(&g.cfg)
		g.goOn(c, 0, stop, rng)
		c = g.resumed(t, c)
		g.goOn(c, stop, 3500, rng)
		if d := sameTensors(c.state(), whole.state()); d != "" {
			t.Errorf("restart at %d: differs: %s", stop, d)
		}
	}
	if whole.frozen.records != 1500 || whole.stability.Features() != 1 {
		t.Errorf("%+v", whole.comparison())
	}
}
