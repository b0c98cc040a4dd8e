package sgd

import (
	"os"
	"slices"
	"testing"
)

// hazards are what real streams do to a learner. Each makes other rows of SUSY rows.
var hazards = []struct {
	name string
	do   func(rows *Rows, r *random) *Rows
	// What must hold against the clean rows.
	fall     float64 // at most so much less accuracy
	rise     float64 // at most so much more log loss; 0: anything
	accuracy float64 // at least
}{
	{
		name: "0.1 % of values times 1e6", fall: 0.010,
		do: eachValue(func(r *random, _, _ int, v float64) float64 {
			if r.uniform() < 0.001 {
				return v * 1e6
			}
			return v
		}),
	},
	{
		name: "labels inverted half way", fall: 1, accuracy: 0.75,
		do: func(rows *Rows, _ *random) *Rows {
			other := &Rows{Width: rows.Width, X: rows.X, Y: slices.Clone(rows.Y)}
			for i := rows.Len() / 2; i < rows.Len(); i++ {
				other.Y[i] = 1 - other.Y[i]
			}
			return other
		},
	},
	{
		name: "six doubled columns and a constant", fall: 0.002, rise: 0.002,
		do: moreColumns(func(_ *random, x []float64, _ int) []float64 { return append(slices.Clone(x[:6]), 7) }),
	},
	{
		name: "columns times 1e4 and 1e-4", fall: 0.002, rise: 0.002,
		do: eachValue(func(_ *random, _, j int, v float64) float64 { return v * []float64{1e4, 1e-4}[j%2] }),
	},
	{
		name: "columns times 1e-13", fall: 0.002, rise: 0.002,
		do: eachValue(func(_ *random, _, _ int, v float64) float64 { return v * 1e-13 }),
	},
	{
		name: "columns times 1e200", fall: 0.002, rise: 0.002,
		do: eachValue(func(_ *random, _, _ int, v float64) float64 { return v * 1e200 }),
	},
	{
		name: "columns plus 1e9", fall: 0.002, rise: 0.002,
		do: eachValue(func(_ *random, _, _ int, v float64) float64 { return v + 1e9 }),
	},
	{
		name: "a denormal column", fall: 0.002, rise: 0.002,
		do: eachValue(func(_ *random, _, j int, v float64) float64 {
			if j == 6 {
				return v * 1e-310
			}
			return v
		}),
	},
	{
		name: "a column that is constant at first", fall: 0.010,
		do: eachValue(func(_ *random, i, j int, v float64) float64 {
			if j == 6 && i < 500 {
				return 0
			}
			return v
		}),
	},
	{
		name: "a column of one value and then zeros", fall: 0.010,
		do: eachValue(func(_ *random, i, j int, v float64) float64 {
			if j == 6 && i > 0 && i <= 80 {
				return 0
			}
			return v
		}),
	},
}

func eachValue(f func(r *random, i, j int, v float64) float64) func(*Rows, *random) *Rows {
	return func(rows *Rows, r *random) *Rows {
		other := &Rows{Width: rows.Width, X: make([]float64, len(rows.X)), Y: rows.Y}
		for k, v := range rows.X {
			other.X[k] = f(r, k/rows.Width, k%rows.Width, v)
		}
		return other
	}
}

func moreColumns(f func(r *random, x []float64, i int) []float64) func(*Rows, *random) *Rows {
	return func(rows *Rows, r *random) *Rows {
		other := &Rows{Y: rows.Y}
		for i := range rows.Len() {
			other.X = append(append(other.X, rows.Row(i)...), f(r, rows.Row(i), i)...)
		}
		other.Width = len(other.X) / rows.Len()
		return other
	}
}

// seeds returns how many seeds a slow test goes over: LONG_TESTS=1 asks for five.
func seeds() uint64 {
	if os.Getenv("LONG_TESTS") != "" {
		return 5
	}
	return 1
}

func TestHazards(t *testing.T) {
	measured(t)
	for _, kind := range []string{"mix", "zoo"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= seeds(); seed++ {
				clean := susyRows(t)
				accuracy, loss := progress(newModel(t, kind, clean.Width, seed), clean)
				t.Logf("seed %d: clean: %.4f / %.4f", seed, accuracy, loss)
				for _, h := range hazards {
					r := newRandom(seed, h.name)
					rows := h.do(clean, &r)
					a, l := progress(newModel(t, kind, rows.Width, seed), rows)
					t.Logf("seed %d: %s: %.4f / %.4f", seed, h.name, a, l)
					if !(a >= accuracy-h.fall) || !(a >= h.accuracy) {
						t.Errorf("seed %d: %s: accuracy %.4f, clean %.4f", seed, h.name, a, accuracy)
					}
					if h.rise > 0 && !(l <= loss+h.rise) {
						t.Errorf("seed %d: %s: log loss %.4f, clean %.4f", seed, h.name, l, loss)
					}
				}
			}
			rare(t, kind)
		})
	}
}

// rare keeps 2 % of the ones, in five draws: their log loss must be well below that of the running prior. How far depends on
// which hundred rows a draw keeps, so it is judged by the mean.
func rare(t *testing.T, kind string) {
	t.Helper()
	const draws = 5
	sum := 0.0
	for seed := uint64(1); seed <= draws; seed++ {
		all, r := susyRows(t), newRandom(seed, "rare")
		rows := &Rows{Width: all.Width}
		for i, y := range all.Y {
			if y == 0 || r.uniform() < 0.02 {
				rows.X, rows.Y = append(rows.X, all.Row(i)...), append(rows.Y, y)
			}
		}
		var ones, prior float64
		for i, y := range rows.Y {
			prior += LogLoss((ones+1)/(float64(i)+2), y)
			ones += y
		}
		prior /= float64(rows.Len())
		accuracy, loss := progress(newModel(t, kind, rows.Width, seed), rows)
		t.Logf("seed %d: %v of %d rows are ones: %.4f / %.4f, %.3f of the running prior's loss", seed, ones, rows.Len(),
			accuracy, loss, loss/prior)
		sum += loss / prior
	}
	if mean := sum / draws; mean > 0.82 {
		t.Errorf("few ones: log loss %.3f of the running prior's, in the mean of seeds 1 to %d", mean, draws)
	}
}
