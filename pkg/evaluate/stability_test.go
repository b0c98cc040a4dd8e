package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"learner/pkg/susy"
)

// against returns a Stability of one feature that compares with these rows.
func against(reference []float64) *Stability {
	s := NewStability(1, len(reference))
	for _, v := range reference {
		s.Collect([]float64{v})
	}
	s.Mark()
	s.Mark()
	return s
}

// indexOf returns the index of a window.
func indexOf(t *testing.T, s *Stability, window []float64) float64 {
	t.Helper()
	for i, v := range window {
		if complete := s.Add([]float64{v}); complete != (i == len(window)-1) {
			t.Fatalf("row %d of %d completes the window: %t", i+1, len(window), complete)
		}
	}
	return s.Index(0)
}

func repeat(parts ...float64) []float64 {
	var values []float64
	for i := 0; i < len(parts); i += 2 {
		values = append(values, slices.Repeat([]float64{parts[i+1]}, int(parts[i]))...)
	}
	return values
}

func TestStabilityIndexByHand(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64((i*37)%100+1)) // 1 to 100, out of order
	}
	tests := []struct {
		name              string
		reference, window []float64
		want              float64
	}{
		{"the same rows", hundred, hundred, 0},
		{"a value at an edge belongs below it", hundred, repeat(10, 10, 10, 11, 80, 50), 0.7*math.Log(8) - 7*0.095*math.Log(0.05)},
		{"both ends only", hundred, repeat(50, -1e9, 50, 1e9), 2*0.4*math.Log(5) - 8*0.095*math.Log(0.05)},
		{"a constant", repeat(100, 7), repeat(100, 7), 0},
		{"a constant that rises", repeat(100, 7), repeat(100, 7.001), 2 * 0.995 * math.Log(200)},
		{"a constant that falls", repeat(100, 7), repeat(100, 6.999), 2 * 0.995 * math.Log(200)},
		{"a constant that is 0 and falls", repeat(100, 0), repeat(100, -1e-300), 2 * 0.995 * math.Log(200)},
		{"zeros of both signs", repeat(40, 0, 60, math.Copysign(0, -1)), repeat(60, 0, 40, math.Copysign(0, -1)), 0},
		{"two values", repeat(60, 0, 40, 1), repeat(30, 0, 70, 1), 0.3*math.Log(2) + 0.3*math.Log(7.0/4)},
		{"a rare value", repeat(98, 0, 2, 1), repeat(96, 0, 4, 1), 0.02*math.Log(98.0/96) + 0.02*math.Log(2)},
		{"a value between two", repeat(60, 0, 40, 1), repeat(60, 0, 40, 0.5), 2 * 0.395 * math.Log(80)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := against(tt.reference)
			if !math.IsNaN(s.Index(0)) {
				t.Errorf("index %v without a window", s.Index(0))
			}
			for range 2 { // a window begins as the one before it did
				if got := indexOf(t, s, tt.window); math.Abs(got-tt.want) > 1e-12 {
					t.Errorf("index %v, want %v", got, tt.want)
				}
			}
			if feature, index := s.Worst(); feature != 0 || index != s.Index(0) {
				t.Errorf("worst feature %d with %v, want 0 with %v", feature, index, s.Index(0))
			}
		})
	}
}

// columns are features of many kinds; the scale is 1 without a change.
var columns = []struct {
	name string
	draw func(r *rand.Rand, scale float64) float64
}{
	{"normal", func(r *rand.Rand, scale float64) float64 { return scale * r.NormFloat64() }},
	{"exponential", func(r *rand.Rand, scale float64) float64 { return scale * r.ExpFloat64() }},
	{"cauchy", func(r *rand.Rand, scale float64) float64 { return 1e200 * scale * r.NormFloat64() / r.NormFloat64() }},
	{"tiny", func(r *rand.Rand, scale float64) float64 { return 1e-310 * scale * r.ExpFloat64() }},
	{"zero or one", func(r *rand.Rand, scale float64) float64 { return math.Floor(r.Float64() + 0.2*scale) }},
	{"rarely one", func(r *rand.Rand, scale float64) float64 { return math.Floor(r.Float64() + 1e-4*scale) }},
	{"counts", func(r *rand.Rand, scale float64) float64 { return math.Floor(3 * scale * r.ExpFloat64()) }},
	{"ten levels", func(r *rand.Rand, scale float64) float64 { return math.Floor(10 * math.Pow(r.Float64(), scale)) }},
	{"mostly zero", func(r *rand.Rand, scale float64) float64 { return scale * max(0, r.NormFloat64()-1) }},
	{"constant", func(*rand.Rand, float64) float64 { return 1e9 }},
}

func TestStationaryFeaturesGiveNoAlarmAndDriftingOnesDo(t *testing.T) {
	highest := make([]float64, len(columns))
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 40))
		s := NewStability(len(columns), 10_000)
		x := make([]float64, len(columns))
		draw := func(scale float64) []float64 {
			for i, c := range columns {
				x[i] = c.draw(r, scale)
			}
			return x
		}
		for range 10_000 {
			s.Collect(draw(1))
		}
		s.Mark()
		s.Mark()
		for range 10 * 10_000 {
			if !s.Add(draw(1)) {
				continue
			}
			for i, c := range columns {
				highest[i] = max(highest[i], s.Index(i))
				if !(s.Index(i) < 0.01) {
					t.Errorf("seed %d, %s: index %v without a change", seed, c.name, s.Index(i))
				}
			}
		}
		for !s.Add(draw(2.5)) {
			continue
		}
		for i, c := range columns {
			switch c.name {
			case "constant", "rarely one", "mostly zero": // which the scale moves not at all, or in few rows
				continue
			}
			if !(s.Index(i) > StabilityAlarm) {
				t.Errorf("seed %d, %s: index %v after a change of scale", seed, c.name, s.Index(i))
			}
		}
	}
	t.Logf("seeds 0 to 2: at most %.4f without a change", slices.Max(highest))
}

func TestStabilityReportsADriftOfEnergies(t *testing.T) {
	const ramp = 100_000 // records, up to a scale of 1.5
	var delays []int
	for seed := range uint64(5) {
		events := susy.NewGenerator(seed)
		var x [susy.Features]float64
		s := NewStability(len(x), 10_000)
		for range 10_000 {
			events.Next(&x)
			s.Collect(x[:])
		}
		s.Mark()
		s.Mark()
		drifting := 0
		for _, index := s.Worst(); !(index > StabilityAlarm) && drifting < ramp; _, index = s.Worst() {
			drifting++
			events.EnergyScale = 1 + 0.5*float64(drifting)/ramp
			events.Next(&x)
			s.Add(x[:])
		}
		feature, index := s.Worst()
		t.Logf("seed %d: feature %d has an index of %.3f after %d drifting records", seed, feature, index, drifting)
		delays = append(delays, drifting)
	}
	slices.Sort(delays)
	if delays[2] > 50_000 || delays[4] > 70_000 {
		t.Errorf("reported after %v drifting records", delays)
	}
}

func TestBinCountsTheEdgesBelow(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 44))
	for range 10_000 {
		var edges [stabilityEdges]float64
		for i := range edges {
			edges[i] = math.Round(5*r.NormFloat64())*math.Pow(10, 300*r.Float64()) + 0 // no -0
			if r.IntN(10) == 0 {
				edges[i] = math.Inf(1)
			}
		}
		slices.Sort(edges[:])
		for _, v := range append(edges[:], r.NormFloat64(), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64) {
			want := 0
			for _, edge := range edges {
				if edge < v {
					want++
				}
			}
			if got := bin(&edges, v); got != want && !math.IsInf(v, 0) {
				t.Fatalf("bin(%v, %v) = %d, want %d (seed %d)", edges, v, got, want, seed)
			}
		}
	}
}

// rows returns n rows around a level.
func rows(r *rand.Rand, n int, level float64) [][]float64 {
	xs := make([][]float64, n)
	for i := range xs {
		xs[i] = []float64{level + r.NormFloat64(), r.NormFloat64()}
	}
	return xs
}

func TestRowsAreComparedWithThoseBeforeThePredictingCopy(t *testing.T) {
	const seed, n = 1, 1000
	r := rand.New(rand.NewPCG(seed, 41))
	s := NewStability(2, n)
	collect := func(rows [][]float64) {
		for _, x := range rows {
			s.Collect(x)
		}
	}
	// complete adds a window and returns the index of the first feature.
	complete := func(rows [][]float64) float64 {
		for _, x := range rows {
			s.Add(x)
		}
		return s.Index(0)
	}
	check := func(name string, index float64, same bool) {
		t.Helper()
		if same && !(index < 0.1) || !same && !(index > 1) {
			t.Errorf("%s: index %v (seed %d)", name, index, seed)
		}
	}

	collect(rows(r, 3*n, 99)) // older rows, which the newest displace
	collect(rows(r, n, 0))
	if index := complete(rows(r, n, 0)); !math.IsNaN(index) {
		t.Errorf("index %v before any copy", index)
	}
	s.Mark()
	if index := complete(rows(r, n, 0)); !math.IsNaN(index) {
		t.Errorf("index %v while no copy predicts", index)
	}
	collect(rows(r, n, 5))
	s.Mark()
	check("first copy, its level", complete(rows(r, n, 0)), true)
	check("first copy, the newest copy's level", complete(rows(r, n, 5)), false)
	if feature, _ := s.Worst(); feature != 0 {
		t.Errorf("the worst feature is %d, want 0", feature)
	}
	complete(rows(r, n/2, 0)) // half a window, which the copy's end cuts off
	collect(rows(r, n-1, 9))  // one too few
	s.Mark()
	if !math.IsNaN(s.Index(0)) {
		t.Errorf("index %v of another copy", s.Index(0))
	}
	check("second copy, the first one's level", complete(rows(r, n, 0)), false)
	check("second copy, its level", complete(rows(r, n, 5)), true)
	collect(rows(r, n, 5))
	s.Mark()
	if index := complete(rows(r, n, 9)); !math.IsNaN(index) {
		t.Errorf("index %v of a copy without a reference", index)
	}
	s.Mark()
	check("fourth copy, its level", complete(rows(r, n, 5)), true)
	s.Drop()
	if index := complete(rows(r, n, 5)); !math.IsNaN(index) {
		t.Errorf("index %v after the copies were dropped", index)
	}
	if feature, index := s.Worst(); feature != -1 || !math.IsNaN(index) {
		t.Errorf("worst feature %d with %v after the copies were dropped", feature, index)
	}
}

// run is what a Stability gets in a life of records with a copy every 3,000 records.
func run(s *Stability, from, to int, record func(n int)) {
	for n := from; n < to; n++ {
		r := rand.New(rand.NewPCG(uint64(n), 42))
		x := []float64{r.NormFloat64() + float64(n/2000), math.Floor(3 * r.Float64()), r.Float64()}
		s.Add(x)
		if n%3000 >= 2000 {
			s.Collect(x)
		}
		if n%3000 == 2999 {
			s.Mark()
		}
		record(n)
	}
}

func TestRestoredStabilityGoesOnEqually(t *testing.T) {
	const end = 14_000
	bits := func(s *Stability) []uint64 {
		var b []uint64
		for _, v := range append(s.State(), s.Index(0), s.Index(1)) {
			b = append(b, math.Float64bits(v))
		}
		return b
	}
	indices := func(s *Stability, from int) []uint64 {
		var b []uint64
		run(s, from, end, func(int) { b = append(b, math.Float64bits(s.Index(0))) })
		return b
	}
	for _, half := range []int{0, 1500, 2500, 3000, 5500, 7777, 11_500} {
		whole, resumed := NewStability(2, 1000), NewStability(2, 1000)
		run(whole, 0, half, func(int) {})
		if err := resumed.Restore(whole.State()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(bits(whole), bits(resumed)) {
			t.Errorf("restored after %d rows: other state at once", half)
		}
		if !slices.Equal(indices(whole, half), indices(resumed, half)) || !slices.Equal(bits(whole), bits(resumed)) {
			t.Errorf("restored after %d rows: other indices, or another state at the end", half)
		}
		if math.IsNaN(whole.Index(0)) {
			t.Errorf("restored after %d rows: no index was compared", half)
		}
	}
}

func TestRestoreStabilitySaysWhatIsWrong(t *testing.T) {
	s := NewStability(2, 1000)
	run(s, 0, 8500, func(int) {})
	good := s.State()
	change := func(i int, x float64) []float64 {
		state := slices.Clone(good)
		state[i] = x
		return state
	}
	for name, state := range map[string][]float64{
		"empty":                        nil,
		"short":                        good[:len(good)-1],
		"long":                         append(slices.Clone(good), 0),
		"other collected rows":         change(0, 499),
		"rows that are NaN":            change(0, math.NaN()),
		"a window that is complete":    change(1, 1000),
		"a reference of one feature":   change(2, 1),
		"a reference that is not said": change(3, 0),
	} {
		if err := s.Restore(state); err == nil {
			t.Errorf("%s: no error", name)
		}
		same := slices.EqualFunc(s.State(), good, func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })
		if !same {
			t.Errorf("%s: the state changed", name)
		}
	}
	if err := NewStability(1, 1000).Restore(good); err == nil {
		t.Error("a state of more features: no error")
	}
}

func TestStabilityOfWideRows(t *testing.T) {
	s := NewStability(100, 10)
	if s.Features() != 64 {
		t.Errorf("%d features are watched, want 64", s.Features())
	}
	for i := range 20 {
		x := make([]float64, 100)
		x[63] = float64(i)
		s.Collect(x)
		if i == 9 {
			s.Mark()
		}
		if i == 10 {
			s.Mark()
		}
		s.Add(x)
	}
	if feature, index := s.Worst(); feature != 63 || math.IsNaN(index) {
		t.Errorf("worst feature %d with %v, want the last that is watched", feature, index)
	}
}

// eighteen returns a Stability of 18 features that compares, and a row.
func eighteen() (*Stability, func() []float64) {
	r := rand.New(rand.NewPCG(5, 43))
	xs := make([]float64, 18*1024)
	for i := range xs {
		xs[i] = r.NormFloat64()
	}
	n := 0
	row := func() []float64 {
		n++
		k := n % 1024
		return xs[18*k : 18*k+18]
	}
	s := NewStability(18, 10_000)
	for range 10_000 {
		s.Collect(row())
	}
	s.Mark()
	s.Mark()
	s.Collect(row())
	return s, row
}

func TestStabilityDoesNotAllocate(t *testing.T) {
	s, row := eighteen()
	if n := testing.AllocsPerRun(20_000, func() { s.Add(row()); s.Collect(row()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkStability(b *testing.B) {
	b.Run("add", func(b *testing.B) {
		s, row := eighteen()
		for b.Loop() {
			s.Add(row())
		}
	})
	for _, run := range []int{100, 1000} {
		b.Run(fmt.Sprintf("run=%d", run), func(b *testing.B) {
			s, row := eighteen()
			var x []float64
			for range run {
				x = append(x, row()...)
			}
			for b.Loop() {
				s.AddRun(x, 18, false)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(run), "ns/row")
		})
	}
	b.Run("run=100/missing", func(b *testing.B) {
		s, row := eighteen()
		r, x := rand.New(rand.NewPCG(1, 1)), []float64{}
		for range 100 {
			x = append(x, row()...)
		}
		for i := range x {
			if r.IntN(4) == 0 {
				x[i] = math.NaN()
			}
		}
		for b.Loop() {
			s.AddRun(x, 18, true)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/row")
	})
	b.Run("collect", func(b *testing.B) {
		s, row := eighteen()
		for b.Loop() {
			s.Collect(row())
		}
	})
	b.Run("mark", func(b *testing.B) {
		s, row := eighteen()
		for b.Loop() {
			b.StopTimer()
			for range 10_000 {
				s.Collect(row())
			}
			b.StartTimer()
			s.Mark()
		}
	})
}
