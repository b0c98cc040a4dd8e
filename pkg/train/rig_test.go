package train

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeSource is a topic in memory. Like the consumer's reader it remembers what brokers told, by fetch answers and when
// asked.
type fakeSource struct {
	blocks chan *record.Block

	mu       sync.Mutex
	broker   map[int32]record.End // what brokers would tell
	silent   bool                 // nobody answers
	known    map[int32]record.End // what was told
	ages     []time.Duration      // maxAge of each call of Ends
	asked    map[int32]int        // how often brokers were asked for a partition
	out      map[*record.Block]int
	handed   int // blocks
	released int
	rows     int // in released blocks
	bytes    int
	faults   []string
	onFree   func(partition int32)
}

func newFakeSource(buffer int) *fakeSource {
	return &fakeSource{
		blocks: make(chan *record.Block, buffer), broker: map[int32]record.End{},
		known: map[int32]record.End{}, asked: map[int32]int{}, out: map[*record.Block]int{},
	}
}

func (s *fakeSource) Blocks() <-chan *record.Block { return s.blocks }

func (s *fakeSource) Release(b *record.Block) {
	s.mu.Lock()
	if s.out[b] != 1 {
		s.faults = append(s.faults, fmt.Sprintf("block of %d at %d released, but not in use", b.Partition, b.Base))
	}
	delete(s.out, b)
	s.released++
	s.rows += b.Rows()
	s.bytes += b.Bytes
	id, free := b.Partition, s.onFree
	poison(b)
	s.mu.Unlock()
	if free != nil {
		free(id)
	}
}

func (s *fakeSource) Ends(_ context.Context, maxAge time.Duration) map[int32]record.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ages = append(s.ages, maxAge)
	for id, end := range s.broker {
		if time.Since(s.known[id].Told) > maxAge || s.known[id].Told.IsZero() {
			s.asked[id]++
			if !s.silent {
				end.Told = time.Now()
				s.known[id] = end
			} else if _, ok := s.known[id]; !ok {
				s.known[id] = record.End{First: end.First, Stable: end.First, Log: end.First}
			}
		}
	}
	return maps.Clone(s.known)
}

// says sets what brokers tell of a partition when asked from now on.
func (s *fakeSource) says(id int32, first, stable, end int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broker[id] = record.End{First: first, Stable: stable, Log: end}
}

// tell has a fetch answer tell what brokers would.
func (s *fakeSource) tell(id int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.broker[id]
	end.Told = time.Now()
	s.known[id] = end
}

// silence has nobody answer when asked, or somebody again.
func (s *fakeSource) silence(silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = silent
}

// send hands over a block. It returns false where ctx ended before.
func (s *fakeSource) send(ctx context.Context, b *record.Block) bool {
	s.mu.Lock()
	s.out[b] = 1
	s.handed++
	s.mu.Unlock()
	select {
	case s.blocks <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *fakeSource) outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handed - s.released
}

// witness is an Observer that remembers.
type witness struct {
	mu        sync.Mutex
	refused   []place
	reasons   map[record.Reason]int
	lost      map[int32]int64
	waiting   []int
	drawnBack map[int32]int
	passed    map[int32]Passed // sums, the next offset, and the last time
	learned   map[string]int
	snapshots []*Snapshot
	onPublish func(*Snapshot)
	onRefused func()
	events    []Event
	compared  []*Comparison
	faults    []string
}

func newWitness() *witness {
	return &witness{
		reasons: map[record.Reason]int{}, lost: map[int32]int64{}, drawnBack: map[int32]int{},
		passed: map[int32]Passed{}, learned: map[string]int{},
	}
}

func (w *witness) Passed(id int32, records, bytes int, next int64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.passed[id]
	if next < p.Next {
		w.faults = append(w.faults, fmt.Sprintf("partition %d passed %d, then %d", id, p.Next, next))
	}
	p.Records += records
	p.Bytes += bytes
	p.Next = next
	if records > 0 {
		p.Time = at.UnixMicro()
	}
	w.passed[id] = p
}

func (w *witness) Refused(id int32, r record.Refusal) {
	if w.onRefused != nil {
		w.onRefused()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, place{id, r.Offset})
	w.reasons[r.Err.Reason]++
	if want := rawText(id, r.Offset); !bytes.Equal(r.Raw, want) {
		w.faults = append(w.faults, fmt.Sprintf("%d/%d is refused with %q, want %q", id, r.Offset, r.Raw, want))
	}
}

func (w *witness) Lost(id int32, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost[id] += n
}

func (w *witness) Waiting(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, n)
}

func (w *witness) DrawnBack(id int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drawnBack[id]++
}

func (w *witness) Learned(model string, records, _ int, _ float64, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learned[model] += records
}

func (w *witness) Published(s *Snapshot) {
	w.mu.Lock()
	w.snapshots = append(w.snapshots, s)
	publish := w.onPublish
	w.mu.Unlock()
	if publish != nil {
		publish(s)
	}
}

func (w *witness) Happened(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *witness) Compared(c *Comparison) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.compared = append(w.compared, c)
}

func (w *witness) count(of map[int32]int, id int32) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return of[id]
}

// lastWaiting returns for how many partitions the merge waits, as told last.
func (w *witness) lastWaiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return -1
	}
	return w.waiting[len(w.waiting)-1]
}

// recorder is a model that only notes which rows it is given; see row.
type recorder struct {
	mu     sync.Mutex
	places []place
	slow   time.Duration // for each batch
}

func (m *recorder) Learn(rows *sgd.Rows, prob []float64) {
	if m.slow > 0 {
		time.Sleep(m.slow)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range rows.Len() {
		x := rows.Row(i)
		m.places = append(m.places, place{int32(x[0]), int64(x[1])})
		prob[i] = .5
	}
}

func (m *recorder) seen() []place {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.places)
}

func (m *recorder) Outputs() int               { return 1 }
func (m *recorder) Snapshot() sgd.Predictor    { return nil }
func (m *recorder) Grow(int)                   {}
func (*recorder) Restore([]sgd.Tensor) error   { return nil }
func (m *recorder) State() []sgd.Tensor        { return nil }
func (m *recorder) Stats() (none sgd.Stats)    { return none }
func (m *recorder) as(name string, l *learner) { l.model, l.spec.Name = m, name }

// rig is a trainer whose every word about its progress is kept. Its first model is a recorder.
type rig struct {
	*Trainer
	source   *fakeSource
	seen     *witness
	recorder *recorder
	mode     Mode

	mu   sync.Mutex
	told []Progress
}

func newRig(source *fakeSource, mode Mode, others ...sgd.Spec) *rig {
	r, err := newRigFrom(nil, source, mode, others...)
	if err != nil {
		panic(err) // nothing is restored, so nothing can fail
	}
	return r
}

// newRigFrom returns a rig that goes on from a cut; nil: from the beginning. The recorder begins empty there.
func newRigFrom(from *Cut, source *fakeSource, mode Mode, others ...sgd.Spec) (*rig, error) {
	r := &rig{source: source, seen: newWitness(), recorder: &recorder{}, mode: mode}
	if from != nil {
		models := slices.DeleteFunc(slices.Clone(from.Models), func(s State) bool { return s.Name == "recorder" })
		from = &Cut{Place: from.Place, Models: models, Comparison: from.Comparison, Champion: from.Champion}
	}
	var err error
	r.Trainer, err = New(Config{
		Models: append([]sgd.Spec{{Name: "recorder"}}, others...), Seed: 1, From: from, Mode: mode, Observer: r.seen,
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	r.recorder.as("recorder", r.learners[0])
	return r, nil
}

// run is Run, listening.
func (r *rig) run(ctx context.Context) {
	r.Trainer.run(ctx, r.source, func(p *Progress) {
		r.progress.set(p)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told = append(r.told, r.Progress())
	})
}

func (r *rig) ranges() []map[int32]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return rangesOf(r.told)
}

// start runs the rig until the test ends the context that it returns, and then waits for it.
func (r *rig) start(t *testing.T) (ctx context.Context, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.run(ctx)
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}
