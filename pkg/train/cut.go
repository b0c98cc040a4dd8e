package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// Cut is a border between two records of the merged sequence, with everything that is needed to go on behind it: a
// trainer that starts from it ends with the same bits as one that never stopped.
type Cut struct {
	Place
	Models []State // in order of configuration

	left atomic.Int32 // models that have not answered yet
	done chan struct{}
}

// Place is the merge's own part of a cut.
type Place struct {
	Turn       int32            // partition taken last; -1: none
	Features   int              // of a row; 0: not settled
	Gap        bool             // the log had lost records that should have been learned
	Lost       int64            // how many offsets
	Partitions []PartitionPlace // by number
}

// PartitionPlace is the merge's place in one partition: see [PartitionProgress].
type PartitionPlace struct {
	Partition                 int32
	Next, Start, Settled, End int64
	Passed                    record.Batch // last batch that was passed wholly; Last is -1 where none was, or records were lost behind it
}

// State is one model's part of a cut.
type State struct {
	Name    string
	Tensors []sgd.Tensor    // the model's own, and progressive/…
	Records uint64          // learned by then
	Since   map[int32]int64 // per partition: the first offset that the model was to learn
	Pause   time.Duration   // for how long learning stood still for the copy
}

// Cut has the order stage set a mark at the next border, and returns when all models have answered at it; learning goes
// on meanwhile. After Run it returns the place where that ended.
func (t *Trainer) Cut(ctx context.Context) (*Cut, error) {
	select {
	case <-t.ended:
		return t.last, nil // also where ctx has ended, as it may have with Run's
	default:
	}
	c := newCut(len(t.learners))
	select {
	case t.cuts <- c:
	case <-t.ended:
		return t.last, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a border between two batches: %w", ctx.Err())
	}
	select {
	case <-c.done:
		return c, nil
	case <-t.ended:
		return t.last, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the models at a border: %w", ctx.Err())
	}
}

func newCut(models int) *Cut {
	c := &Cut{Models: make([]State, models), done: make(chan struct{})}
	c.left.Store(int32(models))
	return c
}

// answer gives the cut the state of model i.
func (c *Cut) answer(i int, s State) {
	c.Models[i] = s
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// place returns where the merge stands; while rows are held back, where it stood before the first of them.
func (o *order) place() Place {
	if len(o.held) > 0 {
		return o.beforeHeld
	}
	p := Place{Turn: o.turn, Features: o.width, Gap: o.gap, Lost: o.lost, Partitions: make([]PartitionPlace, len(o.lanes))}
	for i, l := range o.lanes {
		p.Partitions[i] = PartitionPlace{
			Partition: l.id, Next: l.next, Start: l.start, Settled: l.settled, End: l.end, Passed: l.lastPassed(),
		}
	}
	return p
}

// lastPassed returns the last batch below the lane's next offset.
func (l *lane) lastPassed() record.Batch {
	passed := l.passed
	if l.ready {
		for _, b := range l.queue[0].Batches {
			if b.Last >= l.next {
				break
			}
			passed = b
		}
	}
	return passed
}

// restore takes up the merge at a place, and finishes the range that it names. It returns false where ctx or the source
// ended first.
func (o *order) restore(ctx context.Context, p *Place) bool {
	if p == nil {
		return true
	}
	o.turn, o.width, o.gap, o.lost = p.Turn, p.Features, p.Gap, p.Lost
	for _, at := range p.Partitions {
		l := newLane(at.Partition, at.Next)
		l.start, l.settled, l.end, l.passed = at.Start, at.Settled, at.End, at.Passed
		o.known[l.id] = l
		o.lanes = append(o.lanes, l)
	}
	o.arrange()
	if !o.merge(ctx) {
		return false
	}
	o.flush() // the next range may be long in coming
	return true
}

// The progressive scores' tensors.
const (
	progressivePrefix  = "progressive/"
	progressiveRecords = progressivePrefix + "records"
	progressiveCorrect = progressivePrefix + "correct"
	progressiveLoss    = progressivePrefix + "loss"
)

// state returns the model's part of a cut.
func (l *learner) state() State {
	start := time.Now()
	var tensors []sgd.Tensor
	if l.model != nil {
		tensors = l.model.State()
	}
	tensors = append(tensors,
		sgd.Tensor{Name: progressiveRecords, Shape: []int{}, Data: []uint64{l.records}},
		sgd.Tensor{Name: progressiveCorrect, Shape: []int{}, Data: []uint64{l.correct}},
		sgd.Tensor{Name: progressiveLoss, Shape: []int{}, Data: []float64{l.loss}})
	return State{
		Name: l.spec.Name, Tensors: tensors, Records: l.records, Since: maps.Clone(l.since), Pause: time.Since(start),
	}
}

// restore takes up the model from its part of a cut. Without features there is no model yet.
func (l *learner) restore(s *State, features int) error {
	var own []sgd.Tensor
	scores := make(map[string]sgd.Tensor)
	for _, t := range s.Tensors {
		if strings.HasPrefix(t.Name, progressivePrefix) {
			scores[t.Name] = t
		} else {
			own = append(own, t)
		}
	}
	err := errors.Join(
		scalar(scores, progressiveRecords, &l.records),
		scalar(scores, progressiveCorrect, &l.correct),
		scalar(scores, progressiveLoss, &l.loss))
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		err = errors.Join(err, fmt.Errorf("tensor %s is unknown", name))
	}
	if len(own) > 0 || l.records > 0 { // who has learned has tensors: that none is there is a fault
		l.model, l.features = l.spec.New(features, l.seed), features
		err = errors.Join(err, l.model.Restore(own))
	}
	maps.Copy(l.since, s.Since)
	if err != nil {
		return fmt.Errorf("restore model %s: %w", l.spec.Name, err)
	}
	return nil
}

// scalar stores the only value of the tensor called name in dst, and takes the tensor out of tensors.
func scalar[T uint64 | float64](tensors map[string]sgd.Tensor, name string, dst *T) error {
	t, ok := tensors[name]
	delete(tensors, name)
	values, typed := t.Data.([]T)
	switch {
	case !ok:
		return fmt.Errorf("tensor %s is missing", name)
	case !typed || len(values) != 1:
		return fmt.Errorf("tensor %s holds %T of %v, want one %T", name, t.Data, t.Shape, *dst)
	}
	*dst = values[0]
	return nil
}
