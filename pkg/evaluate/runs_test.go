package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// inRuns cuts n records into runs of random lengths.
func inRuns(r *rand.Rand, n int, run func(from, to int)) {
	for from := 0; from < n; {
		to := min(n, from+r.IntN(1+[]int{1, 5, 300, 5000}[r.IntN(4)]))
		run(from, to)
		from = to
	}
}

func equalStates(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
}

// A run of records has the bits of one record after another.
func TestRunsGiveTheBitsOfSingleRecords(t *testing.T) {
	const n = 40_000
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 50))
		correct, loss, y := make([]uint8, n), make([]float64, n), make([]float64, n)
		for i := range n {
			correct[i], loss[i], y[i] = bit(r.Float64() < .8), r.ExpFloat64(), float64(bit(r.Float64() < .6))
			if i > n/2 {
				loss[i] += .2
			}
		}

		one, many := NewRecent(), NewRecent()
		against, inOne := NewComparison(2), NewComparison(2)
		hinkley, hinkleys := NewPageHinkley(.01, 20), NewPageHinkley(.01, 20)
		var labels, allLabels Labels
		var rises, rose []int
		answers := [4][]float64{}
		inRuns(r, n, func(from, to int) {
			m := to - from
			many.AddRun(correct[from:to], loss[from:to])
			differences := make([]float64, m)
			for i := range differences {
				differences[i] = 2*loss[from+i] - 4
			}
			inOne.AddRun(differences)
			majority, last := Answers{make([]float64, m), make([]uint8, m)}, Answers{make([]float64, m), make([]uint8, m)}
			allLabels.AddRun(y[from:to], majority, last)
			for i := range m {
				answers[2], answers[3] = append(answers[2], majority.Prob[i], float64(majority.Correct[i])), append(answers[3], last.Prob[i], float64(last.Correct[i]))
			}
			for at := from; at < to; {
				taken, risen := hinkleys.AddRun(loss[at:to])
				if at += taken; risen {
					rises = append(rises, at)
				}
			}
			for i := from; i < to; i++ {
				one.Add(correct[i] == 1, loss[i])
				against.Add(differences[i-from])
				if hinkley.Add(loss[i]) {
					rose = append(rose, i+1)
				}
				p, class := labels.Majority()
				answers[0] = append(answers[0], p, float64(bit(class == y[i])))
				p, class = labels.LastLabel()
				answers[1] = append(answers[1], p, float64(bit(class == y[i])))
				labels.Add(y[i])
			}
			for _, states := range [][2][]float64{
				{many.State(), one.State()}, {inOne.State(), against.State()}, {hinkleys.State(), hinkley.State()},
			} {
				if !equalStates(states[0], states[1]) {
					t.Fatalf("seed %d, records %d to %d: state %v, want %v", seed, from, to, states[0], states[1])
				}
			}
		})
		if !slices.Equal(rises, rose) || len(rose) == 0 {
			t.Errorf("seed %d: rises at %v, want %v", seed, rises, rose)
		}
		if labels != allLabels || !equalStates(answers[0], answers[2]) || !equalStates(answers[1], answers[3]) {
			t.Errorf("seed %d: labels %+v, want %+v", seed, allLabels, labels)
		}
	}
}

// Rows of any width, values at edges among them, are counted and collected as one by one.
func TestRunsOfRowsAreComparedAsSingleRows(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 51))
		width := []int{1, 2, 3, 18, 64, 65, 70}[seed%7]
		const rows, n = 100, 15_000
		draw := func() float64 {
			switch r.IntN(4) {
			case 0:
				return float64(r.IntN(7)-3) * .5
			case 1:
				return []float64{math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324}[r.IntN(5)]
			}
			return r.NormFloat64()
		}
		x := make([]float64, n*width)
		for i := range x {
			x[i] = draw()
		}
		one, many := NewStability(width, rows), NewStability(width, rows)
		var windows []int
		marked := 0
		inRuns(r, n, func(from, to int) {
			if from >= marked+3*rows {
				one.Mark()
				many.Mark()
				marked = from
			}
			many.CollectRun(x[from*width:to*width], width)
			var complete []int
			for at := from; at < to; {
				taken, done := many.AddRun(x[at*width:to*width], width, false)
				if at += taken; done {
					complete = append(complete, at)
				}
			}
			var want []int
			for i := from; i < to; i++ {
				one.Collect(x[i*width : (i+1)*width])
				if one.Add(x[i*width : (i+1)*width]) {
					want = append(want, i+1)
				}
			}
			windows = append(windows, want...)
			if !slices.Equal(complete, want) || !equalStates(many.State(), one.State()) {
				t.Fatalf("seed %d, width %d, rows %d to %d: windows end at %v, want %v", seed, width, from, to, complete, want)
			}
		})
		if len(windows) == 0 {
			t.Errorf("seed %d: no window was complete", seed)
		}
	}
}

func TestPairsAreCountedAsPlainly(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 52))
	values := []float64{0, math.Copysign(0, -1), 1, math.Nextafter(1, 2), math.Inf(1), math.Inf(-1), 5e-324, -1e308, 1e308}
	missing := []float64{math.NaN(), math.Copysign(math.NaN(), -1)}
	for width := 2; width < 6; width++ {
		for n := range 20 {
			x := make([]float64, n*width)
			for i := range x {
				for x[i] = values[r.IntN(len(values))]; math.IsInf(x[i], 0); {
					x[i] = r.NormFloat64()
				}
				if n%2 == 1 && r.IntN(3) == 0 {
					x[i] = missing[r.IntN(2)]
				}
			}
			var edges [stabilityEdges][2]float64
			for k := range edges {
				edges[k] = [2]float64{values[r.IntN(len(values))] + 0, values[r.IntN(len(values))] + 0}
			}
			var got, want [stabilityEdges][2]int64
			part := x[min(1, len(x)):] // from a column that is not the first
			if width == 2 {
				part = x
			}
			countPair(&got, &edges, part, width)
			plainCountPair(&want, &edges, part, width)
			if got != want {
				t.Errorf("seed %d: %d rows of %d: %v, want %v", seed, n, width, got, want)
			}
		}
	}
}
