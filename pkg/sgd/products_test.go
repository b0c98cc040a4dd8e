package sgd

import (
	"math"
	"slices"
	"testing"
)

// The reference keeps every product of the past, and takes mean and variance in two passes.
func TestProductsAgreeWithAPlainReference(t *testing.T) {
	const width, n = 6, 300
	b := randomBlock(t, 1, width, n)
	f := newProducts(width)
	past := make([][]float64, width*(width+1)/2)
	for i := range n {
		r := b.row(i)
		got := f.advance(r, nil)
		want := slices.Clone(r.z)
		k := 0
		for left := 1; left <= width; left++ {
			for right := left; right <= width; right++ {
				x := r.z[left] * r.z[right]
				past[k] = append(past[k], x)
				want = append(want, standardByAll(x, past[k]))
				k++
			}
		}
		for j := range want {
			if math.Abs(got[j]-want[j]) > 1e-9 {
				t.Fatalf("row %d, place %d: %v, want %v", i, j, got[j], want[j])
			}
		}
	}
}

// standardByAll returns x in standard deviations from the mean of all, within ±5; 0 where they do not differ.
func standardByAll(x float64, all []float64) float64 {
	var mean, variance float64
	for _, v := range all {
		mean += v / float64(len(all))
	}
	for _, v := range all {
		variance += (v - mean) * (v - mean) / float64(len(all))
	}
	if variance < 1e-24 {
		return 0
	}
	return max(-5, min(5, (x-mean)/math.Sqrt(variance)))
}

// Weights are set by hand here. The reference keeps the moments of every pair of columns that it has met, by their names.
func TestProductsOfWideRowsFollowTheWeights(t *testing.T) {
	measured(t)
	const width, n = 70, 2100
	type moment struct{ n, mean, variance float64 }
	b := randomBlock(t, 2, width, n)
	f := newProducts(width)
	learner := newDiagonal(f.width(), 0.5, 0)
	columns := f.columns // by slot
	if !slices.IsSorted(columns) || columns[0] != 0 || columns[63] != 63 {
		t.Fatalf("columns %v are multiplied at first, want 0 to 63", columns)
	}
	met := map[[2]int]*moment{}
	choices := 0
	r := newRandom(3, "weights")
	for i := range n {
		for j := range learner.weights {
			learner.weights[j], learner.p[j] = r.normal(), 0.25
		}
		weights := slices.Clone(learner.weights)
		before := slices.Clone(f.columns)
		got := f.advance(b.row(i), learner)

		if row := i + 1; row == 1000 || row == 2000 {
			choices++
			// A column is chosen if fewer than 64 others have a larger weight.
			for column := range width {
				larger := 0
				for _, w := range weights[1 : 1+width] {
					if math.Abs(w) > math.Abs(weights[1+column]) {
						larger++
					}
				}
				if got := slices.Contains(f.columns, column); got != (larger < 64) {
					t.Errorf("row %d, column %d with %d before it: multiplied is %t", row, column, larger, got)
				}
			}
			for s, column := range before {
				if slices.Contains(f.columns, column) && f.columns[s] != column {
					t.Errorf("row %d: column %d lost its slot", row, column)
				}
			}
		} else if !slices.Equal(before, f.columns) {
			t.Fatalf("columns are chosen at row %d", row)
		}

		k := 1 + width
		for s, left := range f.columns {
			for s2 := s; s2 < len(f.columns); s2++ {
				right := f.columns[s2]
				fresh := left != before[s] || right != before[s2]
				if fresh {
					delete(met, [2]int{left, right})
				}
				if wantW, wantP := weights[k], 0.25; fresh && (learner.weights[k] != 0 || learner.p[k] != 0.5) ||
					!fresh && (learner.weights[k] != wantW || learner.p[k] != wantP) {
					t.Fatalf("row %d, product %d, fresh %t: weight %g, variance %g", i+1, k, fresh, learner.weights[k], learner.p[k])
				}
				m := met[[2]int{left, right}]
				if m == nil {
					m = &moment{}
					met[[2]int{left, right}] = m
				}
				x := b.row(i).z[1+left] * b.row(i).z[1+right]
				m.n++
				d := x - m.mean
				m.mean += d / m.n
				m.variance += (d*(x-m.mean) - m.variance) / m.n
				want := 0.0
				if m.variance > 1e-24 {
					want = max(-5, min(5, (x-m.mean)/math.Sqrt(m.variance)))
				}
				if math.Abs(got[k]-want) > 1e-9 {
					t.Fatalf("row %d, columns %d and %d: %v, want %v", i+1, left, right, got[k], want)
				}
				k++
			}
		}
		if !slices.Equal(learner.weights[:1+width], weights[:1+width]) {
			t.Fatalf("row %d: weights of single columns have changed", i+1)
		}
	}
	if choices != 2 {
		t.Errorf("columns were chosen %d times, want 2", choices)
	}
}

func TestProductsOfWideRowsFindTheColumnsThatMatter(t *testing.T) {
	const width, n = 100, 1500
	b := randomBlock(t, 3, width, n)
	e := memberBuilder("newton_diag:features=products,v0=0.01")(width, 1).(*linear)
	e.learn(b, make([]float64, n))
	if f := e.features.(*products); !slices.Contains(f.columns, width-1) {
		t.Errorf("columns %v are multiplied, the one that decides the label is not", f.columns)
	}
}
