package sgd

import (
	"math"

	"learner/internal/portable"
)

// split divides a leaf: values of an input up to the threshold go left, those above it right.
type split struct {
	input     int
	edge      int        // bins of the input's histogram that go left
	threshold float64    // near the upper edge of the last of them
	gain      float64    // information about the class: nats × weight
	left      [2]float64 // weight of each class in these bins
	all       [2]float64 // weight of each class in all bins
}

const (
	splitEvery    = 50   // weight from one try to the next
	splitShare    = 0.02 // of the weight, on each side, at least
	splitEvidence = 10   // enough, as logarithm of a likelihood ratio
	splitPatience = 600  // weight from which on any split that tells something will do
	splitLeast    = 1e-6 // bits
	recordWeight  = 6    // mean weight of a record: that many are as much evidence as one
)

// bestSplit returns the split of the leaf that tells most about the class, and whether it tells enough: the likelihood
// ratio of the best split is large, or the weight is. Its threshold is not set.
func (l *leaf) bestSplit() (best split, enough bool) {
	if l.weight[0] == 0 || l.weight[1] == 0 || len(l.histograms) == 0 {
		return split{}, false
	}
	all := l.histograms[0].total()
	n, weight := l.total(), all[0]+all[1]
	need := float64(splitLeast * math.Ln2 * weight)
	if n < splitPatience {
		need = splitEvidence * recordWeight * weight / n
		if xLogX(weight)-xLogX(all[0])-xLogX(all[1]) < need { // no split tells more than the class itself
			return split{}, false
		}
	}
	best = split{all: all, gain: need}
	for i := range l.histograms {
		l.histograms[i].improve(&best, i)
	}
	return best, best.edge > 0
}

// total returns the weight of each class.
func (h *histogram) total() (all [2]float64) {
	for k := range all {
		for _, w := range h.weight[k] {
			all[k] += float64(w)
		}
	}
	return all
}

// improve makes best the split between two bins of the histogram, which is that of the given input, that tells most about
// the class, if it tells more than best.
//
// The gain is at most Pearson's χ², as Kullback-Leibler divergence is at most χ² divergence. For the weights l of the left
// side and a of all, χ² = a·(l0·a1 - l1·a0)²/(a0·a1·l·(a - l)): so most edges take no logarithm.
func (h *histogram) improve(best *split, input int) {
	a0, a1 := best.all[0], best.all[1]
	a := a0 + a1
	least := float64(splitShare * a)
	perGain := float64(float64(1-1e-9)*a0) * (a1 / a) // less, lest rounding matters
	bar := float64(best.gain * perGain)
	var l0, l1 float64
	for i := range treeBins - 1 {
		l0 += float64(h.weight[0][i])
		l1 += float64(h.weight[1][i])
		l := l0 + l1
		r := a - l
		if l < least || r < least {
			continue
		}
		d := float64(l0*a1) - float64(l1*a0)
		if float64(d*d) <= float64(bar*float64(l*r)) {
			continue
		}
		if gain := gain(l0, l1, a0, a1); gain > best.gain {
			best.input, best.edge, best.gain, best.left = input, i+1, gain, [2]float64{l0, l1}
			bar = float64(gain * perGain)
		}
	}
}

// gain returns the information about the class, in nats × weight, of knowing the side, where the weights of the classes are
// l0 and l1 on the left side, and a0 and a1 on both.
func gain(l0, l1, a0, a1 float64) float64 {
	r0, r1 := max(a0-l0, 0), max(a1-l1, 0) // not below 0 by rounding
	return xLogX(a0+a1) - xLogX(a0) - xLogX(a1) +
		(xLogX(l0) + xLogX(l1) - xLogX(l0+l1)) + (xLogX(r0) + xLogX(r1) - xLogX(r0+r1))
}

// threshold returns where to split between the bins before an edge and those from it on: half a bin's width around the
// edge at random, or in the middle of a gap.
func (h *histogram) threshold(edge int, at *random) float64 {
	end := edge
	for end < treeBins-1 && h.weight[0][end] == 0 && h.weight[1][end] == 0 {
		end++
	}
	if end > edge {
		return h.edge(float64(0.5 * float64(edge+end)))
	}
	return h.edge(float64(edge) + at.uniform() - 0.5)
}

// childRange returns the range of an input that the bins of a child are laid over, before the child's threshold cuts it:
// where most of the parent's weight is.
func childRange(h *histogram, o *observer) (low, high float64) {
	const (
		tail = 0.005    // share of the weight that is left out at each side
		full = 3.0 / 32 // an end bin of more weight stands for all that is beyond it
	)
	if h.perUnit == 0 {
		return o.low, o.high
	}
	all := 0.0
	for i := range treeBins {
		all += h.at(i)
	}
	out := float64(tail * all)
	low, high = o.low, o.high
	if !(h.at(0) > full*all) {
		first, sum := 0, h.at(0)
		for first < treeBins-1 && sum <= out {
			first++
			sum += h.at(first)
		}
		low = max(low, h.edge(float64(first+1)-min((sum-out)/h.at(first), 1)))
	}
	if !(h.at(treeBins-1) > full*all) {
		last, sum := treeBins-1, h.at(treeBins-1)
		for last > 0 && sum <= out {
			last--
			sum += h.at(last)
		}
		high = min(high, h.edge(float64(last)+min((sum-out)/h.at(last), 1)))
	}
	return low, high
}

// at returns the weight in bin i.
func (h *histogram) at(i int) float64 { return float64(h.weight[0][i]) + float64(h.weight[1][i]) }

// childHistogram returns the empty histogram of a child for values in a range. No edge falls on a round value.
func childHistogram(low, high float64) histogram {
	r := high - low
	return newHistogram(low-float64(0.0131*r), float64(1.0283*r))
}

// rootHistogram returns the empty histogram of a root, which reaches some way beyond the values so far.
func rootHistogram(o *observer) histogram {
	r := o.high - o.low
	return newHistogram(o.low-float64(0.2*r), float64(1.4*r))
}

// xLogXTable holds a·ln a for the small whole numbers, which most weights are.
var xLogXTable = func() (table [4096]float64) {
	for a := range table {
		if a > 0 {
			table[a] = float64(float64(a) * portable.Log(float64(a)))
		}
	}
	return table
}()

// xLogX returns a·ln a, 0 for 0.
func xLogX(a float64) float64 {
	if i := int(a); uint(i) < uint(len(xLogXTable)) && float64(i) == a {
		return xLogXTable[i]
	}
	return xLogXExact(a)
}

func xLogXExact(a float64) float64 { return float64(a * portable.Log(a)) }
