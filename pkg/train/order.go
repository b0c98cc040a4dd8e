package train

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"time"

	"go.uber.org/zap"

	"learner/pkg/record"
)

// Source is a topic being read. The consumer's reader is one; tests use a slice.
type Source interface {
	// Blocks hands out blocks, each partition's in log order and without gaps, starting at its first offset; closed
	// when there will be no more.
	Blocks() <-chan *record.Block
	// Release takes back a block that is used up.
	Release(*record.Block)
	// Ends tells the ends of all partitions, asking again for those told longer than maxAge ago. Without an answer
	// within a second the last known end stands.
	Ends(ctx context.Context, maxAge time.Duration) map[int32]record.End
}

// Mode is how the records of several partitions become one sequence.
type Mode int

// The modes.
const (
	// ByTime takes the earliest of the partitions' next records; among equal ones the partition next by number after
	// the one taken last.
	ByTime Mode = iota
	// ByProgress takes the partition that has come least far in its part of the range, for logs whose timestamps say
	// nothing.
	ByProgress
)

const (
	// endAge is how old the told end of a partition may be when a range is settled.
	endAge = time.Second
	// patience is how long the merge waits at the tail for a partition, and how long a log that ends earlier than it
	// did must say so to be believed.
	patience = 30 * time.Second
	// tick is how often a wait is looked at.
	tick = time.Second
)

// order merges the blocks of all partitions into one sequence of batches, range by range. A range is closed before its
// first record is merged, so the sequence is a function of the log and the ranges alone: what arrives when, in which
// blocks, does not matter.
type order struct {
	source   Source
	blocks   <-chan *record.Block // of source; nil once it has ended
	mode     Mode
	learners []*learner
	see      Observer
	log      *zap.Logger
	progress func(*Progress) // told for people
	told     Progress        // the last of it

	lanes    []*lane // of the range, by partition number
	known    map[int32]*lane
	heads    []int64 // per lane: what mode compares; ended where the lane stands at its end
	turn     int32   // partition taken last
	after    int     // the lane behind it
	caughtUp bool
	gap      bool
	lost     int64  // offsets that the log no longer had
	records  uint64 // handed to the models or in the batch in hand, in the lineage
	*columns
	held     []heldRow
	refusals refusals
	stop     context.CancelFunc // ends the run
	looked   time.Time          // when overdue looked last
	timer    *time.Timer

	cuts       <-chan *Cut // asked for
	cut        *Cut        // to be marked at the next border
	beforeHeld Place       // before the first held row

	batch *Batch      // being filled
	free  chan *Batch // learned by all
}

// ended is the head of a lane that stands at its end: later than every record.
const ended = math.MaxInt64

// noBatch is the last batch passed where none is known.
var noBatch = record.Batch{Base: -1, Last: -1}

// lane is one partition in the merge.
type lane struct {
	id                  int32
	next                int64 // offsets below it are done
	start, settled, end int64 // the range; settled is end before any drawing back
	passed              record.Batch
	queue               []*record.Block // not yet used up, in log order
	ready               bool            // whether queue[0] is decoded
	row, refused        int             // what of queue[0] comes next
	x, hash             int             // where that row begins in X, and in Hashes
	run                 int             // of Shapes, that row's is the one before
	shape               *record.Shape   // of that row
	starved             bool            // more of the range is to come and not there
	since               time.Time       // since when the merge has waited for it to move from sinceNext; zero: it does not
	sinceNext           int64
	vanished            int64 // log end below the range's end, as told since
	vanishedSince       time.Time
	toTell              Passed // what was passed since the last batch
}

// heldRow is a row that came before the layout was settled.
type heldRow struct {
	record.Row // copied
	lane       *lane
	offset     int64
	time       int64
	y          float64
	raw        []byte
}

// run merges from a place on until ctx ends or the source is closed.
func (o *order) run(ctx context.Context, from *Place) {
	o.known = make(map[int32]*lane)
	o.blocks = o.source.Blocks()
	defer o.flush() // the batch in hand is finished
	if !o.restore(ctx, from) {
		return
	}
	for o.settle(ctx) && o.merge(ctx) {
		if !o.caughtUp {
			o.caughtUp = true
			o.batch.CaughtUp = true
			o.log.Info("caught up", zap.Int("partitions", len(o.lanes)))
		}
		if len(o.held) > 0 {
			o.settleLayout()
		}
		o.flush()
		for !o.more() {
			if !o.receive(ctx) {
				return
			}
		}
	}
}

// settle fixes the next range: from where the last one ended to where the log ends now.
func (o *order) settle(ctx context.Context) bool {
	age := endAge
	if !o.caughtUp {
		age = 0
	}
	asked := time.Now()
	ends := o.source.Ends(ctx, age)
	for !o.caughtUp && !told(ends, asked) {
		if !o.receive(ctx) {
			return false
		}
		ends = o.source.Ends(ctx, time.Since(asked))
	}
	for id, end := range ends {
		if o.known[id] == nil {
			o.known[id] = newLane(id, end.First)
		}
		l := o.known[id]
		if !slices.Contains(o.lanes, l) {
			o.lanes = append(o.lanes, l)
		}
		l.start, l.end = l.next, max(end.Stable, l.next)
		if n := len(l.queue); o.caughtUp && n > 0 {
			l.end = max(l.end, l.queue[n-1].Next) // read already, whatever a new leader reports now
		}
		l.settled = l.end
	}
	o.arrange()
	return ctx.Err() == nil
}

func newLane(id int32, next int64) *lane {
	return &lane{id: id, next: next, passed: noBatch, toTell: Passed{First: next}}
}

// arrange sorts the lanes, and finds the one whose turn it is.
func (o *order) arrange() {
	slices.SortFunc(o.lanes, func(a, b *lane) int { return int(a.id - b.id) })
	o.heads = make([]int64, len(o.lanes))
	for o.after = 0; o.after < len(o.lanes) && o.lanes[o.after].id <= o.turn; {
		o.after++
	}
}

// told reports whether every end was told after t.
func told(ends map[int32]record.End, t time.Time) bool {
	for _, end := range ends {
		if end.Told.Before(t) {
			return false
		}
	}
	return len(ends) > 0
}

// merge goes through the range. It returns false where ctx or the source ended first.
func (o *order) merge(ctx context.Context) bool {
	for i := range o.lanes {
		o.advance(i)
	}
	for {
		starved := o.starved()
		if starved == 0 {
			if !o.take(ctx) {
				return ctx.Err() == nil
			}
			continue
		}
		if o.poll() {
			continue
		}
		// Nothing more can be merged now: what was merged is learned meanwhile.
		o.flush()
		if !o.receive(ctx) {
			return false
		}
	}
}

// starved retries the lanes that want for blocks and returns how many still do.
func (o *order) starved() (n int) {
	for i, l := range o.lanes {
		if l.starved {
			o.advance(i)
		}
		if l.starved {
			n++
		}
	}
	return n
}

// take merges records until a lane may starve. It returns false at the end of the range and when ctx ended.
func (o *order) take(ctx context.Context) bool {
	for {
		i := o.first()
		if i < 0 {
			return false
		}
		l := o.lanes[i]
		b := l.queue[0]
		row, y, time, offset := l.head(b), b.Y[l.row], b.Time[l.row], b.Offset[l.row]
		if o.layout == nil && len(o.held) == 0 {
			o.flush() // what was passed so far belongs before the place
			o.beforeHeld = o.place()
		}
		grown := o.layout != nil && row.Shape != nil && o.meet(row.Shape)
		raw := b.RawRow(l.row)
		o.turn, o.after = l.id, i+1
		l.pass(b)
		if o.layout == nil {
			o.hold(heldRow{Row: row, lane: l, offset: offset, time: time, y: y, raw: raw})
			grown = len(o.held) == record.SettleRows
			if grown {
				o.settleLayout()
			}
		} else {
			o.add(row, !b.Missing, y, time, l)
		}
		if grown { // heads that no longer fit were passed over: any lane may starve now
			for i := range o.lanes {
				o.advance(i)
			}
			return true
		}
		if o.advance(i); ctx.Err() != nil {
			return false
		}
		if l.starved {
			return true
		}
	}
}

// first returns the lane whose record comes next; -1 where all stand at their ends.
func (o *order) first() int {
	best := -1
	if o.mode == ByTime {
		earliest := int64(ended)
		for i := o.after; i < len(o.heads); i++ {
			if o.heads[i] < earliest {
				best, earliest = i, o.heads[i]
			}
		}
		for i := range o.after {
			if o.heads[i] < earliest {
				best, earliest = i, o.heads[i]
			}
		}
		return best
	}
	for i, l := range o.lanes {
		if o.heads[i] != ended && (best < 0 || l.behind(o.lanes[best], o.heads[i], o.heads[best])) {
			best = i
		}
	}
	return best
}

// behind reports whether l, its head at offset a, has come less far than m, its head at b:
// (a - start + 1)/(settled - start), compared exactly.
func (l *lane) behind(m *lane, a, b int64) bool {
	hi1, lo1 := bits.Mul64(uint64(a-l.start+1), uint64(m.settled-m.start))
	hi2, lo2 := bits.Mul64(uint64(b-m.start+1), uint64(l.settled-l.start))
	return hi1 < hi2 || hi1 == hi2 && lo1 < lo2
}

// advance moves lane i to its next good record inside the range, past refused ones and used-up blocks, and notes
// whether it stands at its end or starves.
func (o *order) advance(i int) {
	l := o.lanes[i]
	l.starved = false
	o.heads[i] = ended
	for l.next < l.end {
		if !l.decoded() {
			l.starved = true
			return
		}
		b := l.queue[0]
		if b.Lost > 0 && l.next < b.Next {
			o.see.Lost(l.id, b.Lost)
			o.gap, o.lost = true, o.lost+b.Lost
			o.log.Error("records lost: the log no longer has them", zap.Int32("partition", l.id),
				zap.Int64("from", b.Base), zap.Int64("to", b.Next))
			l.next = b.Next
			o.release(l)
			continue
		}
		offset, bad := b.Next, (*record.Bad)(nil)
		if l.row < b.Rows() {
			offset, bad = b.Offset[l.row], o.unfit(l, b)
		}
		for l.refused < len(b.Refused) && b.Refused[l.refused].Offset < min(offset, l.end) {
			r := b.Refused[l.refused]
			o.refuse(o.merged(), l, r)
			o.note(r.Err)
			l.refused++
		}
		switch {
		case offset >= l.end:
			l.next = l.end
		case l.row == b.Rows():
			l.next = b.Next
			o.release(l)
			continue
		case bad != nil:
			o.refuse(o.merged(), l, record.Refusal{Offset: offset, Err: bad, Raw: b.RawRow(l.row)})
			l.pass(b)
			continue
		case o.mode == ByTime:
			o.heads[i] = b.Time[l.row]
			return
		default:
			o.heads[i] = offset
			return
		}
	}
	// A block that ends with the range is used up.
	if len(l.queue) > 0 && l.ready && l.queue[0].Next <= l.next {
		o.release(l)
	}
}

// decoded reports whether the lane's first block is there and decoded.
func (l *lane) decoded() bool {
	if len(l.queue) == 0 || l.ready {
		return l.ready
	}
	if l.queue[0].Ready == nil {
		l.ready = true
		return true
	}
	select {
	case <-l.queue[0].Ready:
		l.ready = true
	default:
	}
	return l.ready
}

// release gives back the lane's first block.
func (o *order) release(l *lane) {
	b := l.queue[0]
	if n := len(b.Batches); n > 0 {
		l.passed = b.Batches[n-1]
	}
	if b.Lost > 0 {
		l.passed = noBatch // the one before the next is unknown
	}
	l.toTell.Bytes += b.Bytes
	l.queue = slices.Delete(l.queue, 0, 1)
	l.ready, l.row, l.refused, l.x, l.hash, l.run, l.shape = false, 0, 0, 0, 0, 0, nil
	o.source.Release(b)
}

// more reports whether a lane has records behind its end, or a new partition has appeared.
func (o *order) more() bool {
	for _, l := range o.known {
		if len(l.queue) > 0 {
			return true
		}
	}
	return false
}

// poll takes in the blocks that are waiting, and reports whether there were any.
func (o *order) poll() (got bool) {
	for {
		select {
		case b, ok := <-o.blocks:
			if !ok {
				o.blocks = nil
				return got
			}
			o.push(b)
			got = true
		default:
			return got
		}
	}
}

func (o *order) push(b *record.Block) {
	l := o.known[b.Partition]
	if l == nil {
		l = newLane(b.Partition, b.Base)
		o.known[b.Partition] = l
	}
	l.queue = append(l.queue, b)
}

// receive waits for a block, for one to be decoded, or for a tick. It returns false when ctx or the source ended.
func (o *order) receive(ctx context.Context) bool {
	var decoding chan struct{}
	var decodes *lane
	now := time.Now()
	for _, l := range o.lanes {
		switch {
		case !l.starved:
			l.since, l.vanishedSince = time.Time{}, time.Time{}
			continue
		case l.since.IsZero() || l.sinceNext != l.next:
			l.since, l.sinceNext = now, l.next
			l.vanishedSince = time.Time{}
		}
		if len(l.queue) > 0 && !l.ready {
			decoding, decodes = l.queue[0].Ready, l
		}
	}
	if o.blocks == nil && decoding == nil {
		return false
	}
	// Blocks of other partitions must not put the look off: it has its own clock.
	pause := tick - now.Sub(o.looked)
	if pause <= 0 {
		o.looked = now
		o.overdue(ctx)
		return ctx.Err() == nil
	}
	cuts := o.cuts
	if o.cut != nil {
		cuts = nil // one waits already
	}
	o.timer.Reset(pause)
	defer o.timer.Stop()
	select {
	case o.cut = <-cuts:
		o.flush()
	case b, ok := <-o.blocks:
		if ok {
			o.push(b)
		} else {
			o.blocks = nil
		}
	case <-decoding:
		decodes.ready = true
	case <-o.timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// waited returns for how long the merge has waited for the lane.
func (l *lane) waited() time.Duration {
	if !l.starved || l.since.IsZero() || l.sinceNext != l.next {
		return 0
	}
	return time.Since(l.since)
}

// overdue looks at the lanes that the merge has waited for since the last look: at the tail one that kept it waiting
// too long has its end drawn back to where it stands; anywhere one whose log now ends earlier than the range, for as
// long as it takes to believe that, has its end drawn back to there.
func (o *order) overdue(ctx context.Context) {
	waiting := 0
	var ends map[int32]record.End
	for i, l := range o.lanes {
		waited := l.waited()
		if waited < tick {
			continue
		}
		waiting++
		if ends == nil {
			ends = o.source.Ends(ctx, endAge)
		}
		limit := patience
		switch end := ends[l.id]; {
		case end.Told.IsZero() || end.Log >= l.end:
			l.vanishedSince = time.Time{}
		case l.vanishedSince.IsZero() || end.Log != l.vanished:
			l.vanished, l.vanishedSince = end.Log, end.Told
		case end.Told.Sub(l.vanishedSince) >= patience:
			o.drawBack(i, max(end.Log, l.next), "the log now ends before the range does: records are gone")
			o.gap = true
			continue
		}
		if !l.vanishedSince.IsZero() {
			limit += patience // not merely late, if this is to be believed
		}
		switch {
		case o.caughtUp && waited >= limit:
			o.drawBack(i, l.next, "partition is late")
		case !o.caughtUp && waited >= patience && waited%patience < tick:
			o.log.Warn("waiting for a partition", zap.Int32("partition", l.id), zap.Int64("next_offset", l.next),
				zap.Int64("end", l.end), zap.Duration("for", waited.Round(time.Second)))
		}
	}
	o.see.Waiting(waiting)
	o.tell()
}

// drawBack ends the range of lane i earlier. What was merged before does not change.
func (o *order) drawBack(i int, end int64, why string) {
	l := o.lanes[i]
	o.log.Warn("end of range drawn back: "+why, zap.Int32("partition", l.id), zap.Int64("from", l.end), zap.Int64("to", end))
	o.see.DrawnBack(l.id)
	l.end = end
	l.since, l.vanishedSince = time.Time{}, time.Time{}
	o.advance(i)
}

// hold keeps a row until the layout is settled.
func (o *order) hold(h heldRow) {
	h.X, h.Hashes, h.raw = slices.Clone(h.X), slices.Clone(h.Hashes), slices.Clone(h.raw)
	o.held = append(o.held, h)
}

// settleLayout settles which columns rows have by the held ones, and passes these on.
func (o *order) settleLayout() {
	o.columns.settle(o.held)
	o.log.Info("features settled", zap.Int("features", o.layout.Features()), zap.Int("records", len(o.held)))
	for _, h := range o.held {
		if bad := o.placer.Fits(h.Shape, len(h.X)); bad != nil {
			o.refuse(o.records, h.lane, record.Refusal{Offset: h.offset, Err: bad, Raw: h.raw})
		} else {
			o.add(h.Row, false, h.y, h.time, h.lane)
		}
	}
	o.held = nil // not before: a batch that is full meanwhile must not be handed on
}

// add appends a row to the batch in hand and hands the batch on when it is full. Complete says that no number in it is
// missing.
func (o *order) add(row record.Row, complete bool, y float64, time int64, l *lane) {
	b := o.batch
	if b.layout != o.layout {
		b.use(o.layout)
	}
	if row.Shape == nil && complete {
		b.X = append(b.X, row.X...)
	} else {
		var missing bool
		b.X, b.Sparse, missing = o.placer.Place(b.X, b.Sparse, row, complete)
		b.Missing = b.Missing || missing
	}
	b.Y = append(b.Y, y)
	if len(b.Sparse) > 0 {
		b.endSparse()
	}
	o.records++
	l.toTell.Records++
	l.toTell.Time = time
	if len(b.X) >= batchValues || len(b.Y) == batchRows {
		o.flush()
	}
}

// flush hands the batch in hand to the learners, also one without rows if partitions moved. While rows are held back
// there is none: no border lies between them; and none lies behind the limit of refused records.
func (o *order) flush() {
	if len(o.held) > 0 || o.refusals.err != nil {
		return
	}
	b := o.batch
	for _, l := range o.lanes {
		if l.next == l.toTell.Next && l.toTell.Bytes == 0 {
			continue
		}
		l.toTell.Partition, l.toTell.Next = l.id, l.next
		b.Passed = append(b.Passed, l.toTell)
		l.toTell = Passed{First: l.next, Next: l.next}
	}
	if o.cut == nil {
		select {
		case o.cut = <-o.cuts:
		default:
		}
	}
	if len(b.Passed) == 0 && !b.CaughtUp && o.cut == nil {
		return
	}
	if o.cut != nil {
		o.cut.Place = o.place()
		b.cut, o.cut = o.cut, nil
	}
	b.first = o.records - uint64(b.Len())
	o.tell()
	b.users.Store(int32(len(o.learners)))
	for _, l := range o.learners {
		l.in <- b // a learner always gets there: it waits for nothing else
	}
	o.batch = <-o.free
}

// tell says where the merge stands.
func (o *order) tell() {
	partitions := o.told.Partitions[:0]
	for _, l := range o.lanes {
		partitions = append(partitions, PartitionProgress{
			Partition: l.id, Next: l.next, Start: l.start, Settled: l.settled, End: l.end, Waiting: l.waited() >= tick,
		})
	}
	o.told = Progress{CaughtUp: o.caughtUp, Gap: o.gap, Layout: o.layout, Partitions: partitions, Missing: o.missing()}
	o.progress(&o.told)
}
