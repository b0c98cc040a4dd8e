package sgd

import (
	"math"
	"testing"
)

func TestSigmoidIsAlwaysAProbability(t *testing.T) {
	tests := []struct{ give, want float64 }{
		{0, 0.5},
		{math.NaN(), 0.5},
		{1, 0.7310585786300049},
		{-1, 0.2689414213699951},
		{30, 0.9999999999999065},
		{1e300, 0.9999999999999065},
		{math.Inf(1), 0.9999999999999065},
		{-30, 9.357622968839299e-14},
		{math.Inf(-1), 9.357622968839299e-14},
	}
	for _, tt := range tests {
		if got := sigmoid(tt.give); math.Abs(got-tt.want) > 1e-15*tt.want {
			t.Errorf("sigmoid(%g) = %v, want %v", tt.give, got, tt.want)
		}
	}
}
