package sgd

import "math"

// lossConstants is what logLossPairs calculates with, each number twice.
type lossConstants [23][2]float64

var lossPairs = func() (k lossConstants) {
	const sqrtHalf = 0x3fe6a09e00000000
	for i, v := range []float64{
		minProb, maxProb, 1, math.Float64frombits(0x3ff0000000000000 - sqrtHalf), 0x1p52, 0x1p52 + 1023,
		math.Float64frombits(1<<52 - 1), math.Float64frombits(sqrtHalf), 2,
		2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13, 2.0 / 11, 2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3,
		0.5, 1.90821492927058770002e-10, 6.93147180369123816490e-01, // the parts of ln 2
		math.Copysign(0, -1),
	} {
		k[i] = [2]float64{v, v}
	}
	return k
}()

// logLossPairs stores the losses of answers, but for that of an odd last one: two at a time, each by the operations of
// LogLoss and portable.Log, so the bits are the same. Every amd64 CPU has the instructions.
//
//go:noescape
func logLossPairs(dst, prob, y []float64, k *lossConstants)

// LogLosses stores the LogLoss of each answer for the label at its place, 0 or 1, in dst.
func LogLosses(dst, prob, y []float64) {
	prob, y = prob[:len(dst)], y[:len(dst)]
	logLossPairs(dst, prob, y, &lossPairs)
	if last := len(dst) - 1; last&1 == 0 {
		dst[last] = LogLoss(prob[last], y[last])
	}
}
