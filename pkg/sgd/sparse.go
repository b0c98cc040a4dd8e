package sgd

import (
	"math"
	"slices"
)

// sparseRows are the sparse features of a run of rows: numbers[start:end[0]] are those of row 0, numbers[end[i-1]:end[i]] those
// of row i after it. Without end, no row has any.
type sparseRows struct {
	numbers []int32
	start   int
	end     []int
}

// of returns the sparse features of row i.
func (s *sparseRows) of(i int) []int32 {
	if s.end == nil {
		return nil
	}
	return s.between(i)
}

func (s *sparseRows) between(i int) []int32 {
	start := s.start
	if i > 0 {
		start = s.end[i-1]
	}
	return s.numbers[start:s.end[i]:s.end[i]]
}

// any reports whether a row has any.
func (s *sparseRows) any() bool { return len(s.end) > 0 && s.end[len(s.end)-1] > s.start }

// part returns the sparse features of rows [from, to).
func (s sparseRows) part(from, to int) sparseRows {
	if s.end == nil {
		return sparseRows{}
	}
	start := s.start
	if from > 0 {
		start = s.end[from-1]
	}
	return sparseRows{s.numbers, start, s.end[from:to]}
}

// met returns how many sparse features are known once a row has come, of which n were before.
func met(sparse []int32, n int) int {
	for _, s := range sparse {
		n = max(n, int(s)+1)
	}
	return n
}

// lengthen appends start to v until it has n values.
func lengthen(v []float64, n int, start float64) []float64 {
	for len(v) < n {
		v = append(v, start)
	}
	return v
}

// addKnown returns the sum plus what w has for each sparse feature of a row. Features beyond w count for nothing.
func addKnown(sum float64, w []float64, sparse []int32) float64 {
	for _, s := range sparse {
		if int(s) < len(w) {
			sum += w[s]
		}
	}
	return sum
}

// sparseVector returns the tensor of what is kept for each sparse feature; none while there are no features.
func sparseVector(name string, values []float64) []Tensor {
	if len(values) == 0 {
		return nil
	}
	return []Tensor{vector("sparse/"+name, values)}
}

// loadSparse returns what the tensors of sparseVector hold, which have one length; nothing where the first is not there.
func loadSparse(from *Stored, names ...string) [][]float64 {
	all := make([][]float64, len(names))
	if !from.Has("sparse/" + names[0]) {
		return all
	}
	for i, name := range names {
		name = "sparse/" + name
		all[i] = slices.Clone(Values[float64](from, name))
		if n := len(all[0]); len(all[i]) != n {
			from.Fault("tensor %s holds %d values, want %d", from.prefix+name, len(all[i]), n)
		}
		if !inRange(all[i]) {
			from.Fault("tensor %s: not within ±%g", from.prefix+name, maxState)
		}
	}
	return all
}

// sparseVariances is the part of newton and diagonal for sparse features, for which the covariance P is diagonal: for those
// that a row has, and as if they were places of the vector that are 1,
//
//	u_s = P_s, w_s += c·k·(y-p)·u_s
//
// Features that it has not stay as they are: with q above 0 variance comes back when a feature is met.
type sparseVariances struct {
	weights, p []float64
	u          []float64 // of the last row
}

// meet makes the row's features known, whose variance begins with v0, and returns margin and s with them.
func (m *sparseVariances) meet(sparse []int32, v0, margin, s float64) (withMargin, withS float64) {
	m.u = m.u[:0]
	if len(sparse) == 0 {
		return margin, s
	}
	return m.meetSome(sparse, v0, margin, s)
}

func (m *sparseVariances) meetSome(sparse []int32, v0, margin, s float64) (withMargin, withS float64) {
	if n := met(sparse, len(m.weights)); n > len(m.weights) {
		m.weights, m.p = lengthen(m.weights, n, 0), lengthen(m.p, n, v0)
	}
	for _, f := range sparse {
		margin += m.weights[f]
		s += m.p[f]
		m.u = append(m.u, m.p[f])
	}
	return margin, s
}

// move adds g·u to the weights of the row's features.
func (m *sparseVariances) move(sparse []int32, g float64) {
	for i, f := range sparse {
		m.weights[f] += float64(g * m.u[i])
	}
}

func (m *sparseVariances) state() []Tensor {
	return append(sparseVector("weights", m.weights), sparseVector("variance", m.p)...)
}

func (m *sparseVariances) restore(from *Stored) {
	all := loadSparse(from, "weights", "variance")
	m.weights, m.p, m.u = all[0], all[1], m.u[:0]
	for _, p := range m.p {
		if !(p >= 0) {
			from.Fault("tensor %ssparse/variance holds %g, want numbers from 0", from.prefix, p)
			return
		}
	}
}

// stats is that of a learner whose other weights, but for the bias, and u are given, with the length of the last step in units
// of u.
func (m *sparseVariances) stats(weights, u []float64, moved float64, refused uint64) Stats {
	return Stats{
		WeightNorm: norm(weights, m.weights), UpdateNorm: math.Abs(moved) * norm(u, m.u), NonFinite: refused,
	}
}
