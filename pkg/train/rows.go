package train

import "learner/pkg/sgd"

// between returns the rows [from, to) of a run. They share its memory, but for the ends of their sparse features, which count
// from the first of these: they are put into ends, which is grown where it has too little room.
func between(rows *sgd.Rows, from, to int, ends []int) sgd.Rows {
	out := sgd.Rows{Width: rows.Width, X: rows.X[from*rows.Width : to*rows.Width], Missing: rows.Missing, Y: rows.Y[from:to]}
	if rows.Importance != nil {
		out.Importance = rows.Importance[from:to]
	}
	if rows.SparseEnd == nil {
		return out
	}
	first := 0
	if from > 0 {
		first = rows.SparseEnd[from-1]
	}
	last := first
	out.SparseEnd = ends[:0]
	for _, last = range rows.SparseEnd[from:to] {
		out.SparseEnd = append(out.SparseEnd, last-first)
	}
	out.Sparse = rows.Sparse[first:last]
	return out
}
