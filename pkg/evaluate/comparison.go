package evaluate

import (
	"fmt"
	"math"
)

const (
	comparisonAlpha = 0.05 // error probability of all comparisons with a champion together
	firstRestart    = 1024 // records
)

// Comparison compares a challenger with the champion by confidence sequences on the difference of their losses. It works
// in segments, each with a sequence of its own, so that an old advantage does not hide a new one. A segment ends at
// record counts of 1,024, 2,048, 4,096, and so on, and where Restart says so.
//
// The k-th segment may err with probability SegmentAlpha: over all segments, looked at after every record, that is at
// most 5 %, shared equally by all challengers.
type Comparison struct {
	Sequence // of the segment: its Decided, Bounds, Records, and Mean are those of the comparison

	challengers int
	total       float64 // records of all segments
	segment     int
}

// NewComparison returns a comparison in its first segment, one of that many that are made at the same time, at least 1.
func NewComparison(challengers int) *Comparison {
	return &Comparison{*NewSequence(SegmentAlpha(1, challengers)), challengers, 0, 1}
}

// SegmentAlpha returns the error probability of the k-th segment, k ≥ 1, in each of that many comparisons:
// .05/challengers · 6/(π²k²), which sums to .05/challengers over all k.
func SegmentAlpha(k, challengers int) float64 {
	return comparisonAlpha / float64(challengers) * 6 / (math.Pi * math.Pi * float64(k) * float64(k))
}

// Add takes the difference of the losses of the next record, as the Add of a Sequence. It is the first of a new segment
// if the comparison had 2^k records, at least 1,024: Decided after 2^k records still is about all of the old segment.
func (c *Comparison) Add(difference float64) {
	if n := int(c.total); n >= firstRestart && n&(n-1) == 0 {
		c.Restart()
	}
	c.total++
	c.Sequence.Add(difference)
}

// AddRun is Add for each of a run of differences in turn.
func (c *Comparison) AddRun(differences []float64) {
	for len(differences) > 0 {
		n := int(c.total)
		if n >= firstRestart && n&(n-1) == 0 {
			c.Restart()
		}
		border := firstRestart
		for border <= n {
			border *= 2
		}
		run := differences[:min(border-n, len(differences))]
		c.total += float64(len(run))
		c.Sequence.AddRun(run)
		differences = differences[len(run):]
	}
}

// Restart ends the segment: after a report of drift, and when another model has become champion. It does nothing if the
// segment has no records yet.
func (c *Comparison) Restart() {
	if c.Records() == 0 {
		return
	}
	c.segment++
	c.Sequence = *NewSequence(SegmentAlpha(c.segment, c.challengers))
}

// Segment returns the number of the segment, from 1 on.
func (c *Comparison) Segment() int { return c.segment }

// State returns what Restore needs to go on at the same point: 6 numbers.
func (c *Comparison) State() []float64 {
	return append([]float64{c.total, float64(c.segment)}, c.Sequence.State()...)
}

// Restore takes over a state. It may be of a comparison that was one of more or fewer: the segment it is in keeps its
// error probability, and those after it take their new share. After an error the comparison is as it was.
func (c *Comparison) Restore(state []float64) error {
	if len(state) != 2+sequenceState {
		return fmt.Errorf("restore comparison: state of %d numbers, want %d", len(state), 2+sequenceState)
	}
	if !whole(state[0], 1<<53) || !whole(state[1], 1<<53) || state[1] < 1 {
		return fmt.Errorf("restore comparison: segment %v after %v records", state[1], state[0])
	}
	if err := c.Sequence.Restore(state[2:]); err != nil {
		return fmt.Errorf("restore comparison: %w", err)
	}
	c.total, c.segment = state[0], int(state[1])
	return nil
}
