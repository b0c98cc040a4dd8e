package sgd

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"learner/internal/portable"
)

// linearSpecs are one kind of model for each stepper, optimiser, and penalty.
var linearSpecs = []string{
	"logistic", "logistic:l1=0.001,l2=0.01", "logistic:optimizer=adagrad,l1=0.001,l2=0.01", "logistic:optimizer=adam",
	"logistic:optimizer=adam,l1=0.001,l2=0.01", "logistic:optimizer=ftrl,l1=0.5,l2=0.1", "logistic:optimizer=coin,l1=0.001,l2=0.01",
	"linear:loss=squared", "linear:loss=hinge", "newton", "newton:q=0.01", "newton_diag", "newton_diag:q=0.01", "newton_diag:features=hats",
	"newton:features=relu", "pa",
}

// onlySparse returns rows with one dense column that is constant, so that its place in vectors is 0, up to three sparse
// features, and importance of some kinds.
func onlySparse(seed uint64, n int) *Rows {
	r := newRandom(seed, "only sparse")
	rows := &Rows{Width: 1, X: make([]float64, n)}
	known := 0
	for range n {
		y := float64(r.below(2))
		before := len(rows.Sparse)
		for range r.below(4) {
			feature := int32(r.below(uint64(min(known+1, 30))))
			known = max(known, int(feature)+1)
			if !slices.Contains(rows.Sparse[before:], feature) {
				rows.Sparse = append(rows.Sparse, feature)
			}
		}
		rows.Y, rows.SparseEnd = append(rows.Y, y), append(rows.SparseEnd, len(rows.Sparse))
		rows.Importance = append(rows.Importance, []float64{1, 1, 2, 0.5, 0}[r.below(5)])
	}
	return rows
}

// referenceWeight is what a plain optimiser keeps of a weight.
type referenceWeight struct{ w, a, b, c, d float64 }

// step is a step of the optimisers as their comments say them, for a place of the vector that is 1. The bias has no penalty.
func (k *referenceWeight) step(name string, rate, l1, l2, g, c, t float64, bias bool) {
	if bias {
		l1, l2 = 0, 0
	}
	shrink := func(eta float64) {
		if !bias {
			k.w = soften(k.w, eta*l1) / (1 + float64(eta*l2))
		}
	}
	switch name {
	case "sgd":
		eta := float64(c * (rate / math.Sqrt(t)))
		k.w -= float64(eta * g)
		shrink(eta)
	case "adagrad":
		k.a += float64(c * float64(g*g))
		eta := float64(c*rate) / math.Sqrt(k.a+1e-8)
		k.w -= float64(eta * g)
		shrink(eta)
	case "adam":
		keep1, keep2 := 0.9, 0.999
		if c != 1 {
			keep1, keep2 = portable.Exp(c*portable.Log(0.9)), portable.Exp(c*portable.Log(0.999))
		}
		k.a = float64(keep1*k.a) + float64((1-keep1)*g)
		k.b = float64(keep2*k.b) + float64((1-keep2)*float64(g*g))
		r := float64(c*rate) * math.Sqrt(1-portable.Exp(t*portable.Log(0.999))) / (1 - portable.Exp(t*portable.Log(0.9)))
		eta := r / (math.Sqrt(k.b) + 1e-8)
		k.w -= float64(eta * k.a)
		shrink(eta)
	case "ftrl":
		n := k.b + float64(c*float64(g*g))
		sigma := (math.Sqrt(n) - math.Sqrt(k.b)) / rate
		k.a = k.a + float64(c*g) - float64(sigma*k.w)
		k.b = n
		k.w = -soften(k.a, l1) / ((1+math.Sqrt(n))/rate + l2)
	case "coin":
		g += float64(l2 * k.w)
		k.a = max(k.a, math.Abs(g))
		k.b += float64(c * math.Abs(g))
		k.c = max(0, k.c-float64(c*float64(g*k.w)))
		k.d -= float64(c * g)
		k.w = 0
		if k.a > 0 {
			k.w = float64(soften(k.d, float64(t*l1)) / (k.a + k.b) * (1 + k.c/k.a))
		}
	}
}

// TestSparseWeightsAreThoseOfAPlainReference holds every optimiser's sparse weights to a reference, bit for bit.
func TestSparseWeightsAreThoseOfAPlainReference(t *testing.T) {
	const seed = 21
	rows := onlySparse(seed, 2000)
	for _, name := range keys(optimizers) {
		for _, p := range []penalty{{}, {l1: 0.001, l2: 0.01}} {
			spec := fmt.Sprintf("logistic:optimizer=%s,l1=%g,l2=%g", name, p.l1, p.l2)
			m := newModel(t, spec, 1, 1)
			got := learnAll(m, rows, 100)
			var bias referenceWeight
			var sparse [30]referenceWeight
			time := 0.0
			for i, y := range rows.Y {
				margin := bias.w
				for _, f := range rows.SparseRow(i) {
					margin += sparse[f].w
				}
				if want := sigmoid(margin); got[i] != want {
					t.Fatalf("%s: answer %v for row %d, want %v (seed %d)", spec, got[i], i, want, seed)
				}
				c := rows.Importance[i]
				if c == 0 {
					continue
				}
				time += c
				g, rate := sigmoid(margin)-y, optimizers[name].rate
				bias.step(name, rate, p.l1, p.l2, g, c, time, true)
				for _, f := range rows.SparseRow(i) {
					sparse[f].step(name, rate, p.l1, p.l2, g, c, time, false)
				}
			}
			learned := m.(*pipeline).experts[0].(*linear).sparseWeights()
			for f, k := range sparse {
				if learned[f] != k.w {
					t.Errorf("%s: weight %d is %v, want %v (seed %d)", spec, f, learned[f], k.w, seed)
				}
			}
		}
	}
}

// TestNewtonsSparsePartIsThatOfAPlainReference holds the sparse weights and variances of newton, newton_diag, and pa to references.
func TestNewtonsSparsePartIsThatOfAPlainReference(t *testing.T) {
	const seed, v0, q = 22, 0.7, 0.003
	rows := onlySparse(seed, 2000)
	for _, kind := range []string{"newton", "newton_diag", "pa"} {
		spec := fmt.Sprintf("%s:v0=%g,q=%g", kind, v0, q)
		if kind == "pa" {
			spec = "pa:c=0.1"
		}
		m := newModel(t, spec, 1, 1)
		got := learnAll(m, rows, 100)
		bias, variance := 0.0, 10.0 // of the bias
		var w, p [30]float64
		for f := range p {
			p[f] = v0
		}
		for i, y := range rows.Y {
			sparse, c := rows.SparseRow(i), rows.Importance[i]
			margin := bias
			if kind == "newton" { // P is brought up to date with the record before
				variance = (1-q/v0)*variance + q
			}
			s := variance
			for _, f := range sparse {
				margin += w[f]
				s += p[f]
			}
			if want := sigmoid(margin); math.Abs(got[i]-want) > 1e-9 {
				t.Fatalf("%s: answer %v for row %d, want %v (seed %d)", spec, got[i], i, want, seed)
			}
			if kind == "pa" {
				sign := 2*y - 1
				step := sign * min(c*0.1, max(0, 1-sign*margin)/float64(1+len(sparse)))
				bias += step
				for _, f := range sparse {
					w[f] += step
				}
				continue
			}
			prob := sigmoid(margin)
			h := c * prob * (1 - prob)
			k := 1 / (1 + h*s)
			g := c * k * (y - prob)
			bias += g * variance
			variance -= h * k * variance * variance
			if kind == "newton_diag" {
				variance = min(10, variance+q)
			}
			for _, f := range sparse {
				w[f] += g * p[f]
				p[f] -= h * k * p[f] * p[f]
				if kind == "newton_diag" {
					p[f] = min(v0, p[f]+q)
				} else {
					p[f] = (1-q/v0)*p[f] + q
				}
			}
		}
		e := m.(*pipeline).experts[0].(*linear)
		for f := range w {
			if got := e.sparseWeights()[f]; math.Abs(got-w[f]) > 1e-9 {
				t.Errorf("%s: weight %d is %v, want %v (seed %d)", spec, f, got, w[f], seed)
			}
		}
		for _, tensor := range e.state() {
			if tensor.Name != "sparse/variance" {
				continue
			}
			for f, got := range tensor.Data.([]float64) {
				if math.Abs(got-p[f]) > 1e-9 {
					t.Errorf("%s: variance %d is %v, want %v (seed %d)", spec, f, got, p[f], seed)
				}
			}
		}
	}
}

// A category that decides is learned as sparse features about as well as it is as columns of 0 and 1.
func TestSparseFeaturesAreLearnedAsColumnsAre(t *testing.T) {
	measured(t)
	const seed, n, categories = 23, 4000, 6
	r := newRandom(seed, "category")
	sparse, dense := &Rows{Width: 2}, &Rows{Width: 2 + categories}
	for range n {
		category := r.below(categories)
		a, b := r.normal(), r.normal()
		margin := a + []float64{-2, 2, -1, 1, -3, 3}[category]
		y := 0.0
		if r.uniform() < sigmoid(margin) {
			y = 1
		}
		sparse.X = append(sparse.X, a, b)
		dense.X = append(dense.X, a, b)
		for k := range uint64(categories) {
			v := 0.0
			if k == category {
				v = 1
			}
			dense.X = append(dense.X, v)
		}
		sparse.Sparse = append(sparse.Sparse, int32(category))
		sparse.SparseEnd = append(sparse.SparseEnd, len(sparse.Sparse))
		sparse.Y, dense.Y = append(sparse.Y, y), append(dense.Y, y)
	}
	for _, spec := range append(slices.Clone(linearSpecs), "mix", "zoo") {
		a, loss := progress(newModel(t, spec, sparse.Width, 1), sparse)
		b, denseLoss := progress(newModel(t, spec, dense.Width, 1), dense)
		without, _ := progress(newModel(t, spec, 2, 1), &Rows{Width: 2, X: sparse.X, Y: sparse.Y})
		t.Logf("%s: sparse %.3f / %.3f, columns %.3f / %.3f, without the category %.3f", spec, a, loss, b, denseLoss, without)
		if a < b-0.02 || a < without+0.1 {
			t.Errorf("%s: accuracy %.3f, with columns %.3f, without the category %.3f (seed %d)", spec, a, b, without, seed)
		}
	}
}

// Most rows bring features that no row had, which say nothing: what the columns say is learned all the same.
func TestManyNewFeaturesDoNotDrownColumns(t *testing.T) {
	measured(t)
	const seed, most = 24, 0.03
	plain := susyRows(t)
	for _, each := range []int{1, 20} {
		rows := &Rows{Width: plain.Width, X: plain.X, Y: plain.Y}
		for range plain.Len() {
			for range each {
				rows.Sparse = append(rows.Sparse, int32(len(rows.Sparse)))
			}
			rows.SparseEnd = append(rows.SparseEnd, len(rows.Sparse))
		}
		for _, spec := range append(slices.Clone(linearSpecs), "mix") {
			a, loss := progress(newModel(t, spec, rows.Width, seed), rows)
			b, plainLoss := progress(newModel(t, spec, rows.Width, seed), plain)
			t.Logf("%s, %d new features in a row: %.4f / %.4f, without %.4f / %.4f", spec, each, a, loss, b, plainLoss)
			if a < b-most {
				t.Errorf("%s, %d new features in a row: accuracy %.4f, without %.4f", spec, each, a, b)
			}
		}
	}
}

func TestARefusedStepChangesNothingSparse(t *testing.T) {
	for _, spec := range linearSpecs {
		m := newModel(t, spec, 1, 1)
		learnAll(m, onlySparse(3, 400), 400)
		e := m.(*pipeline).experts[0]
		if aimed, ok := e.(*labelAimed); ok {
			e = aimed.linear
		}
		l := e.(*linear)
		sparse := func() (tensors []Tensor) {
			for _, tensor := range l.state() {
				if strings.HasPrefix(tensor.Name, "sparse/") {
					tensors = append(tensors, tensor)
				}
			}
			return tensors
		}
		before, refused := fmt.Sprint(sparse()), l.stats().NonFinite
		l.step(slices.Repeat([]float64{1}, l.features.width()), []int32{0, 1}, math.NaN(), math.Inf(1))
		if got := l.stats().NonFinite; got != refused+1 {
			t.Errorf("%s: %d steps refused, want one more than %d", spec, got, refused)
		}
		if after := fmt.Sprint(sparse()); after != before || len(sparse()) == 0 {
			t.Errorf("%s: sparse state %s, before %s", spec, after, before)
		}
	}
}

func TestLearningRoughRowsDoesNotAllocate(t *testing.T) {
	measured(t)
	for _, spec := range variants() {
		t.Run(spec, func(t *testing.T) {
			narrow, wide := rough(t, 3200, 1)
			m := newModel(t, spec, narrow.Width, 1)
			prob := make([]float64, 1000)
			m.Learn(narrow, prob)
			m.Grow(wide.Width)
			for i := range wide.Sparse {
				wide.Sparse[i] %= 50
			}
			m.Learn(between(wide, 0, 1000), prob)
			parts := make([]*Rows, 0, 21)
			for from := 1000; len(parts) < cap(parts); from += 100 {
				parts = append(parts, between(wide, from, from+100))
			}
			i := 0
			if n := testing.AllocsPerRun(20, func() { m.Learn(parts[i], prob); i++ }); n > 0 {
				t.Errorf("Learn allocates %v times for 100 rows", n)
			}
			snapshot := m.Snapshot()
			if n := testing.AllocsPerRun(100, func() { snapshot.Predict(prob, wide.Row(0), parts[0].SparseRow(3)) }); n > 0 {
				t.Errorf("Predict allocates %v times", n)
			}
		})
	}
}

// TestExplainSparse holds what is said of sparse features and of missing values to the weights of a linear model.
func TestExplainSparse(t *testing.T) {
	narrow, _ := rough(t, 900, 900)
	m := newModel(t, "logistic", narrow.Width, 1)
	learnAll(m, narrow, 900)
	p := m.Snapshot()
	weights := m.(*pipeline).experts[0].(*linear).sparseWeights()
	effects := make([]float64, len(weights)+3)
	all := make([]int32, len(effects))
	for i := range all {
		all[i] = int32(i)
	}
	SparseEffects(p, effects, all)
	for i, effect := range effects {
		want := 0.0
		if i < len(weights) {
			want = weights[i]
		}
		near(t, fmt.Sprintf("effect of sparse feature %d", i), effect, want)
	}
	columns := make([]float64, narrow.Width+2)
	Effects(p, columns)
	if columns[4] == 0 || columns[narrow.Width] != 0 || columns[narrow.Width+1] != 0 {
		t.Errorf("effects %v, want none of columns that the model has not", columns)
	}
	x, sparse := slices.Clone(narrow.Row(850)), []int32{5, int32(len(weights)), 2}
	x[4] = math.NaN()
	contributions := make([]float64, len(x)+len(sparse))
	sum := Explain(p, contributions, x, sparse)
	if contributions[4] != 0 {
		t.Errorf("a missing value contributes %v", contributions[4])
	}
	for i, want := range []float64{weights[5], 0, weights[2]} {
		near(t, fmt.Sprintf("contribution of sparse feature %d", sparse[i]), contributions[len(x)+i], want)
	}
	for _, c := range contributions {
		sum += c
	}
	near(t, "base and contributions", sum, logOdds(p, x, sparse))
}

// TestStatsCountSparseWeights holds norms to a vector with all weights.
func TestStatsCountSparseWeights(t *testing.T) {
	rows := onlySparse(8, 300)
	for _, spec := range []string{"logistic", "newton", "newton_diag", "pa"} {
		m := newModel(t, spec, 1, 1)
		learnAll(m, between(rows, 0, 299), 299)
		e := m.(*pipeline).experts[0].(*linear)
		before := slices.Concat(e.weightsNow(), e.sparseWeights())
		learnAll(m, between(rows, 299, 300), 1)
		after := slices.Concat(e.weightsNow(), e.sparseWeights())
		s := m.Stats()
		near(t, spec+": weight norm", s.WeightNorm, norm(after[1:]))
		near(t, spec+": update norm", s.UpdateNorm, math.Sqrt(squaredDistance(before, after[:len(before)])))
	}
}
