package sgd

import (
	"math"
	"testing"
)

// plainSplit searches all edges of all inputs by the formula of information gain.
func plainSplit(l *leaf) (best split, enough bool) {
	entropy := func(a, b float64) float64 {
		h := 0.0
		for _, v := range []float64{a, b} {
			if v > 0 {
				h -= v / (a + b) * math.Log2(v/(a+b))
			}
		}
		return h
	}
	bits := 0.0
	for i, h := range l.histograms {
		a0, a1 := h.total()[0], h.total()[1]
		a := a0 + a1
		l0, l1 := 0.0, 0.0
		for e := 1; e < treeBins; e++ {
			l0 += float64(h.weight[0][e-1])
			l1 += float64(h.weight[1][e-1])
			left := (l0 + l1) / a
			if left < splitShare-1e-12 || left > 1-splitShare+1e-12 {
				continue
			}
			g := entropy(a0, a1) - left*entropy(l0, l1) - (1-left)*entropy(a0-l0, a1-l1)
			if g > bits+1e-12 {
				bits = g
				best.input, best.edge = i, e
			}
		}
	}
	n := l.total()
	return best, bits*math.Ln2*n/6 >= 10 || n >= 600 && bits > 1e-6
}

func TestBestSplitIsThatOfAllEdges(t *testing.T) {
	const seed = 1
	r := newRandom(seed, "histograms")
	splits := 0
	for trial := range 2000 {
		l := leaf{histograms: make([]histogram, 4)}
		rows := 5 + int(r.below(120))
		informative, share := int(r.below(4)), r.uniform()
		for range rows {
			label := int(r.below(2))
			weight := float64(r.below(12))
			if trial%2 == 1 {
				weight = r.uniform() * 10
			}
			l.weight[label] += weight
			for i := range l.histograms {
				bin := r.below(treeBins)
				if i == informative && r.uniform() < share {
					bin = bin/2 + uint64(treeBins/2*label)
				}
				l.histograms[i].weight[label][bin] += float32(weight)
			}
		}
		want, enough := plainSplit(&l)
		got, ok := l.bestSplit()
		if ok != enough {
			t.Fatalf("trial %d: worth a split %t, want %t (seed %d)", trial, ok, enough, seed)
		}
		if !ok {
			continue
		}
		splits++
		if got.input != want.input || got.edge != want.edge {
			t.Fatalf("trial %d: splits input %d at edge %d, want %d at %d (seed %d)",
				trial, got.input, got.edge, want.input, want.edge, seed)
		}
	}
	if splits < 500 {
		t.Errorf("only %d splits were compared", splits)
	}
}

func TestXLogX(t *testing.T) {
	for _, a := range []float64{0, 1, 2, 77, 4095, 4096, 1e9, 0.25, 3.5} {
		want := 0.0
		if a > 0 {
			want = a * math.Log(a)
		}
		if got := xLogX(a); math.Abs(got-want) > 1e-14*math.Abs(want) {
			t.Errorf("xLogX(%g) = %v, want %v", a, got, want)
		}
	}
}

func TestThreshold(t *testing.T) {
	r := newRandom(1, "threshold")
	h := newHistogram(10, 32) // bins of width 1
	h.weight[0][4], h.weight[1][5], h.weight[1][9] = 1, 1, 1
	low, high := math.Inf(1), math.Inf(-1)
	for range 1000 {
		at := h.threshold(5, &r)
		low, high = min(low, at), max(high, at)
	}
	if low < 14.5 || low > 14.51 || high >= 15.5 || high < 15.49 {
		t.Errorf("thresholds from %v to %v, want 14.5 to 15.5", low, high)
	}
	if at := h.threshold(6, &r); at != 17.5 {
		t.Errorf("threshold %v in the gap from 16 to 19, want 17.5", at)
	}
}

func TestChildRange(t *testing.T) {
	even := func(change func(h *histogram)) *histogram {
		h := newHistogram(0, 32)
		for i := range h.weight[0] {
			h.weight[0][i] = 100
		}
		change(&h)
		return &h
	}
	tests := []struct {
		name                 string
		give                 *histogram
		observer             observer
		wantLow, wantHigh, e float64
	}{
		{"half a percent less on each side", even(func(*histogram) {}), observer{low: -9, high: 99}, 0.16, 31.84, 1e-9},
		{"not beyond what was observed", even(func(*histogram) {}), observer{low: 2, high: 20}, 2, 20, 0},
		{"a heavy end reaches to what was observed", even(func(h *histogram) { h.weight[1][31] = 1000 }), observer{low: -9, high: 99}, 0.21, 99, 1e-9},
		{
			"far values are left out", even(func(h *histogram) { clear(h.weight[0][8:]); h.weight[1][31] = 3 }),
			observer{low: 0, high: 31.5},
			0, 7.98985, 1e-9,
		},
		{"bins that lie nowhere", &histogram{}, observer{low: 3, high: 4}, 3, 4, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			low, high := childRange(tt.give, &tt.observer)
			if math.Abs(low-tt.wantLow) > tt.e || math.Abs(high-tt.wantHigh) > tt.e {
				t.Errorf("%v to %v, want %v to %v", low, high, tt.wantLow, tt.wantHigh)
			}
		})
	}
}

func TestPoisson(t *testing.T) {
	const seed, n = 1, 200_000
	r := newRandom(seed, "poisson")
	var counts [32]int
	for range n {
		counts[r.poisson6()]++
	}
	p := math.Exp(-6)
	chi := 0.0
	for k := range 18 {
		want := n * p
		chi += (float64(counts[k]) - want) * (float64(counts[k]) - want) / want
		p *= 6 / float64(k+1)
	}
	// χ² of 18 degrees of freedom exceeds 42.3 once in a thousand times.
	if chi > 42.3 {
		t.Errorf("χ² is %v, counts %v (seed %d)", chi, counts, seed)
	}
}

// newLeaf returns a leaf outside of a tree.
func newLeaf(inputs int) *leaf {
	l := &leaf{answer: answer{observers: make([]observer, inputs)}, histograms: make([]histogram, inputs)}
	l.start([2]float64{})
	return l
}

func TestLeafAnswersByTheFormula(t *testing.T) {
	const seed, inputs, n = 1, 3, 40
	r := newRandom(seed, "leaf")
	l := newLeaf(inputs)
	var xs [][]float64
	var labels []int
	var weights []float64
	odds := 1.0
	for i := range n {
		label, weight := int(r.below(2)), 5*r.uniform()
		x := []float64{r.normal() + float64(label), 1e6 + 1e-3*r.normal(), 7} // the last one is constant
		count, bayes, mixed := l.probs(x)

		// The same from all values so far.
		var total [2]float64
		for k := range xs {
			total[labels[k]] += weights[k]
		}
		wantCount := (total[1] + 0.5) / (total[0] + total[1] + 1)
		wantBayes := wantCount
		if total[0] >= 12 && total[1] >= 12 {
			z := math.Log((total[1] + 0.5) / (total[0] + 0.5))
			for j := range inputs {
				low, high := math.Inf(1), math.Inf(-1)
				var mean, v [2]float64
				for k := range xs {
					mean[labels[k]] += weights[k] * xs[k][j] / total[labels[k]]
					low, high = min(low, xs[k][j]), max(high, xs[k][j])
				}
				for k := range xs {
					d := xs[k][j] - mean[labels[k]]
					v[labels[k]] += weights[k] * d * d / total[labels[k]]
				}
				if high == low {
					continue
				}
				for c := range v {
					v[c] += 1e-4 * (high - low) * (high - low)
				}
				d0, d1 := x[j]-mean[0], x[j]-mean[1]
				z += 0.5 * (d0*d0/v[0] - d1*d1/v[1] + math.Log(v[0]/v[1]))
			}
			wantBayes = 1 / (1 + math.Exp(-max(min(z, 7), -7)))
		}
		alpha := odds / (1 + odds)
		wantMixed := alpha*wantCount + (1-alpha)*wantBayes
		for _, p := range [][2]float64{{count, wantCount}, {bayes, wantBayes}, {mixed, wantMixed}} {
			if math.Abs(p[0]-p[1]) > 1e-6 {
				t.Fatalf("row %d: answers %v %v %v, want %v %v %v (seed %d)",
					i, count, bayes, mixed, wantCount, wantBayes, wantMixed, seed)
			}
		}

		l.weigh(count, bayes, label, 1)
		if label == 1 {
			odds *= wantCount / wantBayes
		} else {
			odds *= (1 - wantCount) / (1 - wantBayes)
		}
		odds = min(max(odds, 0.01), 100)
		if math.Abs(l.odds/odds-1) > 1e-5 {
			t.Fatalf("row %d: odds %v, want %v (seed %d)", i, l.odds, odds, seed)
		}
		odds = l.odds
		l.learn(x, label, weight)
		xs, labels, weights = append(xs, x), append(labels, label), append(weights, weight)
	}
	if l.weight[0] < 12 || l.weight[1] < 12 {
		t.Error("naive Bayes was not compared")
	}
}

func TestLeafStaysFiniteWithValuesOfExtremeSize(t *testing.T) {
	l := newLeaf(4)
	extreme := []float64{maxT, -maxT, 0, 1, -1e-200, 1e-160, 1e150}
	r := newRandom(1, "extreme")
	x := make([]float64, 4)
	for i := range 500 {
		for k := range x {
			x[k] = extreme[r.below(uint64(len(extreme)))]
		}
		count, bayes, mixed := l.probs(x)
		for _, p := range []float64{count, bayes, mixed} {
			if !(p > 0 && p < 1) {
				t.Fatalf("row %d: answers %v %v %v", i, count, bayes, mixed)
			}
		}
		label := int(r.below(2))
		l.weigh(count, bayes, label, 1)
		l.learn(x, label, maxImportance*31)
	}
	for i, o := range l.observers {
		for k := range o.mean {
			if !finite(o.mean[k]) || !finite(o.m2[k]) {
				t.Errorf("input %d: mean %v, m2 %v", i, o.mean[k], o.m2[k])
			}
		}
	}
}
