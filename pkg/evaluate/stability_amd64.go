package evaluate

// countPair is plainCountPair with both columns in a register. Every amd64 CPU has the instructions.
//
//go:noescape
func countPair(above *[stabilityEdges][2]int64, edges *[stabilityEdges][2]float64, x []float64, width int)
