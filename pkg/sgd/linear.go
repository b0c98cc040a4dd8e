package sgd

import "slices"

// stepper is a linear learner of vectors that begin with a constant 1.
type stepper interface {
	// step returns the log-odds of v and the sparse features that go with it, w·v + Σ w_s, and then takes one step on them with
	// importance c: that of a vector which has a place with value 1 for each of the features. What is kept for other sparse
	// features stays as it is, whatever a step does to places whose value is 0. A step that would make the state non-finite
	// changes nothing and is counted.
	step(v []float64, sparse []int32, label, c float64) (margin float64)
	// weightsNow returns the weights, that of the constant first, sparseWeights those of sparse features; not to be kept.
	weightsNow() []float64
	sparseWeights() []float64
	// adopt makes the state of a fresh stepper that of another one with the same options, which is of no use then, for vectors
	// of which a part stands at the given places here.
	adopt(narrow stepper, places []int)
	state() []Tensor
	restore(from *Stored)
	stats() Stats
}

// linear is the expert that learns linearly from features of a row.
type linear struct {
	features features
	stepper
}

func (e *linear) learn(b *block, margin []float64) {
	from := 0
	if m, ok := e.stepper.(*gradientStep); ok && e.features == features(asIs(b.width)) && !b.any() {
		from = m.descendRows(b, margin)
	}
	for i := from; i < len(margin); i++ {
		margin[i] = e.step(e.features.advance(b.row(i), e.stepper), b.of(i), b.y[i], b.c[i])
	}
}

func (e *linear) adopt(narrow expert) {
	old := narrow.(*linear)
	e.stepper.adopt(old.stepper, e.features.adopt(old.features))
}

// put stores what v has for each place of a vector at the place where it stands in a wider one.
func put(to, v []float64, places []int) {
	for i, place := range places {
		to[place] = v[i]
	}
}

func (e *linear) state() []Tensor { return append(e.stepper.state(), e.features.state()...) }

func (e *linear) restore(from *Stored) {
	e.stepper.restore(from)
	e.features.restore(from)
}

func (e *linear) freeze() frozen {
	return &frozenLinear{
		frozenFeatures: e.features.freeze(), weights: slices.Clone(e.weightsNow()), sparse: slices.Clone(e.sparseWeights()),
	}
}

type frozenLinear struct {
	frozenFeatures
	weights, sparse []float64
}

func (f *frozenLinear) margin(r row, sparse []int32, scratch []float64) float64 {
	return addKnown(dot(0, f.weights, f.apply(r, scratch)), f.sparse, sparse)
}

func (f *frozenLinear) known() int { return len(f.sparse) }

func (f *frozenLinear) describe(to *Formula, t, z int) int {
	margin := to.linear(f.frozenFeatures.describe(to, t, z), f.weights, 1)
	if to.Sparse == 0 {
		return margin
	}
	weights := lengthen(slices.Clone(f.sparse), to.Sparse, 0)
	return to.step(OpAdd, margin, to.step(OpMatMul, to.sparse, to.column(weights)))
}
