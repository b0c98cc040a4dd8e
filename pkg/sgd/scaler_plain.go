package sgd

import (
	"math"
	"slices"
)

// plainScaler standardises by the mean and variance of all rows so far, as other online learners do. Per column, with
// a = 1/n: d = x - mean, mean += a·d, variance = (1-a)·(variance + a·d²), which is the variance with divisor n (Welford,
// Technometrics 4, 1962; West, CACM 22, 1979). A value with which the variance would not be finite is left out of both. Rows
// without a value of the column do not count in its n.
type plainScaler struct {
	moments
	units units
	left  uint64
}

func newPlainScaler(width int) *plainScaler {
	return &plainScaler{moments: newMoments(width), units: newUnits(width)}
}

func (s *plainScaler) advance(to row, x []float64, missing bool) {
	to.z[0] = 1
	s.left += uint64(s.moments.advance(to.z[1:], x, missing))
	for i, v := range x {
		u := s.units.unit(i)
		if math.IsNaN(v) {
			v = s.mean[i]
		} else if u.scale == 0 {
			u.fit(v)
			s.units.setUnit(i, u)
		}
		to.t[i] = u.apply(v) // 0 while there is no unit
	}
}

func (s *plainScaler) apply(to row, x []float64) {
	to.z[0] = 1
	for i, v := range s.mean {
		if i < len(x) && !math.IsNaN(x[i]) {
			v = x[i]
		}
		u := s.units.unit(i)
		to.t[i], to.z[1+i] = bounded(u.apply(v), 0), standard(v-s.mean[i], s.deviation[i]) // t is 0 while there is no unit
	}
}

func (s *plainScaler) adopt(narrow scaler) {
	old := narrow.(*plainScaler)
	s.moments.adopt(&old.moments)
	s.units.adopt(&old.units)
	s.left = old.left
}

func (s *plainScaler) clone() scaler {
	return &plainScaler{moments: s.moments.clone(), units: s.units.clone(), left: s.left}
}

func (s *plainScaler) refused() uint64 { return s.left }

func (s *plainScaler) state() []Tensor {
	tensors := append(s.moments.state("scaler"), scalar("scaler/left_out", s.left))
	units := s.units.clone()
	return append(tensors, units.tensors([]int{len(units.begun)})...)
}

func (s *plainScaler) restore(from *Stored) {
	s.moments.restore(from, "scaler")
	LoadScalar(from, "scaler/left_out", &s.left)
	s.units.restore(from)
}

// moments standardises vectors by the running mean and variance of each place, as in plainScaler.
type moments struct {
	count                     uint64
	mean, variance, deviation []float64 // deviation is √variance
	without                   []uint64  // by place: how many of them had no value there; nil: none
}

func newMoments(width int) moments {
	return moments{mean: make([]float64, width), variance: make([]float64, width), deviation: make([]float64, width)}
}

// advance takes in x, in which there may be NaN if values are missing, and stores it, standardised by the moments that include
// it, in z, which may be x; 0 for a missing value. It returns how many values were left out.
func (m *moments) advance(z, x []float64, missing bool) (left int) {
	if m.without != nil || missing && slices.ContainsFunc(x, math.IsNaN) {
		return m.advanceSingly(z, x)
	}
	return m.advanceAll(z, x)
}

// advanceAll is advance where all places have seen as many values.
func (m *moments) advanceAll(z, x []float64) (left int) {
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

// advanceSingly is advance where places have seen numbers of values of their own.
func (m *moments) advanceSingly(z, x []float64) (left int) {
	if m.without == nil {
		m.without = make([]uint64, len(m.mean))
	}
	for i, v := range x {
		if math.IsNaN(v) {
			m.without[i]++
			z[i] = 0
			continue
		}
		one := moments{count: m.count - m.without[i], mean: m.mean[i : i+1], variance: m.variance[i : i+1], deviation: m.deviation[i : i+1]}
		left += one.advanceAll(z[i:i+1], x[i:i+1])
	}
	m.count++
	return left
}

// adopt takes over the moments of fewer places, the first ones.
func (m *moments) adopt(narrow *moments) {
	m.count = narrow.count
	copy(m.mean, narrow.mean)
	copy(m.variance, narrow.variance)
	copy(m.deviation, narrow.deviation)
	if m.count > 0 {
		m.without = slices.Repeat([]uint64{m.count}, len(m.mean))
		clear(m.without[:len(narrow.mean)])
		copy(m.without, narrow.without)
	}
}

// apply stores x in z, standardised by the moments as they are.
func (m *moments) apply(z, x []float64) {
	for i, xi := range x {
		z[i] = standard(xi-m.mean[i], m.deviation[i])
	}
}

func (m *moments) clone() moments {
	return moments{m.count, slices.Clone(m.mean), slices.Clone(m.variance), slices.Clone(m.deviation), slices.Clone(m.without)}
}

// state returns the moments as tensors under a name.
func (m *moments) state(name string) []Tensor {
	tensors := []Tensor{
		scalar(name+"/count", m.count),
		vector(name+"/mean", m.mean),
		vector(name+"/variance", m.variance),
	}
	if m.without != nil {
		tensors = append(tensors, Tensor{name + "/without", []int{len(m.without)}, slices.Clone(m.without)})
	}
	return tensors
}

func (m *moments) restore(from *Stored, name string) {
	LoadScalar(from, name+"/count", &m.count)
	load(from, name+"/mean", m.mean)
	load(from, name+"/variance", m.variance)
	for i, v := range m.variance {
		m.deviation[i] = math.Sqrt(v)
	}
	m.without = nil
	if !from.Has(name + "/without") {
		return
	}
	m.without = make([]uint64, len(m.mean))
	load(from, name+"/without", m.without)
	for i, n := range m.without {
		if n > m.count {
			from.Fault("tensor %s/without: %d of %d rows had no value of column %d", from.prefix+name, n, m.count, i)
			return
		}
	}
}
