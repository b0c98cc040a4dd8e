package sgd

import (
	"math"
	"math/rand/v2"
	"testing"
)

// ulps returns how many floating-point numbers lie between two positive numbers.
func ulps(a, b float64) int64 {
	d := int64(math.Float64bits(a) - math.Float64bits(b))
	return max(d, -d)
}

func TestExpWithin2UlpOfMath(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	for _, limit := range []float64{1e-9, 1, 30, 708} {
		var worst int64
		var at float64
		for range 100_000 {
			x := limit * (2*random.Float64() - 1)
			if d := ulps(exp(x), math.Exp(x)); d > worst {
				worst, at = d, x
			}
		}
		t.Logf("|x| ≤ %g: at most %d ulp from math.Exp", limit, worst)
		if worst > 2 {
			t.Errorf("exp(%g) = %g, math.Exp says %g: %d ulp apart (seed %d)", at, exp(at), math.Exp(at), worst, seed)
		}
	}
}

func TestExpAtTheEdges(t *testing.T) {
	tests := []struct{ give, want float64 }{
		{0, 1},
		{math.Copysign(0, -1), 1},
		{math.Nextafter(0, 1), 1},
		{-709, 0},
		{math.Inf(-1), 0},
		{711, math.Inf(1)},
		{709.79, math.Inf(1)},
		{math.Inf(1), math.Inf(1)},
	}
	for _, tt := range tests {
		if got := exp(tt.give); got != tt.want {
			t.Errorf("exp(%g) = %g, want %g", tt.give, got, tt.want)
		}
	}
	near := []struct{ give, want float64 }{
		{-708, 3.307553003638408e-308},
		{1, math.E},
		{709.4, 1.2260423226426727e+308},
		{709.78, 1.7928227943945155e+308},
	}
	for _, tt := range near {
		if got := exp(tt.give); ulps(got, tt.want) > 1 {
			t.Errorf("exp(%g) = %g, want %g", tt.give, got, tt.want)
		}
	}
	if got := exp(math.NaN()); !math.IsNaN(got) {
		t.Errorf("exp(NaN) = %g, want NaN", got)
	}
}

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

func TestLnWithin2UlpOfMath(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	samples := []struct {
		name string
		draw func() float64
	}{
		{"probabilities", random.Float64},
		{"around 1", func() float64 { return 1 + 1e-3*(2*random.Float64()-1) }},
		{"one and a half binades around 1", func() float64 { return 0.5 + 1.5*random.Float64() }},
		{"all normal numbers", func() float64 { return math.Float64frombits(1<<52 + random.Uint64N(0x7fe<<52)) }},
	}
	for _, sample := range samples {
		var worst int64
		var at float64
		for range 100_000 {
			x := sample.draw()
			if x == 0 {
				continue
			}
			if d := ulps(math.Abs(ln(x)), math.Abs(math.Log(x))); d > worst {
				worst, at = d, x
			}
		}
		t.Logf("%s: at most %d ulp from math.Log", sample.name, worst)
		if worst > 2 {
			t.Errorf("%s: ln(%g) = %g, math.Log says %g: %d ulp apart (seed %d)", sample.name, at, ln(at), math.Log(at), worst, seed)
		}
	}
}

func TestLnAtTheEdges(t *testing.T) {
	tests := []struct{ give, want float64 }{
		{1, 0},
		{math.E, 1},
		{math.Sqrt2, math.Ln2 / 2},
		{math.Sqrt2 / 2, -math.Ln2 / 2},
		{math.MaxFloat64, 709.782712893384},
		{0x1p-1022, -1022 * math.Ln2},
		{0x1p-1023, -1023 * math.Ln2}, // subnormal, where math.Log of amd64 is wrong
		{math.SmallestNonzeroFloat64, -1074 * math.Ln2},
	}
	for _, tt := range tests {
		if got := ln(tt.give); ulps(math.Abs(got), math.Abs(tt.want)) > 1 {
			t.Errorf("ln(%g) = %v, want %v", tt.give, got, tt.want)
		}
	}
}

func BenchmarkExp(b *testing.B) {
	x := -29.0
	for b.Loop() {
		// Each call waits for the one before it, as in learning.
		x = -exp(x) - 1
	}
	_ = x
}

func BenchmarkLn(b *testing.B) {
	x := 0.3
	for b.Loop() {
		x = ln(x)*0.01 + 0.5
	}
	_ = x
}
