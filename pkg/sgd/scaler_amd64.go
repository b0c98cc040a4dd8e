package sgd

// steadyColumns is advance, two columns at a time and an odd last one alone, from a column on and for as long as all have
// seen enough values, vary, and have a value that is no farther from the mean than any before. It returns the first column
// that it left. All is rounded one by one, in the order of advanceColumn, so the bits are the same. Every amd64 CPU has the
// instructions.
//
//go:noescape
func steadyColumns(from int, s *robustColumns, x, t, z []float64, k *steadyConstants) (to int)
