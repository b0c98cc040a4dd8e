package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRecentHoldsTheNewestBlocks(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 30))
	recent := NewRecent()
	if recent.Records() != 0 || !math.IsNaN(recent.Accuracy()) || !math.IsNaN(recent.LogLoss()) {
		t.Errorf("no records: %d, accuracy %v, log loss %v", recent.Records(), recent.Accuracy(), recent.LogLoss())
	}
	var correct []bool
	var losses []float64
	for n := 1; n <= 25_321; n++ {
		correct, losses = append(correct, r.Float64() < 0.7), append(losses, r.ExpFloat64())
		recent.Add(correct[n-1], losses[n-1])
		if n%61 != 0 && n%100 > 1 {
			continue
		}
		held := n
		if n > 10_000 {
			held = 9900 + (n-1)%100 + 1
		}
		var hits, loss float64
		for i := n - held; i < n; i++ {
			loss += losses[i] / float64(held)
			if correct[i] {
				hits++
			}
		}
		if recent.Records() != held || recent.Accuracy() != hits/float64(held) || !close64(recent.LogLoss(), loss) {
			t.Fatalf("seed %d, after %d records: %d of accuracy %v, log loss %v; want %d, %v, %v", seed, n,
				recent.Records(), recent.Accuracy(), recent.LogLoss(), held, hits/float64(held), loss)
		}
	}
}

func TestNothingOutlivesItsBlock(t *testing.T) {
	recent := NewRecent()
	recent.Add(false, math.Inf(1))
	for range 10_000 {
		recent.Add(true, 0.1)
	}
	if recent.Accuracy() != 1 || !close64(recent.LogLoss(), 0.1) {
		t.Errorf("accuracy %v, log loss %v; want 1, 0.1", recent.Accuracy(), recent.LogLoss())
	}
}

func TestRestoredRecentGoesOnEqually(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 30))
	for _, half := range []int{0, 1, 100, 5050, 10_000, 33_333} {
		whole, resumed := NewRecent(), NewRecent()
		for range half {
			whole.Add(r.Float64() < 0.5, r.ExpFloat64())
		}
		if err := resumed.Restore(whole.State()); err != nil {
			t.Fatal(err)
		}
		for n := range 10_500 {
			if resumed.Records() != whole.Records() || n > 0 && resumed.LogLoss() != whole.LogLoss() {
				t.Fatalf("restored after %d records: differs %d records later", half, n)
			}
			c, loss := r.Float64() < 0.5, r.ExpFloat64()
			whole.Add(c, loss)
			resumed.Add(c, loss)
		}
		if !slices.Equal(whole.State(), resumed.State()) {
			t.Errorf("restored after %d records: other state at the end", half)
		}
	}
}

func TestRestoreRecentSaysWhatIsWrong(t *testing.T) {
	recent := NewRecent()
	recent.Add(true, 1)
	good := recent.State()
	change := func(i int, x float64) []float64 {
		state := slices.Clone(good)
		state[i] = x
		return state
	}
	for name, state := range map[string][]float64{
		"short":                 good[1:],
		"an impossible block":   change(0, recentBlocks),
		"too many records":      change(1, recentBlock+1),
		"more right than there": change(2, 2),
		"half a record":         change(1, 1.5),
	} {
		if err := recent.Restore(state); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !slices.Equal(recent.State(), good) {
			t.Errorf("%s: the scores changed", name)
		}
	}
}
