package sgd

import (
	"math"

	"learner/internal/adwin"
)

// The state of a forest is that of its trees, one after the other: their nodes, and their leaves, of each as many as are
// in use.
const (
	leafNumbers     = 6 // counts and weight by class, odds, tried
	observerNumbers = 6 // mean and m2 by class, low, high
	rangeNumbers    = 2 // from, perUnit
)

// inputs returns how many inputs each tree sees.
func (f *forest) inputs() int { return len(f.trees[0].leaves[0].observers) }

func (f *forest) state() []Tensor {
	trees, inputs := len(f.trees), f.inputs()
	nodes, leaves := 0, 0
	for _, t := range f.trees {
		nodes += len(t.nodes)
		leaves += len(t.used())
	}
	sizes, randoms := make([]uint64, 0, trees), make([]uint64, 0, trees)
	windows := make([]float64, 0, trees*adwin.StateLen)
	var drawn []int64
	thresholds := make([]float64, 0, nodes)
	splits, children := make([]int64, 0, nodes), make([]int64, 0, nodes)
	weights := make([]float64, 0, leaves*leafNumbers)
	observers := make([]float64, 0, leaves*inputs*observerNumbers)
	ranges := make([]float64, 0, leaves*inputs*rangeNumbers)
	bins := make([]float32, 0, leaves*inputs*2*treeBins)
	for _, t := range f.trees {
		sizes, randoms = append(sizes, uint64(len(t.nodes))), append(randoms, t.random.state)
		windows = append(windows, t.window.State()...)
		for _, input := range t.inputs {
			drawn = append(drawn, int64(input))
		}
		for _, n := range t.nodes {
			thresholds = append(thresholds, n.threshold)
			splits, children = append(splits, int64(n.input)), append(children, int64(n.child))
		}
		used := t.used()
		for k := range used {
			l := &used[k]
			weights = append(weights, l.counts[0], l.counts[1], l.weight[0], l.weight[1], l.odds, l.tried)
			for i := range inputs {
				o, h := &l.observers[i], &l.histograms[i]
				observers = append(observers, o.mean[0], o.mean[1], o.m2[0], o.m2[1], o.low, o.high)
				ranges = append(ranges, h.from, h.perUnit)
				bins = append(append(bins, h.weight[0][:]...), h.weight[1][:]...)
			}
		}
	}
	tensors := []Tensor{
		{Name: "trees/nodes", Shape: []int{trees}, Data: sizes},
		{Name: "trees/random", Shape: []int{trees}, Data: randoms},
		{Name: "trees/window", Shape: []int{trees, adwin.StateLen}, Data: windows},
		{Name: "nodes/threshold", Shape: []int{nodes}, Data: thresholds},
		{Name: "nodes/input", Shape: []int{nodes}, Data: splits},
		{Name: "nodes/child", Shape: []int{nodes}, Data: children},
		{Name: "leaves/weight", Shape: []int{leaves, leafNumbers}, Data: weights},
		{Name: "leaves/observers", Shape: []int{leaves, inputs, observerNumbers}, Data: observers},
		{Name: "leaves/range", Shape: []int{leaves, inputs, rangeNumbers}, Data: ranges},
		{Name: "leaves/bins", Shape: []int{leaves, inputs, 2, treeBins}, Data: bins},
	}
	if drawn != nil {
		tensors = append(tensors, Tensor{Name: "trees/inputs", Shape: []int{trees, inputs}, Data: drawn})
	}
	return tensors
}

// restore first looks at all of the state, and changes the trees only if it is sound.
func (f *forest) restore(from *Stored) {
	trees, inputs := len(f.trees), f.inputs()
	sizes, randoms := make([]uint64, trees), make([]uint64, trees)
	windows := make([]float64, trees*adwin.StateLen)
	faults := len(from.faults)
	load(from, "trees/nodes", sizes)
	load(from, "trees/random", randoms)
	load(from, "trees/window", windows)
	var drawn []int64
	if f.trees[0].inputs != nil {
		drawn = make([]int64, trees*inputs)
		load(from, "trees/inputs", drawn)
	}
	thresholds := Values[float64](from, "nodes/threshold")
	splits, children := Values[int64](from, "nodes/input"), Values[int64](from, "nodes/child")
	weights, observers := Values[float64](from, "leaves/weight"), Values[float64](from, "leaves/observers")
	ranges, bins := Values[float64](from, "leaves/range"), Values[float32](from, "leaves/bins")

	nodes, leaves := 0, 0
	for i, size := range sizes {
		if most := cap(f.trees[i].nodes); size < 1 || size%2 == 0 || size > uint64(most) {
			from.Fault("tensor %s: tree %d has %d nodes, want an odd number up to %d", from.prefix+"trees/nodes", i, size, most)
			return
		}
		nodes += int(size)
		leaves += int(size+1) / 2
	}
	length := func(name string, got, want int) {
		if got != want {
			from.Fault("tensor %s holds %d values, want %d", from.prefix+name, got, want)
		}
	}
	length("nodes/threshold", len(thresholds), nodes)
	length("nodes/input", len(splits), nodes)
	length("nodes/child", len(children), nodes)
	length("leaves/weight", len(weights), leaves*leafNumbers)
	length("leaves/observers", len(observers), leaves*inputs*observerNumbers)
	length("leaves/range", len(ranges), leaves*inputs*rangeNumbers)
	length("leaves/bins", len(bins), leaves*inputs*2*treeBins)
	for i, v := range windows {
		if !finite(v) {
			from.Fault("tensor %s: %v at %d", from.prefix+"trees/window", v, i)
			break
		}
	}
	if len(from.faults) > faults {
		return
	}

	for i, t := range f.trees {
		n := int(sizes[i])
		if !t.restoreNodes(thresholds[:n], splits[:n], children[:n]) {
			from.Fault("tensors %s: those of tree %d make no tree", from.prefix+"nodes/*", i)
		}
		t.random.state = randoms[i]
		if err := t.window.Restore(windows[i*adwin.StateLen:][:adwin.StateLen]); err != nil {
			from.Fault("tree %d: %w", i, err)
		}
		if drawn != nil && !t.restoreInputs(drawn[i*inputs:][:inputs]) {
			from.Fault("tensor %s: the inputs of tree %d are no rising numbers below %d", from.prefix+"trees/inputs", i, t.width)
		}
		used := t.used()
		for k := range used {
			if !used[k].restore(weights, observers, ranges, bins) {
				from.Fault("tensors %s: leaf %d of tree %d has impossible values", from.prefix+"leaves/*", k, i)
				break
			}
			weights, observers = weights[leafNumbers:], observers[inputs*observerNumbers:]
			ranges, bins = ranges[inputs*rangeNumbers:], bins[inputs*2*treeBins:]
		}
		if len(from.faults) > faults {
			return
		}
		thresholds, splits, children = thresholds[n:], splits[n:], children[n:]
	}
}

// restoreInputs reports whether the inputs can be those of the tree, and then makes them so.
func (t *tree) restoreInputs(inputs []int64) bool {
	last := int64(-1)
	for i, input := range inputs {
		if input <= last || input >= int64(t.width) {
			return false
		}
		t.inputs[i] = int(input)
		last = input
	}
	return true
}

// restoreNodes reports whether the nodes make a tree, and then makes them those of t.
func (t *tree) restoreNodes(thresholds []float64, splits, children []int64) bool {
	inputs, nodes := int64(len(t.leaves[0].observers)), int64(len(splits))
	depth := make([]int, nodes) // of each node that has a parent, which stands before it
	taken := make([]bool, len(t.leaves))
	for i, input := range splits {
		child := children[i]
		leaf := input == -1
		switch {
		case i > 0 && depth[i] == 0, depth[i] > treeDepth, !finite(thresholds[i]):
			return false
		case leaf && (child < 0 || child > nodes/2 || taken[child]):
			return false
		case !leaf && (input < 0 || input >= inputs || child <= int64(i) || child >= nodes-1 || depth[child] > 0 || depth[child+1] > 0):
			return false
		}
		if leaf {
			taken[child] = true
			continue
		}
		depth[child], depth[child+1] = depth[i]+1, depth[i]+1
	}
	t.nodes, t.frozen = t.nodes[:nodes], nil
	for i := range t.nodes {
		t.nodes[i] = node{thresholds[i], int32(splits[i]), int32(children[i])}
		if splits[i] == -1 {
			l := &t.leaves[children[i]]
			l.node, l.depth = i, depth[i]
		}
	}
	return true
}

// restore takes what is the leaf's from the front of each tensor, and reports whether the values are possible.
func (l *leaf) restore(weights, observers, ranges []float64, bins []float32) bool {
	l.counts, l.weight = [2]float64(weights[:2]), [2]float64(weights[2:4])
	l.odds, l.tried = weights[4], weights[5]
	l.frozen = nil
	sound := l.odds >= 0.01 && l.odds <= 100
	for _, w := range weights[:leafNumbers] {
		sound = sound && w >= 0 && finite(w)
	}
	for i := range l.observers {
		o := observers[i*observerNumbers:][:observerNumbers]
		l.observers[i] = observer{[2]float64(o[:2]), [2]float64(o[2:4]), o[4], o[5]}
		within := func(v float64) bool { return math.Abs(v) <= 2*maxT }
		sound = sound && within(o[0]) && within(o[1]) && o[2] >= 0 && o[2] <= maxM2 && o[3] >= 0 && o[3] <= maxM2 &&
			within(o[4]) && within(o[5]) && o[4] <= o[5]
		h := &l.histograms[i]
		h.from, h.perUnit = ranges[i*rangeNumbers], ranges[i*rangeNumbers+1]
		sound = sound && within(h.from/2) && h.perUnit >= 0 && finite(h.perUnit)
		for k := range h.weight {
			copy(h.weight[k][:], bins[(2*i+k)*treeBins:])
			for _, w := range h.weight[k] {
				sound = sound && w >= 0 && w <= math.MaxFloat32
			}
		}
	}
	return sound
}
