package adwin

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
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

func zeroOrOne(one bool) float64 {
	if one {
		return 1
	}
	return 0
}

func near(got, want, relative float64) bool { return math.Abs(got-want) <= relative*math.Abs(want) }

// The reference is River 0.26.1: the window inside drift.ADWIN(delta=delta, min_window_length=1), which unlike its
// wrapper goes on after a cut. With that length, River's 1/(n - length + 1) is the 1/n of the paper. It also allows
// parts of fewer than 5 values, but in these streams none of them differs enough.
func TestCutsWhereRiverCuts(t *testing.T) {
	text, err := os.ReadFile("testdata/river.json")
	if err != nil {
		t.Fatal(err)
	}
	var streams []struct {
		Kind           string
		Seed           uint64
		Delta          float64
		Parts          [][2]float64 // values, level
		Cuts           [][2]int     // values added, length after the cut
		Len            int
		Mean, Variance float64
	}
	if err := json.Unmarshal(text, &streams); err != nil {
		t.Fatal(err)
	}
	for _, s := range streams {
		next, w := splitmix(s.Seed), New(s.Delta)
		var cuts [][2]int
		added := 0
		for _, part := range s.Parts {
			for range int(part[0]) {
				x, level := next(), part[1]
				switch s.Kind {
				case "errors":
					x = zeroOrOne(x < level)
				case "losses":
					x *= level * x
				case "shifted":
					x += level
				}
				added++
				if w.Add(x) != None {
					cuts = append(cuts, [2]int{added, w.Len()})
				}
			}
		}
		if !slices.Equal(cuts, s.Cuts) {
			t.Errorf("%s, seed %d: cuts %v, want %v", s.Kind, s.Seed, cuts, s.Cuts)
		}
		if w.Len() != s.Len || !near(w.Mean(), s.Mean, 1e-12) || !near(w.variance(), s.Variance, 1e-9) {
			t.Errorf("%s, seed %d: %d values of mean %v, variance %v; want %d, %v, %v",
				s.Kind, s.Seed, w.Len(), w.Mean(), w.variance(), s.Len, s.Mean, s.Variance)
		}
	}
}

// plain searches as changed does, by the formula of the paper, over a list of values.
func plain(w *Window, values []float64) bool {
	values = values[len(values)-w.count:]
	n := float64(len(values))
	mean := 0.0
	for _, x := range values {
		mean += x / n
	}
	v := 0.0
	for _, x := range values {
		v += (x - mean) * (x - mean) / n
	}
	l := math.Log(2 * math.Log(n) / w.delta)
	cut := 0
	for i := w.rows - 1; i >= 0; i-- {
		for range w.held[i] {
			cut += 1 << i
			if cut < minPart || len(values)-cut < minPart {
				continue
			}
			n0, n1 := float64(cut), n-float64(cut)
			var m0, m1 float64
			for k, x := range values {
				if k < cut {
					m0 += x / n0
				} else {
					m1 += x / n1
				}
			}
			h := 1/n0 + 1/n1
			if math.Abs(m0-m1) > math.Sqrt(2*h*v*l)+2.0/3*h*l {
				return true
			}
		}
	}
	return false
}

func TestAgreesWithTheFormulaOverAList(t *testing.T) {
	changes := 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := New(0.3) // cuts often
		values := make([]float64, 0, 3000)
		for len(values) < cap(values) {
			level := r.NormFloat64()
			for range min(1+r.IntN(400), cap(values)-len(values)) {
				x := level + 0.5*r.NormFloat64()
				values = append(values, x)
				w.insert(x)
				if len(values)%11 != 0 || len(values) < 2*minPart {
					continue
				}
				got := w.changed()
				if want := plain(&w, values); got != want {
					t.Fatalf("seed %d, value %d: changed %t, want %t", seed, len(values), got, want)
				}
				if got {
					changes++
					w.dropOldest()
				}
			}
		}
	}
	t.Logf("%d cuts", changes)
	if changes < 500 {
		t.Errorf("only %d cuts were compared", changes)
	}
}

// coin returns 1 with probability p, else 0.
func coin(r *rand.Rand, p float64) float64 { return zeroOrOne(r.Float64() < p) }

func TestFalseAlarmsAndDelay(t *testing.T) {
	const runs = 20
	falseAlarms := 0
	delays := make([]int, 0, runs)
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := New(0.002)
		for range 100_000 {
			if w.Add(coin(r, 0.2)) != None {
				falseAlarms++
			}
		}
		delay := 0
		for change := None; change == None; delay++ {
			change = w.Add(coin(r, 0.4))
			if change == Fell {
				t.Errorf("seed %d: fell", seed)
			}
		}
		delays = append(delays, delay)
		for range 10_000 {
			w.Add(coin(r, 0.4))
		}
		if !near(w.Mean(), 0.4, 0.1) {
			t.Errorf("seed %d: mean %v after a change to 0.4, over %d values", seed, w.Mean(), w.Len())
		}
		fell := false
		for range 1000 {
			fell = fell || w.Add(coin(r, 0.1)) == Fell
		}
		if !fell {
			t.Errorf("seed %d: a fall from 0.4 to 0.1 was not seen", seed)
		}
	}
	slices.Sort(delays)
	t.Logf("seeds 0 to %d: %d false alarms in %d values; .2 to .4 is seen after %v", runs-1, falseAlarms, runs*100_000, delays)
	if falseAlarms > 3 {
		t.Errorf("%d false alarms", falseAlarms)
	}
	if delays[runs-1] > 500 {
		t.Errorf("a change from .2 to .4 is seen after %d values", delays[runs-1])
	}
}

func TestRestoredWindowGoesOnEqually(t *testing.T) {
	const n = 5000
	r := rand.New(rand.NewPCG(3, 3))
	xs := make([]float64, 2*n)
	for i := range xs {
		xs[i] = r.ExpFloat64() * float64(1+i/2500)
	}
	for _, half := range []int{0, 1, 31, 32, 100, n, n + 17} {
		whole := New(0.002)
		for _, x := range xs[:half] {
			whole.Add(x)
		}
		state := whole.State()
		if len(state) != StateLen {
			t.Fatalf("a state of %d numbers, want %d", len(state), StateLen)
		}
		resumed := New(0.002)
		resumed.Add(99)
		if err := resumed.Restore(state); err != nil {
			t.Fatal(err)
		}
		cuts := 0
		for i, x := range xs[half:] {
			a, b := whole.Add(x), resumed.Add(x)
			if a != b || whole.Mean() != resumed.Mean() {
				t.Fatalf("restored after %d values: differs at the %d-th after them", half, i+1)
			}
			if a != None {
				cuts++
			}
		}
		if !slices.Equal(whole.State(), resumed.State()) {
			t.Errorf("restored after %d values: other state at the end", half)
		}
		if cuts == 0 {
			t.Errorf("restored after %d values: no cut was compared", half)
		}
	}
}

// The hash is the same on every CPU, with and without fused multiply-add.
func TestStateHasTheSameBitsOnEveryCPU(t *testing.T) {
	next, w, hash := splitmix(1), New(0.002), fnv.New64a()
	for n := range 30_000 {
		x := next()
		change := w.Add(x * x * float64(1+n/10_000))
		if err := binary.Write(hash, binary.LittleEndian, []float64{float64(change), w.Mean(), w.variance()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := binary.Write(hash, binary.LittleEndian, w.State()); err != nil {
		t.Fatal(err)
	}
	const want = 0xbde5a04b19548e24
	if got := hash.Sum64(); got != want {
		t.Errorf("hash %#x, want %#x", got, uint64(want))
	}
}

func TestRestoreSaysWhatIsWrong(t *testing.T) {
	w := New(0.002)
	for i := range 1000 {
		w.Add(float64(i % 2))
	}
	good := w.State()
	change := func(i int, x float64) []float64 {
		state := slices.Clone(good)
		state[i] = x
		return state
	}
	for name, state := range map[string][]float64{
		"short":                   good[1:],
		"an impossible tick":      change(1, clock),
		"a tick that is NaN":      change(1, math.NaN()),
		"half a bucket":           change(2, 0.5),
		"too many buckets":        change(2, maxBuckets+1),
		"a gap between full rows": change(2+1+2*maxBuckets, 0),
	} {
		if err := w.Restore(state); err == nil {
			t.Errorf("%s: no error", name)
		}
		if !slices.Equal(w.State(), good) {
			t.Errorf("%s: the window changed", name)
		}
	}
}

func TestFullHistogramDropsTheOldest(t *testing.T) {
	w := New(0.002)
	w.rows = maxRows
	for i := range w.held {
		w.held[i] = maxBuckets
		for k := range w.buckets[i] {
			w.buckets[i][k] = bucket{sum: size(i)} // ones
		}
	}
	w.recount()
	before := w.count
	w.insert(1)
	// Each row handed two buckets on, and the two of the last one are gone.
	if want := before + 1 - 2<<(maxRows-1); w.count != want || w.Mean() != 1 || w.rows != maxRows {
		t.Errorf("%d values of mean %v in %d rows, want %d of mean 1 in %d", w.count, w.Mean(), w.rows, want, maxRows)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	windows := []Window{New(0.001), New(0.001)}
	r := rand.New(rand.NewPCG(4, 4))
	if n := testing.AllocsPerRun(10_000, func() { windows[1].Add(r.Float64()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	windows[1].Restart()
	if windows[1] != windows[0] {
		t.Error("a window that was restarted is not as new")
	}
}

func BenchmarkAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 5))
	xs := make([]float64, 1<<12)
	for i := range xs {
		xs[i] = coin(r, 0.2)
	}
	w := New(0.001)
	for i := range 1 << 20 {
		w.Add(xs[i%len(xs)])
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.Add(xs[i%len(xs)])
		i++
	}
}
