package sgd

import "math"

// maxZ limits standardised values to ±maxZ.
const maxZ = 5

// scaler standardises rows by the running mean and variance of each column. All slices are as long as a row.
//
// A row goes through it in two steps, so that a learner can refuse a row as a whole: advance works out the moments
// with the row and standardises it by them, commit makes them the scaler's.
type scaler struct {
	count          uint64 // rows that the moments are of
	mean, variance []float64

	nextMean, nextVariance []float64 // of the last advance
}

func newScaler(width int) scaler {
	return scaler{
		mean: make([]float64, width), variance: make([]float64, width),
		nextMean: make([]float64, width), nextVariance: make([]float64, width),
	}
}

// advance stores in z the row x, standardised by the moments that include it, and reports whether these are all
// finite; if they are not, z is of no use. The scaler stays as it was until commit.
//
// Per column, with a = 1/n: d = x - mean, mean += a·d, variance = (1-a)·(variance + a·d²), which is the variance with
// divisor n (Welford, Technometrics 4, 1962; West, CACM 22, 1979).
func (s *scaler) advance(z, x []float64) bool {
	z, mean, variance := z[:len(x)], s.mean[:len(x)], s.variance[:len(x)]
	nextMean, nextVariance := s.nextMean[:len(x)], s.nextVariance[:len(x)]
	a := 1 / float64(s.count+1)
	keep := 1 - a
	for i, xi := range x {
		d := xi - mean[i]
		ad := float64(a * d)
		m := mean[i] + ad
		v := float64(keep * (variance[i] + float64(ad*d)))
		if !finite(v) { // nor is v where m is not: d² outgrows a number long before the mean does
			return false
		}
		nextMean[i], nextVariance[i] = m, v
		z[i] = standard(xi-m, math.Sqrt(v))
	}
	return true
}

// commit makes the moments of the last advance, which must have returned true, the scaler's.
func (s *scaler) commit() {
	s.count++
	s.mean, s.nextMean = s.nextMean, s.mean
	s.variance, s.nextVariance = s.nextVariance, s.variance
}

// standardise stores in z the row x, standardised by the moments as they are.
func (s *scaler) standardise(z, x []float64) {
	for i, xi := range x {
		z[i] = standard(xi-s.mean[i], math.Sqrt(s.variance[i]))
	}
}

// state returns a copy of the scaler's state.
func (s *scaler) state() []Tensor {
	return []Tensor{
		scalar("scaler/count", s.count),
		vector("scaler/mean", s.mean),
		vector("scaler/variance", s.variance),
	}
}

// restore takes the scaler's state from a model's.
func (s *scaler) restore(from *stored) {
	loadScalar(from, "scaler/count", &s.count)
	load(from, "scaler/mean", s.mean)
	load(from, "scaler/variance", s.variance)
}

// standard returns distance/deviation, limited to ±maxZ, and 0 where the deviation is 0.
func standard(distance, deviation float64) float64 {
	if deviation == 0 {
		return 0
	}
	z := distance / deviation
	if z > maxZ {
		return maxZ
	}
	if z < -maxZ {
		return -maxZ
	}
	return z
}

// finite reports whether v is neither NaN nor infinite.
func finite(v float64) bool { return math.Abs(v) <= math.MaxFloat64 }
