package sgd

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// featuresSpecs are models that learn from features.
var featuresSpecs = []string{
	"newton_diag:features=products,v0=0.01", "newton_diag:features=hats,v0=0.1", "newton:features=relu,v0=0.3",
}

// randomBlock returns n rows of random values whose columns are of several kinds: normal, constant, of two values, and half 0
// and half normal. The label is 1 with a probability that grows with the last column.
func randomBlock(tb testing.TB, seed uint64, width, n int) *block {
	tb.Helper()
	tb.Logf("random rows by seed %d", seed)
	r := newRandom(seed, "rows")
	rows := &Rows{Width: width, X: make([]float64, n*width), Y: make([]float64, n)}
	for i := range n {
		x := rows.Row(i)
		for j := range x {
			v := r.normal()
			switch {
			case j%4 == 1 && j < width-1:
				v = 3
			case j%4 == 2 && j < width-1:
				v = float64(r.below(2))
			case j%4 == 3 && j < width-1:
				v *= float64(r.below(2))
			}
			x[j] = v
		}
		if r.uniform() < sigmoid(2*x[width-1]) {
			rows.Y[i] = 1
		}
	}
	b := &block{width: width, t: make([]float64, n*width), z: make([]float64, n*(width+1)), y: rows.Y, c: slices.Repeat([]float64{1}, n)}
	s := newRobustScaler(width)
	for i := range n {
		s.advance(b.row(i), rows.Row(i), false)
	}
	return b
}

// part returns rows [from, to) of b.
func part(b *block, from, to int) *block {
	w := b.width
	return &block{width: w, t: b.t[from*w : to*w], z: b.z[from*(w+1) : to*(w+1)], y: b.y[from:to], c: b.c[from:to]}
}

func sameBits(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}

func TestFrozenFeaturesMakeTheVectorsThatWereMade(t *testing.T) {
	for name, newFeatures := range featureMakers {
		for _, width := range []int{1, 7, 70} {
			t.Run(fmt.Sprintf("%s/%d", name, width), func(t *testing.T) {
				b := randomBlock(t, 1, width, 1100)
				f := newFeatures(width, 3)
				learner := newDiagonal(f.width(), 1, 0)
				for i := range b.len() {
					v := f.advance(b.row(i), learner)
					if len(v) != f.width() || v[0] != 1 {
						t.Fatalf("row %d: a vector of length %d that begins with %g, want %d and 1", i, len(v), v[0], f.width())
					}
					if i > 80 && i%50 != 0 && i != 1000 {
						continue
					}
					still := f.freeze()
					scratch := slices.Repeat([]float64{math.NaN()}, still.scratch())
					if got := still.apply(b.row(i), scratch); !sameBits(got, v) {
						t.Fatalf("row %d: frozen features give %v, want %v", i, got, v)
					}
				}
			})
		}
	}
}

func TestFeaturesGoOnFromTheirState(t *testing.T) {
	for _, spec := range featuresSpecs {
		for _, width := range []int{5, 70} {
			t.Run(fmt.Sprintf("%s/%d", spec, width), func(t *testing.T) {
				b := randomBlock(t, 2, width, 2200)
				want := make([]float64, b.len())
				memberBuilder(spec)(width, 9).learn(b, want)
				for _, cut := range []int{1, 31, 32, 900, 1500} {
					got := make([]float64, b.len())
					before, after := memberBuilder(spec)(width, 9), memberBuilder(spec)(width, 9)
					before.learn(part(b, 0, cut), got[:cut])
					after.learn(part(b, 0, 40), got[cut:][:40]) // something to be replaced
					from := NewStored(before.state())
					after.restore(from)
					if err := from.Done(); err != nil {
						t.Fatal(err)
					}
					after.learn(part(b, cut, b.len()), got[cut:])
					if !sameBits(got, want) {
						t.Errorf("restored after %d rows: other margins", cut)
					}
				}
			})
		}
	}
}

func TestFeaturesOfWideRows(t *testing.T) {
	measured(t)
	const width, n = 784, 1100
	b := randomBlock(t, 4, width, n)
	for _, spec := range featuresSpecs {
		t.Run(spec, func(t *testing.T) {
			e := memberBuilder(spec)(width, 1)
			margin := make([]float64, n)
			e.learn(b, margin)
			still := e.freeze()
			scratch := make([]float64, still.scratch())
			for i, before := range margin {
				if after := still.margin(b.row(i), nil, scratch); !finite(before) || !finite(after) {
					t.Fatalf("row %d: margin %g, and %g after all rows", i, before, after)
				}
			}
			if s := e.stats(); s.NonFinite != 0 {
				t.Errorf("%d steps were refused", s.NonFinite)
			}
		})
	}
}

func TestFeaturesLearnWithoutAllocation(t *testing.T) {
	measured(t)
	for _, spec := range featuresSpecs {
		b := randomBlock(t, 5, 70, 1100)
		e := memberBuilder(spec)(b.width, 1)
		margin := make([]float64, b.len())
		// In the second run products are chosen at row 2,000, and knots move at row 2,048.
		if n := testing.AllocsPerRun(1, func() { e.learn(b, margin) }); n != 0 {
			t.Errorf("%s: %g allocations", spec, n)
		}
	}
}

// Every kind that takes features must be able to follow them when they change.
func TestFeaturesChangeUnderEveryKind(t *testing.T) {
	b := randomBlock(t, 6, 66, 1001)
	for kind := range singles {
		for name := range featureMakers {
			if _, err := Parse(kind + ":features=" + name); err != nil {
				continue
			}
			t.Run(kind+"/"+name, func(t *testing.T) {
				margin := make([]float64, b.len())
				memberBuilder(kind+":features="+name)(b.width, 1).learn(b, margin)
				if i := slices.IndexFunc(margin, func(m float64) bool { return !finite(m) }); i >= 0 {
					t.Errorf("row %d: margin %g", i, margin[i])
				}
			})
		}
	}
}

func TestFeaturesOption(t *testing.T) {
	tests := []struct{ name, give, want string }{
		{"knots move, a full covariance cannot", "newton:features=hats", `option features="hats": these features change`},
		{"unknown", "newton_diag:features=cubes", `option features="cubes" is none of hats, products, relu, row`},
		{"hats of the diagonal", "newton_diag:features=hats", ""},
		{"wide rows have the diagonal", "newton:features=products", ""},
		{"the row", "newton:features=row", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(tt.give)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestFeaturesRefuseAStateThatCannotBe(t *testing.T) {
	tests := []struct {
		name, spec, tensor string
		spoil              func(t *Tensor)
		want               string
	}{
		{"a column that is none", featuresSpecs[0], "products/columns", func(t *Tensor) { t.Data.([]uint64)[2] = 5 }, "slot 2 holds column 5"},
		{"a column twice", featuresSpecs[0], "products/columns", func(t *Tensor) { t.Data.([]uint64)[2] = 1 }, "slot 2 holds column 1"},
		{"a column of later", featuresSpecs[0], "products/since", func(t *Tensor) { t.Data.([]uint64)[1] = 101 }, "since row 101"},
		{"knots that fall", featuresSpecs[1], "hats/knots", func(t *Tensor) { t.Data.([]float64)[9] = -9 }, "knot 1 of column 1"},
		{"a knot that is no number", featuresSpecs[1], "hats/knots", func(t *Tensor) { t.Data.([]float64)[15] = math.NaN() }, "knot 7 of column 1"},
		{"a first knot that is no number", featuresSpecs[1], "hats/knots", func(t *Tensor) { t.Data.([]float64)[8] = math.NaN() }, "knot 1 of column 1"},
		{"too few rows", featuresSpecs[1], "hats/kept", func(t *Tensor) { t.Data = t.Data.([]float64)[1:] }, "tensor hats/kept holds"},
		{"moments of others", featuresSpecs[2], "relu/hidden/mean", func(t *Tensor) { t.Data = t.Data.([]float64)[1:] }, "tensor relu/hidden/mean holds 63"},
	}
	b := randomBlock(t, 7, 5, 100)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := memberBuilder(tt.spec)(b.width, 1)
			e.learn(b, make([]float64, b.len()))
			state := e.state()
			i := slices.IndexFunc(state, func(t Tensor) bool { return t.Name == tt.tensor })
			tt.spoil(&state[i])
			from := NewStored(state)
			memberBuilder(tt.spec)(b.width, 1).restore(from)
			if err := from.Done(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}
