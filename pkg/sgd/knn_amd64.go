package sgd

// distances is plainDistances with four rows in a register. Products and sums are rounded one by one, so the bits are the
// same. Every amd64 CPU has the instructions.
//
//go:noescape
func distances(d *[side]float32, columns [][side]float32, halves *[side]float32, x []float64, half, limit float32) (below uint32)
