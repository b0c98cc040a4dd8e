package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

func TestStabilityOfMissingValues(t *testing.T) {
	nan := math.NaN()
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64((i*37)%100+1))
	}
	// half has the same ten deciles as hundred, and as many values missing as there are.
	half := repeat(50, nan)
	for i := range 50 {
		half = append(half, float64(2*i+2))
	}
	tests := []struct {
		name              string
		reference, window []float64
		want              float64
	}{
		{"the same shares in the window", hundred, half, 0},
		{"the same shares in the reference", half, hundred, 0},
		{"the same shares in both", half, half, 0},
		{"other shares", repeat(50, nan, 30, 0, 20, 1), repeat(40, 1, 20, nan, 40, 0), 0.1*math.Log(6.0/5) + 0.1*math.Log(5.0/4)},
		{"a bin without values", repeat(60, 0, 40, 1), repeat(50, nan, 50, 1), 0.595*math.Log(120) + 0.6*math.Log(1/0.4)},
		{"too few in the window", hundred, repeat(51, nan, 49, 7), nan},
		{"too few in the reference", repeat(51, nan, 49, 7), hundred, nan},
		{"none in the window", hundred, repeat(100, nan), nan},
		{"none in the reference", repeat(100, nan), hundred, nan},
		{"none at all", repeat(100, nan), repeat(100, nan), nan},
		{"NaN of the other sign", hundred, append(repeat(50, math.Copysign(nan, -1)), half[50:]...), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := against(tt.reference)
			for range 2 {
				got := indexOf(t, s, tt.window)
				if math.IsNaN(tt.want) != math.IsNaN(got) || math.Abs(got-tt.want) > 1e-12 {
					t.Errorf("index %v, want %v", got, tt.want)
				}
			}
			if n, complete := s.AddRun(tt.window, 1, true); n != 100 || !complete || math.Float64bits(s.Index(0)) != math.Float64bits(indexOf(t, against(tt.reference), tt.window)) {
				t.Errorf("a run of %d rows, complete: %t, has the index %v", n, complete, s.Index(0))
			}
			feature, index := s.Worst()
			if math.IsNaN(tt.want) && (feature != -1 || !math.IsNaN(index)) || !math.IsNaN(tt.want) && feature != 0 {
				t.Errorf("worst feature %d with %v", feature, index)
			}
		})
	}
}

// A feature that goes missing has no index any more; the next one that is there may be the worst.
func TestFeatureThatGoesMissing(t *testing.T) {
	const seed, n = 1, 10_000
	r := rand.New(rand.NewPCG(seed, 61))
	s := NewStability(2, n)
	window := func(missing float64) {
		for range n {
			x := []float64{r.NormFloat64(), 2 * r.NormFloat64()}
			if r.Float64() < missing {
				x[0] = math.NaN()
			}
			s.Add(x)
		}
	}
	for range n {
		s.Collect([]float64{r.NormFloat64(), r.NormFloat64()})
	}
	s.Mark()
	s.Mark()
	for _, missing := range []float64{0, 0.5, 0.95} {
		if window(missing); !(s.Index(0) < 0.1) || !(s.Index(1) > StabilityAlarm) {
			t.Errorf("seed %d, a share of %v is missing: indices %v and %v", seed, missing, s.Index(0), s.Index(1))
		}
	}
	for _, missing := range []float64{0.97, 1} {
		if window(missing); !math.IsNaN(s.Index(0)) || !(s.Index(1) > StabilityAlarm) {
			t.Errorf("seed %d, a share of %v is missing: indices %v and %v", seed, missing, s.Index(0), s.Index(1))
		}
		if feature, index := s.Worst(); feature != 1 || index != s.Index(1) {
			t.Errorf("worst feature %d with %v, want 1 with %v", feature, index, s.Index(1))
		}
	}
}

// wideRows are those of a stream, of which a third of each feature but the first is missing.
var wideRows = sync.OnceValue(func() [][]float64 {
	r, xs := rand.New(rand.NewPCG(1, 62)), make([][]float64, 15_000)
	for n := range xs {
		xs[n] = make([]float64, 80)
		for i := range xs[n] {
			xs[n][i] = r.NormFloat64() + float64(n/2000)
			if i > 0 && r.IntN(3) == 0 {
				xs[n][i] = math.Copysign(math.NaN(), r.Float64()-0.5)
			}
		}
	}
	return xs
})

// life is what a Stability gets, with a copy every 3,000 records, until it has had so many records. Rows grow at some of them.
type life struct {
	*Stability
	n     int
	grown map[int]int // width from a record on
	index [][]float64 // of each record
}

func (l *life) width(n int) int {
	width := 2
	for from, w := range l.grown {
		if from <= n {
			width = max(width, w)
		}
	}
	return width
}

func (l *life) run(to int) {
	xs := wideRows()
	for ; l.n < to; l.n++ {
		width := l.width(l.n)
		l.Grow(width)
		x := xs[l.n][:width]
		l.Add(x)
		if l.n%3000 >= 2000 {
			l.Collect(x)
		}
		if l.n%3000 == 2999 {
			l.Mark()
		}
		l.index = append(l.index, slices.Clone(l.Stability.index))
	}
}

// A restart gives the same bits at any record: also beside a growth, inside a collection, a window, or at a copy.
func TestRestoredStabilityGrowsOnEqually(t *testing.T) {
	const rows, end = 1000, 14_500
	for _, at := range []int{1, 2000, 2500, 2999, 3000, 3001, 5600, 6000, 7500} {
		grown := map[int]int{at: 5, at + 700: 8, at + 701: 9}
		whole := &life{Stability: NewStability(2, rows), grown: grown}
		whole.run(end)
		for _, stop := range []int{at - 1, at, at + 1, at + 700, at + 701, at + 2000, 11_000} {
			before := &life{Stability: NewStability(2, rows), grown: grown}
			before.run(stop)
			for _, early := range []bool{false, true} { // the growth before the state is kept, or behind
				if early {
					before.Grow(before.width(stop))
				}
				resumed := &life{Stability: NewStability(before.features, rows), grown: grown, n: stop}
				if err := resumed.Restore(before.State()); err != nil {
					t.Fatal(err)
				}
				resumed.run(end)
				if !slices.EqualFunc(resumed.index, whole.index[stop:], equalStates) || !equalStates(resumed.State(), whole.State()) {
					t.Fatalf("growth at %d, restored at %d (grown before: %t): other bits", at, stop, early)
				}
			}
		}
		compared := 0
		for i := range whole.Features() {
			compared += int(bit(!math.IsNaN(whole.Index(i))))
		}
		if compared != 9 {
			t.Errorf("growth at %d: %d features have an index at the end", at, compared)
		}
	}
}

// What was watched before has the same indices with and without the features that come.
func TestGrowthDisturbsNothing(t *testing.T) {
	const rows, end, at = 1000, 11_500, 2600
	narrow := &life{Stability: NewStability(2, rows)}
	wide := &life{Stability: NewStability(2, rows), grown: map[int]int{at: 4}}
	narrow.run(end)
	wide.run(end)
	for n, index := range wide.index {
		if !equalStates(index[:2], narrow.index[n]) {
			t.Fatalf("row %d: indices %v, want %v", n, index, narrow.index[n])
		}
		if n < at {
			continue
		}
		// 400 rows with the new features, a third missing, make no reference of the copy at 3,000. That at 6,000 has one, and
		// predicts from 9,000 on; its first window ends 1,000 records later.
		for _, v := range index[2:] {
			if math.IsNaN(v) != (n < 9000+rows-1) {
				t.Fatalf("row %d: indices %v", n, index)
			}
		}
	}
}

// Runs of rows that grow and of which values are missing are counted as single rows.
func TestRunsWithMissingValuesAreComparedAsSingleRows(t *testing.T) {
	const rows, n = 100, 15_000
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 63))
		one, many := NewStability(1, rows), NewStability(1, rows)
		width, windows, marked := 1, 0, 0
		inRuns(r, n, func(from, to int) {
			if r.IntN(3) == 0 {
				width = min(80, width+r.IntN(20))
				one.Grow(width)
				many.Grow(width)
			}
			if from >= marked+3*rows {
				one.Mark()
				many.Mark()
				marked = from
			}
			var x []float64
			for _, row := range wideRows()[from:to] {
				x = append(x, row[:width]...)
			}
			many.CollectRun(x, width)
			for rest := x; len(rest) > 0; {
				taken, done := many.AddRun(rest, width, true)
				rest = rest[taken*width:]
				windows += int(bit(done))
			}
			for at := 0; at < len(x); at += width {
				one.Collect(x[at : at+width])
				one.Add(x[at : at+width])
			}
			if !equalStates(many.State(), one.State()) {
				t.Fatalf("seed %d, width %d, rows %d to %d: other states", seed, width, from, to)
			}
		})
		if windows < 3 || width < 10 || one.Features() != min(width, 64) {
			t.Errorf("seed %d: %d windows were complete, rows grew to %d, %d are watched", seed, windows, width, one.Features())
		}
	}
}
