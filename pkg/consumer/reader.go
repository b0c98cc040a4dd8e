package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"learner/pkg/record"
)

const (
	maxWait       = 250 * time.Millisecond // how long a broker holds an answer back for want of records
	maxWaitFull   = 10 * time.Millisecond  // the same while a partition of that broker waits for room
	trickle       = 16 << 10               // answers below this many bytes are followed by a pause:
	tricklePause  = 5 * time.Millisecond   // small answers cost a round trip each
	partitionMax  = 1 << 20                // bytes asked of a partition at a time
	answerMax     = 8 << 20                // bytes asked of a broker at a time
	framesEach    = 2                      // one is decoded while the next is filled
	framesTotal   = 32 << 20               // of all brokers' answers together
	blockBytes    = 512 << 10              // a block takes batches until it has about that many bytes of records
	keepBytes     = 16 << 20               // what is larger than this is not kept for the next answer, batch, or block
	defaultBudget = 32 << 20
	minShare      = 64 << 10
	refreshEvery  = time.Second
	endsTimeout   = time.Second

	// askTimeout bounds a question to the cluster between two answers.
	askTimeout = 5 * time.Second
	// fetchGrace is how long an answer may take beyond the time that the broker was asked to wait.
	fetchGrace = 10 * time.Second
	// beyondFor is how long a log that ends before the next offset must say so to be believed: a leader that was just
	// elected may know of less for a while.
	beyondFor = 30 * time.Second

	fetchBackoff    = 100 * time.Millisecond
	fetchBackoffMax = 5 * time.Second
)

// ReaderConfig says what a [Reader] reads.
type ReaderConfig struct {
	Topic string
	// Start has the place of every partition to begin with. Partitions that come later begin at their first offset.
	Start map[int32]Position
	// Until, when not nil, bounds the reading: only partitions that it names are read, from Start to this offset, in
	// whole batches.
	Until map[int32]int64
	// Decoder makes the decoder of one worker. It may return nil: blocks then have batches and no rows.
	Decoder func() record.Decoder
	// Workers decode side by side. Each holds Turns, when not nil, while it does.
	Workers int
	Turns   sync.Locker
	// Budget bounds the bytes of records that were fetched and not yet released, divided among the partitions so
	// that the one which is waited for always has room; 0: 32 MiB.
	Budget int
	// Keep says that blocks keep what records hold: see record.Refusal.
	Keep   bool
	Logger *zap.Logger
	// Throttled and Failed, when not nil, are told of the broker's throttling and of requests that failed.
	Throttled func(time.Duration)
	Failed    func(error)
}

// Position is a place in a partition's log.
type Position struct {
	Offset int64
	// Previous is the stamp, in microseconds, of the batch before Offset, where Known.
	Previous int64
	Known    bool
}

// Reader reads a topic's partitions from given places on and hands out blocks of decoded records.
//
//	goroutine            started and waited for by  ends when                    it alone touches
//	Run                  its caller                 its context ends             the set of fetch goroutines
//	fetch, one a broker  Run                        its context ends             its frames
//	decode, Workers      Run                        the fetch goroutines ended   the block in its hands
//	parked, one a block  decode, and Run            its schema is known          the block in its hands
//
// What they share, the partitions' state, is guarded by mu. A partition is in at most one request at a time, whoever
// leads it, so its blocks come in log order.
type Reader struct {
	client *Client
	cfg    ReaderConfig
	blocks chan *record.Block
	tasks  chan *task
	stale  chan struct{} // holds one token when leaders may have moved

	mu         sync.Mutex
	partitions map[int32]*partition
	fetchers   map[int32]*fetcher
	freeBlocks []*record.Block
	freeTasks  []*task
	usual      blockSize // of the blocks decoded lately
	err        error

	parked sync.WaitGroup // tasks that are put aside
	ending bool           // no more of them

	grace, beyondFor time.Duration // fetchGrace and beyondFor
}

// partition is one partition's state, guarded by Reader.mu.
type partition struct {
	id       int32
	leader   int32 // -1: none known
	next     int64 // offset of the next fetch
	until    int64 // no fetch begins here or later
	previous int64 // stamp of the batch before next, or unknownTime
	queued   int   // bytes handed out and not released
	fetching bool
	retryAt  time.Time
	backoff  time.Duration
	fault    error             // why it cannot be fetched
	pending  []*record.Pending // what its blocks wait for before they can be decoded
	end      record.End
	beyond   time.Time // since when the log has been said to end before next; zero: it is not
}

func newPartition(id int32, start Position) *partition {
	p := &partition{id: id, leader: -1, next: start.Offset, until: math.MaxInt64, previous: unknownTime}
	if start.Known {
		p.previous = start.Previous
	}
	p.end = record.End{First: start.Offset, Stable: start.Offset, Log: start.Offset}
	return p
}

// fetcher is the fetch goroutine of one broker.
type fetcher struct {
	broker int32
	wake   chan struct{} // holds one token when there may be something to fetch
	timer  *time.Timer
	frames chan *frame
	turn   int // which partition comes first in the next request

	// Of the last request, for the next: nothing is allocated for an answer.
	request  *rawFetch
	asked    []*partition
	deadline deadline
}

// frame is an answer's memory, shared by the tasks that decode it.
type frame struct {
	data  []byte
	tasks atomic.Int32
	home  chan *frame // where it is free
}

func (f *frame) release() {
	if f.tasks.Add(-1) == 0 {
		f.home <- f
	}
}

// task is a block to be filled from batches of a frame.
type task struct {
	block   *record.Block
	batches []batch
	first   int64 // records below it are not wanted
	wire    int   // bytes charged for it so far
	frame   *frame
}

// NewReader prepares a reader. Nothing is read before Run.
func (c *Client) NewReader(cfg ReaderConfig) *Reader {
	if cfg.Budget == 0 {
		cfg.Budget = defaultBudget
	}
	r := &Reader{
		client:     c,
		cfg:        cfg,
		blocks:     make(chan *record.Block, 64),
		tasks:      make(chan *task, 64),
		stale:      make(chan struct{}, 1),
		partitions: make(map[int32]*partition),
		fetchers:   make(map[int32]*fetcher),
		grace:      fetchGrace,
		beyondFor:  beyondFor,
	}
	for id, start := range cfg.Start {
		p := newPartition(id, start)
		if cfg.Until != nil {
			p.until = cfg.Until[id]
		}
		r.partitions[id] = p
	}
	return r
}

// Blocks hands out blocks, each partition's in log order. A block may still be in the making: see [record.Block.Ready].
// The channel is closed when Run ends, which leaves blocks undecoded whose schemas were not known by then.
func (r *Reader) Blocks() <-chan *record.Block { return r.blocks }

// Release takes back a block from Blocks whose Ready was received.
func (r *Reader) Release(b *record.Block) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.charge(r.partitions[b.Partition], -b.Bytes)
	if 8*cap(b.X) <= keepBytes {
		b.Reset()
		r.freeBlocks = append(r.freeBlocks, b)
	}
}

// charge changes how many bytes of p are under way. The caller holds mu.
func (r *Reader) charge(p *partition, bytes int) {
	full := p.queued >= r.share()
	p.queued += bytes
	if f := r.fetchers[p.leader]; full && f != nil && p.queued < r.share() {
		poke(f.wake)
	}
}

// Problems says why partitions cannot be read at the moment, for people; empty when all is well.
func (r *Reader) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var problems []string
	for _, id := range slices.Sorted(maps.Keys(r.partitions)) {
		p := r.partitions[id]
		if p.fault != nil {
			problems = append(problems, fmt.Sprintf("%s/%d: %v", r.cfg.Topic, id, p.fault))
		}
		if len(p.pending) > 0 {
			problems = append(problems, fmt.Sprintf("%s/%d: %v", r.cfg.Topic, id, p.pending[0]))
		}
	}
	return problems
}

// Ends returns the ends of all partitions. Those that the brokers told longer than maxAge ago are asked for again; the
// last known end stands where no answer comes within a second.
func (r *Reader) Ends(ctx context.Context, maxAge time.Duration) map[int32]record.End {
	var old []int32
	r.mu.Lock()
	for id, p := range r.partitions {
		if time.Since(p.end.Told) > maxAge {
			old = append(old, id)
		}
	}
	r.mu.Unlock()
	if len(old) > 0 {
		limited, cancel := context.WithTimeout(ctx, endsTimeout)
		defer cancel()
		offsets, err := r.client.Ends(limited, r.cfg.Topic, old)
		if err != nil && ctx.Err() == nil {
			r.failed(err)
		}
		r.mu.Lock()
		for id, o := range offsets {
			r.partitions[id].told(o.LastStable, o.End)
		}
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := make(map[int32]record.End, len(r.partitions))
	for id, p := range r.partitions {
		ends[id] = p.end
	}
	return ends
}

func (p *partition) told(stable, end int64) {
	p.end.Stable, p.end.Log, p.end.Told = stable, end, time.Now()
}

// Run reads until ctx ends or the log is not what it was, and returns the reason in the second case.
func (r *Reader) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var fetchers, workers sync.WaitGroup
	for range r.cfg.Workers {
		workers.Go(func() {
			scratch := newDecompressor(maxBatchBytes)
			dec := r.cfg.Decoder()
			for t := range r.tasks {
				r.work(ctx, t, dec, scratch)
			}
		})
	}
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for ctx.Err() == nil && r.failure() == nil {
		if err := r.refresh(ctx); err != nil && ctx.Err() == nil {
			r.failed(err)
			r.cfg.Logger.Warn("metadata", zap.String("topic", r.cfg.Topic), zap.Error(err))
		}
		r.mu.Lock()
		for _, f := range r.fetchers {
			if f.frames == nil {
				f.frames = make(chan *frame, framesEach)
				for range framesEach {
					f.frames <- &frame{home: f.frames}
				}
				fetchers.Go(func() {
					r.fetch(ctx, f)
					cancel() // a fetch goroutine ends early only when reading must stop
				})
			}
		}
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-r.stale:
		}
	}
	cancel()
	fetchers.Wait()
	r.mu.Lock()
	r.ending = true
	r.mu.Unlock()
	r.parked.Wait()
	close(r.tasks)
	workers.Wait()
	close(r.blocks)
	return r.failure()
}

func (r *Reader) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Reader) failed(err error) {
	if r.cfg.Failed != nil {
		r.cfg.Failed(err)
	}
}

// refresh learns who leads which partition, and which partitions are new.
func (r *Reader) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	leaders, err := r.client.leaders(ctx, r.cfg.Topic)
	if err != nil {
		return err
	}
	r.mu.Lock()
	var grown []int32
	for id := range leaders {
		if _, ok := r.partitions[id]; !ok && r.cfg.Until == nil {
			grown = append(grown, id)
		}
	}
	r.mu.Unlock()
	starts := make(map[int32]Offsets)
	if len(grown) > 0 {
		if starts, err = r.client.Ends(ctx, r.cfg.Topic, grown); err != nil {
			r.failed(err)
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	for id, o := range starts {
		r.partitions[id] = newPartition(id, Position{Offset: o.First})
		r.partitions[id].told(o.LastStable, o.End)
		r.cfg.Logger.Info("new partition", zap.String("topic", r.cfg.Topic), zap.Int32("partition", id))
	}
	for id, p := range r.partitions {
		leader, ok := leaders[id]
		if !ok {
			leader = -1
		}
		if leader < 0 {
			p.fault = errors.New("no leader")
		}
		if leader == p.leader {
			continue
		}
		p.leader = leader
		if leader < 0 {
			continue
		}
		if r.fetchers[leader] == nil {
			r.fetchers[leader] = &fetcher{broker: leader, wake: make(chan struct{}, 1), timer: time.NewTimer(0)}
		}
		poke(r.fetchers[leader].wake)
	}
	return nil
}

// poke leaves a token in c, a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// share is how many bytes of one partition may be under way. The caller holds mu.
func (r *Reader) share() int { return max(r.cfg.Budget/max(len(r.partitions), 1), minShare) }

// fetch asks one broker for its partitions, again and again.
func (r *Reader) fetch(ctx context.Context, f *fetcher) {
	defer f.deadline.close()
	var backoff time.Duration
	for {
		asked, pause := r.plan(f)
		if len(asked) == 0 {
			if !sleepOn(ctx, f.timer, pause, f.wake) {
				return
			}
			continue
		}
		var fr *frame
		select {
		case fr = <-f.frames:
		case <-ctx.Done():
			return
		}
		request := f.request
		if request.frame = fr.data; cap(fr.data) > keepBytes {
			request.frame = nil
		}
		var err error
		limited := f.deadline.after(ctx, request.maxWait+r.grace)
		if fr.data, err = request.roundTrip(limited, r.client.Transport(), r.client.addr); err != nil {
			f.request = nil
			f.deadline.close()
		}
		fr.tasks.Store(1)
		pause = 0
		if err == nil {
			pause, err = r.open(ctx, asked, fr)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			r.failed(err)
			r.cfg.Logger.Warn("fetch", zap.Int32("broker", f.broker), zap.Error(err))
			backoff = nextBackoff(backoff)
			pause = max(pause, backoff)
		default:
			backoff = 0
			if pause == 0 && len(fr.data) < trickle {
				pause = tricklePause
			}
		}
		fr.release()
		r.landed(asked, err)
		if r.failure() != nil || !sleepOn(ctx, f.timer, pause, nil) {
			return
		}
	}
}

func nextBackoff(d time.Duration) time.Duration { return min(max(2*d, fetchBackoff), fetchBackoffMax) }

// sleep waits for d and reports whether ctx lives.
func sleep(ctx context.Context, d time.Duration) bool { return sleepOn(ctx, time.NewTimer(d), d, nil) }

// sleepOn waits for d, or until wake, and reports whether ctx lives. The timer is nobody else's meanwhile.
func sleepOn(ctx context.Context, timer *time.Timer, d time.Duration, wake <-chan struct{}) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer.Reset(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// plan makes the request for those partitions of the broker that have room, and marks them. Without any it says how long
// to wait.
func (r *Reader) plan(f *fetcher) (asked []*partition, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, share := time.Now(), r.share()
	wait, full := refreshEvery, false
	asked = f.asked[:0]
	for _, p := range r.partitions {
		switch {
		case p.leader != f.broker || p.fetching || p.next >= p.until:
		case p.queued >= share:
			full = true
		case now.Before(p.retryAt):
			wait = min(wait, p.retryAt.Sub(now))
		default:
			asked = append(asked, p)
		}
	}
	f.asked = asked
	if len(asked) == 0 {
		return nil, wait
	}
	// The first partition of a request gets at least one batch, whatever the limits: each is first in turn.
	slices.SortFunc(asked, func(a, b *partition) int { return int(a.id - b.id) })
	f.turn++
	turn := f.turn % len(asked)
	if f.request == nil {
		f.request = newRawFetch(f.broker, r.client.cfg.ClientID, r.cfg.Topic)
	}
	request := f.request
	request.partitions = request.partitions[:0]
	for i := range asked {
		p := asked[(i+turn)%len(asked)]
		p.fetching = true
		request.partitions = append(request.partitions, fetchPartition{p.id, p.next, int32(min(share, partitionMax))})
	}
	request.maxBytes = int32(max(min(answerMax, framesTotal/framesEach/max(len(r.fetchers), 1)), partitionMax))
	request.maxWait = maxWait
	if full {
		request.maxWait = maxWaitFull
	}
	return asked, 0
}

// landed unmarks the partitions of a request that is done.
func (r *Reader) landed(asked []*partition, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range asked {
		p.fetching = false
		if err != nil {
			p.fault = err
		}
		// A partition that moved meanwhile waits for its new leader's goroutine.
		if f := r.fetchers[p.leader]; f != nil {
			poke(f.wake)
		}
	}
}

// open goes over an answer: it learns the ends, checks batches, and hands them to the decoders.
func (r *Reader) open(ctx context.Context, asked []*partition, fr *frame) (throttle time.Duration, err error) {
	throttle, err = parseAnswer(fr.data, func(s section) {
		i := slices.IndexFunc(asked, func(p *partition) bool { return p.id == s.partition })
		if i < 0 || ctx.Err() != nil {
			return
		}
		p, fault := asked[i], s.err
		switch {
		case fault == nil:
			fault = r.batches(ctx, p, &s, fr)
		case errors.Is(fault, kafka.OffsetOutOfRange):
			fault = r.outOfRange(ctx, p, fr)
		}
		if ctx.Err() == nil {
			r.outcome(p, fault)
		}
	})
	if throttle > 0 && r.cfg.Throttled != nil {
		r.cfg.Throttled(throttle)
	}
	return throttle, err
}

// outcome notes whether a partition could be read; after a fault it rests for a while.
func (r *Reader) outcome(p *partition, fault error) {
	if fault != nil {
		r.failed(fault)
		r.cfg.Logger.Warn("fetch", zap.String("topic", r.cfg.Topic), zap.Int32("partition", p.id),
			zap.Int64("offset", p.next), zap.Error(fault))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.fault = fault
	if fault == nil {
		p.backoff = 0
		return
	}
	p.backoff = nextBackoff(p.backoff)
	p.retryAt = time.Now().Add(p.backoff)
	poke(r.stale)
}

// batches checks the batches of a section and hands them on. On damage it stops at the last good batch: the rest is
// asked for again.
func (r *Reader) batches(ctx context.Context, p *partition, s *section, fr *frame) error {
	r.mu.Lock()
	p.told(s.lastStable, s.end)
	p.beyond = time.Time{}
	start, previous, full := p.next, p.previous, r.usual.wireBytes()
	r.mu.Unlock()

	gone := newAborted(s.aborted)
	data, next, floor := s.records, start, int64(0)
	var t *task
	for {
		var b batch
		size, err := nextBatch(data, &b)
		if err == nil && size > 0 && b.Base < floor {
			err = fmt.Errorf("%w at offset %d: the batch before ends at %d", errCorrupt, b.Base, floor-1)
		}
		if size == 0 || err != nil {
			r.handOn(ctx, p, t)
			// A broker that sends anything sends the whole batch that was asked for (KIP-74).
			if err == nil && next == start && len(s.records) > 0 {
				err = fmt.Errorf("%w: nothing from offset %d on in %d bytes", errCorrupt, start, len(s.records))
			}
			return err
		}
		data, floor = data[size:], b.Last+1
		b.skip = gone.covers(&b) || b.attributes&attrControl != 0
		b.previous = previous
		previous = b.Time
		if b.Last < next {
			continue
		}
		if t != nil && t.wire >= full {
			if !r.handOn(ctx, p, t) {
				return ctx.Err()
			}
			t = nil
		}
		if t == nil {
			t = r.newTask(p.id, next, fr)
		}
		t.batches = append(t.batches, b)
		t.wire += size
		next = b.Last + 1
		t.block.Next = next
	}
}

// newTask returns a task for a block that begins at offset next.
func (r *Reader) newTask(id int32, next int64, fr *frame) *task {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := pop(&r.freeTasks)
	if t == nil {
		t = &task{batches: make([]batch, 0, r.usual.batches)}
	}
	b := pop(&r.freeBlocks)
	if b == nil {
		b = &record.Block{Ready: make(chan struct{}, 1)}
	}
	b.Partition, b.Base, b.Next = id, next, next
	*t = task{block: b, batches: t.batches[:0], first: next, frame: fr}
	return t
}

// blockSize is how much a block holds.
type blockSize struct{ rows, values, batches, bytes, wire int }

// meet turns s into what the blocks lately took at most, the newest being as big as b: it forgets an eighth at a time.
// Compression is that of b.
func (s *blockSize) meet(b blockSize) {
	s.rows = max(b.rows, s.rows-s.rows/8)
	s.values = max(b.values, s.values-s.values/8)
	s.batches = max(b.batches, s.batches-s.batches/8)
	s.bytes, s.wire = b.bytes, b.wire
}

// wireBytes is how many bytes on the wire make a block of blockBytes, where compression is like that of s.
func (s blockSize) wireBytes() int {
	if s.bytes <= s.wire {
		return blockBytes
	}
	return int(blockBytes * int64(s.wire) / int64(s.bytes))
}

// makeRoom gives a block without memory a little more than s takes.
func (s blockSize) makeRoom(b *record.Block) {
	rows, values := s.rows+s.rows/8, s.values+s.values/8
	floats, ints := make([]float64, values+rows), make([]int64, 2*rows)
	b.X, b.Y = floats[:0:values], floats[values:values]
	b.Time, b.Offset = ints[:0:rows], ints[rows:rows]
	b.End = make([]int, 0, rows)
	b.Batches = make([]record.Batch, 0, s.batches+s.batches/8)
}

// pop takes the last element off a stack of spare parts; nil where there is none.
func pop[T any](stack *[]*T) *T {
	n := len(*stack)
	if n == 0 {
		return nil
	}
	top := (*stack)[n-1]
	*stack = (*stack)[:n-1]
	return top
}

// handOn gives a task's block, if there is one, to the reader's user and the task to the decoders, and moves the
// partition past it. It returns false when ctx ended first: nothing of the partition may follow then.
func (r *Reader) handOn(ctx context.Context, p *partition, t *task) bool {
	if t == nil {
		return true
	}
	r.mu.Lock()
	p.next = t.block.Next
	if n := len(t.batches); n > 0 {
		p.previous = t.batches[n-1].Time
	}
	// An answer may hold more than it tells of: brokers look at the ends before they read.
	p.end.Stable, p.end.Log = max(p.end.Stable, p.next), max(p.end.Log, p.next)
	r.charge(p, t.wire)
	r.mu.Unlock()
	t.frame.tasks.Add(1)
	select {
	case r.blocks <- t.block:
		r.tasks <- t
		return true
	case <-ctx.Done():
		return false
	}
}

// work decodes a task's block, or has it wait until it can be.
func (r *Reader) work(ctx context.Context, t *task, dec record.Decoder, scratch *decompressor) {
	if pending := r.decode(t, dec, scratch); pending != nil {
		r.park(ctx, t, pending)
	}
}

// park puts a task aside until it is worth trying again. Its bytes leave their frame, which is needed for other partitions:
// no more of them are put aside than a partition's share.
func (r *Reader) park(ctx context.Context, t *task, pending *record.Pending) {
	if t.frame != nil {
		for i := range t.batches {
			t.batches[i].records = slices.Clone(t.batches[i].records)
		}
		t.frame.release()
		t.frame = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return
	}
	p := r.partitions[t.block.Partition]
	p.pending = append(p.pending, pending)
	r.parked.Go(func() {
		select {
		case <-pending.Known:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		p.pending = slices.DeleteFunc(p.pending, func(other *record.Pending) bool { return other == pending })
		r.mu.Unlock()
		select {
		case r.tasks <- t:
		case <-ctx.Done():
		}
	})
}

// decode fills a task's block and corrects what was charged for it to what it holds. Where something is missing for that it
// returns what, and leaves the task as it was.
func (r *Reader) decode(t *task, dec record.Decoder, scratch *decompressor) *record.Pending {
	if r.cfg.Turns != nil {
		r.cfg.Turns.Lock()
		defer r.cfg.Turns.Unlock()
	}
	b := t.block
	if b.Batches == nil {
		r.mu.Lock()
		usual := r.usual
		r.mu.Unlock()
		usual.makeRoom(b)
	}
	for i := range t.batches {
		if pending := t.batches[i].decode(b, t.first, dec, scratch, r.cfg.Keep); pending != nil {
			b.Empty()
			return pending
		}
	}
	if t.frame != nil {
		t.frame.release()
	}
	r.mu.Lock()
	r.charge(r.partitions[b.Partition], b.Bytes-t.wire)
	r.usual.meet(blockSize{rows: b.Rows(), values: len(b.X), batches: len(b.Batches), bytes: b.Bytes, wire: t.wire})
	r.freeTasks = append(r.freeTasks, t)
	r.mu.Unlock()
	b.Ready <- struct{}{}
	return nil
}

// outOfRange decides what becomes of a partition whose log does not have the offset asked for. Where retention took
// it, the loss is told in a block of its own and reading goes on at the log's start. Where the log ends before the
// offset for 30 seconds, it is another log or a truncated one, and reading stops.
func (r *Reader) outOfRange(ctx context.Context, p *partition, fr *frame) error {
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	all, err := r.client.Ends(limited, r.cfg.Topic, []int32{p.id})
	cancel()
	if err != nil {
		return err
	}
	o := all[p.id]
	r.mu.Lock()
	p.told(o.LastStable, o.End)
	next := p.next
	switch {
	case next < o.First:
		p.previous, p.beyond = unknownTime, time.Time{}
		r.mu.Unlock()
		t := r.newTask(p.id, next, fr)
		t.block.Next, t.block.Lost = o.First, o.First-next
		r.handOn(ctx, p, t)
		return nil
	case next <= o.End:
		p.beyond = time.Time{}
		r.mu.Unlock()
		return kafka.OffsetOutOfRange // passing: the leader has just moved
	}
	defer r.mu.Unlock()
	if p.beyond.IsZero() {
		p.beyond = time.Now()
	}
	fault := fmt.Errorf("%s/%d ends at offset %d, before the next offset %d: the topic was made anew or cut; "+
		"retrain from its start with a reset of the group's offsets", r.cfg.Topic, p.id, o.End, next)
	if time.Since(p.beyond) >= r.beyondFor {
		r.err = fault
	}
	return fault
}

// leaders returns the leader of every partition of topic; -1 where there is none.
func (c *Client) leaders(ctx context.Context, topic string) (map[int32]int32, error) {
	t, err := c.topic(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look up the leaders of topic %s: %w", topic, err)
	}
	leaders := make(map[int32]int32, len(t.Partitions))
	for _, p := range t.Partitions {
		leaders[p.PartitionIndex] = p.LeaderID
	}
	return leaders, nil
}
