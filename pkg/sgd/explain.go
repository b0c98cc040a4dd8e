package sgd

import (
	"math"
	"slices"
)

// centred is a [Predictor] that knows how far its features usually are from their means.
type centred interface {
	// above returns the value of feature i that stands one deviation above its running mean; NaN: it is not known.
	above(i int) float64
}

// Explain says what each feature of the row x, and each of its sparse features, does to the answer: it stores in dst, which has
// a place for each, those of sparse features behind the others, the answer's log-odds less those that the model would give if
// the feature were missing, that is stood at its running mean, or the row were without the sparse feature (occlusion of one
// feature; Robnik-Šikonja and Kononenko, IEEE TKDE 20, 2008). It returns the log-odds of a row of means without sparse
// features. Where a model is linear in its features, base and contributions add up to the answer's log-odds, and each
// contribution is a weight times a standardised value, or that of a sparse feature; other models have parts that belong to
// several features together.
func Explain(p Predictor, dst, x []float64, sparse []int32) (base float64) {
	at, others := slices.Clone(x), make([]int32, 0, len(sparse))
	answer := logOdds(p, x, sparse)
	for i, v := range x {
		at[i] = math.NaN()
		dst[i] = answer - logOdds(p, at, sparse)
		at[i] = v
	}
	for i := range sparse {
		others = append(append(others[:0], sparse[:i]...), sparse[i+1:]...)
		dst[len(x)+i] = answer - logOdds(p, x, others)
	}
	return logOdds(p, nil, nil)
}

// Effects stores in dst, which has a place for each feature, by how much the answer's log-odds for a row of running means
// rise when the feature alone stands one deviation above its mean. Where a model is linear in its features, these are its
// weights.
func Effects(p Predictor, dst []float64) {
	at := make([]float64, len(dst))
	for i := range at {
		at[i] = math.NaN()
	}
	base := logOdds(p, nil, nil)
	for i := range at {
		at[i] = p.(centred).above(i)
		dst[i] = logOdds(p, at, nil) - base
		at[i] = math.NaN()
	}
}

// SparseEffects stores in dst, which has a place for each of the sparse features, by how much the answer's log-odds for a row of
// running means rise with that feature alone. A feature that the model has not met has no effect.
func SparseEffects(p Predictor, dst []float64, sparse []int32) {
	base := logOdds(p, nil, nil)
	for i := range dst {
		dst[i] = logOdds(p, nil, sparse[i:i+1]) - base
	}
}

// logOdds returns the log-odds of the answer for x.
func logOdds(p Predictor, x []float64, sparse []int32) float64 {
	var prob [1]float64
	p.Predict(prob[:], x, sparse)
	return math.Log(prob[0]) - math.Log1p(-prob[0])
}

func (s *snapshot) above(i int) float64 {
	if i >= s.width {
		return math.NaN()
	}
	return s.scaler.above(i)
}

func (s *robustScaler) above(i int) float64 { return s.unit(i).invert(s.mean[i] + s.deviation[i]) }
func (s *plainScaler) above(i int) float64  { return s.mean[i] + s.deviation[i] }

// invert returns the x that apply makes t of; the first of all values while no other was seen.
func (u unit) invert(t float64) float64 {
	if u.scale == 0 {
		return u.shift
	}
	return u.shift + t/u.scale/u.scale2
}
