package sgd

import "math"

// centred is a [Predictor] that knows where its features usually are.
type centred interface {
	// centre returns the value of feature i that stands for a usual one, its running mean, and that of one deviation above.
	centre(i int) (mean, above float64)
}

// Explain says what each feature of the row x does to the answer: it stores in dst, which has a place for each feature, the
// answer's log-odds less those that the model would give if the feature stood at its running mean (occlusion of one feature;
// Robnik-Šikonja and Kononenko, IEEE TKDE 20, 2008). It returns the log-odds of a row of means. Where a model is linear in
// its features, base and contributions add up to the answer's log-odds, and each contribution is a weight times a
// standardised value; other models have parts that belong to several features together.
func Explain(p Predictor, dst, x []float64, sparse []int32) (base float64) {
	at := make([]float64, len(x))
	answer := logOdds(p, x, sparse)
	for i := range x {
		copy(at, x)
		at[i], _ = p.(centred).centre(i)
		dst[i] = answer - logOdds(p, at, nil)
	}
	for i := range at {
		at[i], _ = p.(centred).centre(i)
	}
	return logOdds(p, at, nil)
}

// Effects stores in dst, which has a place for each feature, by how much the answer's log-odds for a row of running means
// rise when the feature alone stands one deviation above its mean. Where a model is linear in its features, these are its
// weights.
func Effects(p Predictor, dst []float64) {
	at := make([]float64, len(dst))
	for i := range at {
		at[i], _ = p.(centred).centre(i)
	}
	base := logOdds(p, at, nil)
	for i := range at {
		mean, above := p.(centred).centre(i)
		at[i] = above
		dst[i] = logOdds(p, at, nil) - base
		at[i] = mean
	}
}

// logOdds returns the log-odds of the answer for x.
func logOdds(p Predictor, x []float64, sparse []int32) float64 {
	var prob [1]float64
	p.Predict(prob[:], x, sparse)
	return math.Log(prob[0]) - math.Log1p(-prob[0])
}

func (s *snapshot) centre(i int) (mean, above float64) { return s.scaler.centre(i) }

func (s *robustScaler) centre(i int) (mean, above float64) {
	return s.unit(i).invert(s.mean[i]), s.unit(i).invert(s.mean[i] + s.deviation[i])
}

func (s *plainScaler) centre(i int) (mean, above float64) {
	return s.mean[i], s.mean[i] + s.deviation[i]
}

// invert returns the x that apply makes t of; the first of all values while no other was seen.
func (u unit) invert(t float64) float64 {
	if u.scale == 0 {
		return u.shift
	}
	return u.shift + t/u.scale/u.scale2
}
