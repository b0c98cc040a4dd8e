package sgd

import (
	"math"

	"learner/internal/portable"
)

// grove holds the nodes and leaves of all trees, one tree after the other, as tables of a formula.
type grove struct {
	depth int // splits on the longest path
	roots []int
	// By node. Both children of a leaf are itself.
	column, left, right []int
	threshold           []float64
	leaf                []int
	// By leaf: its answer is count + bayes·(probability by naive Bayes), whose log-odds are half of
	// prior + Σ ((x - mean0)²/variance0 - (x - mean1)²/variance1).
	count, bayes, prior []float64
	// By leaf and input.
	mean, variance [2][]float64
}

// describe lets all trees take one split at a time, for as often as the deepest has splits.
func (f frozenForest) describe(to *Formula, t, _ int) int {
	var g grove
	var inputs []int
	for i := range f {
		inputs = append(inputs, f[i].columns()...)
		g.add(&f[i])
	}
	trees := len(f)
	column, threshold := to.places(g.column), to.vector(g.threshold)
	left, right := to.places(g.left), to.places(g.right)
	node := to.places(g.roots)
	for split := range g.depth {
		var x int
		if split == 0 {
			x = to.step(OpColumns, t, to.places(g.rootColumns()))
		} else {
			x = to.step(OpPick, t, to.step(OpTake, column, node))
		}
		above := to.step(OpGreater, x, to.step(OpTake, threshold, node))
		node = to.step(OpSelect, above, to.step(OpTake, right, node), to.step(OpTake, left, node))
	}
	leaf := to.step(OpTake, to.places(g.leaf), node)

	n := len(inputs) / trees
	x := to.step(OpColumns, t, to.places(inputs, trees, n))
	var unlikely [2]int
	for k := range unlikely {
		table := func(values []float64) int { return to.step(OpTake, to.constant(values, len(g.count), n), leaf) }
		d := to.step(OpSub, x, table(g.mean[k]))
		unlikely[k] = to.step(OpDiv, to.step(OpMul, d, d), table(g.variance[k]))
	}
	distance := to.step(OpSum, to.step(OpSub, unlikely[0], unlikely[1]))
	odds := to.step(OpMul, to.step(OpAdd, distance, to.step(OpTake, to.vector(g.prior), leaf)), to.number(0.5))
	odds = to.step(OpSelect, to.step(OpNaN, odds), to.number(0), odds)
	p := to.step(OpMul, to.sigmoid(to.clip(odds, bayesLimit)), to.step(OpTake, to.vector(g.bayes), leaf))
	p = to.limit(to.step(OpAdd, p, to.step(OpTake, to.vector(g.count), leaf)), 1e-5, 1-1e-5)
	mean := make([]float64, trees)
	for i := range mean {
		mean[i] = 1 / float64(trees)
	}
	return to.step(OpMatMul, to.clip(to.odds(p), treeLimit), to.column(mean))
}

// rootColumns returns the column that each tree looks at first.
func (g *grove) rootColumns() []int {
	columns := make([]int, len(g.roots))
	for i, root := range g.roots {
		columns[i] = g.column[root]
	}
	return columns
}

// columns returns the columns of a row that the tree sees.
func (f *frozenTree) columns() []int {
	if f.inputs != nil {
		return f.inputs
	}
	all := make([]int, len(f.leaves[0].observers))
	for i := range all {
		all[i] = i
	}
	return all
}

// add appends a tree.
func (g *grove) add(f *frozenTree) {
	nodes, leaves, columns := len(g.leaf), len(g.count), f.columns()
	g.roots = append(g.roots, nodes)
	depth := make([]int, len(f.nodes))
	for i, n := range f.nodes {
		if n.input < 0 {
			g.column, g.threshold = append(g.column, 0), append(g.threshold, math.MaxFloat64)
			g.left, g.right = append(g.left, nodes+i), append(g.right, nodes+i)
			g.leaf = append(g.leaf, leaves+int(n.child))
			continue
		}
		child := nodes + int(n.child)
		g.column, g.threshold = append(g.column, columns[n.input]), append(g.threshold, n.threshold)
		g.left, g.right = append(g.left, child), append(g.right, child+1)
		g.leaf = append(g.leaf, 0)
		depth[n.child], depth[n.child+1] = depth[i]+1, depth[i]+1
		g.depth = max(g.depth, depth[i]+1)
	}
	for i := range f.leaves {
		g.addLeaf(&f.leaves[i])
	}
}

func (g *grove) addLeaf(a *answer) {
	count, bayes := (a.counts[1]+0.5)/(a.counts[0]+a.counts[1]+1), 0.0
	if a.weight[0] >= bayesLeast && a.weight[1] >= bayesLeast {
		bayes = 1 / (1 + a.odds)
	}
	prior := float64(2 * portable.Log((a.counts[1]+0.5)/(a.counts[0]+0.5)))
	for i := range a.observers {
		o := &a.observers[i]
		variance := [2]float64{math.Inf(1), math.Inf(1)} // of a constant, which says nothing
		if r := o.high - o.low; bayes > 0 && r > 1e-140 {
			for k := range variance {
				variance[k] = o.m2[k]/a.weight[k] + float64(1e-4*float64(r*r))
			}
			prior += portable.Log(variance[0]) - portable.Log(variance[1])
		}
		for k := range variance {
			g.mean[k], g.variance[k] = append(g.mean[k], o.mean[k]), append(g.variance[k], variance[k])
		}
	}
	g.count, g.bayes = append(g.count, float64((1-bayes)*count)), append(g.bayes, bayes)
	g.prior = append(g.prior, prior)
}
