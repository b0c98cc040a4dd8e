package evaluate

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// splitmix returns numbers in [0, 1), the same in every language.
func splitmix(seed uint64) func() float64 {
	return func() float64 {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return float64((z^z>>31)>>11) * 0x1p-53
	}
}

// The reference is River 0.26.1: drift.PageHinkley(min_instances=1, delta=delta, threshold=lambda, alpha=1, mode="up").
func TestPageHinkleyReportsWhereRiverDoes(t *testing.T) {
	text, err := os.ReadFile("testdata/pagehinkley.json")
	if err != nil {
		t.Fatal(err)
	}
	var streams []struct {
		Seed          uint64
		Delta, Lambda float64
		Parts         [][2]float64 // records, mean
		Reports       []int        // after how many records
		Score         float64      // at the end
	}
	if err := json.Unmarshal(text, &streams); err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		next, p := splitmix(s.Seed), NewPageHinkley(s.Delta, s.Lambda)
		var reports []int
		added := 0
		for _, part := range s.Parts {
			for range int(part[0]) {
				added++
				if p.Add(part[1] * 2 * next()) {
					reports = append(reports, added)
				}
			}
		}
		if !slices.Equal(reports, s.Reports) {
			t.Errorf("seed %d: reports after %v, want %v", s.Seed, reports, s.Reports)
		}
		if math.Abs(p.Score()-s.Score) > 1e-8 {
			t.Errorf("seed %d: score %v at the end, want %v", s.Seed, p.Score(), s.Score)
		}
	}
}

func TestPageHinkleyDelayAndFalls(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 20))
		p := NewPageHinkley(0.005, 50)
		for n := range 400_000 {
			mean := 0.0
			if n >= 200_000 {
				mean = -0.2 // a fall
			}
			if p.Add(mean + 0.15*r.NormFloat64()) {
				t.Errorf("seed %d: reported after %d records without a rise", seed, n+1)
			}
		}
		p.Restart()
		if p.Score() != 0 {
			t.Errorf("seed %d: score %v after a restart", seed, p.Score())
		}
		for range 100_000 {
			p.Add(0.15 * r.NormFloat64())
		}
		delay := 1
		for !p.Add(0.055 + 0.15*r.NormFloat64()) {
			delay++
		}
		if delay < 800 || delay > 1300 {
			t.Errorf("seed %d: a rise by .055 is reported after %d records, want some 50/.05 = 1,000", seed, delay)
		}
	}
}

func TestRestoredPageHinkleyGoesOnEqually(t *testing.T) {
	for _, half := range []int{0, 1, 500, 20_000} {
		r := rand.New(rand.NewPCG(1, 21))
		whole, resumed := NewPageHinkley(0.005, 10), NewPageHinkley(0.005, 10)
		for range half {
			whole.Add(r.NormFloat64())
		}
		if err := resumed.Restore(whole.State()); err != nil {
			t.Fatal(err)
		}
		reports := 0
		for range 20_000 {
			x := r.NormFloat64()
			a, b := whole.Add(x), resumed.Add(x)
			if a != b || !slices.Equal(whole.State(), resumed.State()) {
				t.Fatalf("restored after %d records: differs", half)
			}
			if a {
				reports++
			}
		}
		if reports == 0 {
			t.Errorf("restored after %d records: no report was compared", half)
		}
	}
	if err := NewPageHinkley(1, 1).Restore(make([]float64, 3)); err == nil {
		t.Error("a short state: no error")
	}
}
