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

// units holds the units of columns, field by field.
type units struct {
	shift, scale, scale2 []float64
	begun                []uint8 // 0 or 1
}

func newUnits(width int) units {
	return units{make([]float64, width), make([]float64, width), make([]float64, width), make([]uint8, width)}
}

func (u *units) unit(i int) unit { return unit{u.shift[i], u.scale[i], u.scale2[i], u.begun[i] == 1} }

func (u *units) setUnit(i int, to unit) {
	u.shift[i], u.scale[i], u.scale2[i] = to.shift, to.scale, to.scale2
	if u.begun[i] = 0; to.begun {
		u.begun[i] = 1
	}
}

func (u *units) clone() units {
	return units{slices.Clone(u.shift), slices.Clone(u.scale), slices.Clone(u.scale2), slices.Clone(u.begun)}
}

func (u *units) state() []Tensor {
	return []Tensor{
		vector("scaler/shift", u.shift),
		vector("scaler/scale", u.scale),
		vector("scaler/scale2", u.scale2),
		{Name: "scaler/begun", Shape: []int{len(u.begun)}, Data: slices.Clone(u.begun)},
	}
}

func (u *units) restore(from *stored) {
	load(from, "scaler/shift", u.shift)
	load(from, "scaler/scale", u.scale)
	load(from, "scaler/scale2", u.scale2)
	load(from, "scaler/begun", u.begun)
}

// bounded limits t to ±maxT. What is not a number, an infinite distance times a unit that is not known, is 0.
func bounded(t float64) float64 {
	if math.IsNaN(t) {
		return 0
	}
	return clip(t, maxT)
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
// A column that has had the values of an earlier one in every row says nothing new, and would only count double in
// distances and products: its z is 0 until it differs.
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
	return robustColumns{
		s.units.clone(), slices.Clone(s.n),
		slices.Clone(s.mean), slices.Clone(s.variance), slices.Clone(s.deviation), slices.Clone(s.reach),
	}
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

func (s *robustScaler) advance(to row, x []float64) {
	to.z[0] = 1
	n := s.n
	t, z, x := to.t[:len(n)], to.z[1:][:len(n)], x[:len(n)]
	if s.twins > 0 || len(x) > 0 && s.begun[0] == 0 {
		s.findTwins(x)
	}
	for i := 0; i < len(n); i++ {
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
	s.hideTwins(z)
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

// findTwins takes a row into account for who is whose twin. Columns that leave the same twin with the same value stay
// twins of each other.
func (s *robustScaler) findTwins(x []float64) {
	if len(x) == 0 {
		return
	}
	if s.begun[0] == 0 { // the first row: all columns are alike until it has spoken
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
	t, z, x := to.t[:n], to.z[1:][:n], x[:n]
	shift, scale, scale2 := s.shift[:n], s.scale[:n], s.scale2[:n]
	mean, deviation, reach := s.mean[:n], s.deviation[:n], s.reach[:n]
	for i, v := range x {
		t[i] = bounded(float64((v - shift[i]) * scale[i] * scale2[i])) // 0 while there is no unit
		d := t[i] - mean[i]
		z[i] = 0
		if !fault(d, reach[i], deviation[i]) {
			z[i] = standard(d, deviation[i])
		}
	}
	s.hideTwins(z)
}

// clone returns a copy for apply: the values that only advance needs are left out.
func (s *robustScaler) clone() scaler {
	return &robustScaler{robustColumns: s.robustColumns.clone(), twin: slices.Clone(s.twin), twins: s.twins}
}

func (s *robustScaler) refused() uint64 { return 0 }

func (s *robustScaler) state() []Tensor {
	n := len(s.n)
	return append(s.units.state(),
		Tensor{Name: "scaler/count", Shape: []int{n}, Data: slices.Clone(s.n)},
		vector("scaler/mean", s.mean),
		vector("scaler/variance", s.variance),
		vector("scaler/reach", s.reach),
		Tensor{Name: "scaler/first", Shape: []int{n, robustKept}, Data: slices.Clone(s.kept)},
		Tensor{Name: "scaler/twin", Shape: []int{n}, Data: slices.Clone(s.twin)},
	)
}

func (s *robustScaler) restore(from *stored) {
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
			from.fault("tensor scaler/twin: column %d has column %d for a twin", i, twin)
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

// plainScaler standardises by the mean and variance of all rows so far, as other online learners do. Per column, with
// a = 1/n: d = x - mean, mean += a·d, variance = (1-a)·(variance + a·d²), which is the variance with divisor n (Welford,
// Technometrics 4, 1962; West, CACM 22, 1979). A value with which the variance would not be finite is left out of both.
type plainScaler struct {
	moments
	units units
	left  uint64
}

func newPlainScaler(width int) *plainScaler {
	return &plainScaler{moments: newMoments(width), units: newUnits(width)}
}

func (s *plainScaler) advance(to row, x []float64) {
	to.z[0] = 1
	s.left += uint64(s.moments.advance(to.z[1:], x))
	for i, v := range x {
		u := s.units.unit(i)
		if u.scale == 0 {
			u.fit(v)
			s.units.setUnit(i, u)
		}
		to.t[i] = u.apply(v) // 0 while there is no unit
	}
}

func (s *plainScaler) apply(to row, x []float64) {
	to.z[0] = 1
	s.moments.apply(to.z[1:], x)
	for i, v := range x {
		u := s.units.unit(i)
		to.t[i] = u.apply(v) // 0 while there is no unit
	}
}

func (s *plainScaler) clone() scaler {
	return &plainScaler{moments: s.moments.clone(), units: s.units.clone(), left: s.left}
}

func (s *plainScaler) refused() uint64 { return s.left }

func (s *plainScaler) state() []Tensor {
	tensors := append(s.moments.state("scaler"), scalar("scaler/left_out", s.left))
	return append(tensors, s.units.state()...)
}

func (s *plainScaler) restore(from *stored) {
	s.moments.restore(from, "scaler")
	loadScalar(from, "scaler/left_out", &s.left)
	s.units.restore(from)
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
