package sgd

import (
	"math"
	"slices"
)

// logistic is logistic regression on standardised features by stochastic gradient descent, one step a record.
//
// For a row, the scaler takes it in and gives z. The answer is σ(bias + w·z), and the step is
// w -= η·g·z, bias -= η·g with g = answer - label and η = rate/√t. Weights and bias start at 0.
//
// A row is refused where the scaler's moments would not be finite. Weights and bias always are: g is inside ±1, z
// inside ±5, and η at most maxRate, so that no number of steps carries them anywhere near the largest float64.
type logistic struct {
	schedule inverseSqrt
	loss     logLoss
	scaler   scaler
	weights  []float64
	bias     float64
	steps    uint64 // taken; a refused step is none
	refused  uint64 // rows

	z    []float64 // the last row, standardised
	last float64   // η·g of the last row, 0 if it was refused
}

// maxRate is the largest learning rate that a model can be given.
const maxRate = 1e6

// logisticOptions reads the options of the kind logistic: rate, the learning rate of the first step.
func logisticOptions(o *options) builder {
	schedule := inverseSqrt{rate: o.positive("rate", 0.5, maxRate)}
	return func(width int, _ uint64) Model {
		return &logistic{
			schedule: schedule,
			scaler:   newScaler(width),
			weights:  make([]float64, width),
			z:        make([]float64, width),
		}
	}
}

func (m *logistic) Outputs() int { return 1 }

func (m *logistic) Learn(rows *Rows, prob []float64) {
	if rows.Width != len(m.weights) {
		panic("sgd: row of another width than the model's")
	}
	for i, label := range rows.Y {
		prob[i] = m.learn(rows.Row(i), label)
	}
}

// learn takes one step and returns the answer before it. Where the moments with this row are not finite, it takes none,
// and the answer is by the moments without the row.
func (m *logistic) learn(x []float64, label float64) float64 {
	if !m.scaler.advance(m.z, x) {
		m.scaler.standardise(m.z, x)
		m.refused++
		m.last = 0
		return sigmoid(dot(m.bias, m.weights, m.z))
	}
	m.scaler.commit()
	m.steps++
	prob, gradient := m.loss.step(dot(m.bias, m.weights, m.z), label)
	step := float64(m.schedule.at(m.steps) * gradient)
	descend(m.weights, m.z, step)
	m.bias -= step
	m.last = step
	return prob
}

func (m *logistic) State() []Tensor {
	return append(m.scaler.state(),
		vector("weights", m.weights),
		scalar("bias", m.bias),
		scalar("steps", m.steps),
		scalar("nonfinite", m.refused),
	)
}

func (m *logistic) Restore(state []Tensor) error {
	from := newStored(state)
	m.scaler.restore(from)
	load(from, "weights", m.weights)
	loadScalar(from, "bias", &m.bias)
	loadScalar(from, "steps", &m.steps)
	loadScalar(from, "nonfinite", &m.refused)
	return from.done()
}

func (m *logistic) Stats() Stats {
	return Stats{
		LearningRate: m.schedule.at(m.steps + 1),
		WeightNorm:   math.Sqrt(dot(0, m.weights, m.weights)),
		UpdateNorm:   math.Abs(m.last) * math.Sqrt(dot(1, m.z, m.z)),
		NonFinite:    m.refused,
	}
}

func (m *logistic) Snapshot() Predictor {
	s := &logisticSnapshot{
		mean:      slices.Clone(m.scaler.mean),
		deviation: make([]float64, len(m.weights)),
		weights:   slices.Clone(m.weights),
		bias:      m.bias,
	}
	for i, v := range m.scaler.variance {
		s.deviation[i] = math.Sqrt(v)
	}
	return s
}

// logisticSnapshot answers for rows as a logistic did when it was made.
type logisticSnapshot struct {
	mean, deviation, weights []float64
	bias                     float64
}

func (s *logisticSnapshot) Predict(dst, x []float64) {
	if len(x) != len(s.weights) {
		panic("sgd: row of another width than the model's")
	}
	mean, deviation, weights := s.mean[:len(x)], s.deviation[:len(x)], s.weights[:len(x)]
	margin := s.bias
	for i, xi := range x {
		margin += float64(weights[i] * standard(xi-mean[i], deviation[i]))
	}
	dst[0] = sigmoid(margin)
}

// dot returns sum + a[0]*b[0] + a[1]*b[1] + …, added up in this order. a and b have the same length.
func dot(sum float64, a, b []float64) float64 {
	b = b[:len(a)]
	for i, ai := range a {
		sum += float64(ai * b[i])
	}
	return sum
}

// descend takes step·z off the weights. Both have the same length.
func descend(weights, z []float64, step float64) {
	z = z[:len(weights)]
	for i := range weights {
		weights[i] -= float64(step * z[i])
	}
}
