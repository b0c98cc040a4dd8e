package adwin

import "fmt"

// StateLen is the length of a window's state.
const StateLen = 2 + maxRows*(1+2*maxBuckets)

// State returns what Restore needs to go on at the same point: StateLen numbers.
func (w *Window) State() []float64 {
	state := make([]float64, 0, StateLen)
	state = append(state, w.sum, float64(w.tick))
	for i, n := range w.held {
		state = append(state, float64(n))
		for k := range w.buckets[i] {
			var b bucket
			if k < n {
				b = w.buckets[i][k]
			}
			state = append(state, b.sum, b.m2)
		}
	}
	return state
}

// Restore takes over the state of a window with the same delta. After an error the window is as it was.
func (w *Window) Restore(state []float64) error {
	if len(state) != StateLen {
		return fmt.Errorf("restore adaptive window: state of %d numbers, want %d", len(state), StateLen)
	}
	restored := New(w.delta)
	restored.sum, restored.tick = state[0], int(state[1])
	if !whole(state[1], clock-1) {
		return fmt.Errorf("restore adaptive window: %v values since the last search", state[1])
	}
	rest := state[2:]
	for i := range restored.held {
		n := rest[0]
		// Rows are filled from the first on, and emptied from the last.
		if !whole(n, maxBuckets) || n > 0 && restored.rows < i {
			return fmt.Errorf("restore adaptive window: %v buckets in row %d", n, i)
		}
		restored.held[i] = int(n)
		if n > 0 {
			restored.rows = i + 1
		}
		restored.count += restored.held[i] << i
		for k := range restored.buckets[i] {
			restored.buckets[i][k] = bucket{rest[1+2*k], rest[2+2*k]}
		}
		rest = rest[1+2*maxBuckets:]
	}
	*w = restored
	return nil
}

// whole says whether x is a whole number from 0 to most.
func whole(x float64, most int) bool { return x >= 0 && x <= float64(most) && x == float64(int(x)) }
