package sgd

import (
	"math"
	"sync"
)

// pipeline is a model: a scaler, experts, and, if there are several, a mixer.
type pipeline struct {
	width   int
	parts   func(width int) (scaler, []expert) // makes fresh ones
	scaler  scaler
	names   []string // of the experts, for their state; a single one needs none
	experts []expert
	mixer   *mixer // nil: a single expert's answer is the model's

	t, z    []float64   // room for a run of rows
	margins [][]float64 // by expert, the same
	c       []float64   // the same, for importance
	block   block       // in hand
	team    *team       // works on several cores; nil for a single expert
}

// blockRows is how many rows go through the experts together: few enough for them to stay in a core's first cache.
const blockRows = 64

func newPipeline(width int, names []string, parts func(width int) (scaler, []expert)) *pipeline {
	m := &pipeline{width: width, parts: parts, names: names, margins: make([][]float64, len(names))}
	m.scaler, m.experts = parts(width)
	if len(names) > 1 {
		m.mixer = newMixer(len(names))
		m.team = newTeam(m)
	}
	return m
}

func (m *pipeline) Grow(width int) {
	if width < m.width {
		panic("sgd: a model cannot become narrower")
	}
	if width == m.width {
		return
	}
	s, experts := m.parts(width)
	s.adopt(m.scaler)
	for i, e := range experts {
		e.adopt(m.experts[i])
	}
	m.width, m.scaler, m.experts, m.c = width, s, experts, nil
}

func (m *pipeline) Outputs() int { return 1 }

func (m *pipeline) Learn(rows *Rows, prob []float64) {
	if rows.Width != m.width {
		panic("sgd: row of another width than the model's")
	}
	if m.team != nil && m.team.worthwhile(rows.Len()) {
		m.reserve(rows.Len())
		m.team.learn(rows, prob)
		return
	}
	m.reserve(blockRows)
	for from := 0; from < rows.Len(); from += blockRows {
		b := &m.block
		*b = m.prepare(rows, from, min(from+blockRows, rows.Len()), 0)
		for i, e := range m.experts {
			e.learn(b, m.margins[i][:b.len()])
		}
		m.answer(b, 0, prob[from:])
	}
}

// reserve makes room for n rows.
func (m *pipeline) reserve(n int) {
	if len(m.c) >= n {
		return
	}
	m.t, m.z = make([]float64, n*m.width), make([]float64, n*(m.width+1))
	for i := range m.margins {
		m.margins[i] = make([]float64, n)
	}
	m.c = make([]float64, n)
}

// prepare scales rows [from, to) into the model's room, from the given row of it on.
func (m *pipeline) prepare(rows *Rows, from, to, at int) block {
	n, w := to-from, m.width
	b := block{
		width: w, t: m.t[at*w:][:n*w], z: m.z[at*(w+1):][:n*(w+1)],
		y: rows.Y[from:to], c: m.c[at:][:n],
		sparseRows: sparseRows{numbers: rows.Sparse, end: rows.SparseEnd}.part(from, to),
	}
	for i := range n {
		b.c[i] = 1
		if rows.Importance != nil {
			b.c[i] = min(rows.Importance[from+i], maxImportance)
		}
		m.scaler.advance(b.row(i), rows.Row(from+i), rows.Missing)
	}
	return b
}

// answer stores the model's answers to a block, whose margins stand from the given row of the room on, and lets the mixer
// learn.
func (m *pipeline) answer(b *block, at int, prob []float64) {
	if m.mixer != nil {
		m.mixer.learn(b, m.margins, at, prob)
		return
	}
	sigmoids(prob, m.margins[0][at:][:b.len()])
}

func (m *pipeline) State() []Tensor {
	tensors := m.scaler.state()
	for i, e := range m.experts {
		for _, t := range e.state() {
			t.Name = m.prefix(i) + t.Name
			tensors = append(tensors, t)
		}
	}
	if m.mixer != nil {
		tensors = append(tensors, m.mixer.state()...)
	}
	return tensors
}

func (m *pipeline) Restore(state []Tensor) error {
	from := NewStored(state)
	m.scaler.restore(from)
	for i, e := range m.experts {
		e.restore(from.under(m.prefix(i)))
	}
	if m.mixer != nil {
		m.mixer.restore(from)
	}
	return from.Done()
}

// prefix returns what the names of expert i's tensors begin with.
func (m *pipeline) prefix(i int) string {
	if m.mixer == nil {
		return ""
	}
	return m.names[i] + "/"
}

func (m *pipeline) Stats() Stats {
	var s Stats
	if m.mixer == nil {
		s = m.experts[0].stats()
	} else {
		s = m.mixer.stats()
		for _, e := range m.experts {
			s.NonFinite += e.stats().NonFinite
		}
	}
	s.NonFinite += m.scaler.refused()
	return s
}

func (m *pipeline) Snapshot() Predictor {
	s := &snapshot{width: m.width, scaler: m.scaler.clone(), experts: make([]frozen, len(m.experts))}
	most := 0
	for i, e := range m.experts {
		s.experts[i] = e.freeze()
		most = max(most, s.experts[i].scratch())
	}
	if m.mixer != nil {
		s.mixer = m.mixer.freeze()
	}
	room := 2*m.width + 1 + len(m.experts) + most
	s.room.New = func() any {
		scratch := make([]float64, room)
		return &scratch
	}
	return s
}

// snapshot answers for rows as a pipeline did when it was made.
type snapshot struct {
	width   int
	scaler  scaler
	experts []frozen
	mixer   *frozenMixer
	room    sync.Pool
}

func (s *snapshot) Predict(dst, x []float64, sparse []int32) {
	room := s.room.Get().(*[]float64)
	t, rest := (*room)[:s.width], (*room)[s.width:]
	z, rest := rest[:s.width+1], rest[s.width+1:]
	margins, scratch := rest[:len(s.experts)], rest[len(s.experts):]
	r := row{t, z}
	s.scaler.apply(r, x)
	for i, e := range s.experts {
		margins[i] = e.margin(r, sparse, scratch)
	}
	if s.mixer != nil {
		dst[0] = s.mixer.prob(margins)
	} else {
		dst[0] = sigmoid(margins[0])
	}
	s.room.Put(room)
}

// norm returns the Euclidean norm of a vector that stands in parts.
func norm(parts ...[]float64) float64 {
	sum := 0.0
	for _, v := range parts {
		sum = dot(sum, v, v)
	}
	return math.Sqrt(sum)
}

// dot returns sum + a[0]*b[0] + a[1]*b[1] + …, added up in this order. a and b have the same length.
func dot(sum float64, a, b []float64) float64 {
	b = b[:len(a)]
	for i, ai := range a {
		sum += float64(ai * b[i])
	}
	return sum
}

// plainDotPair returns a·z and b·z, each added up as dot does. All have the same length.
func plainDotPair(a, b, z []float64) (az, bz float64) { return dot(0, a, z), dot(0, b, z) }

// plainDotFour returns a·b as the sum of four sums, of every fourth term each: a sum has to wait for each of its terms. What is
// left over goes to the first. a and b have the same length.
func plainDotFour(a, b []float64) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i < len(a)-3; i += 4 {
		s0 += float64(a[i] * b[i])
		s1 += float64(a[i+1] * b[i+1])
		s2 += float64(a[i+2] * b[i+2])
		s3 += float64(a[i+3] * b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i] * b[i])
	}
	return (s0 + s1) + (s2 + s3)
}
