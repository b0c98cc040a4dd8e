package sgd

import "math"

// gradientStep is a linear learner that an optimiser moves against the gradient of a loss.
type gradientStep struct {
	loss      loss
	optimizer optimizer
	now       *memory
	next      *memory // what the optimiser writes; after a step that was taken, what was before it
	sparse    sparseMemory
	moved     bool // the last step was taken
	refused   uint64
}

func newGradientStep(width int, l loss, o optimizer) *gradientStep {
	sums := len(o.sums())
	return &gradientStep{
		loss: l, optimizer: o, now: newMemory(width, sums), next: newMemory(width, sums), sparse: newSparseMemory(sums),
	}
}

// step returns the margin, which counts as log-odds but for the losses of [labelAimed]. Penalties of the weights of sparse
// features, and running means of adam, go on when the features are met.
func (m *gradientStep) step(v []float64, sparse []int32, label, c float64) float64 {
	margin := m.sparse.meet(sparse, dotFour(m.now.weights, v))
	m.moved = false
	if c == 0 {
		return margin
	}
	m.next.t = m.now.t + c
	gradient := m.loss.gradient(margin, label)
	small := m.optimizer.step(m.next, m.now, v, gradient, c)
	if len(sparse) > 0 {
		m.sparse.next.t = m.next.t
		m.optimizer.step(&m.sparse.next, &m.sparse.now, m.sparse.v, gradient, c)
	}
	sound := small || m.next.inRange() && (len(sparse) == 0 || m.sparse.next.inRange())
	if !sound {
		m.refused++
		return margin
	}
	m.now, m.next = m.next, m.now
	m.sparse.keep(sparse)
	m.moved = true
	return margin
}

// descendRows is step for all but the last row of a block, for plain descent on the log loss: the same bits, without a place
// of their own for the weights that each step leads to. It returns how many rows it has done: a step that may be too large
// is left to the method step.
func (m *gradientStep) descendRows(b *block, margin []float64) (done int) {
	o, plain := m.optimizer.(sgd)
	if _, log := m.loss.(logLoss); !log || !plain || !o.none() {
		return 0
	}
	w, rows := m.now.weights, max(0, len(margin)-1)
	n := len(w)
	for i := range rows {
		z, c := b.z[i*n:(i+1)*n], b.c[i]
		v := dotFour(w, z)
		if c != 0 {
			t := m.now.t + c
			step := float64(float64(c*o.learningRate(t)) * logLoss{}.gradient(v, b.y[i]))
			if !(math.Abs(step) <= smallStep && t <= maxState) {
				return i
			}
			descend(w, w, z, step)
			m.now.t = t
		}
		margin[i] = v
	}
	return rows
}

func (m *gradientStep) weightsNow() []float64    { return m.now.weights }
func (m *gradientStep) sparseWeights() []float64 { return m.sparse.all.weights }

func (m *gradientStep) adopt(narrow stepper, places []int) {
	old := narrow.(*gradientStep)
	put(m.now.weights, old.now.weights, places)
	for i, sums := range m.now.sums {
		put(sums, old.now.sums[i], places)
	}
	m.now.t, m.sparse, m.refused = old.now.t, old.sparse, old.refused
}

func (m *gradientStep) rebase(change func(v []float64, start float64)) {
	change(m.now.weights, 0)
	for _, sums := range m.now.sums {
		change(sums, 0)
	}
	m.moved = false
}

func (m *gradientStep) state() []Tensor {
	names := m.optimizer.sums()
	tensors := make([]Tensor, 0, 3+len(names))
	tensors = append(tensors, vector("weights", m.now.weights), scalar("seen", m.now.t), scalar("nonfinite", m.refused))
	for i, name := range names {
		tensors = append(tensors, vector(name, m.now.sums[i]))
	}
	tensors = append(tensors, sparseVector("weights", m.sparse.all.weights)...)
	for i, name := range names {
		tensors = append(tensors, sparseVector(name, m.sparse.all.sums[i])...)
	}
	return tensors
}

func (m *gradientStep) restore(from *Stored) {
	load(from, "weights", m.now.weights)
	LoadScalar(from, "seen", &m.now.t)
	LoadScalar(from, "nonfinite", &m.refused)
	for i, name := range m.optimizer.sums() {
		load(from, name, m.now.sums[i])
	}
	if !m.now.inRange() || m.now.t < 0 {
		from.Fault("weights or what the optimizer keeps for them: not within ±%g", maxState)
	}
	sparse := loadSparse(from, append([]string{"weights"}, m.optimizer.sums()...)...)
	m.sparse.all.weights, m.sparse.all.sums = sparse[0], sparse[1:]
	m.moved = false
}

func (m *gradientStep) stats() Stats {
	s := Stats{
		LearningRate: m.optimizer.learningRate(m.now.t + 1), WeightNorm: norm(m.now.weights[1:], m.sparse.all.weights), NonFinite: m.refused,
	}
	if m.moved {
		sparse := squaredDistance(m.sparse.now.weights, m.sparse.next.weights)
		s.UpdateNorm = math.Sqrt(squaredDistance(m.now.weights, m.next.weights) + sparse)
	}
	return s
}

// memory is all that an optimiser changes.
type memory struct {
	weights []float64
	sums    [][]float64 // what the optimiser keeps for each weight, in the order of its method sums
	t       float64     // importance of all records learned: their number, if each counts once
}

func newMemory(width, sums int) *memory {
	m := &memory{weights: make([]float64, width), sums: make([][]float64, sums)}
	for i := range m.sums {
		m.sums[i] = make([]float64, width)
	}
	return m
}

func (m *memory) inRange() bool {
	if !(m.t <= maxState) || !inRange(m.weights) {
		return false
	}
	for _, sums := range m.sums {
		if !inRange(sums) {
			return false
		}
	}
	return true
}

// resize gives weights and sums n values each, whatever they are.
func (m *memory) resize(n int) {
	m.weights = withRoom(m.weights, n)
	for i := range m.sums {
		m.sums[i] = withRoom(m.sums[i], n)
	}
}

// sparseMemory is the part of a gradientStep for sparse features. An optimiser is given those of the row in hand as a vector
// of ones, behind a first place that is always 0, as it holds that for the bias.
type sparseMemory struct {
	all       memory // by feature
	now, next memory // of the row in hand
	v         []float64
}

func newSparseMemory(sums int) sparseMemory {
	return sparseMemory{all: *newMemory(0, sums), now: *newMemory(0, sums), next: *newMemory(0, sums)}
}

// meet makes the row's features known, takes them in hand, and returns the margin with them.
func (m *sparseMemory) meet(sparse []int32, margin float64) float64 {
	if len(sparse) == 0 {
		m.now.weights, m.next.weights = m.now.weights[:0], m.next.weights[:0]
		return margin
	}
	return m.meetSome(sparse, margin)
}

func (m *sparseMemory) meetSome(sparse []int32, margin float64) float64 {
	if n := met(sparse, len(m.all.weights)); n > len(m.all.weights) {
		m.all.weights = lengthen(m.all.weights, n, 0)
		for i := range m.all.sums {
			m.all.sums[i] = lengthen(m.all.sums[i], n, 0)
		}
	}
	n := 1 + len(sparse)
	m.now.resize(n)
	m.next.resize(n)
	for len(m.v) < n {
		m.v = append(m.v, min(float64(len(m.v)), 1))
	}
	m.v = m.v[:n]
	m.now.weights[0] = 0
	for _, sums := range m.now.sums {
		sums[0] = 0
	}
	for i, f := range sparse {
		m.now.weights[1+i] = m.all.weights[f]
		margin += m.all.weights[f]
		for k, sums := range m.now.sums {
			sums[1+i] = m.all.sums[k][f]
		}
	}
	return margin
}

// keep keeps what the optimiser made of the row's features.
func (m *sparseMemory) keep(sparse []int32) {
	for i, f := range sparse {
		m.all.weights[f] = m.next.weights[1+i]
		for k, sums := range m.all.sums {
			sums[f] = m.next.sums[k][1+i]
		}
	}
}

const (
	// maxState limits weights and sums: what is computed from them on the way, squares and margins, then stays finite, too.
	maxState = 1e150
	// smallStep is a length, in units of a vector whose values are within ±1e20, of a step that cannot take weights out of
	// ±maxState: numbers there are rounded by more than it moves them.
	smallStep = 1e100
)

// inRange reports whether all values are numbers within ±maxState.
func inRange(values []float64) bool {
	for _, v := range values {
		if !(math.Abs(v) <= maxState) {
			return false
		}
	}
	return true
}

// squaredDistance returns the squared Euclidean distance of a and b.
func squaredDistance(a, b []float64) float64 {
	var sum float64
	for i, ai := range a {
		d := ai - b[i]
		sum += float64(d * d)
	}
	return sum
}

// logisticOptions reads the options of the kind logistic: those of gradientOptions.
func logisticOptions(o *options) expertBuilder { return gradientOptions(o, "logistic") }

// linearOptions reads the options of the kind linear: loss, and those of gradientOptions.
func linearOptions(o *options) expertBuilder {
	return gradientOptions(o, o.choice("loss", "hinge", keys(losses)))
}

// gradientOptions reads the options optimizer, rate, l1, l2, and features.
func gradientOptions(o *options, lossName string) expertBuilder {
	l := losses[lossName]
	makeOptimizer := o.optimizer(l.aimsAtLabel())
	makeFeatures := o.features(movingFeatures...)
	return func(width int, seed uint64) expert {
		f := makeFeatures(width, seed)
		e := &linear{f, newGradientStep(f.width(), l, makeOptimizer(f.width()))}
		if l.aimsAtLabel() {
			return &labelAimed{e}
		}
		return e
	}
}

// labelAimed is the expert of a loss that aims at the label: it turns margins to log-odds by [labelOdds].
type labelAimed struct{ *linear }

func (e *labelAimed) learn(b *block, margin []float64) {
	e.linear.learn(b, margin)
	for i, m := range margin {
		margin[i] = labelOdds(m)
	}
}

func (e *labelAimed) adopt(narrow expert) { e.linear.adopt(narrow.(*labelAimed).linear) }

func (e *labelAimed) freeze() frozen { return &frozenLabelAimed{e.linear.freeze()} }

type frozenLabelAimed struct{ frozen }

func (f *frozenLabelAimed) margin(r row, sparse []int32, scratch []float64) float64 {
	return labelOdds(f.frozen.margin(r, sparse, scratch))
}

func (f *frozenLabelAimed) describe(to *Formula, t, z int) int {
	const most = 1 - 1e-5
	half := to.step(OpMul, to.clip(f.frozen.describe(to, t, z), 30), to.number(0.5))
	return to.odds(to.limit(to.step(OpAdd, half, to.number(0.5)), 1-most, most))
}
