package susy

import (
	"math"
	"math/rand/v2"
	"testing"
)

// massT2Plain minimises the definition: golden sections of q's first component over golden sections of its second.
func massT2Plain(pT1, pT2 float64, n1, n2, m vec) float64 {
	// Axes along and across n1 - n2, on which the minimum of nearly back-to-back leptons moves far out.
	u := n1.add(n2.scale(-1))
	u = u.scale(1 / u.length())
	v := vec{-u.y, u.x}
	larger := func(q vec) float64 {
		r := m.add(q.scale(-1))
		return 2 * max(pT1*(q.length()-n1.dot(q)), pT2*(r.length()-n2.dot(r)))
	}
	reach := 300 * (m.length() + pT1 + pT2)
	return math.Sqrt(max(0, golden(-reach, reach, func(a float64) float64 {
		return golden(-reach, reach, func(b float64) float64 { return larger(u.scale(a).add(v.scale(b))) })
	})))
}

// golden returns the least value of a convex f between lo and hi.
func golden(lo, hi float64, f func(float64) float64) float64 {
	const section = 0.6180339887498949
	a, b := hi-section*(hi-lo), lo+section*(hi-lo)
	fa, fb := f(a), f(b)
	for hi-lo > 1e-9*(1+math.Abs(lo)) {
		if fa < fb {
			hi, b, fb = b, a, fa
			a = hi - section*(hi-lo)
			fa = f(a)
		} else {
			lo, a, fa = a, b, fb
			b = lo + section*(hi-lo)
			fb = f(b)
		}
	}
	return min(fa, fb)
}

func TestMassT2AgreesWithDefinition(t *testing.T) {
	const seed = 3
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	worst := 0.0
	for i := range 1500 {
		pT1, pT2 := random.ExpFloat64()+0.1, random.ExpFloat64()+0.1
		phi := 2 * math.Pi * random.Float64()
		n1, n2 := polar(1, phi), polar(1, phi+(2*random.Float64()-1)*math.Pow(10, float64(-i%5))) // nearly parallel too
		if i%3 == 0 {
			n2 = polar(1, phi+math.Pi*random.Float64())
		}
		m := polar(random.ExpFloat64(), 2*math.Pi*random.Float64())
		got, want := massT2(pT1, pT2, n1, n2, m), massT2Plain(pT1, pT2, n1, n2, m)
		worst = math.Max(worst, math.Abs(got-want))
		if !(math.Abs(got-want) < 1e-4) {
			t.Errorf("case %d: massT2(%g, %g, %v, %v, %v) = %g, want %g", i, pT1, pT2, n1, n2, m, got, want)
		}
	}
	t.Logf("largest difference %.1e", worst)
}

func TestMassT2SpecialDirections(t *testing.T) {
	east, west, north := vec{1, 0}, vec{-1, 0}, vec{0, 1}
	nearWest := polar(1, math.Pi-1e-12)
	for _, test := range []struct {
		name   string
		n1, n2 vec
		m      vec
		want   float64 // for pT1 = 1, pT2 = 3
	}{
		{"no MET", east, north, vec{}, 0},
		{"MET between the leptons", east, north, vec{1, 1}, 0},
		{"MET along a lepton", east, north, vec{1, 0}, 0},
		{"parallel leptons, MET along them", east, east, vec{1, 0}, 0},
		{"parallel leptons, MET against them", east, east, vec{-1, 0}, math.Sqrt(3)}, // q1 = -3/4, q2 = -1/4
		{"parallel leptons, MET across", east, east, vec{0, 2}, math.Sqrt(3)},
		{"leptons back to back", east, west, vec{0.3, 2}, 0},
		{"leptons nearly back to back", east, nearWest, vec{0.3, -2}, 0},
	} {
		for _, swap := range []bool{false, true} {
			got := massT2(1, 3, test.n1, test.n2, test.m)
			if swap {
				got = massT2(3, 1, test.n2, test.n1, test.m)
			}
			if !(math.Abs(got-test.want) < 1e-5) {
				t.Errorf("%s: %g, want %g (swapped: %v)", test.name, got, test.want, swap)
			}
		}
	}
}

// Across the border where the parallel limit takes over, MT2 must not jump.
func TestMassT2NearParallel(t *testing.T) {
	m := vec{-0.4, 0.7}
	want := massT2(1, 2, vec{1, 0}, vec{1, 0}, m)
	for exp := -12; exp <= -3; exp++ {
		angle := math.Pow10(exp)
		got := massT2(1, 2, vec{1, 0}, polar(1, angle), m)
		if !(math.Abs(got-want) < 3*angle+1e-9) {
			t.Errorf("angle %g: %g, parallel %g", angle, got, want)
		}
	}
}
