package evaluate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// first answers with the first feature of a row.
type first struct{}

func (first) Predict(dst, x []float64, _ []int32) { dst[0] = x[0] }

// window returns a window that holds exactly rows of one feature, which first answers with.
func window(probs, labels []float64) *Window {
	w := NewWindow(max(len(labels), 1))
	for i, p := range probs {
		w.Add([]float64{p}, nil, labels[i])
	}
	return w
}

func close64(a, b float64) bool {
	return math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-12*max(1, math.Abs(b))
}

// differences returns the names of the scores in which a and b differ by more than rounding.
func differences(a, b Scores) []string {
	var names []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	var walk func(name string, a, b reflect.Value)
	walk = func(name string, a, b reflect.Value) {
		switch a.Kind() {
		case reflect.Struct:
			for i := range a.NumField() {
				walk(name+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
			}
		case reflect.Array:
			for i := range a.Len() {
				walk(fmt.Sprintf("%s[%d]", name, i), a.Index(i), b.Index(i))
			}
		case reflect.Float64:
			if !close64(a.Float(), b.Float()) {
				names = append(names, fmt.Sprintf("%s: %v, want %v", name, a, b))
			}
		default:
			if !a.Equal(b) {
				names = append(names, fmt.Sprintf("%s: %v, want %v", name, a, b))
			}
		}
	}
	walk("", va, vb)
	return names
}

func expect(t *testing.T, got, want Scores) {
	t.Helper()
	for _, difference := range differences(got, want) {
		t.Error(difference)
	}
}

// noRows is what an empty window scores.
func noRows() Scores {
	nan := math.NaN()
	s := Scores{
		Accuracy: nan, LogLoss: nan, Brier: nan, AUC: nan, CalibrationError: nan,
		Precision: [2]float64{nan, nan}, Recall: [2]float64{nan, nan},
	}
	for i := range s.Calibration {
		s.Calibration[i] = Bin{0, nan, nan}
	}
	return s
}

func TestScoreByHand(t *testing.T) {
	// Rows of class 1: .9 .5 .4 .05. Rows of class 0: .4 .1 .6 .0.
	probs := []float64{0.9, 0.4, 0.5, 0.1, 0.4, 0.6, 0.05, 0.0}
	labels := []float64{1, 0, 1, 0, 1, 0, 1, 0}
	want := noRows()
	want.Records = 8
	want.Confusion = [2][2]int{{3, 1}, {2, 2}}
	want.Accuracy = 5.0 / 8
	want.Precision = [2]float64{3.0 / 5, 2.0 / 3}
	want.Recall = [2]float64{3.0 / 4, 2.0 / 4}
	want.LogLoss = -(math.Log(0.9) + math.Log(0.6) + math.Log(0.5) + math.Log(0.9) + math.Log(0.4) + math.Log(0.4) +
		math.Log(0.05) + math.Log(1-1e-6)) / 8
	want.Brier = (0.01 + 0.16 + 0.25 + 0.01 + 0.36 + 0.36 + 0.9025 + 0) / 8
	// Pairs that .9 wins: 4; .5: 3; .4: 2 and one tie; .05: 1.
	want.AUC = (4 + 3 + 2.5 + 1) / 16
	want.Calibration[0] = Bin{2, 0.025, 0.5}
	want.Calibration[1] = Bin{1, 0.1, 0}
	want.Calibration[4] = Bin{2, 0.4, 0.5}
	want.Calibration[5] = Bin{1, 0.5, 1}
	want.Calibration[6] = Bin{1, 0.6, 0}
	want.Calibration[9] = Bin{1, 0.9, 1}
	want.CalibrationError = (2*0.475 + 0.1 + 2*0.1 + 0.5 + 0.6 + 0.1) / 8
	expect(t, window(probs, labels).Score(first{}), want)
}

func TestScoreAtTheEdges(t *testing.T) {
	nan := math.NaN()
	t.Run("an empty window", func(t *testing.T) {
		w := NewWindow(3)
		expect(t, w.Score(first{}), noRows())
		expect(t, w.Majority(), noRows())
		expect(t, w.LastLabel(), noRows())
	})
	t.Run("one class only", func(t *testing.T) {
		s := window([]float64{1, 0.25}, []float64{1, 1}).Score(first{})
		if !math.IsNaN(s.AUC) {
			t.Errorf("AUC %v, want NaN", s.AUC)
		}
		if want := [2]float64{0, 1}; s.Precision != want {
			t.Errorf("precision %v, want %v", s.Precision, want)
		}
		if !math.IsNaN(s.Recall[0]) || s.Recall[1] != 0.5 {
			t.Errorf("recall %v, want [NaN 0.5]", s.Recall)
		}
		if s.Calibration[9] != (Bin{1, 1, 1}) {
			t.Errorf("an answer of 1 is not in the last bin: %+v", s.Calibration)
		}
	})
	t.Run("wrong and sure of it", func(t *testing.T) {
		s := window([]float64{0, 1}, []float64{1, 0}).Score(first{})
		if want := -math.Log(1e-6); math.Abs(s.LogLoss-want) > 1e-9 || s.AUC != 0 || s.Accuracy != 0 || s.Brier != 1 {
			t.Errorf("log loss %v, AUC %v, accuracy %v, Brier %v; want %v, 0, 0, 1", s.LogLoss, s.AUC, s.Accuracy, s.Brier, want)
		}
	})
	t.Run("an answer that is no number", func(t *testing.T) {
		s := window([]float64{nan, 0.5, nan}, []float64{1, 0, 1}).Score(first{})
		if s.Records != 3 || !math.IsNaN(s.LogLoss) {
			t.Errorf("records %d, log loss %v; want 3, NaN", s.Records, s.LogLoss)
		}
	})
}

func TestBaselinesByHand(t *testing.T) {
	// Oldest first; 3 of 7 rows are ones, and 2 of 6 repeat the label before them.
	labels := []float64{0, 1, 0, 0, 1, 1, 0}
	w := window(make([]float64, len(labels)), labels)

	majority := noRows()
	majority.Records = 7
	majority.Accuracy = 4.0 / 7
	majority.LogLoss = -(3*math.Log(3.0/7) + 4*math.Log(4.0/7)) / 7
	majority.Brier = 3.0 / 7 * 4 / 7
	majority.AUC = 0.5
	majority.CalibrationError = 0
	majority.Calibration[4] = Bin{7, 3.0 / 7, 3.0 / 7}
	majority.Confusion = [2][2]int{{4, 0}, {3, 0}}
	majority.Precision[0] = 4.0 / 7
	majority.Recall = [2]float64{1, 0}
	t.Run("majority", func(t *testing.T) { expect(t, w.Majority(), majority) })

	last := noRows()
	last.Records = 6
	last.Accuracy = 2.0 / 6
	last.LogLoss = -(2*math.Log(1.0/3) + 4*math.Log(2.0/3)) / 6
	last.Brier = (2*4.0/9 + 4*1.0/9) / 6
	// Answers 1/3 after a one and 2/3 after a zero: after ones come 0 1 0, after zeros 1 0 1.
	last.AUC = (2*2 + 2*0.5 + 1*2*0.5) / 9
	last.Calibration[3] = Bin{3, 1.0 / 3, 1.0 / 3}
	last.Calibration[6] = Bin{3, 2.0 / 3, 2.0 / 3}
	last.CalibrationError = 0
	last.Confusion = [2][2]int{{1, 2}, {2, 1}}
	last.Precision = [2]float64{1.0 / 3, 1.0 / 3}
	last.Recall = [2]float64{1.0 / 3, 1.0 / 3}
	t.Run("last label", func(t *testing.T) { expect(t, w.LastLabel(), last) })
}

func TestMajorityOfATiePredictsClassOne(t *testing.T) {
	s := window([]float64{0, 0}, []float64{0, 1}).Majority()
	if want := [2][2]int{{0, 1}, {0, 1}}; s.Confusion != want {
		t.Errorf("confusion %v, want %v", s.Confusion, want)
	}
}

func TestWindowKeepsTheNewestRowsInOrder(t *testing.T) {
	const size = 5
	w := NewWindow(size)
	for n := 1; n <= 23; n++ {
		x := []float64{float64(n), float64(-n)}
		w.Add(x, nil, float64(n%2))
		x[0] = -99 // a window holds copies
		kept := min(n, size)
		if w.Len() != kept {
			t.Fatalf("after %d rows: length %d, want %d", n, w.Len(), kept)
		}
		got := make([][3]float64, 0, kept)
		for i := range kept {
			slot := w.slot(i)
			got = append(got, [3]float64{w.row(slot)[0], w.row(slot)[1], w.y[slot]})
		}
		var want [][3]float64
		for k := n - kept + 1; k <= n; k++ {
			want = append(want, [3]float64{float64(k), float64(-k), float64(k % 2)})
		}
		if !slices.Equal(got, want) {
			t.Fatalf("after %d rows: %v, want %v", n, got, want)
		}
	}
	if len(w.x) != 2*size || len(w.y) != size {
		t.Errorf("%d values and %d labels are kept, want %d and %d", len(w.x), len(w.y), 2*size, size)
	}
}

func TestScoresFollowTheWindow(t *testing.T) {
	w := NewWindow(2)
	for _, row := range [][2]float64{{0.9, 0}, {0.8, 1}, {0.3, 0}} {
		w.Add(row[:1], nil, row[1])
	}
	if s := w.Score(first{}); s.Records != 2 || s.Accuracy != 1 || s.AUC != 1 {
		t.Errorf("records %d, accuracy %v, AUC %v; want 2, 1, 1", s.Records, s.Accuracy, s.AUC)
	}
	if s := w.LastLabel(); s.Records != 1 || s.Accuracy != 0 || s.Confusion != [2][2]int{{0, 1}, {0, 0}} {
		t.Errorf("last label: records %d, accuracy %v, confusion %v", s.Records, s.Accuracy, s.Confusion)
	}
}

func TestWindowPanics(t *testing.T) {
	w := NewWindow(2)
	w.Add([]float64{1}, nil, 0)
	calls := map[string]func(){
		"a row of another width": func() { w.Add([]float64{1, 2}, nil, 0) },
		"no room":                func() { NewWindow(0) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

// random returns answers and labels; coarse answers have many ties.
func random(r *rand.Rand, n int, coarse bool) (probs, labels []float64) {
	for range n {
		p := r.Float64()
		if coarse {
			p = math.Round(p*8) / 8
		}
		label := 0.0
		if r.Float64() < p {
			label = 1
		}
		probs, labels = append(probs, p), append(labels, label)
	}
	return probs, labels
}

func TestAUCCountsEveryPair(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		probs, labels := random(r, 1+r.IntN(60), seed%2 == 0)
		var won, pairs float64
		for i, p := range probs {
			for j, q := range probs {
				if labels[i] != 1 || labels[j] != 0 {
					continue
				}
				pairs++
				switch {
				case p > q:
					won++
				case p == q:
					won += 0.5
				}
			}
		}
		if got, want := window(probs, labels).Score(first{}).AUC, won/pairs; !close64(got, want) {
			t.Fatalf("seed %d: AUC %v, by pairs %v", seed, got, want)
		}
	}
}

func TestScoresDoNotDependOnTheOrderOfRows(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		probs, labels := random(r, 1+r.IntN(100), seed%2 == 0)
		w := window(probs, labels)
		score, majority := w.Score(first{}), w.Majority()
		r.Shuffle(len(probs), func(i, j int) {
			probs[i], probs[j] = probs[j], probs[i]
			labels[i], labels[j] = labels[j], labels[i]
		})
		w = window(probs, labels)
		if d := differences(w.Score(first{}), score); d != nil {
			t.Fatalf("seed %d: %v", seed, d)
		}
		if d := differences(w.Majority(), majority); d != nil {
			t.Fatalf("seed %d: majority %v", seed, d)
		}
	}
}

func TestAUCDependsOnTheOrderOfAnswersOnly(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		probs, labels := random(r, 2+r.IntN(100), seed%2 == 0)
		want := window(probs, labels).Score(first{}).AUC
		for i, p := range probs {
			probs[i] = p * p * (3 - 2*p) / 2
		}
		if got := window(probs, labels).Score(first{}).AUC; !close64(got, want) {
			t.Fatalf("seed %d: AUC %v became %v", seed, want, got)
		}
		for i, p := range probs {
			probs[i] = 1 - p
		}
		if got := window(probs, labels).Score(first{}).AUC; !close64(got, 1-want) {
			t.Fatalf("seed %d: AUC of the opposite answers %v, want %v", seed, got, 1-want)
		}
	}
}

func TestScoringAgainNeedsNoMoreThanAFewAllocations(t *testing.T) {
	probs, labels := random(rand.New(rand.NewPCG(3, 3)), 1000, false)
	w := window(probs, labels)
	if n := testing.AllocsPerRun(20, func() { w.Score(first{}); w.Majority(); w.LastLabel() }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

// linear is as much work as a linear model.
type linear struct{ weights []float64 }

func (m linear) Predict(dst, x []float64, _ []int32) {
	margin := 0.0
	for i, w := range m.weights {
		margin += w * x[i]
	}
	dst[0] = 1 / (1 + math.Exp(-margin))
}

// fill returns a window of 10,000 rows of 18 features and a model for them.
func fill() (*Window, linear) {
	r := rand.New(rand.NewPCG(1, 1))
	m := linear{make([]float64, 18)}
	for i := range m.weights {
		m.weights[i] = r.NormFloat64()
	}
	w, x := NewWindow(10_000), make([]float64, 18)
	for range 10_000 {
		for i := range x {
			x[i] = r.NormFloat64()
		}
		w.Add(x, nil, float64(r.IntN(2)))
	}
	return w, m
}

func BenchmarkScore(b *testing.B) {
	w, m := fill()
	b.ReportAllocs()
	for b.Loop() {
		w.Score(m)
	}
}

func BenchmarkBaselines(b *testing.B) {
	w, _ := fill()
	b.ReportAllocs()
	for b.Loop() {
		w.Majority()
		w.LastLabel()
	}
}

func BenchmarkAdd(b *testing.B) {
	w, _ := fill()
	x := make([]float64, 18)
	b.ReportAllocs()
	for b.Loop() {
		w.Add(x, nil, 1)
	}
}

// sparseSum answers by its first feature, where it is there, and the sum of the sparse ones.
type sparseSum struct{}

func (sparseSum) Predict(dst, x []float64, sparse []int32) {
	dst[0] = 0
	if !math.IsNaN(x[0]) {
		dst[0] = x[0]
	}
	for _, f := range sparse {
		dst[0] += float64(f) / 100
	}
}

// sparseSums is sparseSum for many rows at once.
type sparseSums struct{ sparseSum }

func (p sparseSums) PredictRows(dst, x []float64, sparse []int32, ends []int) {
	start := 0
	for i := range dst {
		if ends == nil {
			p.Predict(dst[i:i+1], x[i:i+1], nil)
			continue
		}
		p.Predict(dst[i:i+1], x[i:i+1], sparse[start:ends[i]])
		start = ends[i]
	}
}

func TestWindowKeepsSparseFeatures(t *testing.T) {
	const seed, size = 1, 7
	r := rand.New(rand.NewPCG(seed, 60))
	w := NewWindow(size)
	var probs, labels []float64
	for n := range 60 {
		x := []float64{r.Float64() / 2}
		if r.IntN(3) == 0 {
			x[0] = math.NaN()
		}
		var sparse []int32
		if n > 10 && n < 45 { // rows without any come first, and last again
			for range r.IntN(4) {
				sparse = append(sparse, r.Int32N(10))
			}
		}
		var prob [1]float64
		sparseSum{}.Predict(prob[:], x, sparse)
		probs, labels = append(probs, prob[0]), append(labels, float64(r.IntN(2)))
		w.Add(x, sparse, labels[n])
		x[0] = -99 // a window holds copies
		for i := range sparse {
			sparse[i] = -99
		}
		first := max(0, n+1-size)
		want := window(probs[first:], labels[first:]).Score(sparseSum{})
		for _, p := range []Predictor{sparseSum{}, sparseSums{}} {
			got := w.Score(p)
			for i := range w.Len() {
				if w.probs[w.slot(i)] != probs[first+i] {
					t.Fatalf("seed %d, after %d rows: %T answers %v for row %d, want %v", seed, n+1, p, w.probs[w.slot(i)], first+i, probs[first+i])
				}
			}
			expect(t, got, want)
		}
	}
}

func TestWindowOfSparseFeaturesDoesNotAllocate(t *testing.T) {
	w := NewWindow(50)
	x, sparse, n := []float64{0.5}, []int32{1, 2, 3, 4, 5}, 0
	add := func() {
		w.Add(x, sparse[:n%6], 1)
		n++
	}
	for range 6 * 50 {
		add()
	}
	w.Score(sparseSums{})
	if n := testing.AllocsPerRun(300, add); n != 0 {
		t.Errorf("a row makes %v allocations", n)
	}
	if n := testing.AllocsPerRun(20, func() { w.Score(sparseSums{}) }); n > 1 {
		t.Errorf("a score makes %v allocations", n)
	}
}
