package sgd

import (
	"slices"

	"learner/internal/adwin"
	"learner/internal/portable"
)

// tree is a classification tree that grows while it learns, and starts anew when its errors become more.
//
// A root lays the bins of its histograms once it has seen some weight, a child has those that fit it from the start. From
// time to time a leaf looks for the split that tells most about the class.
type tree struct {
	nodes  []node // in use: a split appends two, so that children stand behind their parent
	leaves []leaf // all that there is room for; the first ones are in use
	random random // of weights, thresholds, and inputs
	window adwin.Window
	inputs []int     // of a row, that the tree sees; nil: all
	seen   []float64 // their values
	width  int       // of the rows

	frozen []node // copy of the nodes as they are, once one was made
}

// node is a split or a leaf.
type node struct {
	threshold float64
	input     int32 // of the split; -1: the node is a leaf
	child     int32 // of the split, that for values up to the threshold, the other one next to it; of a leaf, its number
}

const (
	treeNodes = 511 // of a tree, at most
	treeDepth = 40  // splits on a path, at most
	// rootWeight is the weight after which a root lays its bins.
	rootWeight = 300
	// driftDelta is the confidence with which a change of a tree's errors is told.
	driftDelta = 0.001
)

// newTree returns a tree for rows of the given width, with room for so many leaves, that sees so many inputs.
func newTree(width, inputs, leaves int, random random) *tree {
	t := &tree{
		nodes: make([]node, 0, 2*leaves-1), leaves: make([]leaf, leaves),
		random: random, window: adwin.New(driftDelta), width: width,
	}
	observers, histograms := make([]observer, leaves*inputs), make([]histogram, leaves*inputs)
	for i := range t.leaves {
		t.leaves[i].observers = observers[i*inputs:][:inputs:inputs]
		t.leaves[i].histograms = histograms[i*inputs:][:inputs:inputs]
	}
	if inputs < width {
		t.inputs, t.seen = make([]int, inputs), make([]float64, inputs)
	}
	t.start()
	return t
}

// start makes the tree one empty leaf.
func (t *tree) start() {
	t.nodes = append(t.nodes[:0], node{input: -1})
	t.frozen = nil
	t.window.Restart()
	root := &t.leaves[0]
	root.start([2]float64{})
	root.node, root.depth = 0, 0
	clear(root.histograms)
	t.draw(0)
}

// draw draws the inputs that the tree sees, but for the first ones, which are those of the first columns, each as likely as any
// other (Ho, TPAMI 20, 1998; Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
func (t *tree) draw(n int) {
	for i := n; n < len(t.inputs); i++ {
		if t.random.below(uint64(t.width-i)) < uint64(len(t.inputs)-n) {
			t.inputs[n] = i
			n++
		}
	}
}

// adopt makes the state of a fresh tree that of a tree for rows with fewer columns, which is of no use then. New inputs that it
// sees are, for what it has learned, columns that have been 0 until now. Where it saw a part of the columns, it looks at new
// ones when it starts anew; that it does at once where wider leaves leave no room for all of its own.
func (t *tree) adopt(narrow *tree) {
	t.random, t.window = narrow.random, narrow.window
	if len(narrow.nodes) > cap(t.nodes) {
		t.start()
		return
	}
	switch {
	case narrow.inputs != nil:
		copy(t.inputs, narrow.inputs)
	case t.inputs != nil:
		copy(t.inputs, upTo(narrow.width))
		t.draw(narrow.width)
	}
	t.nodes = append(t.nodes[:0], narrow.nodes...)
	used := narrow.used()
	laid := len(used) > 1 || used[0].total() >= rootWeight
	for i := range used {
		t.leaves[i].adopt(&used[i], laid)
	}
}

// learn adds the tree's log-odds for each row of the block to margin, and learns the row.
func (t *tree) learn(b *block, margin []float64) {
	for i := range margin {
		x := look(b.row(i).t, t.inputs, t.seen)
		l := &t.leaves[find(t.nodes, x)]
		count, bayes, p := l.probs(x)
		margin[i] += treeMargin(p)
		c := b.c[i]
		if !(c > 0) {
			continue
		}
		label := int(b.y[i])
		l.weigh(count, bayes, label, c)
		if k := t.random.poisson6(); k > 0 {
			t.grow(l, x, label, float64(c*float64(k)))
		}
		wrong := 0.0
		if (p >= 0.5) != (label == 1) {
			wrong = 1
		}
		if t.window.Add(wrong) == adwin.Rose {
			t.start()
		}
	}
}

// look returns the inputs of a row that a tree sees, nil standing for all, in seen.
func look(row []float64, inputs []int, seen []float64) []float64 {
	if inputs == nil {
		return row
	}
	for i, input := range inputs {
		seen[i] = row[input]
	}
	return seen[:len(inputs)]
}

// find returns the number of the leaf that x belongs to.
func find(nodes []node, x []float64) int32 {
	n := &nodes[0]
	for n.input >= 0 {
		child := n.child
		if !(x[n.input] <= n.threshold) {
			child++
		}
		n = &nodes[child]
	}
	return n.child
}

// treeMargin returns the log-odds of a probability, within ±treeLimit.
func treeMargin(p float64) float64 {
	p = min(max(p, 1e-5), 1-1e-5)
	return clip(portable.Log(p/(1-p)), treeLimit)
}

// grow lets the leaf learn x, and splits the leaf if it is time to and worth while.
func (t *tree) grow(l *leaf, x []float64, label int, weight float64) {
	laid := len(t.nodes) > 1 || l.total() >= rootWeight
	l.learn(x, label, weight)
	if len(t.nodes)+2 > cap(t.nodes) || l.depth >= treeDepth {
		return // it will not split
	}
	if !laid {
		if l.total() >= rootWeight {
			for i := range l.histograms {
				l.histograms[i] = rootHistogram(&l.observers[i])
			}
		}
		return
	}
	l.count(x, label, weight)
	if l.total()-l.tried < splitEvery {
		return
	}
	l.tried = l.total()
	if s, enough := l.bestSplit(); enough {
		s.threshold = l.histograms[s.input].threshold(s.edge, &t.random)
		t.split(l, &s)
	}
}

// split makes a leaf two.
func (t *tree) split(l *leaf, s *split) {
	number := (len(t.nodes) + 1) / 2 // leaves in use
	left, right := l, &t.leaves[number]
	var counts [2][2]float64 // by side and class
	for k, c := range l.weight {
		counts[0][k] = min(float64(c*(s.left[k]/s.all[k])), c)
		counts[1][k] = c - counts[0][k]
	}
	for i := range l.histograms {
		low, high := childRange(&l.histograms[i], &l.observers[i])
		leftHigh, rightLow := high, low
		if i == s.input {
			leftHigh, rightLow = min(high, s.threshold), max(low, s.threshold)
		}
		left.histograms[i] = childHistogram(low, leftHigh)
		right.histograms[i] = childHistogram(rightLow, high)
	}
	child := len(t.nodes)
	t.nodes = append(t.nodes, node{input: -1, child: t.nodes[l.node].child}, node{input: -1, child: int32(number)})
	t.nodes[l.node] = node{s.threshold, int32(s.input), int32(child)}
	t.frozen = nil
	left.start(counts[0])
	right.start(counts[1])
	left.depth++
	right.depth = left.depth
	left.node, right.node = child, child+1
}

// used returns the leaves in use.
func (t *tree) used() []leaf { return t.leaves[:(len(t.nodes)+1)/2] }

// freezeRoom is how many leaves are copied to one piece of memory, all of which stays as long as one of them is in use.
const freezeRoom = 8

// freeze returns a copy that answers. What did not change since the last copy is shared with it.
func (t *tree) freeze() frozenTree {
	if t.frozen == nil {
		t.frozen = slices.Clone(t.nodes)
	}
	used := t.used()
	f := frozenTree{nodes: t.frozen, leaves: make([]answer, len(used)), inputs: slices.Clone(t.inputs)}
	var room []observer
	for i := range used {
		l := &used[i]
		if n := len(l.observers); l.frozen == nil {
			if len(room) < n {
				room = make([]observer, freezeRoom*n)
			}
			l.frozen, room = room[:n:n], room[n:]
			copy(l.frozen, l.observers)
		}
		f.leaves[i] = l.answer
		f.leaves[i].observers = l.frozen
	}
	return f
}

// frozenTree answers as a tree did when it was made.
type frozenTree struct {
	nodes  []node
	leaves []answer
	inputs []int
}

func (f *frozenTree) margin(row, seen []float64) float64 {
	x := look(row, f.inputs, seen)
	_, _, p := f.leaves[find(f.nodes, x)].probs(x)
	return treeMargin(p)
}

// poissonBelow holds the distribution function of the Poisson distribution of mean 6.
var poissonBelow = func() (below [32]float64) {
	p := 0.00247875217666635842 // e^-6
	sum := 0.0
	for k := range below {
		sum += p
		below[k] = sum
		p = float64(p * recordWeight / float64(k+1))
	}
	return below
}()

// poisson6 returns a number from the Poisson distribution of mean 6, at most 31.
func (r *random) poisson6() int {
	u := r.uniform()
	k := 0
	for k < len(poissonBelow)-1 && u >= poissonBelow[k] {
		k++
	}
	return k
}
