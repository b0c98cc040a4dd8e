package sgd

import "math"

// passiveAggressive is PA-I: it moves the weights as little as makes the hinge loss of the record 0, but by no more than
// c·|v| (Crammer, Dekel, Keshet, Shalev-Shwartz, Singer, JMLR 7, 2006):
//
//	y = 2·label - 1, τ = min(C, max(0, 1 - y·w·v)/|v|²), w ← w + τ·y·v
//
// C, the price of a record's loss, is times the record's importance. Each sparse feature of the record is a place of v that
// is 1.
type passiveAggressive struct {
	aggressiveness float64 // C
	now, next      []float64
	sparse         []float64 // weights of sparse features
	moved          bool      // the last step was taken; then next holds the weights before it
	sparseMoved    float64   // of the last step: the squared length of its sparse part
	refused        uint64
}

func (m *passiveAggressive) step(v []float64, sparse []int32, label, c float64) float64 {
	margin := dotFour(m.now, v)
	if len(sparse) > 0 {
		m.sparse = lengthen(m.sparse, met(sparse, len(m.sparse)), 0)
		margin = addKnown(margin, m.sparse, sparse)
	}
	y := sign(label)
	square := dot(0, v, v) + float64(len(sparse))
	tau := min(float64(c*m.aggressiveness), max(0, 1-float64(y*margin))/square)
	step := float64(tau * y)
	w, to := m.now[:len(v)], m.next[:len(v)]
	for i, vi := range v {
		to[i] = w[i] + float64(step*vi)
	}
	m.moved = math.Abs(step) <= smallStep || inRange(to) && m.sparseInRange(sparse, step)
	if !m.moved {
		m.refused++
		return margin
	}
	m.now, m.next = m.next, m.now
	for _, f := range sparse {
		m.sparse[f] += step
	}
	m.sparseMoved = float64(float64(step*step) * float64(len(sparse)))
	return margin
}

// sparseInRange reports whether the weights of a record's sparse features are within ±maxState after a step.
func (m *passiveAggressive) sparseInRange(sparse []int32, step float64) bool {
	for _, f := range sparse {
		if !(math.Abs(m.sparse[f]+step) <= maxState) {
			return false
		}
	}
	return true
}

func (m *passiveAggressive) weightsNow() []float64    { return m.now }
func (m *passiveAggressive) sparseWeights() []float64 { return m.sparse }

func (m *passiveAggressive) adopt(narrow stepper, places []int) {
	old := narrow.(*passiveAggressive)
	put(m.now, old.now, places)
	m.sparse, m.refused = old.sparse, old.refused
}

func (m *passiveAggressive) rebase(change func(v []float64, start float64)) {
	change(m.now, 0)
	m.moved = false
}

func (m *passiveAggressive) state() []Tensor {
	return append([]Tensor{vector("weights", m.now), scalar("nonfinite", m.refused)}, sparseVector("weights", m.sparse)...)
}

func (m *passiveAggressive) restore(from *Stored) {
	load(from, "weights", m.now)
	LoadScalar(from, "nonfinite", &m.refused)
	if !inRange(m.now) {
		from.Fault("weights: not within ±%g", maxState)
	}
	m.sparse = loadSparse(from, "weights")[0]
	m.moved = false
}

func (m *passiveAggressive) stats() Stats {
	s := Stats{WeightNorm: norm(m.now[1:], m.sparse), NonFinite: m.refused}
	if m.moved {
		s.UpdateNorm = math.Sqrt(squaredDistance(m.now, m.next) + m.sparseMoved)
	}
	return s
}

// passiveAggressiveOptions reads the options of the kind pa: c, the aggressiveness, and features.
func passiveAggressiveOptions(o *options) expertBuilder {
	aggressiveness := o.positive("c", 1, maxRate)
	makeFeatures := o.features(movingFeatures...)
	return func(width int, seed uint64) expert {
		f := makeFeatures(width, seed)
		n := f.width()
		return &linear{f, &passiveAggressive{
			aggressiveness: aggressiveness, now: make([]float64, n), next: make([]float64, n),
		}}
	}
}
