package sgd

import (
	"math"

	"learner/internal/portable"
)

// sigmoid returns 1/(1 + e^-margin), the probability of class 1. The margin is limited to ±30, and one that is not a
// number counts as 0, so that the answer is always a number inside (0, 1).
func sigmoid(margin float64) float64 { return 1 / (1 + portable.Exp(-limit(margin))) }

// limit returns the margin limited to ±30, and 0 for a margin that is not a number.
func limit(margin float64) float64 {
	switch {
	case margin > 30:
		return 30
	case margin < -30:
		return -30
	case math.IsNaN(margin):
		return 0
	}
	return margin
}
