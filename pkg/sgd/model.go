// Package sgd holds the learners: models that are trained one record at a time, their losses, optimisers, and
// feature scaling, and the state that a checkpoint keeps.
//
// A [Model] has one writer and no lock: the goroutine that learns. Everybody else reads a [Predictor], an immutable
// copy that [Model.Snapshot] made.
//
// The same records in the same order give the same bits on every machine: nothing that shapes a model uses math.Exp
// or math.Log, which differ between CPUs, or a product that the compiler may fuse into a sum (float64(a*b) + c is
// never fused, says the Go specification).
//
// A row goes through a [Model] like this:
//
//	row ─▶ scaler ─▶ experts, one or many ─▶ mixer (if many) ─▶ probability
//
// The scaler standardises columns, an expert learns and answers with log-odds, and the mixer weighs the answers of
// several. A kind of model is a choice of experts; a new one is a file with an expert and a line in the table of kinds.
package sgd

// Rows is a run of examples in learning order, row-major.
type Rows struct {
	Width   int       // dense features of each row
	X       []float64 // Len() × Width, finite; NaN: the value is missing, and stands at the column's running mean
	Missing bool      // whether there may be NaN in X
	Y       []float64 // Len() labels: 0 or 1
	// Sparse holds the numbers of the sparse features that rows have, each of which counts as 1, row after row: those of row
	// i end at SparseEnd[i]. Numbers count from 0 in the order in which a stream first has them. Nil: no row has any.
	Sparse    []int32
	SparseEnd []int
	// Importance holds Len() weights, at least 0: a row of importance c counts as c of its kind, in gradient and curvature.
	// More than 1e6 counts as 1e6. Nil: each row counts once.
	Importance []float64
}

const maxImportance = 1e6

// Len returns the number of rows.
func (r *Rows) Len() int { return len(r.Y) }

// Row returns the dense features of row i.
func (r *Rows) Row(i int) []float64 { return r.X[i*r.Width : (i+1)*r.Width : (i+1)*r.Width] }

// SparseRow returns the numbers of the sparse features of row i.
func (r *Rows) SparseRow(i int) []int32 {
	if r.SparseEnd == nil {
		return nil
	}
	start := 0
	if i > 0 {
		start = r.SparseEnd[i-1]
	}
	return r.Sparse[start:r.SparseEnd[i]:r.SparseEnd[i]]
}

// Model is a learner with its whole state. Its methods are for one goroutine.
type Model interface {
	// Learn goes over rows in order. For each row it first stores what the model answers at prob[i*Outputs():], then
	// takes one learning step. A step that would make the state non-finite changes nothing and is counted.
	Learn(rows *Rows, prob []float64)
	// Grow makes rows wider from now on: their new columns stand behind the old ones. All that was learned is kept, and the
	// new columns' part of it begins as in a fresh model. The model is then as one made for the new width that has its state.
	Grow(width int)
	// Outputs returns how many numbers the model answers with for a row (binary: one, the probability of class 1).
	Outputs() int
	// Snapshot returns an immutable copy that predicts.
	Snapshot() Predictor
	// State returns a copy of everything that the next steps depend on, by name.
	State() []Tensor
	// Restore replaces the state by one that State returned for a model of the same kind, options, and width. The
	// error names every tensor that does not fit; the model is of no use then.
	Restore(state []Tensor) error
	// Stats returns what the model can tell of itself.
	Stats() Stats
}

// Predictor answers for rows without learning. It is immutable and safe for many goroutines.
type Predictor interface {
	// Predict stores the answer for a row in dst, which has one place for each output. NaN in x is a missing value; of a
	// shorter x the rest is missing, of a longer one the rest counts for nothing, as do sparse features that the model has
	// not met.
	Predict(dst, x []float64, sparse []int32)
}

// Stats describes the state of a model.
type Stats struct {
	LearningRate float64 // of the next step; 0 where a model has none
	WeightNorm   float64 // Euclidean norm of the weights, bias left out
	UpdateNorm   float64 // Euclidean norm of the last step
	NonFinite    uint64  // steps refused because the state would have become NaN or infinite
}

// Tensor is a named array of a model's state. Data is one of []float64, []float32, []int64, []uint64, or []uint8,
// row-major, with as many values as the product of Shape.
type Tensor struct {
	Name  string
	Shape []int
	Data  any
}
