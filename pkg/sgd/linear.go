package sgd

import "slices"

// stepper is a linear learner of vectors that begin with a constant 1.
type stepper interface {
	// step returns the log-odds of v, w·v, and then takes one step on it with importance c. A step that would make the
	// state non-finite changes nothing and is counted.
	step(v []float64, label, c float64) (margin float64)
	// weightsNow returns the weights, that of the constant first, not to be kept.
	weightsNow() []float64
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
	if m, ok := e.stepper.(*gradientStep); ok && e.features == features(asIs(b.width)) {
		from = m.descendRows(b, margin)
	}
	for i := from; i < len(margin); i++ {
		margin[i] = e.step(e.features.advance(b.row(i), e.stepper), b.y[i], b.c[i])
	}
}

func (e *linear) state() []Tensor { return append(e.stepper.state(), e.features.state()...) }

func (e *linear) restore(from *Stored) {
	e.stepper.restore(from)
	e.features.restore(from)
}

func (e *linear) freeze() frozen {
	return &frozenLinear{frozenFeatures: e.features.freeze(), weights: slices.Clone(e.weightsNow())}
}

type frozenLinear struct {
	frozenFeatures
	weights []float64
}

func (f *frozenLinear) margin(r row, scratch []float64) float64 {
	return dot(0, f.weights, f.apply(r, scratch))
}

func (f *frozenLinear) describe(to *Formula, t, z int) int {
	return to.linear(f.frozenFeatures.describe(to, t, z), f.weights, 1)
}
