package evaluate

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The wanted values are mixtures integrated numerically with mpmath, 25 digits, over
// exp((1 - u)·s/c + v/c²·(ln u + 1 - u))·u^(r - 1)·e^(-r·u) for u from 0 to 1, divided by the same with s = v = 0.
func TestMixtureIsTheIntegral(t *testing.T) {
	tests := []struct{ alpha, sum, variance, want float64 }{
		{0.05, 0, 0, 0},
		{0.05, 10, 0, 0.575717398045628},
		{0.05, 30, 20, 1.73961292590399},
		{0.05, 50, 20, 3.22305484572992},
		{0.05, 120, 200, 6.93449630478091},
		{0.05, 200, 1500, 6.10186183582511},
		{0.05, 400, 9000, 5.10572510683466},
		{0.05, 417, 9000, 5.63141038264672},
		{0.001, 0, 0, 0},
		{0.001, 10, 0, 0.712709306798901},
		{0.001, 30, 20, 1.96654417590848},
		{0.001, 50, 20, 3.63880578418485},
		{0.001, 120, 200, 7.08578568436903},
		{0.001, 200, 1500, 5.78306108627527},
		{0.001, 400, 9000, 4.64042207558331},
		{0.001, 417, 9000, 5.16872248411145},
	}
	for _, tt := range tests {
		s := NewSequence(tt.alpha)
		s.variance = tt.variance
		if got := s.logMixture(tt.sum); math.Abs(got-tt.want) > 1e-11 {
			t.Errorf("alpha %v: ln m(%v, %v) = %v, want %v", tt.alpha, tt.sum, tt.variance, got, tt.want)
		}
	}
}

// The wanted radii are roots of the same integrals, found with mpmath.
func TestBoundsAreWhereTheMixtureReachesTheLimit(t *testing.T) {
	tests := []struct{ alpha, variance, want float64 }{
		{0.05, 20, 55.9192495704},
		{0.05, 200, 76.67563503},
		{0.05, 1500, 153.631427373},
		{0.05, 9000, 351.413971847},
		{0.001, 20, 94.1606204395},
		{0.001, 200, 126.241385868},
		{0.001, 1500, 231.344571056},
		{0.001, 9000, 489.950967019},
	}
	for _, tt := range tests {
		s := NewSequence(tt.alpha)
		s.records, s.variance, s.sum = 10_000, tt.variance, 123
		low, high := s.Bounds()
		if radius := (high - low) / 2 * s.records; math.Abs(radius-tt.want) > 1e-6 {
			t.Errorf("alpha %v, v %v: radius %v, want %v", tt.alpha, tt.variance, radius, tt.want)
		}
		if middle := (low + high) / 2; math.Abs(middle-s.Mean()) > 1e-12 {
			t.Errorf("alpha %v, v %v: bounds around %v, not the mean %v", tt.alpha, tt.variance, middle, s.Mean())
		}
		for _, sign := range []float64{-1, 1} {
			s.sum = sign * (tt.want + 1e-5)
			if got := s.Decided(); got != int(sign) {
				t.Errorf("alpha %v, v %v: decided %d just outside the bounds, want %v", tt.alpha, tt.variance, got, sign)
			}
			s.sum = sign * (tt.want - 1e-5)
			if got := s.Decided(); got != 0 {
				t.Errorf("alpha %v, v %v: decided %d just inside the bounds", tt.alpha, tt.variance, got)
			}
		}
	}
}

func TestDecidedWhenTheBoundsExcludeZero(t *testing.T) {
	decided := 0
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 10))
		mean, s := 0.1*r.NormFloat64(), NewSequence(0.05)
		for n := range 3000 {
			s.Add(mean + 0.3*r.NormFloat64())
			if n%10 != 0 {
				continue
			}
			low, high := s.Bounds()
			want := 0
			if low > 0 {
				want = 1
			} else if high < 0 {
				want = -1
			}
			if got := s.Decided(); got != want {
				t.Fatalf("seed %d, %d records: decided %d, but bounds are [%v, %v]", seed, s.Records(), got, low, high)
			}
			decided += want * want
		}
	}
	if decided == 0 {
		t.Error("nothing was ever decided")
	}
}

func TestSequenceAtTheEdges(t *testing.T) {
	s := NewSequence(0.05)
	if low, high := s.Bounds(); s.Decided() != 0 || low != -LossCap || high != LossCap || !math.IsNaN(s.Mean()) {
		t.Errorf("no records: decided %d, bounds [%v, %v], mean %v", s.Decided(), low, high, s.Mean())
	}
	for range 10_000 {
		s.Add(0)
	}
	if low, high := s.Bounds(); s.Decided() != 0 || !(low < 0 && high > 0 && high < 0.01) {
		t.Errorf("equal models: decided %d, bounds [%v, %v]", s.Decided(), low, high)
	}
	s = NewSequence(0.05)
	for range 100 {
		s.Add(1e300)
	}
	if low, high := s.Bounds(); s.Mean() != LossCap || s.Decided() != 1 || !(low > 0) || high != LossCap {
		t.Errorf("out of range: mean %v, decided %d, bounds [%v, %v]", s.Mean(), s.Decided(), low, high)
	}
	s.Add(math.NaN())
	if low, high := s.Bounds(); s.Decided() != 0 || !math.IsNaN(low) || !math.IsNaN(high) {
		t.Errorf("not a number: decided %d, bounds [%v, %v]", s.Decided(), low, high)
	}
}

// pair draws the differences of two models' losses.
type pair struct {
	name string
	draw func(r *rand.Rand) float64
}

// equals are pairs of equal expected loss.
var equals = []pair{
	{"normal differences", func(r *rand.Rand) float64 { return 0.3 * r.NormFloat64() }},
	{"rare large differences", func(r *rand.Rand) float64 {
		if r.Uint32N(50) == 0 {
			return 4.9
		}
		return -0.1
	}},
	{"log losses of two noisy models", func(r *rand.Rand) float64 {
		margin := 2 * r.NormFloat64()
		label := 1.0
		if r.Float64()*(1+math.Exp(-margin)) > 1 {
			label = -1
		}
		loss := func() float64 { return min(LossCap, math.Log1p(math.Exp(-label*(margin+0.5*r.NormFloat64())))) }
		return loss() - loss()
	}},
}

// full says whether simulations have the size that the promises are made for, or a smaller one.
func full() bool { return os.Getenv("LONG_TESTS") != "" }

// firstDecision returns after how many records a comparison is decided for the first time, and how. It returns 0, 0 if
// it is not within n.
func firstDecision(seed uint64, n int, draw func(*rand.Rand) float64) (records, sign int) {
	r := rand.New(rand.NewPCG(seed, 11))
	c := NewComparison(1)
	for i := range n {
		c.Add(draw(r))
		if sign := c.Decided(); sign != 0 {
			return i + 1, sign
		}
	}
	return 0, 0
}

func TestEqualModelsAreSeldomDecided(t *testing.T) {
	pairs := uint64(50)
	if full() {
		pairs = 1000
	}
	for _, equal := range equals {
		decided := 0
		for seed := range pairs {
			if records, _ := firstDecision(seed, 100_000, equal.draw); records > 0 {
				decided++
			}
		}
		t.Logf("%s, seeds 0 to %d: %d decided", equal.name, pairs-1, decided)
		if float64(decided) > 0.07*float64(pairs) {
			t.Errorf("%s, seeds 0 to %d: %d decided, want at most 7 %%", equal.name, pairs-1, decided)
		}
	}
}

func TestBetterModelIsDecided(t *testing.T) {
	pairs := uint64(100)
	if full() {
		pairs = 1000
	}
	var delays []int
	for seed := range pairs {
		records, sign := firstDecision(seed, 50_000, func(r *rand.Rand) float64 { return 0.02 + 0.3*r.NormFloat64() })
		if sign < 0 {
			t.Errorf("seed %d: decided for the worse model", seed)
		}
		if sign > 0 {
			delays = append(delays, records)
		}
	}
	slices.Sort(delays)
	t.Logf("seeds 0 to %d: %d decided, the median after %d records", pairs-1, len(delays), delays[len(delays)/2])
	if float64(len(delays)) < 0.95*float64(pairs) {
		t.Errorf("seeds 0 to %d: %d decided within 50,000 records, want at least 95 %%", pairs-1, len(delays))
	}
}

func TestSegments(t *testing.T) {
	c := NewComparison(2)
	begins := []int{}
	for n := 1; n <= 10_000; n++ {
		if n == 5001 {
			c.Restart()
			c.Restart() // a segment without records is not spent
		}
		c.Add(0.1)
		if c.Records() == 1 {
			begins = append(begins, n)
			if want := SegmentAlpha(len(begins), 2); c.Segment() != len(begins) || c.alpha != want {
				t.Errorf("record %d: segment %d of alpha %v, want %d of %v", n, c.Segment(), c.alpha, len(begins), want)
			}
		}
	}
	if want := []int{1, 1025, 2049, 4097, 5001, 8193}; !slices.Equal(begins, want) {
		t.Errorf("segments begin with records %v, want %v", begins, want)
	}
	for _, challengers := range []int{1, 3} {
		sum := 0.0
		for k := 1; k < 1_000_000; k++ {
			sum += SegmentAlpha(k, challengers)
		}
		if want := 0.05 / float64(challengers); math.Abs(sum-want) > 1e-7 {
			t.Errorf("%d challengers: the segments of each spend %v together, want %v", challengers, sum, want)
		}
	}
}

func TestOldAdvantageDoesNotHideANewOne(t *testing.T) {
	const seed = 1
	r := rand.New(rand.NewPCG(seed, 12))
	c := NewComparison(1)
	for range 100_000 {
		c.Add(-0.05 + 0.3*r.NormFloat64())
	}
	if c.Decided() != -1 {
		t.Errorf("seed %d: decided %d, want -1", seed, c.Decided())
	}
	for range 100_000 {
		c.Add(0.05 + 0.3*r.NormFloat64())
	}
	if c.Decided() != 1 {
		t.Errorf("seed %d: decided %d after the advantage has changed sides, want 1", seed, c.Decided())
	}
}

func TestRestoredComparisonGoesOnEqually(t *testing.T) {
	for _, half := range []int{0, 1, 1024, 1025, 3000, 16_384} {
		r := rand.New(rand.NewPCG(2, 13))
		draw := func() float64 { return 0.03 + 0.3*r.NormFloat64() }
		whole, resumed := NewComparison(3), NewComparison(3)
		for range half {
			whole.Add(draw())
		}
		if err := resumed.Restore(whole.State()); err != nil {
			t.Fatal(err)
		}
		decided := 0
		for n := range 20_000 {
			d := draw()
			whole.Add(d)
			resumed.Add(d)
			decided += whole.Decided()
			if !slices.Equal(whole.State(), resumed.State()) || whole.Decided() != resumed.Decided() {
				t.Fatalf("restored after %d records: differs at the %d-th after them", half, n+1)
			}
		}
		if decided == 0 {
			t.Errorf("restored after %d records: nothing was decided", half)
		}
	}
}

func TestRestoreComparisonSaysWhatIsWrong(t *testing.T) {
	c := NewComparison(1)
	c.Add(1)
	good := c.State()
	for name, state := range map[string][]float64{
		"short":             good[:5],
		"half a record":     {0.5, 1, 0.05, 1, 1, 1},
		"no segment":        {1, 0, 0.05, 1, 1, 1},
		"an alpha of 0":     {1, 1, 0, 1, 1, 1},
		"an alpha of 1":     {1, 1, 1, 1, 1, 1},
		"an alpha that NaN": {1, 1, math.NaN(), 1, 1, 1},
	} {
		if err := c.Restore(state); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !slices.Equal(c.State(), good) {
			t.Errorf("%s: the comparison changed", name)
		}
	}
}

func TestComparisonDoesNotAllocate(t *testing.T) {
	c := NewComparison(1)
	r := rand.New(rand.NewPCG(3, 14))
	if n := testing.AllocsPerRun(20_000, func() { c.Add(0.1 + r.NormFloat64()); c.Decided() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkComparison(b *testing.B) {
	for _, bb := range []struct {
		name string
		mean float64
	}{{"undecided", 0}, {"decided", 0.1}} {
		b.Run(bb.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(4, 15))
			xs := make([]float64, 1<<12)
			for i := range xs {
				noise := r.NormFloat64()
				if i%2 == 1 {
					noise = -xs[i-1] / 0.3
				}
				xs[i] = 0.3 * noise
			}
			c := NewComparison(1)
			i := 0
			add := func() {
				c.Add(bb.mean + xs[i%len(xs)])
				i++
			}
			for range 60_000 {
				add()
			}
			b.ReportAllocs()
			for b.Loop() {
				add()
				c.Decided()
			}
		})
	}
}
