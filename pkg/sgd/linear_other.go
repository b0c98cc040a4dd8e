//go:build !amd64

package sgd

func dotPair(a, b, z []float64) (az, bz float64) { return plainDotPair(a, b, z) }

func dotFour(a, b []float64) float64 { return plainDotFour(a, b) }

func descend(to, w, v []float64, step float64) { plainDescend(to, w, v, step) }

func diagonalSums(u, w, p, z []float64) (margin, s float64) { return plainDiagonalSums(u, w, p, z) }

func diagonalStep(w, p, u []float64, step, hk, q, v0 float64) {
	plainDiagonalStep(w, p, u, step, hk, q, v0)
}
