package evaluate

import (
	"encoding/binary"
	"hash/fnv"
	"testing"
)

// The hash is the same on every CPU, with and without fused multiply-add: what is decided from these states, and kept
// in them, is a function of the records alone.
func TestStatesHaveTheSameBitsOnEveryCPU(t *testing.T) {
	next := splitmix(1)
	comparison, hinkley, recent, stability := NewComparison(2), NewPageHinkley(0.005, 10), NewRecent(), NewStability(3, 500)
	hash := fnv.New64a()
	write := func(numbers ...float64) {
		if err := binary.Write(hash, binary.LittleEndian, numbers); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20_000 {
		d := float64(next()*next()) - 0.3
		x := []float64{next() * 3.3, next() / 3, next() + float64(n)/1e4}
		comparison.Add(d)
		hinkley.Add(d)
		recent.Add(d > 0, d)
		stability.Collect(x)
		if stability.Add(x) {
			write(stability.Index(0), stability.Index(1), stability.Index(2))
		}
		if n%3000 == 2999 {
			stability.Mark()
		}
		if n%1000 == 999 {
			low, high := comparison.Bounds()
			write(low, high, float64(comparison.Decided()), hinkley.Score(), recent.LogLoss())
		}
	}
	for _, state := range [][]float64{comparison.State(), hinkley.State(), recent.State(), stability.State()} {
		write(state...)
	}
	const want = 0x8035433303aa0924
	if got := hash.Sum64(); got != want {
		t.Errorf("hash %#x, want %#x", got, uint64(want))
	}
}
