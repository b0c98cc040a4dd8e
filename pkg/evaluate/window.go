package evaluate

// Window keeps the newest rows, up to a fixed number. It is for one goroutine.
type Window struct {
	size  int       // rows that it keeps at most
	width int       // features of each row, settled by the first
	x     []float64 // Len() × width, row-major, in order of slots
	y     []float64 // Len() labels
	next  int       // slot of the oldest row, once the window is full: the next one to be replaced

	answers []answer  // scratch of a score
	probs   []float64 // the same, by slot
}

// NewWindow returns an empty window that keeps the newest n rows, n ≥ 1. It takes memory as rows come.
func NewWindow(n int) *Window {
	if n < 1 {
		panic("evaluate: window without room")
	}
	return &Window{size: n}
}

// Add copies a row into the window, in place of the oldest one if the window is full. y, the label, is 0 or 1. All
// rows have the width of the first: another is a programming error and panics.
func (w *Window) Add(x []float64, y float64) {
	if len(w.y) == 0 {
		w.width = len(x)
	}
	if len(x) != w.width {
		panic("evaluate: row of another width than the window's")
	}
	if len(w.y) < w.size {
		w.x = append(w.x, x...)
		w.y = append(w.y, y)
		return
	}
	copy(w.row(w.next), x)
	w.y[w.next] = y
	w.next = (w.next + 1) % w.size
}

// Len returns the number of rows in the window.
func (w *Window) Len() int { return len(w.y) }

// slot returns the slot of row i, counted from the oldest.
func (w *Window) slot(i int) int { return (w.next + i) % len(w.y) }

// row returns the features in a slot.
func (w *Window) row(slot int) []float64 {
	return w.x[slot*w.width : (slot+1)*w.width : (slot+1)*w.width]
}

// ones returns how many rows have the label 1.
func (w *Window) ones() int {
	n := 0
	for _, y := range w.y {
		n += int(y)
	}
	return n
}
