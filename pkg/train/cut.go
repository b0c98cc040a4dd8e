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
	// Comparison is the compare stage's state: names with slashes. None: it begins there.
	Comparison []sgd.Tensor
	Champion   string // empty: the first model

	left atomic.Int32 // models, and the compare stage, that have not answered yet
	done chan struct{}
}

// Place is the merge's own part of a cut.
type Place struct {
	Turn       int32            // partition taken last; -1: none
	Features   int              // numbers of a row; 0 without Columns: not settled
	Columns    []record.Column  // in the order of first appearance; nil: they have no names
	Missing    []uint64         // rows that had no value, by column
	Slots      []int64          // of categories, by number
	Origins    []string         // of shapes met
	NotFound   []string         // schemas of which it was decided that nobody knows them
	Gap        bool             // the log had lost records that should have been learned
	Lost       int64            // how many offsets
	Records    uint64           // merged in the lineage, held ones not counted
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
	Next    map[int32]int64 // per partition: everything below was learned
	Since   map[int32]int64 // per partition: the first offset that the model was to learn
	Pause   time.Duration   // for how long learning stood still for the copy
}

// Cut has the order stage set a mark at the next border, and returns when all models and the compare stage have answered at it; learning goes
// on meanwhile. After Run it returns the place where that ended, and the error of Err, with which it is not to be kept.
func (t *Trainer) Cut(ctx context.Context) (*Cut, error) {
	select {
	case <-t.ended:
		return t.last, t.err // also where ctx has ended, as it may have with Run's
	default:
	}
	c := newCut(len(t.learners))
	select {
	case t.cuts <- c:
	case <-t.ended:
		return t.last, t.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a border between two batches: %w", ctx.Err())
	}
	select {
	case <-c.done:
		return c, nil
	case <-t.ended:
		return t.last, t.err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the models at a border: %w", ctx.Err())
	}
}

func newCut(models int) *Cut {
	c := &Cut{Models: make([]State, models), done: make(chan struct{})}
	c.left.Store(int32(models) + 1)
	return c
}

// answer gives the cut the state of model i.
func (c *Cut) answer(i int, s State) {
	c.Models[i] = s
	c.answered()
}

// compared gives the cut the state of the compare stage.
func (c *Cut) compared(stage *compare) {
	c.Comparison, c.Champion = stage.state(), stage.specs[stage.champion].Name
	c.answered()
}

func (c *Cut) answered() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// place returns where the merge stands; while rows are held back, where it stood before the first of them.
func (o *order) place() Place {
	if len(o.held) > 0 {
		return o.beforeHeld
	}
	p := Place{
		Turn: o.turn, Gap: o.gap, Lost: o.lost, Records: o.records, Partitions: make([]PartitionPlace, len(o.lanes)),
		Slots: o.slots.Met(), Origins: slices.Clone(o.origins), NotFound: slices.Clone(o.notFound),
	}
	if o.layout != nil {
		p.Features, p.Columns, p.Missing = o.layout.Width, o.layout.Columns, slices.Clone(o.placer.Missing)
	}
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
	o.turn, o.gap, o.lost, o.records = p.Turn, p.Gap, p.Lost, p.Records
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
		one(progressiveRecords, l.records), one(progressiveCorrect, l.correct), one(progressiveLoss, l.loss))
	return State{
		Name: l.spec.Name, Tensors: tensors, Records: l.records, Next: maps.Clone(l.next), Since: l.since, Pause: time.Since(start),
	}
}

// restore takes up the model from its part of a cut. Without a layout there is no model yet.
func (l *learner) restore(s *State, layout *record.Layout) error {
	from := sgd.NewStored(slices.DeleteFunc(slices.Clone(s.Tensors), func(t sgd.Tensor) bool { return !isScore(t) }))
	own := slices.DeleteFunc(slices.Clone(s.Tensors), isScore)
	sgd.LoadScalar(from, progressiveRecords, &l.records)
	sgd.LoadScalar(from, progressiveCorrect, &l.correct)
	sgd.LoadScalar(from, progressiveLoss, &l.loss)
	err := from.Done()
	if len(own) > 0 || l.records > 0 { // who has learned has tensors: that none is there is a fault
		if layout == nil {
			return fmt.Errorf("restore model %s: it has learned, but the columns of rows are not known", l.spec.Name)
		}
		l.model, l.width, l.layout = l.spec.New(layout.Width, l.seed), layout.Width, layout
		err = errors.Join(err, l.model.Restore(own))
	}
	maps.Copy(l.since, s.Since)
	if err != nil {
		return fmt.Errorf("restore model %s: %w", l.spec.Name, err)
	}
	return nil
}

func isScore(t sgd.Tensor) bool { return strings.HasPrefix(t.Name, progressivePrefix) }
