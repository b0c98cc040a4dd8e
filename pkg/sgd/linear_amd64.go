package sgd

// dotPair is plainDotPair with the two sums in one register, so the bits are the same. Every amd64 CPU has the instructions.
//
//go:noescape
func dotPair(a, b, z []float64) (az, bz float64)

// dotFour is plainDotFour with two sums in a register.
//
//go:noescape
func dotFour(a, b []float64) float64

// descend is plainDescend with two places in a register.
//
//go:noescape
func descend(to, w, v []float64, step float64)

// diagonalSums is plainDiagonalSums with two places in a register, and the two sums in one. Products and sums are rounded
// one by one, in the same order, so the bits are the same. Every amd64 CPU has the instructions.
//
//go:noescape
func diagonalSums(u, w, p, z []float64) (margin, s float64)

// diagonalStep is plainDiagonalStep with two places in a register.
//
//go:noescape
func diagonalStep(w, p, u []float64, step, hk, q, v0 float64)
