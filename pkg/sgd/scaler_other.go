//go:build !amd64

package sgd

func steadyColumns(from int, _ *robustColumns, _, _, _ []float64, _ *steadyConstants) (to int) {
	return from
}

func applyColumns(from int, _ *robustColumns, _, _, _ []float64, _ *steadyConstants) (to int) {
	return from
}
