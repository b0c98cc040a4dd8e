package sgd

import (
	"math"
	"slices"
)

// maxZ limits standardised values to ±maxZ.
const maxZ = 5

// scaler brings rows on one scale, column by column, and keeps up with columns that move. No label is involved, so a
// row updates it before it is answered.
type scaler interface {
	// advance takes in the row x and stores its two forms in to (see block).
	advance(to row, x []float64)
	// apply stores the two forms of x by the scaler as it is.
	apply(to row, x []float64)
	clone() scaler
	state() []Tensor
	restore(from *stored)
	// refused returns how many values were left out because the moments with them would not be finite.
	refused() uint64
}

// scalers holds every scaler, by name.
var scalers = map[string]func(width int) scaler{
	"robust": func(width int) scaler { return newRobustScaler(width) },
	"plain":  func(width int) scaler { return newPlainScaler(width) },
}

// unit shifts a column by its first value and scales it by the power of two that brings the first other value near 1, so
// that columns of any size keep their information: t = (x - shift)·2^-e, within ±maxT.
type unit struct {
	shift float64
	// The factor 2^-e, in two parts, as it may itself be out of range. 0: no value other than the shift was seen yet.
	scale, scale2 float64
	begun         bool // the shift is known
}

const maxT = 1e150

// fit makes the unit known from a column's first values, and reports whether it is.
func (u *unit) fit(x float64) bool {
	if u.scale != 0 {
		return true
	}
	if !u.begun {
		u.shift, u.begun = x, true
	}
	d := x - u.shift
	if d == 0 {
		return false
	}
	_, e := math.Frexp(max(min(d, math.MaxFloat64), -math.MaxFloat64))
	half := -e / 2
	u.scale, u.scale2 = math.Ldexp(1, half), math.Ldexp(1, -e-half)
	return true
}

func (u *unit) apply(x float64) float64 {
	t := float64((x - u.shift) * u.scale * u.scale2)
	if t > maxT {
		return maxT
	}
	if t < -maxT {
		return -maxT
	}
	return t
}

// standard returns distance/deviation, limited to ±maxZ, and 0 where the deviation is 0.
func standard(distance, deviation float64) float64 {
	if deviation == 0 {
		return 0
	}
	return clip(distance/deviation, maxZ)
}

// clip limits v to ±limit.
func clip(v, limit float64) float64 {
	if v > limit {
		return limit
	}
	if v < -limit {
		return -limit
	}
	return v
}

// finite reports whether v is neither NaN nor infinite.
func finite(v float64) bool { return math.Abs(v) <= math.MaxFloat64 }

const (
	robustKept   = 64   // first values of a column that are kept, to look at their quartiles
	robustMemory = 1000 // values that the running moments remember, about
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
// A column that has had the values of an earlier one in every row says nothing new, and would only count double in
// distances and products: its z is 0 until it differs.
type robustScaler struct {
	columns []robustColumn
	kept    []float64 // width × robustKept, by column
	sorted  [robustKept]float64
	// By column: an earlier column that has had its values in every row; -1: there is none.
	twin  []int64
	twins int // columns that have one
}

type robustColumn struct {
	unit
	n                         uint64
	mean, variance, deviation float64 // deviation is √variance
	reach                     float64 // largest distance of a value, no fault, from the mean before it
}

// fault reports whether a value at a distance from the mean is a fault.
func (c *robustColumn) fault(distance float64) bool {
	d := math.Abs(distance)
	return d > float64(robustFault*c.reach) && d > float64(robustFault*c.deviation) && c.reach > 0
}

// extend is fault, and takes the distance into account for the values to come.
func (c *robustColumn) extend(distance float64) bool {
	if c.fault(distance) {
		return true
	}
	c.reach = math.Abs(distance)
	return false
}

func newRobustScaler(width int) *robustScaler {
	return &robustScaler{
		columns: make([]robustColumn, width), kept: make([]float64, width*robustKept), twin: make([]int64, width),
	}
}

func (s *robustScaler) advance(to row, x []float64) {
	to.z[0] = 1
	t, z, x := to.t[:len(s.columns)], to.z[1:][:len(s.columns)], x[:len(s.columns)]
	s.findTwins(x)
	for i := range s.columns {
		c := &s.columns[i]
		if c.n < robustMemory {
			t[i], z[i] = s.begin(i, x[i])
			continue
		}
		const a = 1.0 / robustMemory
		t[i] = c.apply(x[i])
		d := t[i] - c.mean
		fault := math.Abs(d) > c.reach && c.extend(d)
		if c.variance > 0 {
			d = clip(d, float64(robustLimit*c.deviation))
		}
		ad := float64(a * d)
		c.mean += ad
		c.variance = float64((1 - a) * (c.variance + float64(ad*d)))
		c.deviation = math.Sqrt(c.variance)
		z[i] = 0
		if !fault {
			z[i] = standard(t[i]-c.mean, c.deviation)
		}
	}
	s.hideTwins(z)
}

// findTwins takes a row into account for who is whose twin. Columns that leave the same twin with the same value stay
// twins of each other.
func (s *robustScaler) findTwins(x []float64) {
	if len(x) == 0 {
		return
	}
	if !s.columns[0].begun { // the first row: all columns are alike until it has spoken
		s.twin[0], s.twins = -1, len(x)-1
	}
	if s.twins == 0 {
		return
	}
	for i := len(x) - 1; i > 0; i-- { // downwards, as twins of earlier columns are to be those before this row
		was := s.twin[i]
		if was < 0 || x[i] == x[was] {
			continue
		}
		next := was + 1
		for next < int64(i) && (s.twin[next] != was || x[next] != x[i]) {
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

// begin is advance for column i while it has seen less than robustMemory values.
func (s *robustScaler) begin(i int, x float64) (t, z float64) {
	c := &s.columns[i]
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
	t, z := to.t, to.z[1:]
	for i := range s.columns {
		c := &s.columns[i]
		t[i] = c.apply(x[i]) // 0 while there is no unit
		d := t[i] - c.mean
		z[i] = 0
		if !c.fault(d) {
			z[i] = standard(d, c.deviation)
		}
	}
	s.hideTwins(z)
}

// clone returns a copy for apply: the values that only advance needs are left out.
func (s *robustScaler) clone() scaler {
	return &robustScaler{columns: slices.Clone(s.columns), twin: slices.Clone(s.twin), twins: s.twins}
}

func (s *robustScaler) refused() uint64 { return 0 }

func (s *robustScaler) state() []Tensor {
	n := len(s.columns)
	counts, means, variances, reaches := make([]uint64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i, c := range s.columns {
		counts[i], means[i], variances[i], reaches[i] = c.n, c.mean, c.variance, c.reach
	}
	return append(unitState(n, func(i int) *unit { return &s.columns[i].unit }),
		Tensor{Name: "scaler/count", Shape: []int{n}, Data: counts},
		Tensor{Name: "scaler/mean", Shape: []int{n}, Data: means},
		Tensor{Name: "scaler/variance", Shape: []int{n}, Data: variances},
		Tensor{Name: "scaler/reach", Shape: []int{n}, Data: reaches},
		Tensor{Name: "scaler/first", Shape: []int{n, robustKept}, Data: slices.Clone(s.kept)},
		Tensor{Name: "scaler/twin", Shape: []int{n}, Data: slices.Clone(s.twin)},
	)
}

func (s *robustScaler) restore(from *stored) {
	n := len(s.columns)
	unitRestore(from, n, func(i int) *unit { return &s.columns[i].unit })
	counts, means, variances, reaches := make([]uint64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	load(from, "scaler/count", counts)
	load(from, "scaler/mean", means)
	load(from, "scaler/variance", variances)
	load(from, "scaler/reach", reaches)
	load(from, "scaler/first", s.kept)
	load(from, "scaler/twin", s.twin)
	s.twins = 0
	for i, twin := range s.twin {
		if twin < -1 || twin >= max(int64(i), 1) {
			from.fault("tensor scaler/twin: column %d has column %d for a twin", i, twin)
			return
		}
		if twin >= 0 && i > 0 {
			s.twins++
		}
	}
	for i := range s.columns {
		c := &s.columns[i]
		c.n, c.mean, c.variance, c.deviation, c.reach = counts[i], means[i], variances[i], math.Sqrt(variances[i]), reaches[i]
	}
}

// unitState returns the state of n columns' units.
func unitState(n int, at func(i int) *unit) []Tensor {
	shift, scale, scale2 := make([]float64, n), make([]float64, n), make([]float64, n)
	begun := make([]uint8, n)
	for i := range n {
		u := at(i)
		shift[i], scale[i], scale2[i] = u.shift, u.scale, u.scale2
		if u.begun {
			begun[i] = 1
		}
	}
	return []Tensor{
		{Name: "scaler/shift", Shape: []int{n}, Data: shift},
		{Name: "scaler/scale", Shape: []int{n}, Data: scale},
		{Name: "scaler/scale2", Shape: []int{n}, Data: scale2},
		{Name: "scaler/begun", Shape: []int{n}, Data: begun},
	}
}

func unitRestore(from *stored, n int, at func(i int) *unit) {
	shift, scale, scale2 := make([]float64, n), make([]float64, n), make([]float64, n)
	begun := make([]uint8, n)
	load(from, "scaler/shift", shift)
	load(from, "scaler/scale", scale)
	load(from, "scaler/scale2", scale2)
	load(from, "scaler/begun", begun)
	for i := range n {
		*at(i) = unit{shift[i], scale[i], scale2[i], begun[i] == 1}
	}
}

// plainScaler standardises by the mean and variance of all rows so far, as other online learners do. Per column, with
// a = 1/n: d = x - mean, mean += a·d, variance = (1-a)·(variance + a·d²), which is the variance with divisor n (Welford,
// Technometrics 4, 1962; West, CACM 22, 1979). A value with which the variance would not be finite is left out of both.
type plainScaler struct {
	moments
	units []unit
	left  uint64
}

func newPlainScaler(width int) *plainScaler {
	return &plainScaler{moments: newMoments(width), units: make([]unit, width)}
}

func (s *plainScaler) advance(to row, x []float64) {
	to.z[0] = 1
	s.left += uint64(s.moments.advance(to.z[1:], x))
	for i, v := range x {
		to.t[i] = 0
		if s.units[i].fit(v) {
			to.t[i] = s.units[i].apply(v)
		}
	}
}

func (s *plainScaler) apply(to row, x []float64) {
	to.z[0] = 1
	s.moments.apply(to.z[1:], x)
	for i, v := range x {
		to.t[i] = s.units[i].apply(v) // 0 while there is no unit
	}
}

func (s *plainScaler) clone() scaler {
	return &plainScaler{moments: s.moments.clone(), units: slices.Clone(s.units), left: s.left}
}

func (s *plainScaler) refused() uint64 { return s.left }

func (s *plainScaler) state() []Tensor {
	tensors := append(s.moments.state("scaler"), scalar("scaler/left_out", s.left))
	return append(tensors, unitState(len(s.units), func(i int) *unit { return &s.units[i] })...)
}

func (s *plainScaler) restore(from *stored) {
	s.moments.restore(from, "scaler")
	loadScalar(from, "scaler/left_out", &s.left)
	unitRestore(from, len(s.units), func(i int) *unit { return &s.units[i] })
}

// moments standardises vectors by the running mean and variance of each place, as in plainScaler.
type moments struct {
	count                     uint64
	mean, variance, deviation []float64 // deviation is √variance
}

func newMoments(width int) moments {
	return moments{mean: make([]float64, width), variance: make([]float64, width), deviation: make([]float64, width)}
}

// advance takes in x and stores it, standardised by the moments that include it, in z, which may be x. It returns how many
// values were left out.
func (m *moments) advance(z, x []float64) (left int) {
	z, x = z[:len(m.mean)], x[:len(m.mean)]
	mean, variance, deviation := m.mean, m.variance[:len(m.mean)], m.deviation[:len(m.mean)]
	m.count++
	a := 1 / float64(m.count)
	keep := 1 - a
	for i, xi := range x {
		d := xi - mean[i]
		ad := float64(a * d)
		v := float64(keep * (variance[i] + float64(ad*d)))
		if finite(v) { // then the mean is finite, too: d² outgrows a number long before the mean does
			mean[i] += ad
			variance[i], deviation[i] = v, math.Sqrt(v)
		} else {
			left++
		}
		z[i] = standard(xi-mean[i], deviation[i])
	}
	return left
}

// apply stores x in z, standardised by the moments as they are.
func (m *moments) apply(z, x []float64) {
	for i, xi := range x {
		z[i] = standard(xi-m.mean[i], m.deviation[i])
	}
}

func (m *moments) clone() moments {
	return moments{m.count, slices.Clone(m.mean), slices.Clone(m.variance), slices.Clone(m.deviation)}
}

// state returns the moments as tensors under a name.
func (m *moments) state(name string) []Tensor {
	return []Tensor{
		scalar(name+"/count", m.count),
		vector(name+"/mean", m.mean),
		vector(name+"/variance", m.variance),
	}
}

func (m *moments) restore(from *stored, name string) {
	loadScalar(from, name+"/count", &m.count)
	load(from, name+"/mean", m.mean)
	load(from, name+"/variance", m.variance)
	for i, v := range m.variance {
		m.deviation[i] = math.Sqrt(v)
	}
}
