package sgd

import (
	"math"
	"slices"
)

const (
	robustKept   = 64   // first values of a column that are kept, to look at their quartiles
	robustMemory = 1000 // values that the running moments remember, about
	robustShare  = 1.0 / robustMemory
	robustLimit  = 10   // a value farther from the mean counts as that many deviations away
	robustFault  = 1000 // deviations, and times the reach so far, from which on a value is a fault
)

// robustScaler standardises by running moments that a few wild values cannot carry away. Per column, counting from the
// first value that differs from the first of all, with t as of unit, a = 1/min(n, 1000), and d = t - mean:
//
//	mean += a·d, variance = (1-a)·(variance + a·d²), z = (t - mean)/√variance, limited to ±5
//
// From n = 65 on, d is limited to 10 deviations (of those before; while the variance is 0 there is no limit, or a column
// that was constant for long would be dead for ever). At n = 8, 16, 32, and 64 both moments are taken anew from all values
// until then, limited to 10 deviations around the median, where a deviation is the distance of the quartiles / 1.349.
//
// A value more than 1,000 deviations away, and more than 1,000 times as far as any before it that was not, is a fault of the
// source rather than a measurement: its z is 0, as if it were missing.
//
// A column that has had the values of an earlier one in every row, missing values among them, says nothing new, and would only
// count double in distances and products: its z is 0 until it differs.
type robustScaler struct {
	robustColumns
	kept   []float64 // width × robustKept, by column
	sorted [robustKept]float64
	// By column: an earlier column that has had its values in every row; -1: there is none.
	twin  []int64
	twins int // columns that have one
}

// robustColumns holds the state of columns, field by field, so that neighbours fit into one register.
type robustColumns struct {
	units
	n                                []uint64
	mean, variance, deviation, reach []float64
}

func newRobustColumns(width int) robustColumns {
	return robustColumns{
		newUnits(width), make([]uint64, width),
		make([]float64, width), make([]float64, width), make([]float64, width), make([]float64, width),
	}
}

func (s *robustColumns) column(i int) robustColumn {
	return robustColumn{s.unit(i), s.n[i], s.mean[i], s.variance[i], s.deviation[i], s.reach[i]}
}

func (s *robustColumns) setColumn(i int, to *robustColumn) {
	s.setUnit(i, to.unit)
	s.n[i], s.mean[i], s.variance[i], s.deviation[i], s.reach[i] = to.n, to.mean, to.variance, to.deviation, to.reach
}

func (s *robustColumns) clone() robustColumns {
	v := copyFloats(s.shift, s.scale, s.scale2, s.mean, s.variance, s.deviation, s.reach)
	return robustColumns{units{v[0], v[1], v[2], slices.Clone(s.begun)}, slices.Clone(s.n), v[3], v[4], v[5], v[6]}
}

type robustColumn struct {
	unit
	n                         uint64
	mean, variance, deviation float64 // deviation is √variance
	reach                     float64 // largest distance of a value, no fault, from the mean before it
}

// fault reports whether a value at a distance from the mean is a fault.
func fault(distance, reach, deviation float64) bool {
	d := math.Abs(distance)
	return d > float64(robustFault*reach) && d > float64(robustFault*deviation) && reach > 0
}

// extend is fault, and takes the distance into account for the values to come.
func (c *robustColumn) extend(distance float64) bool {
	if fault(distance, c.reach, c.deviation) {
		return true
	}
	c.reach = math.Abs(distance)
	return false
}

func newRobustScaler(width int) *robustScaler {
	return &robustScaler{
		robustColumns: newRobustColumns(width), kept: make([]float64, width*robustKept), twin: make([]int64, width),
	}
}

func (s *robustScaler) advance(to row, x []float64, missing bool) {
	to.z[0] = 1
	n := len(s.n)
	t, z, x := to.t[:n], to.z[1:][:n], x[:n]
	if s.twins > 0 || s.fresh() {
		s.findTwins(x)
	}
	if missing {
		s.advancePresent(t, z, x)
	} else {
		s.advanceColumns(0, t, z, x)
	}
	s.hideTwins(z)
}

// advancePresent is advanceColumns for the values that are not missing.
func (s *robustScaler) advancePresent(t, z, x []float64) {
	for from := 0; from < len(x); from++ {
		to := from
		for to < len(x) && !math.IsNaN(x[to]) {
			to++
		}
		s.advanceColumns(from, t[:to], z[:to], x[:to])
		if to < len(x) {
			t[to], z[to] = s.mean[to], 0
		}
		from = to
	}
}

// advanceColumns is advance for the columns of x from a given one on, without a look at twins.
func (s *robustScaler) advanceColumns(from int, t, z, x []float64) {
	n := s.n[:len(x)]
	for i := from; i < len(n); i++ {
		if n[i] >= robustMemory {
			if i = steadyColumns(i, &s.robustColumns, x, t, z, &steady); i == len(n) {
				break
			}
		}
		if s.scale[i] == 0 && s.begun[i] == 1 && x[i] == s.shift[i] { // nothing but one value so far
			t[i], z[i] = 0, 0
			continue
		}
		c := s.column(i)
		t[i], z[i] = s.advanceColumn(i, &c, x[i])
		s.setColumn(i, &c)
	}
}

// advanceColumn is advance for column i, which is c.
func (s *robustScaler) advanceColumn(i int, c *robustColumn, x float64) (t, z float64) {
	if c.n < robustMemory {
		return s.begin(i, c, x)
	}
	t = c.apply(x)
	d := t - c.mean
	fault := math.Abs(d) > c.reach && c.extend(d)
	if c.variance > 0 {
		d = clip(d, float64(robustLimit*c.deviation))
	}
	ad := float64(robustShare * d)
	c.mean += ad
	c.variance = float64((1 - robustShare) * (c.variance + float64(ad*d)))
	c.deviation = math.Sqrt(c.variance)
	if fault {
		return t, 0
	}
	return t, standard(t-c.mean, c.deviation)
}

// steadyConstants is what steadyColumns calculates with.
type steadyConstants struct{ share, keep, limit, least, maxZ, maxT float64 }

// steady has with least a variance from which on neither it nor the deviation can become 0.
var steady = steadyConstants{robustShare, 1 - robustShare, robustLimit, 1e-300, maxZ, maxT}

// fresh reports whether no row has come yet: then all columns have the first one for a twin, itself among them.
func (s *robustScaler) fresh() bool { return len(s.twin) > 0 && s.twin[0] == 0 }

// alike reports whether two values are equal, or both missing.
func alike(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// findTwins takes a row into account for who is whose twin. Columns that leave the same twin with the same value stay
// twins of each other.
func (s *robustScaler) findTwins(x []float64) {
	if s.fresh() { // the first row: all columns are alike until it has spoken
		s.twin[0], s.twins = -1, len(x)-1
	}
	if s.twins == 0 {
		return
	}
	for i := len(x) - 1; i > 0; i-- { // downwards, as twins of earlier columns are to be those before this row
		was := s.twin[i]
		if was < 0 || alike(x[i], x[was]) {
			continue
		}
		next := was + 1
		for next < int64(i) && (s.twin[next] != was || !alike(x[next], x[i])) {
			next++
		}
		if next == int64(i) {
			next = -1
			s.twins--
		}
		s.twin[i] = next
	}
}

// hideTwins sets what twins have of a standardised row to 0.
func (s *robustScaler) hideTwins(z []float64) {
	if s.twins == 0 {
		return
	}
	for i, twin := range s.twin {
		if twin >= 0 {
			z[i] = 0
		}
	}
}

// begin is advanceColumn while the column has seen less than robustMemory values.
func (s *robustScaler) begin(i int, c *robustColumn, x float64) (t, z float64) {
	if !c.fit(x) {
		return 0, 0
	}
	t = c.apply(x)
	c.n++
	a, d := 1/float64(c.n), t-c.mean
	fault := math.Abs(d) > c.reach && c.extend(d)
	if c.n > robustKept && c.variance > 0 {
		d = clip(d, float64(robustLimit*c.deviation))
	}
	ad := float64(a * d)
	c.mean += ad
	c.variance = float64((1 - a) * (c.variance + float64(ad*d)))
	if c.n <= robustKept {
		kept := s.kept[i*robustKept:][:c.n]
		kept[c.n-1] = t
		if c.n >= 8 && c.n&(c.n-1) == 0 {
			c.mean, c.variance = s.moments(kept, c.mean, c.variance)
		}
	}
	c.deviation = math.Sqrt(c.variance)
	if fault {
		return t, 0
	}
	return t, standard(t-c.mean, c.deviation)
}

// moments returns mean and variance of values limited to 10 deviations around their median; the given ones where most
// values are equal.
func (s *robustScaler) moments(values []float64, mean, variance float64) (robustMean, robustVariance float64) {
	n := len(values)
	q := s.sorted[:copy(s.sorted[:], values)]
	slices.Sort(q)
	deviation := (q[n-1-n/4] - q[n/4]) / 1.349
	if !(deviation > 0) {
		return mean, variance
	}
	median := float64(0.5*q[n/2-1]) + float64(0.5*q[n/2])
	within := float64(robustLimit * deviation)
	var sum, squares float64
	for _, v := range q {
		sum += clip(v-median, within)
	}
	middle := sum / float64(n)
	for _, v := range q {
		d := clip(v-median, within) - middle
		squares += float64(d * d)
	}
	least := float64(0.01 * float64(deviation*deviation))
	return median + middle, max(squares/float64(n), least)
}

func (s *robustScaler) apply(to row, x []float64) {
	to.z[0] = 1
	n := len(s.n)
	t, z := to.t[:n], to.z[1:][:n]
	x = x[:min(len(x), n)]
	for i := 0; i < len(x); i++ {
		if i = applyColumns(i, &s.robustColumns, x, t[:len(x)], z[:len(x)], &steady); i < len(x) {
			t[i], z[i] = s.applyColumn(i, x[i])
		}
	}
	for i := len(x); i < n; i++ {
		t[i], z[i] = s.mean[i], 0
	}
	s.hideTwins(z)
}

// applyColumn is apply for column i.
func (s *robustColumns) applyColumn(i int, x float64) (t, z float64) {
	t = bounded(float64((x-s.shift[i])*s.scale[i]*s.scale2[i]), s.mean[i]) // 0 while there is no unit
	d := t - s.mean[i]
	if fault(d, s.reach[i], s.deviation[i]) {
		return t, 0
	}
	return t, standard(d, s.deviation[i])
}

func (s *robustScaler) adopt(narrow scaler) {
	old := narrow.(*robustScaler)
	if len(old.twin) == 0 || old.fresh() {
		return
	}
	s.units.adopt(&old.units)
	copy(s.n, old.n)
	copy(s.mean, old.mean)
	copy(s.variance, old.variance)
	copy(s.deviation, old.deviation)
	copy(s.reach, old.reach)
	copy(s.kept, old.kept)
	for i := copy(s.twin, old.twin); i < len(s.twin); i++ {
		s.twin[i] = -1
	}
	s.twins = old.twins
}

// clone returns a copy for apply: the values that only advance needs are left out.
func (s *robustScaler) clone() scaler {
	return &robustScaler{robustColumns: s.robustColumns.clone(), twin: slices.Clone(s.twin), twins: s.twins}
}

func (s *robustScaler) refused() uint64 { return 0 }

func (s *robustScaler) state() []Tensor {
	c, shape := s.robustColumns.clone(), []int{len(s.n)}
	return append(c.tensors(shape),
		Tensor{"scaler/count", shape, c.n},
		Tensor{"scaler/mean", shape, c.mean},
		Tensor{"scaler/variance", shape, c.variance},
		Tensor{"scaler/reach", shape, c.reach},
		Tensor{"scaler/first", []int{len(s.n), robustKept}, slices.Clone(s.kept)},
		Tensor{"scaler/twin", shape, slices.Clone(s.twin)},
	)
}

func (s *robustScaler) restore(from *Stored) {
	s.units.restore(from)
	load(from, "scaler/count", s.n)
	load(from, "scaler/mean", s.mean)
	load(from, "scaler/variance", s.variance)
	load(from, "scaler/reach", s.reach)
	load(from, "scaler/first", s.kept)
	load(from, "scaler/twin", s.twin)
	s.twins = 0
	for i, twin := range s.twin {
		if twin < -1 || twin >= max(int64(i), 1) {
			from.Fault("tensor scaler/twin: column %d has column %d for a twin", i, twin)
			return
		}
		if twin >= 0 && i > 0 {
			s.twins++
		}
	}
	for i, variance := range s.variance {
		s.deviation[i] = math.Sqrt(variance)
	}
}
