package evaluate

// Window keeps the newest rows, up to a fixed number. It is for one goroutine.
type Window struct {
	size  int       // rows that it keeps at most
	width int       // dense features of each row, settled by the first
	x     []float64 // Len() × width, row-major, in order of slots; NaN: the value is missing
	y     []float64 // Len() labels
	next  int       // slot of the oldest row, once the window is full: the next one to be replaced

	sparse [][]int32 // sparse features of the row in each slot; nil: no row has had any

	answers   []answer  // scratch of a score
	probs     []float64 // the same, by slot
	allSparse []int32   // the same: sparse features of all rows, in order of slots
	sparseEnd []int     // where those of each slot end
}

// NewWindow returns an empty window that keeps the newest n rows, n ≥ 1. It takes memory as rows come.
func NewWindow(n int) *Window {
	if n < 1 {
		panic("evaluate: window without room")
	}
	return &Window{size: n}
}

// Add copies a row with its sparse features into the window, in place of the oldest one if the window is full. y, the
// label, is 0 or 1. All rows have the width of the first: another is a programming error and panics.
func (w *Window) Add(x []float64, sparse []int32, y float64) {
	if len(w.y) == 0 {
		w.width = len(x)
	}
	if len(x) != w.width {
		panic("evaluate: row of another width than the window's")
	}
	if len(w.y) < w.size {
		w.x = append(w.x, x...)
		w.y = append(w.y, y)
		w.setSparse(len(w.y)-1, sparse)
		return
	}
	copy(w.row(w.next), x)
	w.y[w.next] = y
	w.setSparse(w.next, sparse)
	w.next = (w.next + 1) % w.size
}

// setSparse copies the sparse features of the row in a slot into memory that the slot keeps for the next one.
func (w *Window) setSparse(slot int, sparse []int32) {
	if w.sparse == nil {
		if len(sparse) == 0 {
			return
		}
		w.sparse = make([][]int32, w.size)
	}
	w.sparse[slot] = append(w.sparse[slot][:0], sparse...)
}

// Len returns the number of rows in the window.
func (w *Window) Len() int { return len(w.y) }

// slot returns the slot of row i, counted from the oldest.
func (w *Window) slot(i int) int { return (w.next + i) % len(w.y) }

// row returns the features in a slot.
func (w *Window) row(slot int) []float64 {
	return w.x[slot*w.width : (slot+1)*w.width : (slot+1)*w.width]
}

// sparseRow returns the sparse features in a slot.
func (w *Window) sparseRow(slot int) []int32 {
	if w.sparse == nil {
		return nil
	}
	return w.sparse[slot]
}

// flatSparse returns the sparse features of all rows, in order of slots, and where those of each end; nil: there are none.
func (w *Window) flatSparse() (sparse []int32, ends []int) {
	if w.sparse == nil {
		return nil, nil
	}
	w.allSparse, w.sparseEnd = w.allSparse[:0], w.sparseEnd[:0]
	for slot := range w.y {
		w.allSparse = append(w.allSparse, w.sparse[slot]...)
		w.sparseEnd = append(w.sparseEnd, len(w.allSparse))
	}
	return w.allSparse, w.sparseEnd
}

// ones returns how many rows have the label 1.
func (w *Window) ones() int {
	n := 0
	for _, y := range w.y {
		n += int(y)
	}
	return n
}
