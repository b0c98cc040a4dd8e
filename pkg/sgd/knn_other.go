//go:build !amd64

package sgd

func distances(d *[side]float32, columns [][side]float32, halves *[side]float32, x []float64, half, limit float32) (below uint32) {
	return plainDistances(d, columns, halves, x, half, limit)
}
