//go:build !amd64

package sgd

func sweep(p, u, z, next []float64, pending, keep, grow float64) {
	plainSweep(p, u, z, next, pending, keep, grow)
}
