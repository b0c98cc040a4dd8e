package sgd

import (
	"math"
	"slices"
)

const (
	hatsPerColumn = 8    // knots, too: each hat is 1 at one of them
	hatsKept      = 1024 // rows in the reservoir
	hatsFirst     = 32   // the row at which the first knots are laid
)

// hats make a linear learner piecewise linear in each column. Hat j of a column is 1 at its knot j and falls to 0 at the knots
// beside it, so that between two knots two hats share a value, and beyond the end ones the end hat is 1:
//
//	1, hats 0 … 7 of column 1, hats 0 … 7 of column 2, …
//
// Knots are quantiles of a uniform sample of rows (a reservoir: Vitter, ACM Transactions on Mathematical Software 11, 1985),
// laid at row 32, 64, 128, and so on; before the first of them all hats are 0. When they move, each number that the learner
// keeps of a hat becomes what its hats had made of it at the new knot, so that its function stays as near as it can.
//
// A column that rows were without at first counts from the first row with it, and has a sample of its own from there on.
type hats struct {
	count  uint64    // rows seen
	since  []uint64  // by column: rows before those that had it, rising; nil: all had all columns
	kept   []float64 // by column, hatsKept of each
	random random
	knots  []float64 // by column, hatsPerColumn of each, rising

	vector []float64

	// Room for moving the knots.
	sorted [hatsKept]float64
	moved  []float64 // the new knots
	move   func(v []float64, start float64)
}

func newHats(width int, seed uint64) *hats {
	n := width * hatsPerColumn
	f := &hats{
		kept: make([]float64, width*hatsKept), random: newRandom(seed, "hats"), knots: make([]float64, n),
		vector: make([]float64, 1+n), moved: make([]float64, n),
	}
	f.vector[0] = 1
	f.move = f.toMoved
	return f
}

func (f *hats) width() int   { return len(f.vector) }
func (f *hats) columns() int { return len(f.knots) / hatsPerColumn }

func (f *hats) advance(r row, learner stepper) []float64 {
	f.keep(r.t)
	if f.laysAny() {
		f.layKnots(learner.(rebaser))
	}
	if f.count < hatsFirst {
		return f.vector
	}
	putHats(f.vector, f.knots, r.t[:f.begun()])
	return f.vector
}

// seen returns how many values of column i were seen.
func (f *hats) seen(i int) uint64 {
	if f.since == nil {
		return f.count
	}
	return f.count - f.since[i]
}

// begun returns how many columns have knots: the first ones.
func (f *hats) begun() int {
	n := f.columns()
	for n > 0 && f.seen(n-1) < hatsFirst {
		n--
	}
	return n
}

// lays reports whether the knots of a column are laid once so many of its values were seen.
func lays(seen uint64) bool { return seen >= hatsFirst && seen&(seen-1) == 0 }

// laysAny reports whether the knots of any column are to be laid.
func (f *hats) laysAny() bool {
	if f.since == nil {
		return lays(f.count)
	}
	for _, since := range f.since {
		if lays(f.count - since) {
			return true
		}
	}
	return false
}

// putHats stores the vector of a row, of which only the first columns, those given, have hats.
func putHats(vector, knots, t []float64) {
	clear(vector)
	vector[0] = 1
	vector = vector[1:]
	for i, v := range t {
		hat, share := locate(knots[i*hatsPerColumn:], v)
		two := vector[i*hatsPerColumn+hat:][:2]
		two[0], two[1] = 1-share, share
	}
}

// keep takes a row into the reservoir, or not.
func (f *hats) keep(t []float64) {
	f.count++
	drawn := 0.0
	if f.count > hatsKept {
		drawn = f.random.uniform()
	}
	slot := slotOf(f.count, drawn)
	if f.since == nil && slot >= hatsKept {
		return
	}
	for i, v := range t {
		if f.since != nil {
			slot = slotOf(f.seen(i), drawn)
		}
		if slot < hatsKept {
			f.kept[uint64(i*hatsKept)+slot] = v
		}
	}
}

// slotOf returns where the n-th value goes: behind those before it, and, where there is no more room, to a place below n that
// a number from [0, 1) draws; nowhere if there is none.
func slotOf(n uint64, drawn float64) uint64 {
	if n <= hatsKept {
		return n - 1
	}
	return uint64(float64(drawn * float64(n)))
}

// layKnots moves the knots to where the rows of the reservoir want them, and the learner with them.
func (f *hats) layKnots(learner rebaser) {
	copy(f.moved, f.knots)
	learned := false
	for i := range f.columns() {
		seen := f.seen(i)
		if !lays(seen) {
			continue
		}
		m := int(min(seen, hatsKept))
		learned = learned || seen > hatsFirst // until then the learner saw no hats
		sorted := f.sorted[:copy(f.sorted[:], f.kept[i*hatsKept:][:m])]
		slices.Sort(sorted)
		knots := f.moved[i*hatsPerColumn:][:hatsPerColumn]
		for j := range knots {
			const last = hatsPerColumn - 1
			knots[j] = sorted[(2*j*(m-1)+last)/(2*last)] // the nearest to j/last of the way
			if j > 0 && knots[j] <= knots[j-1] {
				knots[j] = math.Nextafter(knots[j-1], math.Inf(1))
			}
		}
	}
	if learned {
		learner.rebase(f.move)
	}
	copy(f.knots, f.moved)
}

// toMoved makes of v, which holds a number for each place of the vectors, what stands for it at the moved knots.
func (f *hats) toMoved(v []float64, _ float64) {
	v = v[1:]
	for i := range f.columns() {
		if seen := f.seen(i); !lays(seen) || seen == hatsFirst {
			continue
		}
		var was [hatsPerColumn]float64
		copy(was[:], v[i*hatsPerColumn:])
		for k := i * hatsPerColumn; k < (i+1)*hatsPerColumn; k++ {
			j, share := locate(f.knots[i*hatsPerColumn:], f.moved[k])
			v[k] = float64((1-share)*was[j]) + float64(share*was[j+1])
		}
	}
}

// locate returns the first of the two hats that share t, and the share of the second; 0 and 1 are shares, too.
func locate(knots []float64, t float64) (hat int, share float64) {
	knots = knots[:hatsPerColumn]
	for _, knot := range knots[1 : hatsPerColumn-1] {
		hat += int(math.Float64bits(knot-t) >> 63) // 1 where t > knot, without a branch that cannot be foreseen
	}
	low, high := knots[hat], knots[hat+1]
	switch {
	case t <= low:
		return hat, 0
	case t >= high:
		return hat, 1
	}
	return hat, (t - low) / (high - low)
}

func (f *hats) state() []Tensor {
	d := f.columns()
	tensors := []Tensor{
		scalar("hats/count", f.count),
		{Name: "hats/kept", Shape: []int{d, hatsKept}, Data: slices.Clone(f.kept)},
		{Name: "hats/knots", Shape: []int{d, hatsPerColumn}, Data: slices.Clone(f.knots)},
		scalar("hats/random", f.random.state),
	}
	if f.since != nil {
		tensors = append(tensors, Tensor{"hats/since", []int{d}, slices.Clone(f.since)})
	}
	return tensors
}

func (f *hats) adopt(narrow features) []int {
	old := narrow.(*hats)
	f.count, f.random = old.count, old.random
	copy(f.kept, old.kept)
	copy(f.knots, old.knots)
	if f.count > 0 {
		f.since = slices.Repeat([]uint64{f.count}, f.columns())
		if old.since == nil {
			old.since = make([]uint64, old.columns())
		}
		copy(f.since, old.since)
	}
	return upTo(old.width())
}

func (f *hats) restore(from *Stored) {
	LoadScalar(from, "hats/count", &f.count)
	load(from, "hats/kept", f.kept)
	load(from, "hats/knots", f.knots)
	LoadScalar(from, "hats/random", &f.random.state)
	f.since = nil
	if from.Has("hats/since") {
		f.since = make([]uint64, f.columns())
		load(from, "hats/since", f.since)
		if d := len(f.since); !slices.IsSorted(f.since) || d > 0 && f.since[d-1] > f.count {
			from.Fault("tensor %shats/since: no rising numbers up to %d", from.prefix, f.count)
			return
		}
	}
	clear(f.vector[1:]) // as it is before the first knots
	for k, knot := range f.knots[:f.begun()*hatsPerColumn] {
		if k%hatsPerColumn > 0 && !(knot > f.knots[k-1]) {
			from.Fault("tensor hats/knots: knot %d of column %d is not above the one before", k%hatsPerColumn, k/hatsPerColumn)
			return
		}
	}
}

func (f *hats) freeze() frozenFeatures {
	return &frozenHats{begun: f.begun(), knots: slices.Clone(f.knots)}
}

// frozenHats makes the vectors that hats made when they were frozen.
type frozenHats struct {
	begun int // columns that have knots, the first ones
	knots []float64
}

func (f *frozenHats) scratch() int { return 1 + len(f.knots) }

func (f *frozenHats) apply(r row, scratch []float64) []float64 {
	vector := scratch[:f.scratch()]
	putHats(vector, f.knots, r.t[:f.begun])
	return vector
}

// describe makes hats of ramps: ramp j of a column rises from 0 at knot j-1 to 1 at knot j, and hat j is ramp j less ramp
// j+1. Ramp 0 is 1 throughout, and the one beyond the last knot 0.
func (f *frozenHats) describe(to *Formula, t, _ int) int {
	const ramps = hatsPerColumn + 1
	columns := len(f.knots) / hatsPerColumn
	column := make([]int, 0, ramps*columns) // of ramps
	from, width := make([]float64, 0, ramps*columns), make([]float64, 0, ramps*columns)
	up, down := make([]int, 0, hatsPerColumn*columns), make([]int, 0, hatsPerColumn*columns) // by hat: its ramps
	for i := range columns {
		knots := f.knots[i*hatsPerColumn:][:hatsPerColumn]
		for j := range ramps {
			low, wide := -math.MaxFloat64, 1.0
			switch {
			case i >= f.begun || j == hatsPerColumn:
				low = math.MaxFloat64
			case j > 0:
				low, wide = knots[j-1], knots[j]-knots[j-1]
			}
			column, from, width = append(column, i), append(from, low), append(width, wide)
		}
		for j := range hatsPerColumn {
			up, down = append(up, i*ramps+j), append(down, i*ramps+j+1)
		}
	}
	d := to.step(OpSub, to.step(OpColumns, t, to.places(column)), to.vector(from))
	ramp := to.limit(to.step(OpDiv, d, to.vector(width)), 0, 1)
	return to.step(OpSub, to.step(OpColumns, ramp, to.places(up)), to.step(OpColumns, ramp, to.places(down)))
}
