package sgd

import (
	"math/rand/v2"
	"testing"
)

func TestLogLossesAreThoseOfEachAnswer(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 50))
	prob := []float64{0, 1, .5, minProb, maxProb, 5e-324, 1e-7, 1 - 1e-7}
	for i := range 100_001 {
		prob = append(prob, r.Float64()*[]float64{1, 1e-3, 1e-6}[i%3])
	}
	for label := range 2 {
		y, got, want := make([]float64, len(prob)), make([]float64, len(prob)), make([]float64, len(prob))
		for i, p := range prob {
			y[i] = float64((label + i) % 2)
			want[i] = LogLoss(p, y[i])
		}
		for n := range 5 { // lengths even and odd
			if LogLosses(got[n:], prob[n:], y[n:]); !sameBits(got, want) {
				t.Errorf("seed %d: other bits", seed)
			}
		}
	}
}

func BenchmarkLogLosses(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 51))
	prob, y, dst := make([]float64, 128), make([]float64, 128), make([]float64, 128)
	for i := range prob {
		prob[i], y[i] = r.Float64(), float64(r.IntN(2))
	}
	for b.Loop() {
		LogLosses(dst, prob, y)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(dst)), "ns/record")
}
