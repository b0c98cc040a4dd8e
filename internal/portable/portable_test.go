package portable

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
			if d := ulps(Exp(x), math.Exp(x)); d > worst {
				worst, at = d, x
			}
		}
		t.Logf("|x| ≤ %g: at most %d ulp from math.Exp", limit, worst)
		if worst > 2 {
			t.Errorf("Exp(%g) = %g, math.Exp says %g: %d ulp apart (seed %d)", at, Exp(at), math.Exp(at), worst, seed)
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
		if got := Exp(tt.give); got != tt.want {
			t.Errorf("Exp(%g) = %g, want %g", tt.give, got, tt.want)
		}
	}
	near := []struct{ give, want float64 }{
		{-708, 3.307553003638408e-308},
		{1, math.E},
		{709.4, 1.2260423226426727e+308},
		{709.78, 1.7928227943945155e+308},
	}
	for _, tt := range near {
		if got := Exp(tt.give); ulps(got, tt.want) > 1 {
			t.Errorf("Exp(%g) = %g, want %g", tt.give, got, tt.want)
		}
	}
	if got := Exp(math.NaN()); !math.IsNaN(got) {
		t.Errorf("Exp(NaN) = %g, want NaN", got)
	}
}

func TestLogWithin2UlpOfMath(t *testing.T) {
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
			if d := ulps(math.Abs(Log(x)), math.Abs(math.Log(x))); d > worst {
				worst, at = d, x
			}
		}
		t.Logf("%s: at most %d ulp from math.Log", sample.name, worst)
		if worst > 2 {
			t.Errorf("%s: Log(%g) = %g, math.Log says %g: %d ulp apart (seed %d)", sample.name, at, Log(at), math.Log(at), worst, seed)
		}
	}
}

func TestLogAtTheEdges(t *testing.T) {
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
		if got := Log(tt.give); ulps(math.Abs(got), math.Abs(tt.want)) > 1 {
			t.Errorf("Log(%g) = %v, want %v", tt.give, got, tt.want)
		}
	}
}

func BenchmarkExp(b *testing.B) {
	x := -29.0
	for b.Loop() {
		// Each call waits for the one before it, as in learning.
		x = -Exp(x) - 1
	}
	_ = x
}

func BenchmarkLog(b *testing.B) {
	x := 0.3
	for b.Loop() {
		x = Log(x)*0.01 + 0.5
	}
	_ = x
}
