package sgd

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// rough returns hard rows in two runs, of which the second is wider: values are missing, also of whole columns at first, and
// there are sparse features, of which new ones come for as long as there are rows.
func rough(tb testing.TB, n, grownAt int) (narrow, wide *Rows) {
	tb.Helper()
	all := hard(tb, n)
	r, known := newRandom(13, "rough"), 0
	runs := [2]*Rows{{Width: all.Width - 3, Missing: true}, {Width: all.Width, Missing: true}}
	for i := range n {
		rows := runs[0]
		if i >= grownAt {
			rows = runs[1]
		}
		for column, v := range all.Row(i)[:rows.Width] {
			if r.uniform() < 0.1 || column == 0 && i < 20 || column == 3 && i < 700 {
				v = math.NaN()
			}
			rows.X = append(rows.X, v)
		}
		rows.Y, rows.Importance = append(rows.Y, all.Y[i]), append(rows.Importance, all.Importance[i])
		before := len(rows.Sparse)
		for range r.below(4) {
			feature := int32(known)
			if known > 0 && r.uniform() < 0.9 {
				feature = int32(r.below(uint64(known)))
			}
			known = max(known, int(feature)+1)
			if !slices.Contains(rows.Sparse[before:], feature) {
				rows.Sparse = append(rows.Sparse, feature)
			}
		}
		rows.SparseEnd = append(rows.SparseEnd, len(rows.Sparse))
	}
	return runs[0], runs[1]
}

// learnGrowing lets a model learn narrow and wide rows in runs of the given length.
func learnGrowing(m Model, narrow, wide *Rows, run int) []float64 {
	prob := learnAll(m, narrow, run)
	m.Grow(wide.Width)
	return append(prob, learnAll(m, wide, run)...)
}

func TestRunsOfRoughRowsOfAnyLengthGiveTheSameBits(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		narrow, wide := rough(t, 1300, 600)
		whole := newModel(t, spec, narrow.Width, 3)
		want := learnGrowing(whole, narrow, wide, 1300)
		for _, run := range []int{1, 100, 333} {
			m := newModel(t, spec, narrow.Width, 3)
			if got := learnGrowing(m, narrow, wide, run); !slices.Equal(got, want) {
				t.Errorf("runs of %d rows: other answers", run)
			}
			if stateHash(t, m) != stateHash(t, whole) {
				t.Errorf("runs of %d rows: another state", run)
			}
		}
	})
}

func TestAnyNumberOfCoresGivesTheSameBitsForRoughRows(t *testing.T) {
	narrow, wide := rough(t, 3000, 1500)
	onCores(t, narrow.Width, []int{1, 2, 16}, func(m Model) { learnGrowing(m, narrow, wide, 1024) })
}

func TestRestartAnywhereInRoughRowsGivesTheSameBits(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		narrow, wide := rough(t, 1500, 600)
		whole := newModel(t, spec, narrow.Width, 3)
		want := learnGrowing(whole, narrow, wide, 1500)
		m, done := newModel(t, spec, narrow.Width, 3), 0
		restart := func(width int) {
			restored := newModel(t, spec, width, 3)
			if err := restored.Restore(m.State()); err != nil {
				t.Fatalf("restore after %d rows: %v", done, err)
			}
			m = restored
		}
		r := newRandom(11, spec)
		for _, rows := range []*Rows{narrow, wide} {
			m.Grow(rows.Width)
			at := 0
			cuts := []int{0, 1, 19, 20, 21, 31, 32, 63, 64, 65, 400, 424, rows.Len()}
			for range 4 {
				cuts = append(cuts, int(r.below(uint64(rows.Len()))))
			}
			slices.Sort(cuts)
			for _, cut := range cuts {
				got := learnAll(m, between(rows, at, cut), 1500)
				if !slices.Equal(got, want[done:done+cut-at]) {
					t.Fatalf("%d rows from %d on: other answers than without restarts", cut-at, done)
				}
				done += cut - at
				at = cut
				restart(rows.Width)
			}
		}
		if stateHash(t, m) != stateHash(t, whole) {
			t.Error("another state than without restarts")
		}
	})
}

// TestRoughRowsBreakNoModel looks for what is not finite, and holds snapshots to each other: in one go and one by one, and, asked
// with rows of another width, to what they say of rows that miss values.
func TestRoughRowsBreakNoModel(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		narrow, wide := rough(t, 1500, 600)
		m := newModel(t, spec, narrow.Width, 3)
		learnAll(m, narrow, 600)
		before := m.Snapshot()
		m.Grow(wide.Width)
		for i, p := range learnAll(m, wide, 100) {
			if !(p >= 0 && p <= 1) {
				t.Fatalf("row %d: answer %v", i, p)
			}
		}
		for _, tensor := range m.State() {
			data, ok := tensor.Data.([]float64)
			if ok && slices.ContainsFunc(data, func(v float64) bool { return !finite(v) }) {
				t.Errorf("tensor %s holds a value that is not finite", tensor.Name)
			}
		}
		after := m.Snapshot()
		n := wide.Len()
		answer := func(p Predictor, rows *Rows, sparse bool) []float64 {
			t.Helper()
			got, want := make([]float64, n), make([]float64, n)
			numbers, ends := rows.Sparse, rows.SparseEnd
			if !sparse {
				numbers, ends = nil, nil
			}
			PredictRows(p, got, rows.X, numbers, ends)
			PredictRows(each{p}, want, rows.X, numbers, ends)
			if !sameBits(got, want) {
				t.Errorf("rows of %d columns are answered otherwise than one by one", rows.Width)
			}
			for i, p := range got {
				if !(p >= 0 && p <= 1) {
					t.Fatalf("row %d: a snapshot's answer %v", i, p)
				}
			}
			return got
		}
		cut := &Rows{Width: narrow.Width, Sparse: wide.Sparse, SparseEnd: wide.SparseEnd}
		missing := &Rows{Width: wide.Width, Sparse: wide.Sparse, SparseEnd: wide.SparseEnd}
		for i := range n {
			cut.X = append(cut.X, wide.Row(i)[:cut.Width]...)
			missing.X = append(append(missing.X, wide.Row(i)[:cut.Width]...), math.NaN(), math.NaN(), math.NaN())
		}
		if !sameBits(answer(before, wide, true), answer(before, cut, true)) {
			t.Error("columns that a model has not count for something")
		}
		if !sameBits(answer(after, cut, true), answer(after, missing, true)) {
			t.Error("columns that rows have not are not as missing values")
		}
		learns := false
		for _, tensor := range m.State() {
			learns = learns || strings.Contains(tensor.Name, "sparse/")
		}
		if slices.Equal(answer(after, wide, true), answer(after, wide, false)) == learns {
			t.Errorf("sparse features matter: %v, and there are tensors for them: %v", !learns, learns)
		}
	})
}

func TestSparseStateThatDoesNotFitIsRefused(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		narrow, wide := rough(t, 1000, 600)
		m := newModel(t, spec, narrow.Width, 3)
		learnGrowing(m, narrow, wide, 1000)
		state := m.State()
		refused := func(what, tensor string, state []Tensor) {
			t.Helper()
			err := newModel(t, spec, wide.Width, 3).Restore(state)
			if err == nil || !strings.Contains(err.Error(), tensor) {
				t.Errorf("%s: error %v does not name tensor %s", what, err, tensor)
			}
		}
		for i, tensor := range state {
			path, name, sparse := strings.Cut(tensor.Name, "sparse/")
			if !sparse && !strings.HasSuffix(tensor.Name, "/without") && !strings.HasSuffix(tensor.Name, "/since") {
				continue
			}
			others := slices.Delete(slices.Clone(state), i, i+1)
			with := func(data any) []Tensor { return append(slices.Clone(others), Tensor{tensor.Name, tensor.Shape, data}) }
			refused("of another type", tensor.Name, with([]int8{1}))
			switch data := tensor.Data.(type) {
			case []uint64:
				refused("too long", tensor.Name, with(append(slices.Clone(data), data[len(data)-1])))
				refused("more than there were rows", tensor.Name, with(append(slices.Clone(data[1:]), 1<<40)))
			case []float64:
				for _, v := range []float64{math.NaN(), math.Inf(1), -1e200} {
					refused(fmt.Sprint(v), tensor.Name, with(append(slices.Clone(data[1:]), v)))
				}
				alone := !slices.ContainsFunc(others, func(t Tensor) bool { return strings.HasPrefix(t.Name, path+"sparse/") })
				if !alone {
					refused("missing", path+"sparse/", others)
					refused("too long", path+"sparse/", with(append(slices.Clone(data), 0)))
				}
				if name == "variance" {
					refused("negative", tensor.Name, with(append(slices.Clone(data[1:]), -1)))
				}
			}
		}
	})
}

// A model that grew before its first row is one of the new width, but for the size of the weights that an mlp begins with.
func TestGrowingAFreshModel(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		if strings.Contains(spec, "mlp") || spec == "zoo" {
			t.Skip("its weights were drawn for fewer columns")
		}
		rows := hard(t, 300)
		want, got := newModel(t, spec, rows.Width, 3), newModel(t, spec, rows.Width-3, 3)
		learnAll(got, &Rows{Width: rows.Width - 3}, 1)
		got.Grow(rows.Width)
		if !slices.Equal(learnAll(got, rows, 100), learnAll(want, rows, 100)) || stateHash(t, got) != stateHash(t, want) {
			t.Error("another model than one of that width")
		}
	})
}

// Columns that come later are learned, and what was known stays known.
func TestZooLearnsFromColumnsThatComeLater(t *testing.T) {
	measured(t)
	for _, spec := range []string{"zoo", "mix", "forest", "newton_diag:features=hats", "mlp", "knn", "newton:features=relu"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			const seed, half = 3, 4000
			r := newRandom(seed, "later")
			all := &Rows{Width: 7}
			for range 2 * half {
				sum := 0.0
				for i := range 7 {
					v := r.normal()
					all.X = append(all.X, v)
					if i > 2 {
						sum += v
					}
				}
				y := 0.0
				if sum+0.5*r.normal() > 0 {
					y = 1
				}
				all.Y = append(all.Y, y)
			}
			without := func(rows *Rows) *Rows {
				narrow := &Rows{Width: 5, Y: rows.Y}
				for i := range rows.Len() {
					narrow.X = append(narrow.X, rows.Row(i)[:5]...)
				}
				return narrow
			}
			first, second := between(all, 0, half), between(all, half, 2*half)
			m, stays := newModel(t, spec, 5, seed), newModel(t, spec, 5, seed)
			before, _ := progress(m, without(first))
			progress(stays, without(first))
			stillEarly, _ := progress(stays, without(between(second, 0, 500)))
			still, _ := progress(stays, without(between(second, 500, half)))
			m.Grow(7)
			early, _ := progress(m, between(second, 0, 500))
			late, _ := progress(m, between(second, 500, half))
			whole, _ := progress(newModel(t, spec, 7, seed), second)
			t.Logf("accuracy (seed %d): five columns %.3f, then seven %.3f and %.3f; still five %.3f and %.3f; seven from scratch %.3f",
				seed, before, early, late, stillEarly, still, whole)
			if early < stillEarly-0.01 || late < still+0.7*(whole-still) {
				t.Error("seven columns are no better than five")
			}
		})
	}
}

func TestWideRowsGrowWider(t *testing.T) {
	measured(t)
	const seed, n = 5, 1100
	r := newRandom(seed, "wide")
	narrow, wide := &Rows{Width: 780}, &Rows{Width: 784}
	for i := range n {
		y := float64(r.below(2))
		rows := narrow
		if i >= n/2 {
			rows = wide
		}
		for k := range rows.Width {
			v := r.uniform()
			if k%97 == 0 || k >= 780 {
				v += y
			}
			rows.X = append(rows.X, v)
		}
		rows.Y = append(rows.Y, y)
	}
	for _, spec := range []string{"logistic", "newton", "mix", "zoo"} {
		m := newModel(t, spec, 780, seed)
		progress(m, narrow)
		m.Grow(784)
		if accuracy, _ := progress(m, wide); accuracy < 0.85 {
			t.Errorf("%s: accuracy %.3f (seed %d)", spec, accuracy, seed)
		}
		if s := m.Stats(); s.NonFinite > 0 {
			t.Errorf("%s: %d steps refused", spec, s.NonFinite)
		}
	}
}

// Beyond 64 columns newton keeps a diagonal: that of what it had.
func TestNewtonBecomesItsDiagonal(t *testing.T) {
	const seed, n = 4, 800
	r := newRandom(seed, "diagonal")
	rows := &Rows{Width: 66}
	for range n {
		y := float64(r.below(2))
		for range rows.Width {
			rows.X = append(rows.X, r.normal()+0.2*y)
		}
		rows.Y = append(rows.Y, y)
	}
	cut := &Rows{Width: 60, Y: rows.Y}
	for i := range n {
		cut.X = append(cut.X, rows.Row(i)[:60]...)
	}
	m := newModel(t, "newton:q=0.001", 60, seed)
	before, _ := progress(m, cut)
	weights := slices.Clone(m.(*pipeline).experts[0].(*linear).weightsNow())
	m.Grow(66)
	d, ok := m.(*pipeline).experts[0].(*linear).stepper.(*diagonal)
	if !ok {
		t.Fatal("not a diagonal beyond 64 columns")
	}
	if !slices.Equal(d.weights[:61], weights) || !slices.Equal(d.weights[61:], make([]float64, 6)) {
		t.Error("other weights")
	}
	for i, p := range d.p {
		if fresh := i > 60; fresh != (p == 1) || !(p > 0 && p < 1) && !fresh {
			t.Errorf("variance %d is %v", i, p)
		}
	}
	if after, _ := progress(m, rows); after < before {
		t.Errorf("accuracy %.3f, before %.3f (seed %d)", after, before, seed)
	}
}

// Models go on after a restart where growing leads them from one way of keeping things to another: newton to its diagonal, products
// to a choice of columns, and trees to a choice of inputs or to leaves for which there is no room.
func TestRestartAfterGrowingBeyondLimits(t *testing.T) {
	measured(t)
	const seed = 6
	for _, spec := range []string{"zoo", "newton:features=products", "newton:q=0.001", "forest:trees=100"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			r := newRandom(seed, "limits")
			m := newModel(t, spec, 3, seed)
			for i, width := range []int{3, 14, 15, 60, 70, 75} {
				n := 500
				if i == 0 {
					n = 4000
				}
				rows := &Rows{Width: width}
				for range n {
					sum := 0.0
					for k := range width {
						v := r.normal()
						rows.X = append(rows.X, v)
						if k < 3 {
							sum += math.Abs(v)
						}
					}
					y := 0.0
					if sum > 2.3 {
						y = 1
					}
					rows.Y = append(rows.Y, y)
				}
				m.Grow(width)
				restored := newModel(t, spec, width, seed)
				if err := restored.Restore(m.State()); err != nil {
					t.Fatalf("%d columns: %v", width, err)
				}
				if !slices.Equal(learnAll(m, rows, 500), learnAll(restored, rows, 500)) || stateHash(t, m) != stateHash(t, restored) {
					t.Fatalf("%d columns: another model after a restart (seed %d)", width, seed)
				}
			}
		})
	}
}

func TestAModelDoesNotBecomeNarrower(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	newModel(t, "logistic", 3, 1).Grow(2)
}

// A stream may begin without any dense features.
func TestModelsOfNoColumns(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		r := newRandom(9, "none")
		rows := &Rows{}
		for range 600 {
			y := float64(r.below(2))
			feature := int32(r.below(2))
			if r.uniform() < 0.8 {
				feature = int32(y)
			}
			rows.Y, rows.Sparse = append(rows.Y, y), append(rows.Sparse, feature)
			rows.SparseEnd = append(rows.SparseEnd, len(rows.Sparse))
		}
		m := newModel(t, spec, 0, 1)
		accuracy, _ := progress(m, rows)
		if kind, _, _ := strings.Cut(spec, ":"); !slices.Contains([]string{"mlp", "knn", "forest"}, kind) && accuracy < 0.8 {
			t.Errorf("accuracy %.3f", accuracy)
		}
		restored := newModel(t, spec, 0, 1)
		if err := restored.Restore(m.State()); err != nil {
			t.Fatal(err)
		}
		if _, err := Describe(m.Snapshot()); err != nil {
			t.Error(err)
		}
		m.Grow(18)
		restored.Grow(18)
		more := head(susyRows(t), 500)
		if !slices.Equal(learnAll(m, more, 500), learnAll(restored, more, 500)) {
			t.Error("other answers after a restart")
		}
	})
}
