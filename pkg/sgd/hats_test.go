package sgd

import (
	"math"
	"slices"
	"testing"
)

// plainHats is hats of one column without any economy.
type plainHats struct {
	kept  []float64
	knots []float64
}

// interpolate returns what the function through (knots, values) is at t.
func (p *plainHats) interpolate(values []float64, t float64) float64 {
	if t <= p.knots[0] {
		return values[0]
	}
	for j := 1; j < len(p.knots); j++ {
		if t <= p.knots[j] {
			share := (t - p.knots[j-1]) / (p.knots[j] - p.knots[j-1])
			return (1-share)*values[j-1] + share*values[j]
		}
	}
	return values[len(values)-1]
}

// lay returns new knots.
func (p *plainHats) lay() []float64 {
	sorted := slices.Sorted(slices.Values(p.kept))
	var knots []float64
	for j := range 8 {
		knot := sorted[int(math.Round(float64(j)/7*float64(len(sorted)-1)))]
		if j > 0 && knot <= knots[j-1] {
			knot = math.Nextafter(knots[j-1], 1e300)
		}
		knots = append(knots, knot)
	}
	return knots
}

func TestHatsAgreeWithAPlainReference(t *testing.T) {
	const width, n, seed = 5, 4200, 21
	b := randomBlock(t, 1, width, n)
	f := newHats(width, seed)
	learner := newDiagonal(f.width(), 0.1, 0)
	slots := newRandom(seed, "hats")
	columns := make([]plainHats, width)
	moves := 0
	for i := range n {
		row := i + 1
		slot := i
		if row > 1024 {
			slot = int(slots.below(uint64(row)))
		}
		was := map[string][]float64{"weights": slices.Clone(learner.weights), "variances": slices.Clone(learner.p)}
		got := f.advance(b.row(i), learner)
		want := []float64{1}
		moved := row >= 32 && math.Log2(float64(row)) == math.Trunc(math.Log2(float64(row)))
		if moved {
			moves++
		}
		for c := range columns {
			p, t0 := &columns[c], b.row(i).t[c]
			if slot < len(p.kept) {
				p.kept[slot] = t0
			} else if slot < 1024 {
				p.kept = append(p.kept, t0)
			}
			if moved {
				knots := p.lay()
				now := map[string][]float64{"weights": learner.weights, "variances": learner.p}
				for name, v := range was {
					for j, knot := range knots {
						at := 1 + 8*c + j
						before := v[at] // no knots until now: as it is
						if p.knots != nil {
							before = p.interpolate(v[1+8*c:][:8], knot)
						}
						if math.Abs(now[name][at]-before) > 1e-12 {
							t.Fatalf("row %d, column %d, %s: %v at new knot %d, want %v", row, c, name, now[name][at], j, before)
						}
					}
				}
				p.knots = knots
			}
			for j := range 8 {
				hat := 0.0
				if p.knots != nil {
					only := make([]float64, 8)
					only[j] = 1
					hat = p.interpolate(only, t0)
				}
				want = append(want, hat)
			}
		}
		for j := range want {
			if math.Abs(got[j]-want[j]) > 1e-12 {
				t.Fatalf("row %d, place %d: %v, want %v", row, j, got[j], want[j])
			}
		}
		learner.step(got, nil, b.y[i], 1)
	}
	if moves != 8 {
		t.Errorf("knots were laid %d times, want 8", moves)
	}
}

func TestHatsBeyondTheKnotsAreTheEndOnes(t *testing.T) {
	knots := []float64{-3, -2, -1, 0, 1, 2, 3, 4}
	tests := []struct {
		name  string
		give  float64
		hat   int
		share float64
	}{
		{"far below", -1e150, 0, 0},
		{"the first knot", -3, 0, 0},
		{"between", -0.75, 2, 0.25},
		{"an inner knot", 0, 2, 1},
		{"the last piece", 3.5, 6, 0.5},
		{"the last knot", 4, 6, 1},
		{"far above", 1e150, 6, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if hat, share := locate(knots, tt.give); hat != tt.hat || share != tt.share {
				t.Errorf("got hat %d, share %g, want %d, %g", hat, share, tt.hat, tt.share)
			}
		})
	}
}
