package sgd

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// Vectors of these lengths meet pairs and an odd last place.
var fastLengths = []int{0, 1, 2, 3, 4, 5, 6, 7, 18, 19, 64, 65}

const fastSeed = 7

// normals returns n random numbers.
func normals(r *random, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = r.normal()
	}
	return values
}

// wantBits compares numbers bit by bit. NaNs are all alike.
func wantBits(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s, place %d of %d: %g, want %g as of the plain form (seed %d)", what, i, len(want), got[i], want[i], fastSeed)
		}
	}
}

func TestSweepIsPlainSweep(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	for _, n := range fastLengths {
		for _, keep := range []float64{1, 0.9} {
			p, u, z := normals(&r, n*(n+1)/2), normals(&r, n), normals(&r, n)
			plainP, next, plainNext := slices.Clone(p), normals(&r, n), normals(&r, n)
			pending, grow := r.uniform(), 1-keep
			sweep(p, u, z, next, pending, keep, grow)
			plainSweep(plainP, u, z, plainNext, pending, keep, grow)
			wantBits(t, "P", p, plainP)
			wantBits(t, "P·z", next, plainNext)
		}
	}
}

func TestDotPairIsPlainDotPair(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	for _, n := range fastLengths {
		a, b, z := normals(&r, n), normals(&r, n), normals(&r, n)
		az, bz := dotPair(a, b, z)
		plainAz, plainBz := plainDotPair(a, b, z)
		wantBits(t, fmt.Sprintf("sums of %d", n), []float64{az, bz}, []float64{plainAz, plainBz})
	}
}

func TestStepsOfDescentArePlain(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	for _, n := range fastLengths {
		w, v, to, plainTo := normals(&r, n), normals(&r, n), make([]float64, n), make([]float64, n)
		wantBits(t, fmt.Sprintf("sum of %d", n), []float64{dotFour(w, v)}, []float64{plainDotFour(w, v)})
		step := r.normal()
		descend(to, w, v, step)
		plainDescend(plainTo, w, v, step)
		wantBits(t, "weights", to, plainTo)
	}
}

func TestDiagonalIsPlainDiagonal(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	for _, n := range fastLengths {
		w, p, z, u, plainU := normals(&r, n), normals(&r, n), normals(&r, n), make([]float64, n), make([]float64, n)
		margin, s := diagonalSums(u, w, p, z)
		plainMargin, plainS := plainDiagonalSums(plainU, w, p, z)
		wantBits(t, "u", u, plainU)
		wantBits(t, fmt.Sprintf("sums of %d", n), []float64{margin, s}, []float64{plainMargin, plainS})

		plainW, plainP := slices.Clone(w), slices.Clone(p)
		step, hk := r.normal(), r.uniform()
		diagonalStep(w, p, u, step, hk, 1e-3, 0.5)
		plainDiagonalStep(plainW, plainP, u, step, hk, 1e-3, 0.5)
		wantBits(t, "weights", w, plainW)
		wantBits(t, "variances", p, plainP)
	}
}

func TestSigmoidsAreSigmoid(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	margins := []float64{
		0, math.Copysign(0, -1), 30, -30, math.Nextafter(30, 31), 31, -31, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64,
		math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.Ln2, -math.Ln2,
	}
	for k := range 80 { // where the exponent changes
		tie := (float64(k) - 39.5) * math.Ln2
		margins = append(margins, tie, math.Nextafter(tie, 0), math.Nextafter(tie, 100))
	}
	for range 10_000 {
		margins = append(margins, float64(70*r.uniform())-35, r.normal())
	}
	for n := len(margins); n >= 0; n = min(n-1, n*2/3) {
		got, want := make([]float64, n), make([]float64, n)
		sigmoids(got, margins[:n])
		for i, margin := range margins[:n] {
			want[i] = sigmoid(margin)
		}
		wantBits(t, "sigmoids", got, want)
	}
}

func TestSteadyColumnsAreColumns(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	for _, width := range fastLengths[1:10] {
		fast, plain := newRobustScaler(width), newRobustScaler(width)
		to, want := row{make([]float64, width), make([]float64, width+1)}, row{make([]float64, width), make([]float64, width+1)}
		x := make([]float64, width)
		for n := range 4000 {
			for i := range x {
				x[i] = float64(float64(i)*1e3) + r.normal()
				switch one := r.below(500); {
				case i%7 == 3 && n < 1700: // constant at first
					x[i] = 5
				case one == 0:
					x[i] *= -20
				case one == 1:
					x[i] = math.Copysign(math.MaxFloat64, x[i])
				case one < 5 && n > 1500: // as after very many equal values
					for _, s := range []*robustScaler{fast, plain} {
						s.variance[i] = []float64{0, 1e-310, 1e-300}[one-2]
						s.deviation[i] = math.Sqrt(s.variance[i])
					}
				}
			}
			fast.advance(to, x, false)
			plain.findTwins(x)
			for i := range x {
				c := plain.column(i)
				want.t[i], want.z[1+i] = plain.advanceColumn(i, &c, x[i])
				plain.setColumn(i, &c)
			}
			plain.hideTwins(want.z[1:])
			wantBits(t, "t", to.t, want.t)
			wantBits(t, "z", to.z[1:], want.z[1:])
			for _, pair := range [][2][]float64{
				{fast.mean, plain.mean},
				{fast.variance, plain.variance},
				{fast.deviation, plain.deviation},
				{fast.reach, plain.reach},
			} {
				wantBits(t, "moments", pair[0], pair[1])
			}
		}
	}
}

func TestApplyIsPlain(t *testing.T) {
	r := newRandom(fastSeed, t.Name())
	odd := []float64{math.NaN(), 0, math.Copysign(0, -1), 1e300, -1e300, math.MaxFloat64, 5e-324}
	for _, n := range fastLengths {
		s := newRobustScaler(n)
		to := row{t: make([]float64, n), z: make([]float64, n+1)}
		for seen := range 40 {
			x := normals(&r, n)
			for i := range x {
				switch {
				case i%5 == 3: // it never varies
					x[i] = 4
				case r.below(8) == 0:
					x[i] = odd[r.below(uint64(len(odd)))]
				case i%7 == 2:
					x[i] *= 1e9
				}
			}
			s.apply(to, x)
			t1, z1 := make([]float64, n), make([]float64, n)
			for i := range x {
				t1[i], z1[i] = s.applyColumn(i, x[i])
			}
			s.hideTwins(z1)
			wantBits(t, fmt.Sprintf("t behind %d rows", seen), to.t, t1)
			wantBits(t, fmt.Sprintf("z behind %d rows", seen), to.z[1:], z1)
			s.advance(to, x, slices.ContainsFunc(x, math.IsNaN))
		}
	}
}
