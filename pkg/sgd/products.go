package sgd

import (
	"cmp"
	"math"
	"slices"
)

const (
	productColumns = 64   // at most so many columns of a row are multiplied with each other
	productChoice  = 1000 // they are chosen when this number of rows, or it times a power of two, was seen
)

// products are the standardised row, and the products of its columns with each other and with themselves, standardised by
// their own running moments (as of type moments):
//
//	1, z_1 … z_d, z_1·z_1, z_1·z_2, … z_1·z_d, z_2·z_2, … z_d·z_d
//
// Of rows wider than 64 only 64 columns are multiplied: the first ones, and from row 1,000 on those to whose z the learner
// gives the largest weights, chosen anew at rows 2,000, 4,000, 8,000, and so on. The products of a newly chosen column begin
// afresh, in the moments here and in the learner; the others stay as they are.
type products struct {
	count   uint64   // rows seen
	columns []int    // that are multiplied: one in each slot
	since   []uint64 // by slot: rows seen before the column was chosen
	// By product, in the order of slots.
	mean, variance []float64

	pairs   [][2]uint8 // by product: its slots
	vector  []float64
	z, rate [productColumns]float64 // by slot: of the row in hand

	// Room for choosing.
	order []int     // all columns
	size  []float64 // by column: |weight|
	fresh []bool    // by slot
	reset func(v []float64, start float64)
}

func newProducts(width int) *products {
	k := min(width, productColumns)
	n := k * (k + 1) / 2
	f := &products{
		columns: make([]int, k), since: make([]uint64, k),
		mean: make([]float64, n), variance: make([]float64, n),
		pairs: make([][2]uint8, 0, n), vector: make([]float64, 1+width+n),
		order: make([]int, width), size: make([]float64, width), fresh: make([]bool, k),
	}
	for i := range k {
		f.columns[i] = i
		for j := i; j < k; j++ {
			f.pairs = append(f.pairs, [2]uint8{uint8(i), uint8(j)})
		}
	}
	f.reset = f.startAfresh
	return f
}

func (f *products) width() int { return len(f.vector) }

func (f *products) advance(r row, learner stepper) []float64 {
	if f.choosesAt(f.count + 1) {
		f.choose(learner.(rebaser))
	}
	f.count++
	for s, column := range f.columns {
		f.z[s], f.rate[s] = r.z[1+column], 1/float64(f.count-f.since[s])
	}
	f.multiply(f.vector[copy(f.vector, r.z):])
	return f.vector
}

// multiply takes the products of the row in hand into their moments, and stores them, standardised, in out. A product counts
// from its younger column on, whose rate is the larger.
func (f *products) multiply(out []float64) {
	n := len(out)
	pair, mean, variance := f.pairs[:n], f.mean[:n], f.variance[:n]
	for i := range out {
		left, right := pair[i][0]%productColumns, pair[i][1]%productColumns // as they are; this saves checking bounds
		a := f.rate[left]
		if b := f.rate[right]; b > a {
			a = b
		}
		x := float64(f.z[left] * f.z[right])
		d := x - mean[i]
		ad := float64(a * d)
		m := mean[i] + ad
		v := float64((1 - a) * (variance[i] + float64(ad*d)))
		mean[i], variance[i] = m, v
		out[i] = standard(x-m, math.Sqrt(v))
	}
}

// choosesAt reports whether columns are chosen as the n-th row comes.
func (f *products) choosesAt(n uint64) bool {
	k := n / productChoice
	return len(f.order) > productColumns && n%productChoice == 0 && k&(k-1) == 0
}

// choose puts the columns with the largest weights into the slots. One that has a slot keeps it.
func (f *products) choose(learner rebaser) {
	for i, w := range learner.weightsNow()[1:][:len(f.size)] {
		f.order[i], f.size[i] = i, math.Abs(w)
	}
	slices.SortFunc(f.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(f.size[b], f.size[a]), cmp.Compare(a, b))
	})
	chosen := f.order[:len(f.columns)]
	next := 0
	for s, column := range f.columns {
		f.fresh[s] = !slices.Contains(chosen, column)
		if !f.fresh[s] {
			continue
		}
		for slices.Contains(f.columns, chosen[next]) {
			next++
		}
		f.columns[s], f.since[s] = chosen[next], f.count
	}
	f.reset(f.mean, 0)
	f.reset(f.variance, 0)
	learner.rebase(f.reset)
}

// startAfresh sets what v holds of products with fresh slots to start. The products stand at the end of v.
func (f *products) startAfresh(v []float64, start float64) {
	v = v[len(v)-len(f.pairs):]
	for i, pair := range f.pairs {
		if f.fresh[pair[0]] || f.fresh[pair[1]] {
			v[i] = start
		}
	}
}

func (f *products) state() []Tensor {
	columns := make([]uint64, len(f.columns))
	for s, column := range f.columns {
		columns[s] = uint64(column)
	}
	return []Tensor{
		scalar("products/count", f.count),
		{Name: "products/columns", Shape: []int{len(columns)}, Data: columns},
		{Name: "products/since", Shape: []int{len(columns)}, Data: slices.Clone(f.since)},
		vector("products/mean", f.mean),
		vector("products/variance", f.variance),
	}
}

func (f *products) restore(from *Stored) {
	columns := make([]uint64, len(f.columns))
	LoadScalar(from, "products/count", &f.count)
	load(from, "products/columns", columns)
	load(from, "products/since", f.since)
	load(from, "products/mean", f.mean)
	load(from, "products/variance", f.variance)
	for s, column := range columns {
		if column >= uint64(len(f.order)) || slices.Contains(columns[:s], column) || f.since[s] > f.count {
			from.Fault("tensors %[1]sproducts/columns, %[1]sproducts/since: slot %[2]d holds column %[3]d since row %[4]d",
				from.prefix, s, column, f.since[s])
			return
		}
		f.columns[s] = int(column)
	}
}

// adopt leaves columns in their slots. Further slots are those of columns behind them, and begin with the next row.
func (f *products) adopt(narrow features) []int {
	old := narrow.(*products)
	slots, width := len(old.columns), len(old.order)
	f.count = old.count
	for s := range f.since {
		f.since[s] = f.count
	}
	copy(f.columns, old.columns)
	copy(f.since, old.since)
	places, from := upTo(1+width), 0
	for i, pair := range f.pairs {
		if int(pair[0]) < slots && int(pair[1]) < slots {
			f.mean[i], f.variance[i] = old.mean[from], old.variance[from]
			places = append(places, 1+len(f.order)+i)
			from++
		}
	}
	return places
}

func (f *products) freeze() frozenFeatures {
	deviation := make([]float64, len(f.variance))
	for i, v := range f.variance {
		deviation[i] = math.Sqrt(v)
	}
	return &frozenProducts{
		columns: slices.Clone(f.columns), mean: slices.Clone(f.mean), deviation: deviation, size: len(f.vector),
	}
}

// frozenProducts makes the vectors that products made when it was frozen.
type frozenProducts struct {
	columns         []int
	mean, deviation []float64
	size            int // of a vector
}

func (f *frozenProducts) scratch() int { return f.size }

func (f *frozenProducts) apply(r row, scratch []float64) []float64 {
	vector, z := scratch[:f.size], r.z
	out := vector[copy(vector, z):]
	i := 0
	for s, left := range f.columns {
		for _, right := range f.columns[s:] {
			out[i] = standard(float64(z[1+left]*z[1+right])-f.mean[i], f.deviation[i])
			i++
		}
	}
	return vector
}

func (f *frozenProducts) describe(to *Formula, _, z int) int {
	left, right := make([]int, 0, len(f.mean)), make([]int, 0, len(f.mean))
	for s, column := range f.columns {
		for _, other := range f.columns[s:] {
			left, right = append(left, column), append(right, other)
		}
	}
	product := to.step(OpMul, to.step(OpColumns, z, to.places(left)), to.step(OpColumns, z, to.places(right)))
	return to.step(OpJoin, z, to.standard(to.step(OpSub, product, to.vector(f.mean)), f.deviation))
}
