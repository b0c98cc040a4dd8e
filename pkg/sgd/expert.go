package sgd

// block is a run of rows as the scaler hands them to the experts of a model.
type block struct {
	width int
	t     []float64 // rows × width: shifted and scaled by a power of two, once for all of a model's life; within ±1e150
	z     []float64 // rows × (1 + width): a constant 1, and the row standardised, within ±5
	y     []float64 // labels, 0 or 1
	c     []float64 // importance of each row
	sparseRows
}

func (b *block) len() int { return len(b.y) }

// row returns row i in both forms.
func (b *block) row(i int) row {
	w := b.width
	return row{t: b.t[i*w : (i+1)*w : (i+1)*w], z: b.z[i*(w+1) : (i+1)*(w+1) : (i+1)*(w+1)]}
}

// row is one row in the forms of a block: t has a place for each feature, z one more, in front.
type row struct{ t, z []float64 }

// expert is a learner inside a model. Its methods are for one goroutine.
type expert interface {
	// learn goes over the block in order: it stores the log-odds of class 1 that it answers with for row i at margin[i],
	// then takes one step on it. A step that would make the state non-finite changes nothing and is counted.
	learn(b *block, margin []float64)
	// freeze returns an immutable copy that answers.
	freeze() frozen
	// state returns a copy of everything that the next steps depend on.
	state() []Tensor
	// restore takes from a state what the method state gave; what does not fit is noted there.
	restore(from *Stored)
	// adopt makes the state of a fresh expert that of another of the same kind and options, which is of no use then, for rows
	// with fewer columns. What belongs to the other columns stays as it is.
	adopt(narrow expert)
	stats() Stats
}

// frozen answers as an expert did when it was made. It is immutable and safe for many goroutines.
type frozen interface {
	// margin returns the log-odds of class 1 for a row with sparse features. The scratch memory, of length scratch(), is the
	// caller's.
	margin(r row, sparse []int32, scratch []float64) float64
	scratch() int
	// known returns how many sparse features count.
	known() int
	// describe adds margin to a formula: t and z are the two forms of rows, without the constant 1 of z; the log-odds that it
	// returns are rows × 1. Sparse features are those of the formula's step f.sparse.
	describe(f *Formula, t, z int) (margin int)
}
