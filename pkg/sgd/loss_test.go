package sgd

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestGradientsAgreeWithFiniteDifferences(t *testing.T) {
	const seed = 1
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 2000 {
				margin := 20 * (2*random.Float64() - 1)
				label := float64(random.IntN(2))
				const h = 1e-5
				want := (loss.value(margin+h, label) - loss.value(margin-h, label)) / (2 * h)
				_, got := loss.step(margin, label)
				if math.Abs(got-want) > 1e-9 {
					t.Fatalf("margin %v, label %v: gradient %v, finite differences say %v (seed %d)", margin, label, got, want, seed)
				}
			}
		})
	}
}

func TestGradientByEachWeight(t *testing.T) {
	const seed, width, h = 2, 7, 1e-5
	random := rand.New(rand.NewPCG(seed, 0))
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			w, z, next := make([]float64, width), make([]float64, width), make([]float64, width)
			for i := range w {
				w[i], z[i] = random.NormFloat64(), random.NormFloat64()
			}
			bias := random.NormFloat64()
			for _, label := range []float64{0, 1} {
				_, g := loss.step(dot(bias, w, z), label)
				copy(next, w)
				descend(next, z, g)
				for i := range w {
					kept := w[i]
					w[i] = kept + h
					up := loss.value(dot(bias, w, z), label)
					w[i] = kept - h
					down := loss.value(dot(bias, w, z), label)
					w[i] = kept
					if got, want := w[i]-next[i], (up-down)/(2*h); math.Abs(got-want) > 1e-8 {
						t.Errorf("label %v, weight %d: step %v, finite differences say %v (seed %d)", label, i, got, want, seed)
					}
				}
			}
		})
	}
}

func TestLogLossOfMargins(t *testing.T) {
	for margin := -29.0; margin <= 29; margin += 0.25 {
		for _, label := range []float64{0, 1} {
			signed := margin
			if label == 1 {
				signed = -margin
			}
			want := math.Log1p(math.Exp(-math.Abs(signed))) + max(signed, 0)
			if got := (logLoss{}).value(margin, label); math.Abs(got-want) > 1e-14*(1+want) {
				t.Errorf("margin %v, label %v: loss %v, want %v", margin, label, got, want)
			}
		}
	}
}

func TestLogLoss(t *testing.T) {
	tests := []struct{ prob, label, want float64 }{
		{0.5, 0, math.Ln2},
		{0.5, 1, math.Ln2},
		{0.9, 1, 0.10536051565782628},
		{0.9, 0, 2.302585092994046},
		{0, 1, 13.815510557964274},
		{1, 0, 13.815510557964274},
		{1e-7, 1, 13.815510557964274},
		{1, 1, 1.0000005000003333e-06},
		{0, 0, 1.0000005000003333e-06},
	}
	for _, tt := range tests {
		if got := LogLoss(tt.prob, tt.label); math.Abs(got-tt.want) > 1e-9*tt.want {
			t.Errorf("LogLoss(%v, %v) = %v, want %v", tt.prob, tt.label, got, tt.want)
		}
	}
}
