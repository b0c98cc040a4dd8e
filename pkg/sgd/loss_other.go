//go:build !amd64

package sgd

// LogLosses stores the LogLoss of each answer for the label at its place, 0 or 1, in dst.
func LogLosses(dst, prob, y []float64) {
	prob, y = prob[:len(dst)], y[:len(dst)]
	for i, p := range prob {
		dst[i] = LogLoss(p, y[i])
	}
}
