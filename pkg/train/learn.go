package train

import (
	"maps"
	"sync/atomic"
	"time"

	"learner/pkg/sgd"
)

const (
	batchRows    = 1024
	batchValues  = 32 << 10 // wide rows make shorter batches
	batchesEach  = 2        // waiting for each model
	publishEvery = 20 * time.Millisecond
)

// Batch is a run of the merged sequence. Its border is a place where all models can be compared or kept.
type Batch struct {
	sgd.Rows
	Passed   []Passed // partitions that moved, by number
	CaughtUp bool     // the log as it was at the start ends with this batch

	cut   *Cut         // to be answered behind the batch; usually nil
	users atomic.Int32 // learners that have not learned it yet
	free  chan<- *Batch
}

// Passed says how far a batch moved in one partition.
type Passed struct {
	Partition int32
	First     int64 // offset before the batch
	Next      int64 // offset behind the batch
	Records   int   // rows in the batch
	Bytes     int   // size of records used up, uncompressed
	Time      int64 // timestamp of the last row, microseconds since 1970
}

// release says that one learner is done with the batch.
func (b *Batch) release() {
	if b.users.Add(-1) == 0 {
		b.X, b.Y, b.Passed, b.CaughtUp, b.cut = b.X[:0], b.Y[:0], b.Passed[:0], false, nil
		b.free <- b
	}
}

// Snapshot is a model as it was at a border between two batches. It is immutable.
type Snapshot struct {
	sgd.Predictor
	Model    string
	Features int
	Outputs  int
	Stats    sgd.Stats
	Records  uint64          // learned in the model's life
	Correct  uint64          // of them answered correctly before learning
	Loss     float64         // sum of the log losses before learning, nats
	Next     map[int32]int64 // per partition: everything below was learned
	Since    map[int32]int64 // per partition: the first offset that the model was to learn
	CaughtUp bool            // the log as it was at the start is learned
}

// learner is the goroutine of one model.
type learner struct {
	spec  sgd.Spec
	seed  uint64
	index int // in order of configuration; the first reports what was passed
	see   Observer
	in    chan *Batch
	ask   chan chan<- State
	done  chan struct{}

	model    sgd.Model // made when the width is known
	features int
	prob     []float64
	records  uint64
	correct  uint64
	loss     float64
	next     map[int32]int64
	since    map[int32]int64 // per partition: the first offset to be learned
	caughtUp bool
	snapshot atomic.Pointer[Snapshot]
}

func (l *learner) run() {
	defer close(l.done)
	var published time.Time
	due := time.NewTimer(publishEvery)
	due.Stop()
	for {
		select {
		case b, ok := <-l.in:
			if !ok {
				l.publish()
				return
			}
			l.learn(b)
			if b.cut != nil {
				b.cut.answer(l.index, l.state())
			}
			caughtUp := b.CaughtUp
			b.release()
			if now := time.Now(); caughtUp || now.Sub(published) >= publishEvery {
				l.publish()
				published = now
				due.Stop()
			} else {
				due.Reset(publishEvery - now.Sub(published))
			}
		case <-due.C:
			l.publish()
			published = time.Now()
		case answer := <-l.ask:
			answer <- l.state()
		}
	}
}

// learn goes over a batch: predict, score, then learn.
func (l *learner) learn(b *Batch) {
	start := time.Now()
	rows := b.Len()
	if rows > 0 {
		if l.model == nil {
			l.features = b.Width
			l.model = l.spec.New(b.Width, l.seed)
		}
		k := l.model.Outputs()
		if len(l.prob) < rows*k {
			l.prob = make([]float64, rows*k)
		}
		l.model.Learn(&b.Rows, l.prob)
		correct, loss := l.correct, l.loss
		l.score(l.prob[:rows*k], b.Y)
		l.see.Learned(l.spec.Name, rows, int(l.correct-correct), l.loss-loss, time.Since(start))
	}
	for _, p := range b.Passed {
		l.next[p.Partition] = p.Next
		if _, ok := l.since[p.Partition]; !ok {
			l.since[p.Partition] = p.First
		}
		if l.index == 0 {
			l.see.Passed(p.Partition, p.Records, p.Bytes, p.Next, time.UnixMicro(p.Time))
		}
	}
	l.caughtUp = l.caughtUp || b.CaughtUp
}

// score adds answers to the progressive scores, one by one: sums over batches would depend on where batches end. An
// answer of at least one half counts as class 1.
func (l *learner) score(prob, y []float64) {
	for i, p := range prob {
		if (p >= .5) == (y[i] == 1) {
			l.correct++
		}
		l.loss += sgd.LogLoss(p, y[i])
	}
	l.records += uint64(len(y))
}

func (l *learner) publish() {
	s := &Snapshot{
		Model: l.spec.Name, Features: l.features, Records: l.records, Correct: l.correct, Loss: l.loss,
		Next: maps.Clone(l.next), Since: maps.Clone(l.since), CaughtUp: l.caughtUp,
	}
	if l.model != nil {
		s.Predictor, s.Outputs, s.Stats = l.model.Snapshot(), l.model.Outputs(), l.model.Stats()
	}
	l.snapshot.Store(s)
	l.see.Published(s)
}
