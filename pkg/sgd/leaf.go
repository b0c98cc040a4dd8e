package sgd

import (
	"math"

	"learner/internal/portable"
)

// observer sums up the values of one input in a leaf. It has what the leaf's answer needs.
type observer struct {
	mean, m2  [2]float64 // by class, weighted: mean, and sum of squared deviations from it
	low, high float64    // least and greatest value of both classes
}

// histogram holds the weight of each class over equal bins of one input in a leaf. Values outside go to the end bins.
type histogram struct {
	from    float64 // lower edge of the first bin
	perUnit float64 // bins per unit of the input; 0: all values are in the first bin
	weight  [2][treeBins]float32
}

const (
	treeBins = 32
	// bayesLeast is the weight that each class has in a leaf for naive Bayes to take part in the answer.
	bayesLeast = 12
	bayesLimit = 7     // of the log-odds by naive Bayes
	treeLimit  = 5     // of a tree's log-odds
	newRange   = 8     // that the bins of a new column are laid over, at both sides of 0
	maxM2      = 1e305 // values of extreme size do not make it infinite
)

// answer is what a leaf answers by: class counts and naive Bayes with a normal distribution for each input and class
// (Gama, Rocha, Medas, KDD 2003), mixed by how well each of them has foretold the labels. With the counts c, the mean m
// and the variance v = M2/n + 1e-4·(high - low)² of each input and class:
//
//	p_count = (c1 + ½)/(c0 + c1 + 1)
//	p_bayes = σ(ln((c1 + ½)/(c0 + ½)) + Σ ½·((x - m0)²/v0 - (x - m1)²/v1 + ln(v0/v1))), the argument within ±7
//	p = α·p_count + (1-α)·p_bayes, α = odds/(1 + odds)
type answer struct {
	counts    [2]float64 // weight of each class, with what the leaf took over from the leaf that it came from
	weight    [2]float64 // weight of each class since the leaf began
	odds      float64    // of p_count being the better one
	observers []observer // by input
}

// probs returns three probabilities of class 1: by class counts, by naive Bayes, and mixed. While a class has too little
// weight for naive Bayes, all are that by class counts.
func (a *answer) probs(x []float64) (count, bayes, mixed float64) {
	count = (a.counts[1] + 0.5) / (a.counts[0] + a.counts[1] + 1)
	if !(a.weight[0] >= bayesLeast && a.weight[1] >= bayesLeast) {
		return count, count, count
	}
	bayes = sigmoid(clip(a.logOdds(x), bayesLimit))
	alpha := a.odds / (1 + a.odds)
	return count, bayes, float64(alpha*count) + float64((1-alpha)*bayes)
}

// logOdds returns the log-odds of class 1 by naive Bayes.
func (a *answer) logOdds(x []float64) float64 {
	const (
		mantissa = 1<<52 - 1
		one      = 1023 << 52
	)
	x = x[:len(a.observers)]
	per0, per1 := 1/a.weight[0], 1/a.weight[1]
	// Π v0/v1 as ratio of products of mantissas, in [1, 2) each, times 2^exponent: it takes one logarithm.
	product0, product1, exponent := 1.0, 1.0, 0
	distance := 0.0
	for i := range a.observers {
		o := &a.observers[i]
		r := o.high - o.low
		if !(r > 1e-140) { // a constant; its square might be 0
			continue
		}
		least := float64(1e-4 * float64(r*r))
		v0, v1 := float64(o.m2[0]*per0)+least, float64(o.m2[1]*per1)+least
		d0, d1 := x[i]-o.mean[0], x[i]-o.mean[1]
		distance += float64(d0*d0)/v0 - float64(d1*d1)/v1
		bits0, bits1 := math.Float64bits(v0), math.Float64bits(v1)
		exponent += int(bits0>>52) - int(bits1>>52)
		product0 *= math.Float64frombits(bits0&mantissa | one)
		product1 *= math.Float64frombits(bits1&mantissa | one)
	}
	prior := (a.counts[1] + 0.5) / (a.counts[0] + 0.5)
	ratio := float64(prior*prior) * (product0 / product1)
	l := float64(0.5 * (distance + portable.Log(ratio) + float64(float64(exponent)*math.Ln2)))
	if math.IsNaN(l) { // of two values infinitely unlikely
		return 0
	}
	return l
}

// weigh lets the label decide between class counts and naive Bayes, given the probabilities of class 1 by each.
func (a *answer) weigh(count, bayes float64, label int, c float64) {
	if count == bayes {
		return
	}
	if label == 0 {
		count, bayes = 1-count, 1-bayes
	}
	ratio := count / bayes
	if c != 1 {
		ratio = portable.Exp(clip(float64(c*portable.Log(max(ratio, 1e-9))), 30))
	}
	a.odds = min(max(float64(a.odds*ratio), 0.01), 100)
}

// leaf is a leaf that learns.
type leaf struct {
	answer
	histograms []histogram // by input
	tried      float64     // weight since the leaf began, when a split was last tried
	node       int         // that is this leaf
	depth      int         // splits on the path to it
	frozen     []observer  // copy of the observers as they are, once one was made
}

// start makes the leaf empty, but for the weight of each class that it takes over. Its histograms stay as they are.
func (l *leaf) start(counts [2]float64) {
	l.counts, l.weight = counts, [2]float64{}
	l.odds, l.tried = 1, 0
	l.frozen = nil
	clear(l.observers)
}

// adopt makes the leaf that of a tree for rows with fewer columns, whose bins are laid or not. What values the new columns will
// have is not known, but for the unit of t: until they tell more of themselves, naive Bayes takes them for values with a variance
// of 1 in both classes, and bins for values within ±newRange.
func (l *leaf) adopt(narrow *leaf, laid bool) {
	observers, histograms := l.observers, l.histograms
	*l = *narrow
	l.frozen = nil
	inputs := copy(observers, narrow.observers)
	copy(histograms, narrow.histograms)
	l.observers, l.histograms = observers, histograms
	for i := inputs; i < len(observers); i++ {
		observers[i] = observer{m2: l.weight}
		if !laid {
			continue
		}
		h := newHistogram(-newRange, 2*newRange)
		for k, weight := range histograms[0].total() {
			h.weight[k][h.bin(0)] = float32(weight)
		}
		histograms[i] = h
	}
}

// total returns the weight since the leaf began.
func (l *leaf) total() float64 { return l.weight[0] + l.weight[1] }

// learn takes in x with the given weight.
func (l *leaf) learn(x []float64, label int, weight float64) {
	l.frozen = nil
	if l.total() == 0 {
		for i := range l.observers {
			l.observers[i].low, l.observers[i].high = x[i], x[i]
		}
	}
	l.counts[label] += weight
	l.weight[label] += weight
	a := weight / l.weight[label]
	gain := float64(weight * (1 - a))
	x = x[:len(l.observers)]
	for i, v := range x {
		o := &l.observers[i]
		d := v - o.mean[label]
		o.mean[label] += float64(a * d)
		o.m2[label] = min(o.m2[label]+float64(gain*float64(d*d)), maxM2)
		if v < o.low {
			o.low = v
		}
		if v > o.high {
			o.high = v
		}
	}
}

// count adds x with the given weight to the histograms.
func (l *leaf) count(x []float64, label int, weight float64) {
	w := float32(weight)
	x = x[:len(l.histograms)]
	for i, v := range x {
		h := &l.histograms[i]
		h.weight[label][h.bin(v)] += w
	}
}

func (h *histogram) bin(v float64) int {
	at := float64((v - h.from) * h.perUnit)
	switch {
	case at >= treeBins-1:
		return treeBins - 1
	case at > 0:
		return int(at)
	}
	return 0
}

// edge returns the lower edge of bin i, or the upper edge of bin i-1.
func (h *histogram) edge(i float64) float64 { return h.from + i/h.perUnit }

// newHistogram returns an empty histogram whose bins cover [from, from+width].
func newHistogram(from, width float64) histogram {
	h := histogram{from: from}
	if width > 1e-140 {
		h.perUnit = treeBins / width
	}
	return h
}
