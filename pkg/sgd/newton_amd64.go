package sgd

// sweep is plainSweep two rows at a time, and in these two columns, which are also the two sums of a row. Products and
// sums are rounded one by one, in the same order, so the bits are the same. Every amd64 CPU has the instructions.
//
//go:noescape
func sweep(p, u, z, next []float64, pending, keep, grow float64)
