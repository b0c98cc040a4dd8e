package sgd

import "math"

// passiveAggressive is PA-I: it moves the weights as little as makes the hinge loss of the record 0, but by no more than
// c·|v| (Crammer, Dekel, Keshet, Shalev-Shwartz, Singer, JMLR 7, 2006):
//
//	y = 2·label - 1, τ = min(C, max(0, 1 - y·w·v)/|v|²), w ← w + τ·y·v
//
// C, the price of a record's loss, is times the record's importance.
type passiveAggressive struct {
	aggressiveness float64 // C
	now, next      []float64
	moved          bool // the last step was taken; then next holds the weights before it
	refused        uint64
}

func (m *passiveAggressive) step(v []float64, label, c float64) float64 {
	margin := dotFour(m.now, v)
	y := sign(label)
	tau := min(float64(c*m.aggressiveness), max(0, 1-float64(y*margin))/dot(0, v, v))
	step := float64(tau * y)
	w, to := m.now[:len(v)], m.next[:len(v)]
	for i, vi := range v {
		to[i] = w[i] + float64(step*vi)
	}
	m.moved = math.Abs(step) <= smallStep || inRange(to)
	if !m.moved {
		m.refused++
		return margin
	}
	m.now, m.next = m.next, m.now
	return margin
}

func (m *passiveAggressive) weightsNow() []float64 { return m.now }

func (m *passiveAggressive) rebase(change func(v []float64, start float64)) {
	change(m.now, 0)
	m.moved = false
}

func (m *passiveAggressive) state() []Tensor {
	return []Tensor{vector("weights", m.now), scalar("nonfinite", m.refused)}
}

func (m *passiveAggressive) restore(from *Stored) {
	load(from, "weights", m.now)
	LoadScalar(from, "nonfinite", &m.refused)
	if !inRange(m.now) {
		from.Fault("weights: not within ±%g", maxState)
	}
	m.moved = false
}

func (m *passiveAggressive) stats() Stats {
	s := Stats{WeightNorm: norm(m.now[1:]), NonFinite: m.refused}
	if m.moved {
		s.UpdateNorm = distance(m.now, m.next)
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
