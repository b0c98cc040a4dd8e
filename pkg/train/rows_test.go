package train

import (
	"math/rand/v2"
	"slices"
	"testing"

	"learner/pkg/sgd"
)

func TestBetween(t *testing.T) {
	const seed, n = 1, 40
	rng := rand.New(rand.NewPCG(seed, 70))
	plain := lessons(seed, n, 3)
	sparse := plain
	sparse.Missing, sparse.Importance = true, make([]float64, n)
	for i := range n {
		sparse.Importance[i] = float64(i)
		for range rng.IntN(4) {
			sparse.Sparse = append(sparse.Sparse, rng.Int32N(100))
		}
		sparse.SparseEnd = append(sparse.SparseEnd, len(sparse.Sparse))
	}
	var room [n]int
	for _, rows := range []sgd.Rows{plain, sparse} {
		for from := range n {
			for to := from; to <= n; to++ {
				part := between(&rows, from, to, room[:0])
				if part.Len() != to-from || part.Width != 3 || len(part.X) != 3*(to-from) || part.Missing != rows.Missing {
					t.Fatalf("rows %d to %d: %+v", from, to, part)
				}
				if (part.SparseEnd == nil) != (rows.SparseEnd == nil) || len(part.SparseEnd) > 0 && part.SparseEnd[to-from-1] != len(part.Sparse) {
					t.Fatalf("rows %d to %d: ends %v of %d sparse features", from, to, part.SparseEnd, len(part.Sparse))
				}
				for i := range part.Len() {
					if part.Y[i] != rows.Y[from+i] || !slices.Equal(part.Row(i), rows.Row(from+i)) || !slices.Equal(part.SparseRow(i), rows.SparseRow(from+i)) {
						t.Fatalf("seed %d: row %d of %d to %d is another", seed, i, from, to)
					}
					if part.Importance != nil && part.Importance[i] != float64(from+i) || (part.Importance == nil) != (rows.Importance == nil) {
						t.Fatalf("rows %d to %d: importance %v", from, to, part.Importance)
					}
				}
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { between(&sparse, 3, 30, room[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
