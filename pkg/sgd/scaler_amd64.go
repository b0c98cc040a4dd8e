package sgd

// steadyColumns is advance, two columns at a time and an odd last one alone, from a column on and for as long as all have
// seen enough values, vary, and have a value that is no farther from the mean than any before. It returns the first column
// that it left. All is rounded one by one, in the order of advanceColumn, so the bits are the same. Every amd64 CPU has the
// instructions.
//
//go:noescape
func steadyColumns(from int, s *robustColumns, x, t, z []float64, k *steadyConstants) (to int)

// applyColumns is apply, as steadyColumns is advance: from a column on, for as long as all vary, and have a value that is no
// farther from the mean than any that it was made of. It returns the first column that it left.
//
//go:noescape
func applyColumns(from int, s *robustColumns, x, t, z []float64, k *steadyConstants) (to int)
