package sgd

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestDistancesAreThePlainOnes(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, 0))
	for _, width := range []int{0, 1, 2, 3, 8, 18, 65} {
		for range 200 {
			columns, x := make([][side]float32, width), make([]float64, width)
			var halves, got, want [side]float32
			for j := range side {
				halves[j] = float32(r.ExpFloat64() * 5)
				if r.IntN(8) == 0 {
					halves[j] = float32(math.Inf(1))
				}
				for i := range columns {
					columns[i][j] = float32(r.NormFloat64())
				}
			}
			for i := range x {
				x[i] = r.NormFloat64()
				if r.IntN(8) == 0 {
					x[i] = math.Copysign(0, r.NormFloat64())
				}
			}
			half, limit := float32(r.ExpFloat64()*5), float32(r.ExpFloat64()*5)
			if r.IntN(4) == 0 {
				limit = float32(math.Inf(1))
			}
			wantBelow := plainDistances(&want, columns, &halves, x, half, limit)
			if below := distances(&got, columns, &halves, x, half, limit); below != wantBelow {
				t.Fatalf("width %d: below the limit are %032b, want %032b (seed %d)", width, below, wantBelow, seed)
			}
			for j := range side {
				if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
					t.Fatalf("width %d: distance %d is %g, want %g (seed %d)", width, j, got[j], want[j], seed)
				}
			}
		}
	}
}

// neighbour is a row as the reference keeps it.
type neighbour struct {
	z        []float64
	y, c     float64
	place    int
	distance float64
}

// referenceAnswer is the formula of knn, over the rows of a window in any order.
func referenceAnswer(window []neighbour, z []float64, k int) float64 {
	near := slices.Clone(window)
	for i, n := range near {
		for f, v := range z {
			near[i].distance += (v - n.z[f]) * (v - n.z[f]) / 2
		}
	}
	slices.SortFunc(near, func(a, b neighbour) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.place, b.place))
	})
	near = near[:min(k, len(near))]
	ones, zeros := 0.5, 0.5
	for _, n := range near {
		weight := 2 * n.c * (1 - n.distance/(near[len(near)-1].distance+1e-6))
		ones += weight * n.y
		zeros += weight * (1 - n.y)
	}
	return min(max(math.Log(ones/zeros), -math.Log(99999)), math.Log(99999))
}

// TestKNNAgreesWithReference lets rows have values on a grid, so that float32 holds distances exactly, many are equal, and
// the sums have no order.
func TestKNNAgreesWithReference(t *testing.T) {
	const seed = 9
	tests := []struct {
		name           string
		width, size, k int
		weighted       bool
	}{
		{"as by default", 4, 512, 10, false},
		{"ties everywhere", 1, 50, 7, false},
		{"a window no multiple of a block", 3, 37, 5, true},
		{"one neighbour", 2, 33, 1, true},
		{"a window of one", 2, 1, 1, false},
		{"all of the window", 2, 40, 40, true},
		{"rows of nothing", 0, 20, 3, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			m := newKNN(tt.width, tt.size, tt.k)
			window := make([]neighbour, 0, tt.size)
			stored := 0
			for range 700 {
				z := []float64{1}
				for range tt.width {
					z = append(z, float64(r.IntN(41)-20)/4)
				}
				n := neighbour{z: z[1:], y: float64(r.IntN(2)), c: 1}
				if tt.weighted {
					n.c = float64(r.IntN(4)) / 2
				}
				b := block{width: tt.width, t: make([]float64, tt.width), z: z, y: []float64{n.y}, c: []float64{n.c}}
				want := referenceAnswer(window, n.z, tt.k)
				twin := m.freeze()
				margin := []float64{0}
				m.learn(&b, margin)
				if math.Abs(margin[0]-want) > 1e-12 {
					t.Fatalf("after %d rows the answer is %.15g, want %.15g (seed %d)", stored, margin[0], want, seed)
				}
				if got := twin.margin(b.row(0), nil, make([]float64, twin.scratch())); got != margin[0] {
					t.Fatalf("after %d rows a frozen copy answers %g, the expert %g (seed %d)", stored, got, margin[0], seed)
				}
				if n.c == 0 {
					continue
				}
				n.place = stored % tt.size
				if stored++; len(window) < tt.size {
					window = append(window, n)
				} else {
					window[n.place] = n
				}
			}
			if stored <= tt.size {
				t.Fatalf("only %d rows were kept", stored)
			}
		})
	}
}

func TestKNNKnowsNothingAtFirst(t *testing.T) {
	m := newModel(t, "knn", 3, 1)
	prob := []float64{0}
	m.Learn(&Rows{Width: 3, X: []float64{1, 2, 3}, Y: []float64{1}}, prob)
	if prob[0] != 0.5 {
		t.Errorf("the first answer is %g, want 0.5", prob[0])
	}
}

func TestKNNFollowsClustersThatMove(t *testing.T) {
	rows := head(stream(t, "rbf_moving"), 20_000)
	accuracy, loss := progress(newModel(t, "knn", rows.Width, 1), rows)
	t.Logf("%.4f / %.4f", accuracy, loss)
	if accuracy < 0.94 || loss > 0.20 {
		t.Errorf("accuracy %.4f, log loss %.4f, want at least .94 and at most .20", accuracy, loss)
	}
}

func TestKNNRefusesAStateThatIsNone(t *testing.T) {
	tests := []struct {
		name   string
		damage func(state []Tensor)
		want   string
	}{
		{"a row that is no number", func(s []Tensor) {
			tensorOf(t, s, "window/rows").Data.([]float32)[4] = float32(math.NaN())
		}, "window/rows holds NaN"},
		{"a row outside", func(s []Tensor) { tensorOf(t, s, "window/rows").Data.([]float32)[3] = 6 }, "window/rows holds 6"},
		{"a vote that is no number", func(s []Tensor) {
			tensorOf(t, s, "window/votes").Data.([]float64)[1] = math.NaN()
		}, "window/votes holds NaN"},
		{"more rows than the window has", func(s []Tensor) { tensorOf(t, s, "window/seen").Data.([]uint64)[0] = 1 << 63 }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := head(susyRows(t), 20)
			m := newModel(t, "knn:window=16,k=3", rows.Width, 1)
			m.Learn(rows, make([]float64, 20))
			state := m.State()
			tt.damage(state)
			err := m.Restore(state)
			if tt.want == "" {
				m.Learn(rows, make([]float64, 20)) // a count that is only large does no harm
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}

func TestKNNOptionsNameEveryFault(t *testing.T) {
	for give, want := range map[string]string{
		"k=11,window=10":  "option k=11 is more than the window of 10 rows",
		"window=9":        "option k=10 is more than the window of 9 rows",
		"k=0":             `option k="0"`,
		"k=1001":          `option k="1001"`,
		"window=65537":    `option window="65537"`,
		"window=0,k=many": `option k="many"`,
	} {
		if _, err := Parse("knn:" + give); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %s", give, err, want)
		}
	}
	if _, err := Parse("knn:window=65536,k=1000"); err != nil {
		t.Error(err)
	}
}
