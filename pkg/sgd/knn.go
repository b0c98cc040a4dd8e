package sgd

import (
	"math"
	"math/bits"
	"slices"

	"learner/internal/portable"
)

// knn is the expert that answers by the nearest neighbours of a row among the last rows: it follows structure that moves
// and that no formula holds. With the half squared distance d_j of the k nearest, d_1 ≤ … ≤ d_k (of as many as there are),
// their labels, and their importance c_j:
//
//	w_j = 2·c_j·(1 - d_j/(d_k + 1e-6)), log-odds = ln((½ + Σ w_j·y_j)/(½ + Σ w_j·(1-y_j)))
//
// Sums begin with the nearest; of two at the same distance, the one in the earlier place of the window is nearer. A row
// takes the place of the oldest; one of importance 0 takes none.
type knn struct {
	window
	near []float64 // scratch of find
}

// window holds the last rows.
type window struct {
	size, k int
	width   int
	columns [][side]float32 // for each side rows, column by column: a feature of all of them
	half    []float32       // ½|row|², infinite in a place that is empty, by which the place is never near
	vote    []float64       // importance, negative for class 0
	seen    uint64          // rows that took a place; the next goes to place seen % size
}

// side is how many rows stand side by side, so that their distances, which do not wait for each other, are found at once.
const side = 32

const (
	knnEpsilon = 1e-6
	knnLimit   = 11.512915464920228 // ln((1-1e-5)/1e-5): a probability is at least 1e-5
)

func newKNN(width, size, k int) *knn {
	blocks := (size + side - 1) / side
	m := &knn{
		window: window{
			size: size, k: k, width: width, columns: make([][side]float32, blocks*width),
			half: make([]float32, blocks*side), vote: make([]float64, size),
		},
		near: make([]float64, 2*k),
	}
	m.empty()
	return m
}

// empty makes all places empty.
func (w *window) empty() {
	for i := range w.half {
		w.half[i] = float32(math.Inf(1))
	}
	w.seen = 0
}

// add puts a row in the place of the oldest.
func (w *window) add(x []float64, vote float64) {
	place := int(w.seen % uint64(w.size))
	columns := w.columns[place/side*w.width:][:w.width]
	for i, v := range x {
		columns[i][place%side] = float32(v)
	}
	w.half[place] = halfSquare(x)
	w.vote[place] = vote
	w.seen++
}

// halfSquare returns ½|x|², summed up in the order of x.
func halfSquare(x []float64) float32 {
	var sum float32
	for _, wide := range x {
		v := float32(wide)
		sum += float32(v * v)
	}
	return sum / 2
}

func (m *knn) learn(b *block, margin []float64) {
	for i := range margin {
		x := b.row(i).z[1:]
		margin[i] = m.answer(x, m.near)
		switch c := b.c[i]; {
		case c == 0:
		case b.y[i] == 0:
			m.add(x, -c)
		default:
			m.add(x, c)
		}
	}
}

// answer returns the log-odds of a row by its neighbours. The scratch memory is that of find.
func (w *window) answer(x, near []float64) float64 {
	distance, place := w.find(x, near)
	var far, ones, zeros float64
	if n := len(distance); n > 0 {
		far = distance[n-1]
	}
	for i, d := range distance {
		weight := 2 * (1 - d/(far+knnEpsilon))
		if vote := w.vote[int(place[i])]; vote > 0 {
			ones += float64(weight * vote)
		} else {
			zeros -= float64(weight * vote)
		}
	}
	return clip(portable.Log((0.5+ones)/(0.5+zeros)), knnLimit)
}

// find returns distance and place of the k nearest rows, fewer where there are not so many, nearest first. They stand in
// near, which has room for 2k values.
func (w *window) find(x, near []float64) (distance, place []float64) {
	distance, place = near[:w.k], near[w.k:][:w.k]
	half, worst, n := halfSquare(x), float32(math.Inf(1)), 0
	var block [side]float32
	for first := 0; first < len(w.half); first += side {
		columns, halves := w.columns[first/side*w.width:][:w.width], (*[side]float32)(w.half[first:])
		for mask := distances(&block, columns, halves, x, half, worst); mask != 0; mask &= mask - 1 {
			j := bits.TrailingZeros32(mask)
			d := block[j]
			if !(d < worst) { // no longer
				continue
			}
			n = min(n+1, w.k)
			insert(distance[:n], place[:n], float64(d), float64(first+j))
			if n == w.k {
				worst = float32(distance[n-1])
			}
		}
	}
	return distance[:n], place[:n]
}

// insert puts a distance where it belongs, behind those that equal it. What was last falls out.
func insert(distance, place []float64, d, at float64) {
	place = place[:len(distance)]
	i := len(distance) - 1
	for ; i > 0 && d < distance[i-1]; i-- {
		distance[i], place[i] = distance[i-1], place[i-1]
	}
	distance[i], place[i] = d, at
}

// plainDistances stores the half squared distances of x to the rows r that stand side by side in columns,
//
//	max(0, (½|r|² - x·r) + ½|x|²)
//
// in float32, where x·r is summed up in the order of x; halves and half are the ½|r|² and ½|x|². It returns which of them are
// below the limit, one bit each.
func plainDistances(d *[side]float32, columns [][side]float32, halves *[side]float32, x []float64, half, limit float32) (below uint32) {
	columns = columns[:len(x)]
	for j := 0; j < side; j += 4 {
		var s0, s1, s2, s3 float32
		for i, v := range x {
			r, v := (*[4]float32)(columns[i][j:]), float32(v)
			s0 += float32(v * r[0])
			s1 += float32(v * r[1])
			s2 += float32(v * r[2])
			s3 += float32(v * r[3])
		}
		for at, product := range [4]float32{s0, s1, s2, s3} {
			v := max(halves[j+at]-product+half, 0)
			d[j+at] = v
			if v < limit {
				below |= 1 << (j + at)
			}
		}
	}
	return below
}

// adopt keeps the rows, which have 0 in the new columns.
func (m *knn) adopt(narrow expert) {
	old := narrow.(*knn)
	for from, to := 0, 0; from < len(old.columns); from, to = from+old.width, to+m.width {
		copy(m.columns[to:], old.columns[from:from+old.width])
	}
	m.half, m.vote, m.seen = old.half, old.vote, old.seen
}

func (m *knn) freeze() frozen {
	w := m.window
	w.columns, w.half, w.vote = slices.Clone(w.columns), slices.Clone(w.half), slices.Clone(w.vote)
	return &frozenKNN{w}
}

func (m *knn) state() []Tensor {
	rows := make([]float32, 0, m.size*m.width)
	for place := range m.size {
		for _, column := range m.columns[place/side*m.width:][:m.width] {
			rows = append(rows, column[place%side])
		}
	}
	return []Tensor{
		{Name: "window/rows", Shape: []int{m.size, m.width}, Data: rows},
		vector("window/votes", m.vote),
		scalar("window/seen", m.seen),
	}
}

func (m *knn) restore(from *Stored) {
	rows, votes, seen := make([]float32, m.size*m.width), make([]float64, m.size), uint64(0)
	load(from, "window/rows", rows)
	load(from, "window/votes", votes)
	LoadScalar(from, "window/seen", &seen)
	m.empty()
	x := make([]float64, m.width)
	for place := range int(min(seen, uint64(m.size))) {
		for i, v := range rows[place*m.width:][:m.width] {
			x[i] = float64(v)
			if !(math.Abs(x[i]) <= maxZ) {
				from.Fault("tensor %swindow/rows holds %g, want values within ±%d", from.prefix, v, maxZ)
				return
			}
		}
		if !(math.Abs(votes[place]) <= maxImportance) {
			from.Fault("tensor %swindow/votes holds %g, want values within ±%g", from.prefix, votes[place], float64(maxImportance))
			return
		}
		m.add(x, votes[place])
	}
	m.seen = seen
}

// stats has nothing to tell: there are no weights, and rows within ±5 give nothing that is not finite.
func (m *knn) stats() Stats { return Stats{} }

// frozenKNN answers by a window as it was.
type frozenKNN struct{ window }

func (f *frozenKNN) margin(r row, _ []int32, scratch []float64) float64 {
	return f.answer(r.z[1:], scratch)
}
func (f *frozenKNN) scratch() int { return 2 * f.k }
func (f *frozenKNN) known() int   { return 0 }

// describe has the formula go over the features one by one: a sum in float32 depends on its order, and that decides who is
// near.
func (f *frozenKNN) describe(to *Formula, _, z int) int {
	filled := int(min(f.seen, uint64(f.size)))
	if filled == 0 || f.width == 0 { // the same answer to all rows
		none := make([]float64, f.width)
		answer := to.number(f.answer(none, make([]float64, f.scratch())))
		return to.step(OpAdd, to.step(OpMatMul, z, to.constant(none, f.width, 1)), answer)
	}
	x := to.step(OpFloat32, z)
	var product, square int
	for i := range f.width {
		column := make([]float32, filled)
		for place := range column {
			column[place] = f.columns[place/side*f.width+i][place%side]
		}
		v := to.step(OpColumns, x, to.places([]int{i}))
		p, s := to.step(OpMul, v, to.constant(column, filled)), to.step(OpMul, v, v)
		if i > 0 {
			p, s = to.step(OpAdd, product, p), to.step(OpAdd, square, s)
		}
		product, square = p, s
	}
	half := to.step(OpMul, square, to.constant([]float32{0.5}))
	d := to.step(OpSub, to.constant(slices.Clone(f.half[:filled]), filled), product)
	d = to.step(OpMax, to.step(OpAdd, d, half), to.constant([]float32{0}))

	k := min(f.k, filled)
	near := to.step(OpLeast, d, to.places([]int{k}))
	d = to.step(OpFloat64, to.step(OpPick, d, near))
	far := to.step(OpAdd, to.step(OpColumns, d, to.places([]int{k - 1})), to.number(knnEpsilon))
	weight := to.step(OpMul, to.number(2), to.step(OpSub, to.number(1), to.step(OpDiv, d, far)))
	vote := to.step(OpTake, to.vector(f.vote[:filled]), near)
	sum := func(votes int) int {
		sum := to.step(OpMatMul, to.step(OpMul, weight, votes), to.constant(slices.Repeat([]float64{1}, k), k, 1))
		return to.step(OpAdd, to.number(0.5), sum)
	}
	none := to.number(0)
	ones, zeros := sum(to.step(OpMax, vote, none)), sum(to.step(OpSub, none, to.step(OpMin, vote, none)))
	return to.clip(to.step(OpLog, to.step(OpDiv, ones, zeros)), knnLimit)
}

// knnOptions reads the options of the kind knn: window, how many rows are kept, and k, how many neighbours answer.
func knnOptions(o *options) expertBuilder {
	size := o.whole("window", 512, 1<<16)
	k := o.whole("k", 10, 1000)
	if k > size {
		o.fault("option k=%d is more than the window of %d rows", k, size)
	}
	return func(width int, _ uint64) expert { return newKNN(width, size, k) }
}
