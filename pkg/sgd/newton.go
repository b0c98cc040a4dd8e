package sgd

import "slices"

// wide is the width of a row above which a full covariance costs too much: its diagonal is used there, and so it is where
// features make vectors of more than twice that.
const wide = 64

// newton is logistic regression by an extended Kalman step, which is online natural gradient (Ollivier, Electronic Journal
// of Statistics 12, 2018): the covariance P of the weights decides how far each record moves them. Per record, with the
// vector z, the label y, and importance c:
//
//	u = P·z, s = z·u, p = σ(w·z), h = p(1-p), k = 1/(1 + c·h·s)
//	w += c·k·(y-p)·u
//	P ← a·(P - c·h·k·u·uᵀ) + (1-a)·v0·I, a = 1 - q/v0
//
// P begins as v0·I, but for the constant's weight: where one class is rare that has far to go, and it begins with
// interceptV0. q = 0 never forgets; with q above 0, P is drawn to v0·I, and the weights keep moving. The last line is done
// together with the next record's first, in one pass over P, so u and c·h·k are part of the state.
//
// The weights of sparse features have no covariance with others (see sparseVariances): s = z·u + Σ P_s over those of the
// record, and P_s ← a·(P_s - c·h·k·P_s²) + (1-a)·v0.
type newton struct {
	weights []float64
	p       []float64 // lower triangle of P, row by row: 1 + 2 + … + len(weights) values
	u       []float64 // of the last record
	pending float64   // c·h·k of the last record; 0: P needs no update
	next    []float64 // u of the record in hand
	v0      float64
	keep    float64 // a
	sparse  sparseVariances
	prob    float64 // σ of the last record's margin
	moved   float64 // length of the last step
	refused uint64
}

// interceptV0 is the variance that the weight of the constant 1 begins with.
const interceptV0 = 10

// newNewton returns a learner of vectors of the given width, of which the first place is like all others.
func newNewton(width int, v0, q float64) *newton {
	m := &newton{
		weights: make([]float64, width), p: make([]float64, width*(width+1)/2),
		u: make([]float64, width), next: make([]float64, width), v0: v0, keep: 1 - q/v0,
	}
	for i := range width {
		m.p[i*(i+1)/2+i] = v0
	}
	return m
}

// withIntercept says that the first place of all vectors is the constant 1.
func (m *newton) withIntercept() *newton {
	m.p[0] = max(m.v0, interceptV0)
	return m
}

func (m *newton) step(z []float64, sparse []int32, label, c float64) float64 {
	z = z[:len(m.weights)]
	m.update(z)
	margin, s := dotPair(m.weights, m.u, z)
	s = max(s, 0) // P is positive, but for rounding
	margin, s = m.sparse.meet(sparse, m.v0, margin, s)
	p := sigmoid(margin)
	m.prob = p
	h := float64(c * float64(p*(1-p)))
	k := 1 / (1 + float64(h*s))
	g := float64(float64(c*k) * (label - p))
	if !finite(s) || !finite(g) {
		m.refused++
		m.pending, m.moved = 0, 0
		return margin
	}
	for i, u := range m.u {
		m.weights[i] += float64(g * u)
	}
	m.pending, m.moved = float64(h*k), g
	m.sparse.move(sparse, g)
	grow := float64((1 - m.keep) * m.v0)
	for i, f := range sparse {
		u := m.sparse.u[i]
		m.sparse.p[f] = float64(m.keep*(u-float64(float64(u*u)*m.pending))) + grow
	}
	return margin
}

// update brings P up to date with the last record, and makes u = P·z. z has the length of the weights.
func (m *newton) update(z []float64) {
	grow := float64((1 - m.keep) * m.v0)
	sweep(m.p, m.u, z, m.next, m.pending, m.keep, grow)
	m.u, m.next = m.next, m.u
}

// plainSweep takes pending·u·uᵀ off P, of which p is the lower triangle, row by row, multiplies what is left by keep, and
// adds grow on the diagonal. It stores P·z in next. All vectors have the same length.
func plainSweep(p, u, z, next []float64, pending, keep, grow float64) {
	n := len(z)
	u, next = u[:n], next[:n]
	for i := range n {
		row, u, z, next := p[:i], u[:i+1], z[:i+1], next[:i+1]
		hu, zi := float64(pending*u[i]), z[i]
		var even, odd float64 // two sums of what the columns give to the row
		j := 0
		for ; j < i-1; j += 2 {
			a := float64(keep * (row[j] - float64(hu*u[j])))
			b := float64(keep * (row[j+1] - float64(hu*u[j+1])))
			row[j], row[j+1] = a, b
			even += float64(a * z[j])
			odd += float64(b * z[j+1])
			next[j] += float64(a * zi)
			next[j+1] += float64(b * zi)
		}
		if j < i {
			a := float64(keep * (row[j] - float64(hu*u[j])))
			row[j] = a
			even += float64(a * z[j])
			next[j] += float64(a * zi)
		}
		last := float64(keep*(p[i]-float64(hu*u[i]))) + grow
		p[i] = last
		next[i] = even + odd + float64(last*zi)
		p = p[i+1:]
	}
}

func (m *newton) weightsNow() []float64    { return m.weights }
func (m *newton) sparseWeights() []float64 { return m.sparse.weights }

func (m *newton) adopt(narrow stepper, places []int) {
	old := narrow.(*newton)
	put(m.weights, old.weights, places)
	put(m.u, old.u, places)
	from := old.p
	for i, row := range places {
		to := m.p[row*(row+1)/2:]
		for j, column := range places[:i+1] {
			to[column] = from[j]
		}
		from = from[i+1:]
	}
	m.pending, m.sparse, m.refused = old.pending, old.sparse, old.refused
}

func (m *newton) state() []Tensor {
	return append([]Tensor{
		vector("weights", m.weights),
		vector("covariance", m.p),
		vector("pending/u", m.u),
		scalar("pending/curvature", m.pending),
		scalar("nonfinite", m.refused),
	}, m.sparse.state()...)
}

func (m *newton) restore(from *Stored) {
	load(from, "weights", m.weights)
	load(from, "covariance", m.p)
	load(from, "pending/u", m.u)
	LoadScalar(from, "pending/curvature", &m.pending)
	LoadScalar(from, "nonfinite", &m.refused)
	m.sparse.restore(from)
}

func (m *newton) stats() Stats {
	return m.sparse.stats(m.weights[1:], m.u, m.moved, m.refused)
}

// diagonal is newton that keeps only the diagonal of P, at the cost of a few additions a weight:
//
//	P_i ← min(v0, P_i + q - c·h·k·u_i²)
//
// and so for sparse features (see sparseVariances). The first place of its vectors is the constant 1, whose weight begins with interceptV0.
type diagonal struct {
	weights []float64
	p       []float64
	u       []float64 // of the last record
	sparse  sparseVariances
	v0, q   float64
	moved   float64 // length of the last step, in units of u
	refused uint64
}

func newDiagonal(width int, v0, q float64) *diagonal {
	m := &diagonal{
		weights: make([]float64, width), p: slices.Repeat([]float64{v0}, width), u: make([]float64, width), v0: v0, q: q,
	}
	m.p[0] = max(v0, interceptV0)
	return m
}

func (m *diagonal) step(z []float64, sparse []int32, label, c float64) float64 {
	n := len(m.weights)
	w, p, u, z := m.weights, m.p[:n], m.u[:n], z[:n]
	margin, s := diagonalSums(u, w, p, z)
	margin, s = m.sparse.meet(sparse, m.v0, margin, s)
	prob := sigmoid(margin)
	h := float64(c * float64(prob*(1-prob)))
	k := 1 / (1 + float64(h*s))
	g := float64(float64(c*k) * (label - prob))
	if !finite(s) || !finite(g) {
		m.refused++
		m.moved = 0
		return margin
	}
	hk := float64(h * k)
	intercept := p[0] + m.q - float64(float64(u[0]*u[0])*hk)
	diagonalStep(w, p, u, g, hk, m.q, m.v0)
	p[0] = min(max(m.v0, interceptV0), intercept)
	m.moved = g
	m.sparse.move(sparse, g)
	for i, f := range sparse {
		u := m.sparse.u[i]
		m.sparse.p[f] = min(m.v0, u+m.q-float64(float64(u*u)*hk))
	}
	return margin
}

// plainDiagonalSums stores p·z, place by place, in u, and returns w·z and u·z.
func plainDiagonalSums(u, w, p, z []float64) (margin, s float64) {
	u, w, p = u[:len(z)], w[:len(z)], p[:len(z)]
	for i, zi := range z {
		ui := float64(p[i] * zi)
		u[i] = ui
		margin += float64(w[i] * zi)
		s += float64(ui * zi)
	}
	return margin, s
}

// plainDiagonalStep adds step·u to w, and q - hk·u² to p, which it limits to v0.
func plainDiagonalStep(w, p, u []float64, step, hk, q, v0 float64) {
	w, p = w[:len(u)], p[:len(u)]
	for i, ui := range u {
		w[i] += float64(step * ui)
		p[i] = min(v0, p[i]+q-float64(float64(ui*ui)*hk))
	}
}

func (m *diagonal) weightsNow() []float64    { return m.weights }
func (m *diagonal) sparseWeights() []float64 { return m.sparse.weights }

// adopt takes the diagonal of a full covariance where wider rows have no more than that.
func (m *diagonal) adopt(narrow stepper, places []int) {
	switch old := narrow.(type) {
	case *diagonal:
		put(m.weights, old.weights, places)
		put(m.p, old.p, places)
		m.sparse, m.refused = old.sparse, old.refused
	case *newton:
		old.update(make([]float64, len(old.weights)))
		put(m.weights, old.weights, places)
		for i, place := range places {
			m.p[place] = min(max(old.p[i*(i+1)/2+i], 0), m.p[place])
		}
		m.sparse, m.refused = old.sparse, old.refused
	}
}

func (m *diagonal) rebase(change func(v []float64, start float64)) {
	change(m.weights, 0)
	change(m.p, m.v0)
}

func (m *diagonal) state() []Tensor {
	return append([]Tensor{vector("weights", m.weights), vector("variance", m.p), scalar("nonfinite", m.refused)}, m.sparse.state()...)
}

func (m *diagonal) restore(from *Stored) {
	load(from, "weights", m.weights)
	load(from, "variance", m.p)
	LoadScalar(from, "nonfinite", &m.refused)
	m.sparse.restore(from)
}

func (m *diagonal) stats() Stats {
	return m.sparse.stats(m.weights[1:], m.u, m.moved, m.refused)
}

// newtonOptions reads the options of the kind newton: v0, the variance that weights begin with, and q, how much of it comes
// back with each record.
func newtonOptions(o *options) expertBuilder {
	v0, q := varianceOptions(o)
	makeFeatures := o.features("products")
	return func(width int, seed uint64) expert {
		f := makeFeatures(width, seed)
		if width > wide || f.width() > 1+2*wide {
			return &linear{f, newDiagonal(f.width(), v0, q)}
		}
		return &linear{f, newNewton(f.width(), v0, q).withIntercept()}
	}
}

// newtonDiagOptions reads the options of the kind newton_diag, which are those of newton.
func newtonDiagOptions(o *options) expertBuilder {
	v0, q := varianceOptions(o)
	makeFeatures := o.features(movingFeatures...)
	return func(width int, seed uint64) expert {
		f := makeFeatures(width, seed)
		return &linear{f, newDiagonal(f.width(), v0, q)}
	}
}

func varianceOptions(o *options) (v0, q float64) {
	v0 = o.positive("v0", 1, 1e3)
	q = o.atLeast0("q", 0, v0)
	return v0, q
}
