package train

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

const (
	batchRows   = 1024
	batchValues = 32 << 10 // wide rows make shorter batches
	batchesEach = 2        // waiting for each model
	// batchesAll is how many there are: being filled, waiting for a model, in its hands, and as many for the compare stage.
	batchesAll = 1 + batchesEach + 1 + 2
)

// Batch is a run of the merged sequence. Its border is a place where all models can be kept. Its rows stay valid until the
// compare stage is done with it.
type Batch struct {
	sgd.Rows
	Passed   []Passed // partitions that moved, by number
	CaughtUp bool     // the log as it was at the start ends with this batch

	layout  *record.Layout // of the rows; nil: there were none yet
	ends    []int          // memory of SparseEnd
	events  []Event        // that happened before its first row
	first   uint64         // records of the lineage before the batch
	cut     *Cut           // to be answered behind the batch; usually nil
	answers []answers      // by model; each is its learner's, and the compare stage's when all have learned the batch
	users   atomic.Int32   // learners that have not learned it yet
	free    chan<- *Batch
}

// answers are what a model answered to the rows of a batch, each before it was learned.
type answers struct {
	prob    []float64
	correct []uint8     // 1 where the class was predicted, else 0
	loss    []float64   // log loss, nats
	copies  []modelCopy // behind each record whose number in the lineage is a multiple of the twin age
}

// reserve makes room for so many answers.
func (a *answers) reserve(rows, outputs int) {
	if cap(a.loss) < rows {
		a.loss = make([]float64, max(rows, batchRows))
		a.correct = make([]uint8, len(a.loss))
		a.prob = make([]float64, len(a.loss)*outputs)
	}
	a.prob, a.correct, a.loss = a.prob[:rows*outputs], a.correct[:rows], a.loss[:rows]
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

// use has the rows to come, of which there are none yet, be of a layout, and makes room for as many as make a batch full.
func (b *Batch) use(layout *record.Layout) {
	if width := layout.Width; b.layout == nil || b.Width != width {
		rows := min(batchRows, batchValues/max(width, 1)+1)
		b.Width, b.X, b.Y = width, make([]float64, 0, rows*width), make([]float64, 0, rows)
	}
	b.layout = layout
}

// endSparse ends the sparse features of the newest row. Nothing is kept of their ends before a row has some.
func (b *Batch) endSparse() {
	for len(b.ends) < len(b.Y)-1 {
		b.ends = append(b.ends, 0)
	}
	b.ends = append(b.ends, len(b.Sparse))
	b.SparseEnd = b.ends
}

// recycle gives the batch back to the order stage.
func (b *Batch) recycle() {
	b.X, b.Y, b.Missing, b.Sparse, b.SparseEnd, b.ends = b.X[:0], b.Y[:0], false, b.Sparse[:0], nil, b.ends[:0]
	b.Passed, b.CaughtUp, b.cut, b.events = b.Passed[:0], false, nil, b.events[:0]
	for i := range b.answers {
		a := &b.answers[i]
		clear(a.copies)
		a.copies = a.copies[:0]
	}
	b.free <- b
}

// Snapshot is a model as it was at a border between two batches. It is immutable.
type Snapshot struct {
	sgd.Predictor
	Model    string
	Layout   *record.Layout // of the rows that it learns from; nil: none was seen yet
	Features int            // numbers of a row
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
	turns sync.Locker
	in    chan *Batch
	// learned takes each batch from the learner that is the last to have learned it, before that one goes on to the next
	// batch: so they come in order.
	learned chan<- *Batch
	age     uint64 // records between two copies; 0: the model is never the champion, or no copies are taken
	ask     chan chan<- State
	done    chan struct{}

	model    sgd.Model // made when the width is known
	width    int       // numbers of the rows that it learns from
	layout   *record.Layout
	part     sgd.Rows // of a batch, to be learned in one go
	ends     []int    // memory of its SparseEnd
	records  uint64
	correct  uint64
	loss     float64
	next     map[int32]int64
	since    map[int32]int64 // per partition: the first offset to be learned; shared with snapshots, so it never changes
	caughtUp bool
	snapshot atomic.Pointer[Snapshot]
}

func (l *learner) run() {
	defer close(l.done)
	pace := newPacer(catchUpEvery, l.publish)
	for {
		select {
		case b, ok := <-l.in:
			if !ok {
				pace.publish()
				return
			}
			l.learn(b)
			if b.cut != nil {
				b.cut.answer(l.index, l.state())
			}
			caughtUp := b.CaughtUp
			if b.users.Add(-1) == 0 {
				l.learned <- b // there is room for all batches
			}
			if l.caughtUp {
				pace.every = publishEvery
			}
			pace.changed(caughtUp)
		case <-pace.due.C:
			pace.publish()
		case answer := <-l.ask:
			answer <- l.state()
		}
	}
}

// learn goes over a batch: predict, score, then learn.
func (l *learner) learn(b *Batch) {
	if l.turns != nil {
		l.turns.Lock()
		defer l.turns.Unlock()
	}
	start := time.Now()
	rows := b.Len()
	if rows > 0 {
		if l.model == nil {
			l.model = l.spec.New(b.Width, l.seed)
		} else if b.Width > l.width {
			l.model.Grow(b.Width)
		}
		l.width, l.layout = b.Width, b.layout
		a := &b.answers[l.index]
		a.reserve(rows, l.model.Outputs())
		l.step(b, a)
		correct, loss := l.correct, l.loss
		l.score(a, b.Y)
		l.see.Learned(l.spec.Name, rows, int(l.correct-correct), l.loss-loss, time.Since(start))
	}
	for _, p := range b.Passed {
		l.next[p.Partition] = p.Next
		if _, ok := l.since[p.Partition]; !ok {
			l.since = maps.Clone(l.since) // snapshots share it
			l.since[p.Partition] = p.First
		}
		if l.index == 0 {
			l.see.Passed(p.Partition, p.Records, p.Bytes, p.Next, time.UnixMicro(p.Time))
		}
	}
	l.caughtUp = l.caughtUp || b.CaughtUp
}

// step has the model answer to and learn the rows of a batch, with a stop at each multiple of the age for a copy.
func (l *learner) step(b *Batch, a *answers) {
	outputs := l.model.Outputs()
	for from := 0; from < b.Len(); {
		to := b.Len()
		due := copyDue(l.age, b.first+uint64(from))
		copied := due > 0 && due <= uint64(to-from)
		if copied {
			to = from + int(due)
		}
		l.part = between(&b.Rows, from, to, l.ends)
		if l.part.SparseEnd != nil {
			l.ends = l.part.SparseEnd
		}
		l.model.Learn(&l.part, a.prob[from*outputs:])
		if copied {
			a.copies = append(a.copies, modelCopy{b.first + uint64(to), l.model.State(), l.model.Snapshot()})
		}
		from = to
	}
	l.part = sgd.Rows{}
}

// score adds answers to the progressive scores, one by one: sums over batches would depend on where batches end. An
// answer of at least one half counts as class 1.
func (l *learner) score(a *answers, y []float64) {
	judge(a.correct, a.loss, a.prob, y)
	for i, loss := range a.loss {
		l.correct += uint64(a.correct[i])
		l.loss += loss
	}
	l.records += uint64(len(y))
}

func (l *learner) publish() {
	s := &Snapshot{
		Model: l.spec.Name, Layout: l.layout, Features: l.width, Records: l.records, Correct: l.correct, Loss: l.loss,
		Next: maps.Clone(l.next), Since: l.since, CaughtUp: l.caughtUp,
	}
	if l.model != nil {
		s.Predictor, s.Outputs, s.Stats = l.model.Snapshot(), l.model.Outputs(), l.model.Stats()
	}
	l.snapshot.Store(s)
	l.see.Published(s)
}
