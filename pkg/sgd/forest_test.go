package sgd

import (
	"math"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// newForest makes a forest, by options such as "trees=3", and the model that it is alone in.
func newForest(tb testing.TB, options string, width int, seed uint64) (Model, *forest) {
	tb.Helper()
	m := newModel(tb, strings.TrimSuffix("forest:"+options, ":"), width, seed)
	return m, m.(*pipeline).experts[0].(*forest)
}

// threshold returns rows of uniform values in [-1, 1), labelled by whether value at exceeds a threshold.
func threshold(seed uint64, n, width, at int, value float64) *Rows {
	r := newRandom(seed, "threshold")
	rows := &Rows{Width: width}
	for i := range n {
		for range width {
			rows.X = append(rows.X, 2*r.uniform()-1)
		}
		y := 0.0
		if rows.Row(i)[at] > value {
			y = 1
		}
		rows.Y = append(rows.Y, y)
	}
	return rows
}

// inverted returns the rows with labels inverted from the given row on.
func inverted(rows *Rows, from int) *Rows {
	other := *rows
	other.Y = slices.Clone(rows.Y)
	for i := from; i < len(other.Y); i++ {
		other.Y[i] = 1 - other.Y[i]
	}
	return &other
}

func TestForestQualityAlone(t *testing.T) {
	// Measured once with another implementation of the same trees.
	tests := []struct {
		stream         string
		accuracy, loss float64
	}{
		{"susy_10k_balanced", 0.7626, 0.4835},
		{"elec2", 0.8716, 0.3025},
		{"rbf_moving", 0.9096, 0.2258},
		{"tree_change", 0.9594, 0.1066},
	}
	for _, tt := range tests {
		t.Run(tt.stream, func(t *testing.T) {
			t.Parallel()
			rows := stream(t, tt.stream)
			for seed := uint64(1); seed <= seeds(); seed++ {
				accuracy, loss := progress(newModel(t, "forest", rows.Width, seed), rows)
				t.Logf("seed %d: %.4f / %.4f", seed, accuracy, loss)
				if accuracy < tt.accuracy-0.003 || loss > tt.loss+0.003 {
					t.Errorf("seed %d: %.4f / %.4f, want about %v / %v", seed, accuracy, loss, tt.accuracy, tt.loss)
				}
			}
		})
	}
}

func TestForestSplitsAtAnObviousThreshold(t *testing.T) {
	const seed, at, value = 1, 2, 0.25
	rows := threshold(seed, 2000, 5, at, value)
	m, f := newForest(t, "", 5, seed)
	learnAll(m, head(rows, 100), 100)
	var unit unit
	for i := range 2 {
		unit.fit(rows.Row(i)[at])
	}
	want := unit.apply(value)
	for i, tr := range f.trees {
		root := tr.nodes[0]
		if root.input != at {
			t.Fatalf("tree %d splits input %d after 100 rows, want %d (seed %d)", i, root.input, at, seed)
		}
		// The bins of a root are 1.4/32 of the range of values wide.
		if off := math.Abs(root.threshold-want) / (2 * unit.scale * unit.scale2); off > 0.07 {
			t.Errorf("tree %d splits %g of the range from the threshold (seed %d)", i, off, seed)
		}
	}
	accuracy, _ := progress(m, between(rows, 100, rows.Len()))
	if accuracy < 0.99 {
		t.Errorf("accuracy %v after 100 rows (seed %d)", accuracy, seed)
	}
}

func TestForestAdaptsToAnAbruptChange(t *testing.T) {
	measured(t)
	rows := stream(t, "tree_change") // other labels from about row 20,000 on
	m, f := newForest(t, "", rows.Width, 1)
	progress(m, head(rows, 18_000))
	before, _ := progress(m, between(rows, 18_000, 19_000))
	grown := make([]int, len(f.trees))
	for i, tr := range f.trees {
		grown[i] = len(tr.nodes)
	}
	progress(m, between(rows, 19_000, 20_500))
	anew := 0
	for i, tr := range f.trees {
		if len(tr.nodes) < grown[i]/2 {
			anew++
		}
	}
	progress(m, between(rows, 20_500, 30_000))
	after, _ := progress(m, between(rows, 30_000, 40_000))
	t.Logf("accuracy %.4f before the change, %.4f from 10,000 rows after it on; %d trees started anew", before, after, anew)
	if anew < len(f.trees)*8/10 {
		t.Errorf("%d of %d trees started anew within 500 rows", anew, len(f.trees))
	}
	if before < 0.98 || after < 0.965 {
		t.Errorf("accuracy %.4f before the change, %.4f from 10,000 rows after it on", before, after)
	}
}

func TestForestIsBounded(t *testing.T) {
	tests := []struct {
		options      string
		width, nodes int
	}{
		{"trees=2", 3, 511},
		{"trees=100", 18, 217},
		{"trees=100", 200, 59},
	}
	for _, tt := range tests {
		_, f := newForest(t, tt.options, tt.width, 1)
		bytes := 0
		for _, tr := range f.trees {
			if cap(tr.nodes) != tt.nodes {
				t.Errorf("%s, %d features: room for %d nodes, want %d", tt.options, tt.width, cap(tr.nodes), tt.nodes)
			}
			bytes += len(tr.leaves) * len(tr.leaves[0].observers) * int(unsafe.Sizeof(observer{})+unsafe.Sizeof(histogram{}))
		}
		if bytes > forestRoom {
			t.Errorf("%s, %d features: leaves take %d bytes", tt.options, tt.width, bytes)
		}
	}
	// Labels without a pattern: leaves split as soon as they are heavy enough.
	r := newRandom(1, "noise")
	rows := &Rows{Width: 3}
	for range 50_000 {
		rows.X = append(rows.X, r.uniform(), r.uniform(), r.uniform())
		rows.Y = append(rows.Y, float64(r.below(2)))
	}
	m, f := newForest(t, "trees=2", 3, 1)
	learnAll(m, rows, 1000)
	for i, tr := range f.trees {
		if len(tr.nodes) != treeNodes {
			t.Errorf("tree %d has %d nodes, want %d", i, len(tr.nodes), treeNodes)
		}
	}
}

func TestForestGoesOnEquallyFromAnyState(t *testing.T) {
	rows := inverted(threshold(1, 2400, 100, 3, 0), 1200) // 64 of 100 inputs, and a change
	r := newRandom(2, "importance")
	rows.Importance = make([]float64, rows.Len())
	for i := range rows.Importance {
		rows.Importance[i] = 2 * r.uniform()
	}
	const options = "trees=3"
	whole, _ := newForest(t, options, rows.Width, 1)
	want := learnAll(whole, rows, 64)
	m, f := newForest(t, options, rows.Width, 1)
	restarts, grown := 0, make([]int, len(f.trees))
	one := make([]float64, 1)
	for i := range rows.Y {
		m.Learn(between(rows, i, i+1), one)
		if one[0] != want[i] {
			t.Fatalf("row %d: another answer, %d restarts after a tree had started anew", i, restarts)
		}
		anew := false
		for k, tr := range f.trees {
			anew = anew || len(tr.nodes) < grown[k]
			grown[k] = len(tr.nodes)
		}
		if anew {
			restarts++
		}
		if anew || i%200 == 0 {
			state := m.State()
			m, f = newForest(t, options, rows.Width, 99) // another seed
			if err := m.Restore(state); err != nil {
				t.Fatalf("row %d: %v", i, err)
			}
		}
	}
	if stateHash(t, m) != stateHash(t, whole) {
		t.Error("another state at the end")
	}
	if restarts == 0 {
		t.Error("no tree started anew")
	}
}

func TestForestRefusesCorruptStates(t *testing.T) {
	rows := threshold(1, 600, 70, 3, 0)
	const options = "trees=2"
	m, f := newForest(t, options, rows.Width, 1)
	learnAll(m, rows, 100)
	if len(f.trees[0].nodes) < 5 {
		t.Fatalf("a tree of %d nodes is too small for the test", len(f.trees[0].nodes))
	}
	good := m.State()
	changed := func(name string, change func(data any)) []Tensor {
		state := slices.Clone(good)
		for i := range state {
			if state[i].Name != name {
				continue
			}
			switch data := state[i].Data.(type) {
			case []float64:
				state[i].Data = slices.Clone(data)
			case []float32:
				state[i].Data = slices.Clone(data)
			case []int64:
				state[i].Data = slices.Clone(data)
			case []uint64:
				state[i].Data = slices.Clone(data)
			}
			change(state[i].Data)
			return state
		}
		t.Fatalf("there is no tensor %s", name)
		return nil
	}
	float := func(name string, at int, v float64) []Tensor {
		return changed(name, func(data any) { data.([]float64)[at] = v })
	}
	whole := func(name string, at int, v int64) []Tensor {
		return changed(name, func(data any) { data.([]int64)[at] = v })
	}
	size := func(v uint64) []Tensor {
		return changed("trees/nodes", func(data any) { data.([]uint64)[0] = v })
	}
	leafAt := slices.IndexFunc(f.trees[0].nodes, func(n node) bool { return n.input == -1 })
	otherLeaf := int64(f.trees[0].nodes[leafAt].child ^ 1)
	tests := []struct {
		name  string
		state []Tensor
		want  string
	}{
		{"no nodes", size(0), "trees/nodes"},
		{"an even number of nodes", size(2), "trees/nodes"},
		{"more nodes than there is room for", size(treeNodes + 2), "trees/nodes"},
		{"a huge number of nodes", size(math.MaxUint64), "trees/nodes"},
		{"other sizes of trees", size(1), "nodes/threshold"},
		{"a threshold that is not a number", float("nodes/threshold", 0, math.NaN()), "nodes/*"},
		{"an input that does not exist", whole("nodes/input", 0, 64), "nodes/*"},
		{"an input below -1", whole("nodes/input", 0, -2), "nodes/*"},
		{"a split made a leaf", whole("nodes/input", 0, -1), "nodes/*"},
		{"a leaf made a split", whole("nodes/input", leafAt, 0), "nodes/*"},
		{"a child before its parent", whole("nodes/child", 0, 0), "nodes/*"},
		{"a child that does not exist", whole("nodes/child", 0, int64(len(f.trees[0].nodes)-1)), "nodes/*"},
		{"a negative child", whole("nodes/child", 0, -1), "nodes/*"},
		{"a huge child", whole("nodes/child", 0, math.MaxInt64), "nodes/*"},
		{"a shared child", whole("nodes/child", 0, 2), "nodes/*"},
		{"a leaf that does not exist", whole("nodes/child", leafAt, int64(len(f.trees[0].nodes))), "nodes/*"},
		{"a leaf in two places", whole("nodes/child", leafAt, otherLeaf), "nodes/*"},
		{"a negative weight", float("leaves/weight", 0, -1), "leaves/*"},
		{"a weight that is not a number", float("leaves/weight", 2, math.NaN()), "leaves/*"},
		{"no odds", float("leaves/weight", 4, 0), "leaves/*"},
		{"an infinite mean", float("leaves/observers", 0, math.Inf(1)), "leaves/*"},
		{"a negative variance", float("leaves/observers", 2, -1), "leaves/*"},
		{"an empty range of values", float("leaves/observers", 4, 1e9), "leaves/*"},
		{"bins that lie nowhere", float("leaves/range", 0, math.NaN()), "leaves/*"},
		{"bins that are too narrow", float("leaves/range", 1, math.Inf(1)), "leaves/*"},
		{"a negative bin", changed("leaves/bins", func(data any) { data.([]float32)[0] = -1 }), "leaves/*"},
		{"a bin that is not a number", changed("leaves/bins", func(data any) { data.([]float32)[0] = float32(math.NaN()) }), "leaves/*"},
		{"an error window that is not a number", float("trees/window", 0, math.NaN()), "trees/window"},
		{"an impossible error window", float("trees/window", 1, 99), "tree 0: restore adaptive window"},
		{"an input of the row that does not exist", whole("trees/inputs", 63, 70), "trees/inputs"},
		{"an input of the row twice", whole("trees/inputs", 1, int64(f.trees[0].inputs[0])), "trees/inputs"},
		{"nothing wrong", good, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			restored, _ := newForest(t, options, rows.Width, 1)
			err := restored.Restore(tt.state)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
			learnAll(restored, rows, 100) // of no use, but it does not panic
		})
	}
}

func TestForestWeighsRowsByImportance(t *testing.T) {
	rows := threshold(1, 800, 4, 1, 0.3)
	with := func(c float64) (Model, *forest) {
		m, f := newForest(t, "", 4, 1)
		rows.Importance = slices.Repeat([]float64{c}, rows.Len())
		learnAll(m, rows, 100)
		return m, f
	}
	var sizes []int
	for _, c := range []float64{0.1, 0.37, 1, 3} {
		m, f := with(c)
		nodes := 0
		for i, tr := range f.trees {
			nodes += len(tr.nodes)
			for _, l := range tr.used() {
				all := l.histograms[2].total()
				if counted := all[0] + all[1]; counted > l.total()*(1+1e-6) {
					t.Errorf("importance %g, tree %d: bins hold %g, more than the weight %g", c, i, counted, l.total())
				}
			}
		}
		sizes = append(sizes, nodes)
		rows.Importance = nil
		if accuracy, _ := progress(m, rows); c >= 0.37 && accuracy < 0.97 {
			t.Errorf("importance %g: accuracy %v on the rows learned", c, accuracy)
		}
	}
	if !slices.IsSorted(sizes) || sizes[0] == sizes[3] {
		t.Errorf("nodes %v for rising importance", sizes)
	}

	// Rows of class 1 that count five times move the answer where nothing else tells.
	r := newRandom(1, "coins")
	coins := &Rows{Width: 1}
	for i := range 2000 {
		coins.X, coins.Y = append(coins.X, r.uniform()), append(coins.Y, float64(i%2))
		coins.Importance = append(coins.Importance, float64(1+4*(i%2)))
	}
	m, _ := newForest(t, "", 1, 1)
	prob := learnAll(m, coins, 100)[1000:]
	mean := 0.0
	for _, p := range prob {
		mean += p / float64(len(prob))
	}
	if math.Abs(mean-5.0/6) > 0.06 {
		t.Errorf("mean answer %v, want about 5/6", mean)
	}
}

func TestForestOfWideRows(t *testing.T) {
	measured(t)
	const width, seed = 200, 3
	rows := inverted(threshold(seed, 6000, width, 17, 0.1), 3000)
	m, f := newForest(t, "trees=20", width, seed)
	learnAll(m, head(rows, 2000), 500)
	saw, seen := 0, make([]int, width)
	before := make([][]int, len(f.trees))
	for i, tr := range f.trees {
		if len(tr.inputs) != treeInputs || !slices.IsSorted(tr.inputs) || len(slices.Compact(slices.Clone(tr.inputs))) != treeInputs {
			t.Fatalf("tree %d sees the inputs %v", i, tr.inputs)
		}
		for _, input := range tr.inputs {
			seen[input]++
		}
		if slices.Contains(tr.inputs, 17) {
			saw++
			if tr.inputs[tr.nodes[0].input] != 17 {
				t.Errorf("tree %d splits input %d first, want 17", i, tr.inputs[tr.nodes[0].input])
			}
		}
		before[i] = slices.Clone(tr.inputs)
	}
	// Each of 200 inputs is seen by 6.4 of 20 trees, with a standard deviation of 2.1.
	if slices.Min(seen) > 5 || slices.Max(seen) < 8 || slices.Max(seen) > 16 {
		t.Errorf("an input is seen by %d to %d of 20 trees", slices.Min(seen), slices.Max(seen))
	}
	accuracy, _ := progress(m, between(rows, 2000, 3000))
	t.Logf("%d of 20 trees see the input that decides; accuracy %.4f", saw, accuracy)
	if saw == 0 || accuracy < 0.9 {
		t.Errorf("accuracy %v, %d trees see the input that decides (seed %d)", accuracy, saw, seed)
	}
	answer, learned := make([]float64, 1), make([]float64, 1)
	m.Snapshot().Predict(answer, rows.Row(3000), nil)
	m.Learn(between(rows, 3000, 3001), learned)
	if answer[0] != learned[0] {
		t.Errorf("a snapshot answers %v where the model answers %v", answer[0], learned[0])
	}
	learnAll(m, between(rows, 3001, 6000), 500)
	drawn := 0
	for i, tr := range f.trees {
		if !slices.Equal(tr.inputs, before[i]) {
			drawn++
		}
	}
	if drawn < saw {
		t.Errorf("%d trees drew other inputs after the labels were inverted, want at least %d", drawn, saw)
	}
}

func TestForestLearnsWithoutAllocating(t *testing.T) {
	measured(t)
	const run = 50
	for _, width := range []int{8, 100} {
		rows := inverted(threshold(1, 4000, width, 3, 0), 2000)
		m, f := newForest(t, "trees=3", width, 1)
		var parts []*Rows
		for from := 0; from < rows.Len(); from += run {
			parts = append(parts, between(rows, from, from+run))
		}
		prob := make([]float64, run)
		restarts, at := 0, 0
		var nodes [3]int
		if n := testing.AllocsPerRun(len(parts)-1, func() {
			m.Learn(parts[at], prob)
			at++
			for i, tr := range f.trees {
				if len(tr.nodes) < nodes[i] {
					restarts++
				}
				nodes[i] = len(tr.nodes)
			}
		}); n > 0 {
			t.Errorf("%d features: Learn allocates %v times for %d rows", width, n, run)
		}
		if restarts == 0 {
			t.Errorf("%d features: no tree started anew", width)
		}
	}
}

func TestForestSnapshotsAnswerAsTheModelAndShareWhatDidNotChange(t *testing.T) {
	rows := susyRows(t)
	m, f := newForest(t, "", rows.Width, 1)
	learnAll(m, head(rows, 5000), 1000)
	old := f.freeze().(frozenForest)
	one, learned := make([]float64, 1), make([]float64, 1)
	for i := 5000; i < 5100; i++ {
		snapshot := m.Snapshot()
		snapshot.Predict(one, rows.Row(i), nil)
		m.Learn(between(rows, i, i+1), learned)
		if one[0] != learned[0] {
			t.Fatalf("row %d: a snapshot answers %v where the model answers %v", i, one[0], learned[0])
		}
		fresh := f.freeze().(frozenForest)
		copied := 0
		for k := range fresh {
			for j := range fresh[k].leaves {
				if j >= len(old[k].leaves) || &fresh[k].leaves[j].observers[0] != &old[k].leaves[j].observers[0] {
					copied++
				}
			}
		}
		// A row meets one leaf of each tree, or two where it splits.
		if copied > 2*len(f.trees) {
			t.Fatalf("row %d: %d leaves were copied", i, copied)
		}
		old = fresh
	}
}

func TestForestDoesNotMindUnits(t *testing.T) {
	rows := head(susyRows(t), 2000)
	scaled := &Rows{Width: rows.Width, X: slices.Clone(rows.X), Y: rows.Y}
	for i := range scaled.X {
		scaled.X[i] = math.Ldexp(scaled.X[i], []int{0, 600, -600, 40}[i%rows.Width%4])
	}
	m, _ := newForest(t, "", rows.Width, 1)
	other, _ := newForest(t, "", rows.Width, 1)
	if !slices.Equal(learnAll(m, rows, 500), learnAll(other, scaled, 500)) {
		t.Error("other answers for values in other units")
	}
}

func BenchmarkForestFreeze(b *testing.B) {
	rows := susyRows(b)
	m, f := newForest(b, "", rows.Width, 1)
	progress(m, rows)
	b.ReportAllocs()
	for b.Loop() {
		for _, tr := range f.trees {
			used := tr.used()
			for i := range used {
				used[i].frozen = nil
			}
		}
		f.freeze()
	}
}
