package sgd

// sigmoidPairs stores the sigmoids of margins, but for that of an odd last one, in to: two at a time, each by the operations
// of sigmoid, so the bits are the same. Every amd64 CPU has the instructions.
//
//go:noescape
func sigmoidPairs(to, margins []float64)

// sigmoids stores the sigmoid of each margin in to.
func sigmoids(to, margins []float64) {
	to = to[:len(margins)]
	sigmoidPairs(to, margins)
	if last := len(margins) - 1; last&1 == 0 {
		to[last] = sigmoid(margins[last])
	}
}
