package evaluate

import (
	"fmt"
	"math"
)

const (
	recentBlocks = 100 // blocks that Recent keeps
	recentBlock  = 100 // records in a block
)

// Recent holds the progressive scores of one model's newest records: in 100 blocks of 100 records, of which the oldest
// makes room for the next. So once it is full it holds the newest 9,901 to 10,000 records.
type Recent struct {
	blocks [recentBlocks]block // a ring
	last   int                 // the block that takes records now
}

// block sums up the scores of up to recentBlock records.
type block struct {
	records, correct int
	loss             float64 // in nats
}

// NewRecent returns the scores of no records.
func NewRecent() *Recent { return &Recent{} }

// Add takes the scores of a record: whether its class was predicted, and its log loss in nats.
func (r *Recent) Add(correct bool, loss float64) {
	b := &r.blocks[r.last]
	if b.records == recentBlock {
		r.last = (r.last + 1) % recentBlocks
		b = &r.blocks[r.last]
		*b = block{}
	}
	b.records++
	if correct {
		b.correct++
	}
	b.loss += loss
}

// AddRun is Add for each of a run of records in turn: 1 where the class was predicted, else 0, and the losses.
func (r *Recent) AddRun(correct []uint8, loss []float64) {
	for len(loss) > 0 {
		b := &r.blocks[r.last]
		if b.records == recentBlock {
			r.last = (r.last + 1) % recentBlocks
			b = &r.blocks[r.last]
			*b = block{}
		}
		n := min(recentBlock-b.records, len(loss))
		count, sum := 0, b.loss
		for i, l := range loss[:n] {
			count += int(correct[i])
			sum += l
		}
		b.records += n
		b.correct += count
		b.loss = sum
		correct, loss = correct[n:], loss[n:]
	}
}

// sums adds up the blocks, the oldest first. Nothing is ever subtracted, so that no rounding and no loss that is not
// finite outlives its block.
func (r *Recent) sums() block {
	var total block
	for i := range r.blocks {
		b := r.blocks[(r.last+1+i)%recentBlocks]
		total.records += b.records
		total.correct += b.correct
		total.loss += b.loss
	}
	return total
}

// Records returns how many records the scores are of.
func (r *Recent) Records() int { return r.sums().records }

// Accuracy returns the share of these whose class was predicted, NaN without records.
func (r *Recent) Accuracy() float64 {
	total := r.sums()
	return float64(total.correct) / float64(total.records)
}

// LogLoss returns their mean log loss in nats, NaN without records.
func (r *Recent) LogLoss() float64 {
	total := r.sums()
	return total.loss / float64(total.records)
}

// recentState is the length of the state: the block that takes records, and three sums of each block.
const recentState = 1 + 3*recentBlocks

// State returns what Restore needs to go on at the same point: 301 numbers.
func (r *Recent) State() []float64 {
	state := make([]float64, 0, recentState)
	state = append(state, float64(r.last))
	for _, b := range r.blocks {
		state = append(state, float64(b.records), float64(b.correct), b.loss)
	}
	return state
}

// Restore takes over a state. After an error the scores are as they were.
func (r *Recent) Restore(state []float64) error {
	if len(state) != recentState {
		return fmt.Errorf("restore recent scores: state of %d numbers, want %d", len(state), recentState)
	}
	if !whole(state[0], recentBlocks-1) {
		return fmt.Errorf("restore recent scores: block %v", state[0])
	}
	restored := Recent{last: int(state[0])}
	for i := range restored.blocks {
		b := state[1+3*i : 4+3*i]
		if !whole(b[0], recentBlock) || !whole(b[1], recentBlock) || b[1] > b[0] {
			return fmt.Errorf("restore recent scores: %v of %v records correct in block %d", b[1], b[0], i)
		}
		restored.blocks[i] = block{int(b[0]), int(b[1]), b[2]}
	}
	*r = restored
	return nil
}

// whole says whether x is a whole number from 0 to most.
func whole(x, most float64) bool { return x >= 0 && x <= most && x == math.Floor(x) }
