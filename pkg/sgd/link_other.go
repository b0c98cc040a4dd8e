//go:build !amd64

package sgd

// sigmoids stores the sigmoid of each margin in to.
func sigmoids(to, margins []float64) {
	for i, margin := range margins {
		to[i] = sigmoid(margin)
	}
}
