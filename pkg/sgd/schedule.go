package sgd

import "math"

// inverseSqrt is the learning rate rate/√t of step t = 1, 2, 3, …: Zinkevich, Online convex programming and
// generalized infinitesimal gradient ascent, ICML 2003.
type inverseSqrt struct{ rate float64 }

// at returns the learning rate of step t, from 1.
func (s inverseSqrt) at(t uint64) float64 { return s.rate / math.Sqrt(float64(t)) }
