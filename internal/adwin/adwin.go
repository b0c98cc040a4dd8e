// Package adwin keeps an adaptive window over a sequence of numbers: as long as their mean stays the same it grows,
// and when the mean changes it drops the part from before the change.
//
// ADWIN2: Bifet, Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007.
package adwin

import (
	"math"

	"learner/internal/portable"
)

const (
	maxRows    = 32 // rows of the histogram: the window holds up to 5·(2^32 - 1) values
	maxBuckets = 5  // buckets in a row
	clock      = 32 // values from one search for a cut to the next
	minPart    = 5  // values in each part of a cut, at least
)

// Change is what adding a value did to the window.
type Change int8

// What Add tells.
const (
	None Change = iota // the window dropped nothing
	Rose               // the window dropped old values, and its mean is higher without them
	Fell               // the window dropped old values, and its mean is not higher without them
)

// Window is an adaptive window, summed up in an exponential histogram. It takes no more memory than its own 2.6 kB: it
// can stand in a slice, and assigning it makes a copy.
type Window struct {
	delta float64

	count int     // values in the window
	sum   float64 // of these values
	tick  int     // values since the last search for a cut

	rows    int                         // rows in use
	held    [maxRows]int                // buckets in each row
	buckets [maxRows][maxBuckets]bucket // row i: buckets of 2^i values, the oldest first; row i+1 is older than row i
}

// bucket sums up values.
type bucket struct {
	sum float64
	m2  float64 // sum of squared deviations from their mean
}

// New returns an empty window. The smaller delta, in (0, 1), the rarer are cuts without a change, and the later those
// after one: it is the confidence parameter of the paper.
func New(delta float64) Window { return Window{delta: delta} }

// Len returns how many values the window holds.
func (w *Window) Len() int { return w.count }

// Mean returns the mean of the values in the window, 0 without any.
func (w *Window) Mean() float64 { return w.sum / float64(max(w.count, 1)) }

// Restart empties the window.
func (w *Window) Restart() { *w = New(w.delta) }

// Add puts x, which is finite, into the window and says whether the window dropped old values for it. Once in 32 values
// it searches for a cut, which takes the most of the time: about 20 ns a value on average.
func (w *Window) Add(x float64) Change {
	w.insert(x)
	w.tick++
	if w.tick < clock {
		return None
	}
	w.tick = 0
	if !w.changed() {
		return None
	}
	before := w.Mean()
	for w.changed() {
		w.dropOldest()
	}
	if w.Mean() > before {
		return Rose
	}
	return Fell
}

// AddRun is Add for each of a run of values in turn, up to the first for which the window dropped old values. It returns how
// many it took, and what adding the last of them did.
func (w *Window) AddRun(x []float64) (n int, change Change) {
	for i, xi := range x {
		if change := w.Add(xi); change != None {
			return i + 1, change
		}
	}
	return len(x), None
}

// insert puts a bucket of one value in front. A row that is full hands its two oldest buckets on as one.
func (w *Window) insert(x float64) {
	w.count++
	w.sum += x
	b := bucket{sum: x}
	for i := range w.rows {
		row, n := &w.buckets[i], w.held[i]
		if n < maxBuckets {
			row[n] = b
			w.held[i]++
			return
		}
		merged := merge(row[0], row[1], i)
		row[0], row[1], row[2], row[3] = row[2], row[3], row[4], b
		w.held[i] = maxBuckets - 1
		b = merged
	}
	if w.rows == maxRows { // no room for b, the oldest
		w.recount()
		return
	}
	w.buckets[w.rows][0] = b
	w.held[w.rows] = 1
	w.rows++
}

// merge returns the sums over two buckets of 2^row values each.
func merge(a, b bucket, row int) bucket {
	d := a.sum - b.sum
	// With n values in each, n·n/(n + n) times the squared difference of the means.
	between := float64(float64(d*d) * (inverse(row) / 2))
	return bucket{a.sum + b.sum, a.m2 + b.m2 + between}
}

// size returns how many values a bucket of that row holds, inverse one through that.
func size(row int) float64 { return float64(int(1) << row) }

func inverse(row int) float64 { return math.Float64frombits(uint64(1023-row) << 52) }

// changed says whether some cut into an older and a newer part leaves means that differ by more than chance: by more
// than √(2hvL) + ⅔hL, where h = 1/n0 + 1/n1, v is the variance of the whole window, and L = ln(2 ln n/δ).
//
// Multiplied by n0·n1, with d = |s0·n1 - s1·n0| = |s0·n - s·n0|, this is d > √(2n·n0·n1·v·L) + ⅔nL, which
// takes no root and no division.
func (w *Window) changed() bool {
	n := float64(w.count)
	if w.count < 2*minPart {
		return false
	}
	l := portable.Log(2 * portable.Log(n) / w.delta)
	bound := 2 * n * w.variance() * l
	least := 2.0 / 3 * n * l
	var n0, s0 float64
	for i := w.rows - 1; i >= 0; i-- {
		step := size(i)
		for _, b := range w.buckets[i][:w.held[i]] {
			n0 += step
			s0 += b.sum
			n1 := n - n0
			if n1 < minPart {
				return false
			}
			d := math.Abs(float64(s0*n)-float64(w.sum*n0)) - least
			if float64(d*d) > bound*n0*n1 && d > 0 && n0 >= minPart { // the first is what is seldom so
				return true
			}
		}
	}
	return false
}

// variance returns the mean squared deviation of the values from their mean; m(1 - m) for zeros and ones of mean m.
func (w *Window) variance() float64 {
	mean := w.Mean()
	var within, between float64
	for i := range w.rows {
		unit := inverse(i)
		var squares float64
		for _, b := range w.buckets[i][:w.held[i]] {
			d := float64(b.sum*unit) - mean
			squares += float64(d * d)
			within += b.m2
		}
		between += float64(squares * size(i))
	}
	return (within + between) / float64(w.count)
}

// dropOldest drops the oldest bucket.
func (w *Window) dropOldest() {
	i := w.rows - 1
	copy(w.buckets[i][:], w.buckets[i][1:w.held[i]])
	w.held[i]--
	if w.held[i] == 0 {
		w.rows--
	}
	w.recount()
}

// recount sums up the buckets, so that nothing remains of the rounding of values that were dropped.
func (w *Window) recount() {
	w.count, w.sum = 0, 0
	for i := w.rows - 1; i >= 0; i-- {
		w.count += w.held[i] << i
		for _, b := range w.buckets[i][:w.held[i]] {
			w.sum += b.sum
		}
	}
}
