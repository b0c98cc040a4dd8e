// Package train is the way of a record from order to snapshot: it merges the partitions of a topic into one sequence,
// lets every model predict, score, and learn each record of it, compares the models, and publishes immutable snapshots.
//
//	goroutine            started and waited for by  ends when                          it alone touches
//	order                Run                        its context or the source ends     lanes, range, the batch in hand
//	learn, one a model   Run                        order has ended                    model, progressive scores, its answers to a batch
//	compare              Run                        all learn have ended               champion, twin, detectors, batches that all have learned
package train

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// Observer is told what happens, batch by batch, never record by record but for refused ones.
type Observer interface {
	// Passed says that the first model has learned, and moved past, part of a partition.
	Passed(partition int32, records, bytes int, next int64, recordTime time.Time)
	// Refused says that a record was not learned. It is told before the merge moves past the record, which waits for it; what
	// the record held may be used only during the call.
	Refused(partition int32, r record.Refusal)
	// Lost says that the log no longer had records when they were asked for.
	Lost(partition int32, records int64)
	// Waiting says for how many partitions the merge waits.
	Waiting(partitions int)
	// DrawnBack says that the end of a range was drawn back.
	DrawnBack(partition int32)
	// Learned says what a model made of a batch: how many answers were correct before learning, the sum of their log
	// losses in nats, and how long it took.
	Learned(model string, records, correct int, loss float64, took time.Duration)
	// Published says that a model has a new snapshot.
	Published(*Snapshot)
	// Happened says that the champion has changed, or that drift is reported. Nobody else logs it.
	Happened(Event)
	// Compared says that there is a new comparison.
	Compared(*Comparison)
}

// Config says what a [Trainer] trains.
type Config struct {
	Models []sgd.Spec
	// Best has the lead go to a model that is better than the champion for certain. Else the first is always the champion.
	Best bool
	// TwinAge is how many records lie between two copies of the champion that are taken to answer without learning on: the
	// one before the newest does. 0: there are no such copies.
	TwinAge uint64
	Seed    uint64
	// From is where to go on: its place, and the state of those models that it has, by name. Others begin there. Nil:
	// fresh models, from where the source begins.
	From     *Cut
	Mode     Mode
	HashBits int         // categories have 2^HashBits slots; 0: record.DefaultHashBits
	First    []string    // the columns that come first where several are new
	Limit    Limit       // of refused records, which ends the run where it is passed: see Err
	Turns    sync.Locker // held by goroutines that compute, while they do; nil: they need no turns
	Observer Observer
	Logger   *zap.Logger
}

// Trainer trains models on one read of a topic. It is used for one Run.
type Trainer struct {
	cfg      Config
	learners []*learner
	compare  *compare
	columns  *columns
	progress shownProgress
	cuts     chan *Cut
	ended    chan struct{} // closed when Run has ended
	last     *Cut          // where it ended
	err      error         // why, where it did by itself
}

// Progress says where the merge stands.
type Progress struct {
	CaughtUp   bool                `json:"caught_up"` // the log as it was at the start is learned
	Gap        bool                `json:"gap"`       // the log had lost records that should have been learned
	Layout     *record.Layout      `json:"-"`         // nil: not settled
	Missing    []uint64            `json:"-"`         // rows that had no value, by column of the layout
	Partitions []PartitionProgress `json:"partitions"`
}

// Features returns how many columns rows have; 0: that is not settled.
func (p *Progress) Features() int {
	if p.Layout == nil {
		return 0
	}
	return p.Layout.Features()
}

// PartitionProgress is the merge's place in one partition: offsets from Start to End are the range in hand, Settled is
// its end before any drawing back, and everything below Next is merged.
type PartitionProgress struct {
	Partition int32 `json:"partition"`
	Next      int64 `json:"next_offset"`
	Start     int64 `json:"range_start"`
	Settled   int64 `json:"range_settled_end"`
	End       int64 `json:"range_end"`
	Waiting   bool  `json:"waiting"`
}

// shownProgress is what the order stage told last. It is copied rather than published anew: that happens with every batch,
// and somebody looks now and then.
type shownProgress struct {
	mu  sync.Mutex
	now Progress // guarded by mu
}

func (s *shownProgress) set(p *Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	partitions, missing := s.now.Partitions[:0], s.now.Missing[:0]
	partitions, missing = append(partitions, p.Partitions...), append(missing, p.Missing...)
	s.now = *p
	s.now.Partitions, s.now.Missing = partitions, missing
}

func (s *shownProgress) layout() *record.Layout {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.Layout
}

func (s *shownProgress) get() Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.now
	p.Partitions, p.Missing = slices.Clone(p.Partitions), slices.Clone(p.Missing)
	return p
}

// New returns a trainer, with snapshots and the comparison of what it restored. The error says which model's state does not
// fit, or which tensor of the comparison.
func New(cfg Config) (*Trainer, error) {
	t := &Trainer{cfg: cfg, cuts: make(chan *Cut), ended: make(chan struct{})}
	var err error
	if t.columns, err = newColumns(&cfg); err != nil {
		return nil, err
	}
	t.progress.now.Layout, t.progress.now.Missing = t.columns.layout, slices.Clone(t.columns.missing())
	t.compare = newCompare(&cfg)
	for i, spec := range cfg.Models {
		l := &learner{
			spec: spec, seed: cfg.Seed, see: cfg.Observer, turns: cfg.Turns, index: i,
			in: make(chan *Batch, batchesEach), learned: t.compare.in, ask: make(chan chan<- State), done: make(chan struct{}),
			next: make(map[int32]int64), since: make(map[int32]int64),
		}
		if cfg.Best || i == 0 {
			l.age = cfg.TwinAge // it may be the champion
		}
		t.learners = append(t.learners, l)
		if cfg.From == nil {
			continue
		}
		for _, p := range cfg.From.Partitions {
			l.next[p.Partition] = p.Next
		}
		stored := slices.IndexFunc(cfg.From.Models, func(s State) bool { return s.Name == spec.Name })
		if stored < 0 {
			maps.Copy(l.since, l.next)
		} else if err := l.restore(&cfg.From.Models[stored], t.columns.layout); err != nil {
			return nil, err
		}
		l.publish()
	}
	if cfg.From == nil {
		t.compare.published.Store(t.compare.comparison())
		return t, nil
	}
	if err := t.compare.restore(cfg.From); err != nil {
		return nil, err
	}
	t.compare.publish()
	return t, nil
}

// Run learns from source until ctx or the source ends. The batch in hand is learned by all models before it returns.
func (t *Trainer) Run(ctx context.Context, source Source) {
	t.run(ctx, source, t.progress.set)
}

// run is Run with its progress told to whoever wants it, who keeps nothing of it.
func (t *Trainer) run(ctx context.Context, source Source, progress func(*Progress)) {
	var learners, comparing sync.WaitGroup
	free := make(chan *Batch, batchesAll)
	for range cap(free) {
		free <- &Batch{free: free, answers: make([]answers, len(t.learners))}
	}
	comparing.Go(t.compare.work)
	for _, l := range t.learners {
		learners.Go(l.run)
	}
	o := &order{
		source: source, mode: t.cfg.Mode, learners: t.learners, see: t.cfg.Observer, log: t.cfg.Logger,
		progress: progress, columns: t.columns,
		refusals: refusals{limit: t.cfg.Limit}, turn: -1, batch: <-free, free: free, cuts: t.cuts, timer: time.NewTimer(tick),
	}
	var from *Place
	if t.cfg.From != nil {
		from = &t.cfg.From.Place
	}
	ctx, o.stop = context.WithCancel(ctx)
	defer o.stop()
	o.run(ctx, from)
	t.err = o.refusals.err
	for _, l := range t.learners {
		close(l.in)
	}
	learners.Wait()
	close(t.compare.in)
	comparing.Wait()
	t.last = newCut(len(t.learners))
	t.last.Place = o.place()
	for i, l := range t.learners {
		t.last.answer(i, l.state())
	}
	t.last.compared(t.compare)
	close(t.ended)
}

// Progress says where the merge stands. CaughtUp is about merging; see Snapshot for what is learned.
func (t *Trainer) Progress() Progress { return t.progress.get() }

// Snapshots returns the newest snapshot of each model, in order of configuration; nil where there is none yet.
func (t *Trainer) Snapshots() []*Snapshot {
	all := make([]*Snapshot, len(t.learners))
	for i, l := range t.learners {
		all[i] = l.snapshot.Load()
	}
	return all
}

// Slots returns the categories met, for looking up.
func (t *Trainer) Slots() *record.Slots { return t.columns.slots }

// Layout returns the columns of rows that were merged; nil: they are not settled.
func (t *Trainer) Layout() *record.Layout { return t.progress.layout() }

// Comparison returns the newest comparison of the models; never nil.
func (t *Trainer) Comparison() *Comparison { return t.compare.published.Load() }

// Twin returns the frozen copy of the champion that answers without learning on; nil: there is none yet.
func (t *Trainer) Twin() sgd.Predictor {
	if twin := t.compare.twin.Load(); twin != nil {
		return *twin
	}
	return nil
}

// State returns the state of a model.
func (t *Trainer) State(ctx context.Context, model string) (State, error) {
	for _, l := range t.learners {
		if l.spec.Name != model {
			continue
		}
		answer := make(chan State, 1)
		select {
		case l.ask <- answer:
			return <-answer, nil
		case <-l.done:
			return l.state(), nil
		case <-ctx.Done():
			return State{}, fmt.Errorf("state of model %s: %w", model, ctx.Err())
		}
	}
	return State{}, fmt.Errorf("no model %q", model)
}
