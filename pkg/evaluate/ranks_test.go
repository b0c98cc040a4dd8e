package evaluate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRankedValuesAreWhereSortingPutsThem(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 60))
		n := 10 + r.IntN(3000)
		v := make([]float64, n)
		for i := range v {
			switch seed % 5 {
			case 0:
				v[i] = r.NormFloat64()
			case 1:
				v[i] = float64(r.IntN(3)) - 1
			case 2:
				v[i] = float64(i ^ 1) // nearly in order
			case 3:
				v[i] = []float64{math.MaxFloat64, -math.MaxFloat64, 5e-324, 0, math.Copysign(0, -1)}[r.IntN(5)]
			default:
				v[i] = 7
			}
		}
		var places []int
		for k := 1; k <= stabilityEdges; k++ {
			places = append(places, k*n/stabilityBins-1)
		}
		want := slices.Clone(v)
		slices.Sort(want)
		rank(v, make([]float64, n), places)
		for _, p := range places {
			if v[p] != want[p] {
				t.Fatalf("seed %d: value %v at %d of %d, want %v", seed, v[p], p, n, want[p])
			}
		}
		if slices.Sort(v); !slices.Equal(v, want) {
			t.Fatalf("seed %d: other values", seed)
		}
		v = slices.Clone(want)
		rankPart(v, make([]float64, n), places, 0, 0) // no more parting
		if !slices.Equal(v, want) {
			t.Fatalf("seed %d: not sorted at last", seed)
		}
	}
}
