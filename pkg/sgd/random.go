package sgd

import (
	"math"

	"learner/internal/portable"
)

// random is a generator whose whole state is one number: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
type random struct{ state uint64 }

// newRandom returns the generator of one part of a model: parts with other names have streams of their own.
func newRandom(seed uint64, part string) random {
	r := random{seed}
	for _, c := range []byte(part) {
		r.state = r.next() ^ uint64(c)
	}
	return r
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a number in [0, 1).
func (r *random) uniform() float64 { return float64(r.next()>>11) * 0x1p-53 }

// below returns a whole number in [0, n). For n below 2^32 its bias is below 2^-32.
func (r *random) below(n uint64) uint64 { return uint64(float64(r.next()>>11) * 0x1p-53 * float64(n)) }

// normal returns a number from the standard normal distribution, by the polar method (Marsaglia, Bray, SIAM Review 6, 1964).
func (r *random) normal() float64 {
	for {
		u, v := float64(2*r.uniform())-1, float64(2*r.uniform())-1
		s := float64(u*u) + float64(v*v)
		if s > 0 && s < 1 {
			return float64(u * math.Sqrt(float64(-2*portable.Log(s))/s))
		}
	}
}
