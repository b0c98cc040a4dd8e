package sgd

import "fmt"

// forest is the expert of bagged, adaptive trees (leveraging bagging: Bifet, Holmes, Pfahringer, ECML PKDD 2010): each
// tree learns each record with a weight of its own, from the Poisson distribution of mean 6 times the record's
// importance. The answer is the mean of the trees' log-odds, each within ±5.
//
// The trees look at values that were shifted and scaled once for all of a model's life: thresholds that hold for these hold
// for the raw values. All memory is there from the start; of rows wider than 64 features a tree sees 64, drawn at random.
//
// No step is refused: sums of weights stay finite for longer than any stream, and sums of squares are limited.
type forest struct{ trees []*tree }

const (
	maxTrees   = 100
	treeInputs = 64       // that a tree sees, at most
	forestRoom = 60 << 20 // bytes that the leaves of a forest take, at most
)

// forestOptions reads the options of the kind forest: trees, their number.
func forestOptions(o *options) expertBuilder {
	trees := o.whole("trees", 10, maxTrees)
	return func(width int, seed uint64) expert {
		f := &forest{trees: make([]*tree, trees)}
		inputs := min(width, treeInputs)
		for i := range f.trees {
			f.trees[i] = newTree(width, inputs, leavesFor(trees, inputs), newRandom(seed, fmt.Sprintf("tree %d", i)))
		}
		return f
	}
}

// leavesFor returns how many leaves a tree of so many, with so many inputs, has at most.
func leavesFor(trees, inputs int) int {
	const observerBytes, histogramBytes = 48, 272
	return min((treeNodes+1)/2, forestRoom/(trees*max(inputs, 1)*(observerBytes+histogramBytes)))
}

func (f *forest) learn(b *block, margin []float64) {
	clear(margin)
	for _, t := range f.trees {
		t.learn(b, margin)
	}
	for i := range margin {
		margin[i] /= float64(len(f.trees))
	}
}

func (f *forest) adopt(narrow expert) {
	for i, t := range narrow.(*forest).trees {
		f.trees[i].adopt(t)
	}
}

func (f *forest) freeze() frozen {
	trees := make(frozenForest, len(f.trees))
	for i, t := range f.trees {
		trees[i] = t.freeze()
	}
	return trees
}

func (f *forest) stats() Stats { return Stats{} }

// frozenForest answers as a forest did when it was made.
type frozenForest []frozenTree

func (f frozenForest) margin(r row, _ []int32, scratch []float64) float64 {
	sum := 0.0
	for i := range f {
		sum += f[i].margin(r.t, scratch)
	}
	return sum / float64(len(f))
}

func (f frozenForest) scratch() int { return len(f[0].inputs) }
func (f frozenForest) known() int   { return 0 }
