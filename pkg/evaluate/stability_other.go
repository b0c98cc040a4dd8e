//go:build !amd64

package evaluate

func countPair(above *[stabilityEdges][2]int64, edges *[stabilityEdges][2]float64, x []float64, width int) {
	plainCountPair(above, edges, x, width)
}
