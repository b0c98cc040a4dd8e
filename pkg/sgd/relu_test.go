package sgd

import (
	"math"
	"testing"
)

// The reference draws the same random numbers, and standardises by all of the past in two passes.
func TestReluAgreesWithAPlainReference(t *testing.T) {
	const width, n, seed = 5, 200, 11
	b := randomBlock(t, 1, width, n)
	r := newRandom(seed, "relu")
	var a [64][width]float64
	var bias [64]float64
	for k := range bias {
		bias[k] = 2*r.uniform() - 1
	}
	for i := range width {
		for k := range a {
			a[k][i] = r.normal() / math.Sqrt(width)
		}
	}
	f := newRelu(width, seed)
	inputs, hidden := make([][]float64, width), make([][]float64, 64)
	for i := range n {
		got := f.advance(b.row(i), nil)
		want := []float64{1}
		for j, x := range b.row(i).z[1:] {
			inputs[j] = append(inputs[j], x)
			want = append(want, standardByAll(x, inputs[j]))
		}
		for k := range a {
			x := bias[k]
			for j, w := range a[k] {
				x += w * want[1+j]
			}
			x = max(0, x)
			hidden[k] = append(hidden[k], x)
			want = append(want, standardByAll(x, hidden[k]))
		}
		for j := range want {
			if math.Abs(got[j]-want[j]) > 1e-9 {
				t.Fatalf("row %d, place %d: %v, want %v", i, j, got[j], want[j])
			}
		}
	}
}

func TestReluUnitsAreRandom(t *testing.T) {
	const width = 100
	l := newReluLayer(width, 1)
	var sum, squares, low, high float64
	for _, w := range l.weights {
		sum += w
		squares += w * w
	}
	for _, b := range l.bias {
		low, high = min(low, b), max(high, b)
	}
	n := float64(len(l.weights))
	// Standard errors are .00125 and .00018.
	if mean, variance := sum/n, squares/n; math.Abs(mean) > 0.006 || math.Abs(variance-1.0/width) > 0.001 {
		t.Errorf("weights have mean %g and variance %g, want 0 and %g", mean, variance, 1.0/width)
	}
	if low < -1 || low > -0.8 || high > 1 || high < 0.8 {
		t.Errorf("biases reach from %g to %g, want -1 to 1", low, high)
	}
	if same := newReluLayer(width, 1); !sameBits(same.weights, l.weights) {
		t.Error("one seed gives two sets of weights")
	}
	if other := newReluLayer(width, 2); sameBits(other.weights, l.weights) {
		t.Error("two seeds give the same weights")
	}
}
