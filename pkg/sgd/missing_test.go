package sgd

import (
	"math"
	"slices"
	"testing"
)

// TestAMissingValueIsAsIfTheColumnHadNoSuchRow holds each column with missing values to the same column without those rows.
func TestAMissingValueIsAsIfTheColumnHadNoSuchRow(t *testing.T) {
	const seed, width, n = 31, 7, 5000
	r := newRandom(seed, "missing")
	x := make([][]float64, n)
	for i := range x {
		for column := range width {
			v := 100 + 3*r.normal()
			switch {
			case r.uniform() < 0.002:
				v *= 1e6
			case column == 1 && i < 50, column == 2 && r.uniform() < 0.9, column > 2 && r.uniform() < 0.1:
				v = math.NaN()
			}
			x[i] = append(x[i], v)
		}
	}
	for name, makeScaler := range scalers {
		all, columns := makeScaler(width), make([]scaler, width)
		for i := range columns {
			columns[i] = makeScaler(1)
		}
		to, one := row{make([]float64, width), make([]float64, 1+width)}, row{make([]float64, 1), make([]float64, 2)}
		last := make([]float64, width) // t at the mean
		for i, x := range x {
			all.advance(to, x, true)
			for column, v := range x {
				if math.IsNaN(v) {
					if to.z[1+column] != 0 || math.Abs(to.t[column]-last[column]) > 1e-9*math.Abs(last[column]) {
						t.Fatalf("%s: row %d: a missing value of column %d is %v, %v, want %v, 0 (seed %d)",
							name, i, column, to.t[column], to.z[1+column], last[column], seed)
					}
					continue
				}
				columns[column].advance(one, []float64{v}, false)
				if to.t[column] != one.t[0] || to.z[1+column] != one.z[1] {
					t.Fatalf("%s: row %d: column %d is %v, %v, want %v, %v (seed %d)",
						name, i, column, to.t[column], to.z[1+column], one.t[0], one.z[1], seed)
				}
				columns[column].apply(one, nil) // what a missing value is
				last[column] = one.t[0]
			}
		}
		// A snapshot's scaler says of missing values what the scaler says.
		gone := slices.Repeat([]float64{math.NaN()}, width)
		still := all.clone()
		for _, x := range [][]float64{gone, gone[:3], nil, append(gone, 7)} {
			still.apply(to, x)
			for column := range width {
				if to.z[1+column] != 0 || math.Abs(to.t[column]-last[column]) > 1e-9*math.Abs(last[column]) {
					t.Errorf("%s: a missing value of column %d is %v, %v to a snapshot, want %v, 0", name, column, to.t[column], to.z[1+column], last[column])
				}
			}
		}
		if still.apply(to, x[n-1][:3]); to.z[4] != 0 {
			t.Errorf("%s: a column that is not there is %v", name, to.z[4])
		}
	}
}

// Columns are twins for as long as they are alike in what they miss, too, also if the first rows miss the first column.
func TestTwinsMissTheSameValues(t *testing.T) {
	gone := math.NaN()
	s, to := newRobustScaler(4), row{make([]float64, 4), make([]float64, 5)}
	for i, x := range [][]float64{{gone, gone, gone, 3}, {1, 1, 1, 4}, {gone, gone, gone, 1}, {2, 2, gone, 2}, {3, 3, 3, 5}} {
		s.advance(to, x, true)
		want := []int64{-1, 0, 0, -1}
		if i >= 3 {
			want[2] = -1
		}
		if !slices.Equal(s.twin, want) {
			t.Errorf("row %d: twins %v, want %v", i, s.twin, want)
		}
	}
}

// gappy returns the rows with a share of their values missing, at random.
func gappy(rows *Rows, share float64, seed uint64) *Rows {
	r := newRandom(seed, "gappy")
	other := &Rows{Width: rows.Width, X: slices.Clone(rows.X), Missing: true, Y: rows.Y}
	for i := range other.X {
		if r.uniform() < share {
			other.X[i] = math.NaN()
		}
	}
	return other
}

func TestMissingValuesCostLittle(t *testing.T) {
	measured(t)
	const seed = 1
	whole := susyRows(t)
	rows := gappy(whole, 0.1, seed)
	for _, spec := range []string{
		"logistic", "logistic:scaler=plain", "newton", "newton_diag", "newton_diag:features=hats", "newton:features=relu", "mlp", "knn", "forest",
		"mix", "zoo",
	} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			a, loss := progress(newModel(t, spec, whole.Width, seed), whole)
			b, gappyLoss := progress(newModel(t, spec, whole.Width, seed), rows)
			t.Logf("seed %d: %.4f / %.4f, with a tenth of values missing %.4f / %.4f", seed, a, loss, b, gappyLoss)
			if b < a-0.03 || gappyLoss > loss+0.045 {
				t.Error("missing values cost more")
			}
		})
	}
}

// Rows of a run that may miss values, but do not, give the bits of one that says so.
func TestWhatMissesNothingIsAsBefore(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 1500)
		want := learnAll(newModel(t, spec, rows.Width, 3), rows, 1500)
		rows.Missing, rows.SparseEnd = true, make([]int, rows.Len())
		if got := learnAll(newModel(t, spec, rows.Width, 3), rows, 1500); !slices.Equal(got, want) {
			t.Error("other answers")
		}
	})
}
