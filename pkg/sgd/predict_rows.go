package sgd

import (
	"sync"
)

// rowsPredictor is a [Predictor] that answers for a run of rows at once, with the same bits.
type rowsPredictor interface {
	// PredictRows stores the answer for row i of x, which is row-major, in dst[i]. Sparse and sparseEnd are as of Rows.
	PredictRows(dst, x []float64, sparse []int32, sparseEnd []int)
}

// PredictRows stores p's answers, one number each, for len(dst) rows of x, which is row-major, with sparse features as of
// Rows. The bits are those of Predict.
func PredictRows(p Predictor, dst, x []float64, sparse []int32, sparseEnd []int) {
	if p, ok := p.(rowsPredictor); ok {
		p.PredictRows(dst, x, sparse, sparseEnd)
		return
	}
	width := len(x) / max(len(dst), 1)
	rows := Rows{Sparse: sparse, SparseEnd: sparseEnd}
	for i := range dst {
		p.Predict(dst[i:i+1], x[i*width:(i+1)*width:(i+1)*width], rows.SparseRow(i))
	}
}

// rooms holds memory of PredictRows.
var rooms = sync.Pool{New: func() any { return new(room) }}

// room is what a run of rows, or a part of one, goes through: see block.
type room struct{ t, z, margins, answers, scratch []float64 }

// roomValues is how many values of rows are in a room at once, about: few enough for a core's first cache.
const roomValues = 1024

// PredictRows answers for len(dst) rows of x, which is row-major. The bits are those of Predict.
func (s *snapshot) PredictRows(dst, x []float64, sparse []int32, sparseEnd []int) {
	width := len(x) / max(len(dst), 1)
	if len(x) != len(dst)*width {
		panic("sgd: rows of several widths")
	}
	all := sparseRows{numbers: sparse, end: sparseEnd}
	r := rooms.Get().(*room)
	defer rooms.Put(r)
	w, most := s.width, max(4, roomValues/(s.width+1))
	r.t, r.z = withRoom(r.t, most*w), withRoom(r.z, most*(w+1))
	r.margins, r.answers = withRoom(r.margins, most*len(s.experts)), withRoom(r.answers, len(s.experts))
	for from := 0; from < len(dst); from += most {
		n := min(most, len(dst)-from)
		b := block{width: w, t: r.t[:n*w], z: r.z[:n*(w+1)], sparseRows: all.part(from, from+n)}
		for i := range n {
			s.scaler.apply(b.row(i), x[(from+i)*width:][:width])
		}
		for i, e := range s.experts {
			r.ask(e, &b, r.margins[i*most:][:n])
		}
		s.answer(dst[from:from+n], r, most)
	}
}

// answer stores the probabilities by the experts' log-odds, which stand in the room, so many places for each expert.
func (s *snapshot) answer(dst []float64, r *room, most int) {
	if s.mixer == nil {
		sigmoids(dst, r.margins[:len(dst)])
		return
	}
	for i := range dst {
		for e := range r.answers {
			r.answers[e] = r.margins[e*most+i]
		}
		dst[i] = s.mixer.prob(r.answers)
	}
}

// ask stores an expert's log-odds for the rows of a block.
func (r *room) ask(e frozen, b *block, margins []float64) {
	if e, ok := e.(*frozenLinear); ok {
		if _, ok := e.frozenFeatures.(asIs); ok {
			margins4(margins, e.weights, b.z)
			if b.any() {
				for i := range margins {
					margins[i] = addKnown(margins[i], e.sparse, b.of(i))
				}
			}
			return
		}
	}
	r.scratch = withRoom(r.scratch, e.scratch())
	for i := range margins {
		margins[i] = e.margin(b.row(i), b.of(i), r.scratch)
	}
}

// margins4 stores dot(0, w, row i of z) in dst[i]: four rows side by side, as a sum has to wait for each of its terms.
func margins4(dst, w, z []float64) {
	n := len(w)
	for ; len(dst) >= 4; dst, z = dst[4:], z[4*n:] {
		z0, z1, z2, z3 := z[:n], z[n:][:n], z[2*n:][:n], z[3*n:][:n]
		var s0, s1, s2, s3 float64
		for i, wi := range w {
			s0 += float64(wi * z0[i])
			s1 += float64(wi * z1[i])
			s2 += float64(wi * z2[i])
			s3 += float64(wi * z3[i])
		}
		dst[0], dst[1], dst[2], dst[3] = s0, s1, s2, s3
	}
	for i := range dst {
		dst[i] = dot(0, w, z[i*n:][:n])
	}
}

// withRoom returns v with n places.
func withRoom(v []float64, n int) []float64 {
	if cap(v) < n {
		return make([]float64, n)
	}
	return v[:n]
}
