package train

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"learner/pkg/record"
)

var twoModels = names("logistic", "slow=logistic:rate=0.1")

// batchedLog is a log that is made of batches. Where they are stamped on arrival, the time of a record depends on the
// stamp of the batch before.
type batchedLog struct {
	*testLog
	batches []record.Batch // by offset, all but the lost runs
	arrival bool
}

// spread returns the time that a record counts as in a batch that was stamped on arrival, behind one stamped previous;
// nil: unknown.
func spread(b record.Batch, offset int64, previous *int64) int64 {
	gap := int64(10_000_000)
	if previous != nil {
		gap = min(max(b.Time-*previous, 0), gap)
	}
	return b.Time - gap*(b.Last-offset)/(b.Last-b.Base+1)
}

// batch cuts a log into batches of at most as many offsets as rng decides, and stamps its records if they are stamped on
// arrival.
func batch(l *testLog, most int64, arrival bool, rng *rand.Rand) *batchedLog {
	out := &batchedLog{testLog: l, arrival: arrival}
	var cuts []int64
	for at := l.first; at < l.end; at += 1 + rng.Int64N(most) {
		cuts = append(cuts, at)
	}
	stamp := int64(1_000_000_000)
	for _, piece := range l.pieces(cuts) {
		if l.isLost(piece[0], piece[1]) {
			continue
		}
		stamp += rng.Int64N(4_000_000) - 1_000_000
		out.batches = append(out.batches, record.Batch{Base: piece[0], Last: piece[1] - 1, Time: stamp, LeaderEpoch: 3})
	}
	if arrival {
		out.stamp(l.entries, l.first, nil)
	}
	return out
}

// stamp gives the entries at offset from and behind the times that a reader gives them which begins there and knows the
// stamp of the batch before; nil: it does not.
func (l *batchedLog) stamp(entries []entry, from int64, previous *int64) {
	before := from
	for i, b := range l.batches {
		if b.Last < from {
			continue
		}
		if b.Base > before {
			previous = nil // behind a lost run
		}
		for k, e := range entries {
			if e.offset >= max(b.Base, from) && e.offset <= b.Last {
				entries[k].time = spread(b, e.offset, previous)
			}
		}
		previous, before = &l.batches[i].Time, b.Last+1
	}
}

// from returns the blocks that a reader hands out which begins at a place: the first may begin inside a batch.
func (l *batchedLog) from(at PartitionPlace, rng *rand.Rand) []func(*record.Block) {
	entries := slices.Clone(l.entries)
	if l.arrival {
		var previous *int64
		if at.Passed.Last >= 0 {
			previous = &at.Passed.Time
		}
		l.stamp(entries, at.Next, previous)
	}
	log := &testLog{id: l.id, entries: entries}
	var blocks []func(*record.Block)
	next := at.Next
	for i := 0; i < len(l.batches); {
		if l.batches[i].Last < next {
			i++
			continue
		}
		base := next
		if lost := l.batches[i].Base; lost > base {
			blocks = append(blocks, func(b *record.Block) { b.Base, b.Next, b.Lost = base, lost, lost-base })
			next = lost
			continue
		}
		var in []record.Batch
		for range 1 + rng.IntN(3)*rng.IntN(3) {
			if i < len(l.batches) && (len(in) == 0 || l.batches[i].Base == next) {
				in = append(in, l.batches[i])
				next = l.batches[i].Last + 1
				i++
			}
		}
		end := next
		blocks = append(blocks, func(b *record.Block) {
			b.Base, b.Next = base, end
			fill(b, log)
			b.Batches = in
		})
	}
	if base := next; base < l.end { // lost up to the end
		blocks = append(blocks, func(b *record.Block) { b.Base, b.Next, b.Lost = base, l.end, l.end-base })
	}
	return blocks
}

// life is one run of a trainer: from a cut to a crash, a stop, or the end of the log.
type life struct {
	places  []place // learned
	refused []place
	lost    map[int32]int64
	ranges  []map[int32]span
	cuts    []*Cut // that had answers before the crash
	last    *Cut
	gap     bool
	faults  []string
}

// live runs a trainer on logs from a cut on; nil: from the beginning. Brokers tell the given ends when asked first. Seed
// decides the rhythm, when cuts are taken, and, with crash set, after how many blocks it ends.
func live(t *testing.T, logs []*batchedLog, from *Cut, ends map[int32]int64, mode Mode, seed uint64, crash bool) (out life) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 2))
		source := newFakeSource(rng.IntN(3))
		var todo [][]func(*record.Block)
		blocks := 0
		for _, l := range logs {
			at := PartitionPlace{Next: l.first, Passed: record.Batch{Last: -1}}
			if from != nil {
				i := slices.IndexFunc(from.Partitions, func(p PartitionPlace) bool { return p.Partition == l.id })
				if i >= 0 {
					at = from.Partitions[i]
				}
			}
			source.says(l.id, at.Next, ends[l.id], ends[l.id])
			todo = append(todo, l.from(at, rng))
			blocks += len(todo[len(todo)-1])
		}
		r, err := newRigFrom(from, source, mode, twoModels...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		crashAt := -1
		if crash {
			crashAt = max(rng.IntN(blocks+1), rng.IntN(blocks+1))
		}
		var others sync.WaitGroup
		feedRandom, cutRandom := rand.New(rand.NewPCG(seed, 3)), rand.New(rand.NewPCG(seed, 4))
		others.Go(func() {
			defer close(source.blocks)
			for sent := 0; ; sent++ {
				if sent == crashAt {
					cancel()
				}
				var open []int
				for i := range todo {
					if len(todo[i]) > 0 {
						open = append(open, i)
					}
				}
				if len(open) == 0 {
					return
				}
				if feedRandom.IntN(3) == 0 {
					time.Sleep(time.Duration(feedRandom.IntN(5_000)) * time.Microsecond)
				}
				i := open[feedRandom.IntN(len(open))]
				if !hand(ctx, source, logs[i], todo[i][0], feedRandom) {
					return
				}
				todo[i] = todo[i][1:]
			}
		})
		others.Go(func() {
			for {
				time.Sleep(time.Duration(cutRandom.IntN(3)*cutRandom.IntN(3_000)) * time.Microsecond)
				c, err := r.Cut(ctx)
				if err != nil || ctx.Err() != nil {
					return
				}
				out.cuts = append(out.cuts, c)
				select {
				case <-r.ended:
					return
				default:
				}
			}
		})
		r.run(ctx)
		if !crash && ctx.Err() != nil {
			out.faults = append(out.faults, "hangs")
		}
		cancel()
		others.Wait()
		if out.last, err = r.Cut(t.Context()); err != nil {
			t.Fatal(err)
		}
		out.places, out.refused, out.lost = r.recorder.seen(), r.seen.refused, r.seen.lost
		out.ranges, out.gap = r.ranges(), r.Progress().Gap
		out.faults = append(append(out.faults, source.faults...), r.seen.faults...)
	})
	return out
}

// hand hands over a block, decoded or not yet, and has brokers tell of it.
func hand(ctx context.Context, source *fakeSource, l *batchedLog, block func(*record.Block), rng *rand.Rand) bool {
	b := &record.Block{Partition: l.id}
	block(b)
	if source.settled() {
		source.mu.Lock()
		end := source.broker[l.id]
		end.Stable = max(end.Stable, b.Next)
		end.Log = max(end.Stable, l.end)
		source.broker[l.id] = end
		source.mu.Unlock()
		if rng.IntN(2) == 0 {
			source.tell(l.id)
		}
	}
	if b.Lost == 0 && rng.IntN(3) == 0 {
		whole := *b
		b = &record.Block{Partition: l.id, Base: whole.Base, Next: whole.Next, Ready: make(chan struct{}, 1)}
		ready := b.Ready
		time.AfterFunc(time.Duration(rng.IntN(3)*rng.IntN(2000))*time.Microsecond, func() {
			b.X, b.End, b.Hashes, b.HashEnd, b.Shapes, b.Missing = whole.X, whole.End, whole.Hashes, whole.HashEnd, whole.Shapes, whole.Missing
			b.Y, b.Time, b.Offset, b.Raw, b.RawEnd = whole.Y, whole.Time, whole.Offset, whole.Raw, whole.RawEnd
			b.Refused, b.Batches, b.Bytes = whole.Refused, whole.Batches, whole.Bytes
			ready <- struct{}{}
		})
	}
	return source.send(ctx, b)
}

// records returns how many rows a cut has learned; nil: none.
func (c *Cut) records() int {
	if c == nil {
		return 0
	}
	return int(c.Models[len(c.Models)-1].Records)
}

// next returns the next offset of a partition in a cut; nil: first.
func (c *Cut) next(l *batchedLog) int64 {
	if c != nil {
		for _, p := range c.Partitions {
			if p.Partition == l.id {
				return p.Next
			}
		}
	}
	return l.first
}

// checkCut sees that a cut is a border of the sequence: what it has learned is exactly what lies below its offsets.
func checkCut(t rapid.TB, c *Cut, logs []*batchedLog, sequence []place) {
	t.Helper()
	if c.Records != uint64(c.records()) {
		t.Fatalf("cut of %d records, where models have learned %d", c.Records, c.records())
	}
	for _, s := range c.Models[1:] {
		if int(s.Records) != c.records() || numbers[uint64](t, s, progressiveRecords) != s.Records {
			t.Fatalf("models of one cut have learned %d and %d records", s.Records, c.records())
		}
	}
	next := map[int32]int64{}
	for _, l := range logs {
		next[l.id] = c.next(l)
	}
	for i, p := range sequence {
		if (p.offset < next[p.partition]) != (i < c.records()) {
			t.Fatalf("cut at %v with %d records: record %d is %v", next, c.records(), i, p)
		}
	}
	for i, p := range c.Partitions {
		if p.Start > p.Next || p.End > p.Settled || i > 0 && p.Partition <= c.Partitions[i-1].Partition ||
			p.Passed.Last >= p.Next {
			t.Fatalf("cut with partitions %+v", c.Partitions)
		}
	}
}

// onward returns a cut as a new process gets it: by value, without the trainer that made it.
func onward(c *Cut) *Cut {
	return &Cut{Place: c.Place, Models: c.Models, Comparison: c.Comparison, Champion: c.Champion}
}

// bare returns a place without its range, which is another one after a restart.
func bare(p Place) Place {
	p.Partitions = slices.Clone(p.Partitions)
	for i := range p.Partitions {
		p.Partitions[i].Start, p.Partitions[i].Settled, p.Partitions[i].End = 0, 0, 0
	}
	return p
}

// drawBatchedLogs draws logs as drawLogs does, most of them longer, and cuts them into batches.
func drawBatchedLogs(t *rapid.T, most int) (logs []*batchedLog, closed map[int32]int64) {
	plain, closed := drawLogs(t, most)
	arrival := rapid.Bool().Draw(t, "stamped on arrival")
	longer := rapid.SampledFrom([]int{0, 100, 300, 300}).Draw(t, "longer")
	clock := rapid.SampledFrom([]string{"equal", "increasing", "few"}).Draw(t, "clock of the rest")
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "rest"), 0))
	for _, l := range plain {
		if rng.IntN(5) > 0 {
			lengthen(l, rng.IntN(longer+1), clock, rng)
		}
		logs = append(logs, batch(l, 12, arrival, rng))
	}
	return logs, closed
}

// lengthen appends n records to a log, with gaps, refused records, rows of another width, and lost runs among them.
func lengthen(l *testLog, n int, clock string, rng *rand.Rand) {
	for range n {
		if rng.IntN(20) == 0 {
			l.end += 1 + rng.Int64N(3)
		}
		if rng.IntN(40) == 0 {
			l.lost = append(l.lost, [2]int64{l.end, l.end + 4})
			l.end += 4
		}
		stamp := map[string]int64{"equal": 7, "increasing": l.end * 100, "few": rng.Int64N(3)}[clock]
		switch rng.IntN(20) {
		case 0:
			l.entries = append(l.entries, bad(l.end))
		case 1:
			l.entries = append(l.entries, row(l.id, l.end, stamp, 6))
		default:
			l.entries = append(l.entries, row(l.id, l.end, stamp, 5))
		}
		l.end++
	}
}

// tally counts what kinds of restarts a test has had.
type tally struct{ starts, inside, unfinished, unsettled, stops int }

// restarts has a closed log learned in one go, and with crashes and stops at any moment, each followed by a start from
// the newest cut, and sees that sequence and bits are the same. It returns the life without any.
func (n *tally) restarts(t *testing.T, rt *rapid.T, logs []*batchedLog, mode Mode, crashes int) (whole life) {
	ends := map[int32]int64{}
	for _, l := range logs {
		ends[l.id] = l.end
	}
	whole = live(t, logs, nil, ends, mode, rapid.Uint64().Draw(rt, "seed"), false)
	if len(whole.faults) > 0 {
		rt.Fatal(whole.faults)
	}
	var from *Cut
	for range crashes {
		one := live(t, logs, from, ends, mode, rapid.Uint64().Draw(rt, "seed"), true)
		checkLife(rt, one, whole, logs, from, false)
		n.starts++
		if rapid.IntRange(0, 3).Draw(rt, "stop") == 0 {
			from = onward(one.last)
			n.stops++
		} else if len(one.cuts) > 0 {
			from = onward(one.cuts[len(one.cuts)-1])
		}
		if from == nil {
			continue
		}
		if from.records() > 0 && from.records() < len(whole.places) {
			n.inside++
		}
		if from.Features == 0 {
			n.unsettled++
		}
		if slices.ContainsFunc(from.Partitions, func(p PartitionPlace) bool { return p.Next < p.End }) {
			n.unfinished++
		}
	}
	one := live(t, logs, from, ends, mode, rapid.Uint64().Draw(rt, "seed"), false)
	checkLife(rt, one, whole, logs, from, true)
	if !reflect.DeepEqual(bare(one.last.Place), bare(whole.last.Place)) {
		rt.Fatalf("ends at %+v, want %+v", one.last.Place, whole.last.Place)
	}
	if d := sameTensors(one.last.Comparison, whole.last.Comparison); d != "" || one.last.Champion != whole.last.Champion {
		rt.Fatalf("ends with another comparison: %s", d)
	}
	for i, got := range one.last.Models[1:] {
		want := whole.last.Models[1+i]
		if !sameState(got, want) || got.Name != want.Name || !maps.Equal(got.Since, want.Since) {
			rt.Fatalf("ends as %+v, want %+v", got, want)
		}
	}
	return whole
}

func TestRestartsGiveTheSameBits(t *testing.T) {
	var n tally
	for _, mode := range []Mode{ByTime, ByProgress} {
		t.Run(fmt.Sprintf("mode=%d", mode), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				logs, _ := drawBatchedLogs(rt, rapid.SampledFrom([]int{3, 30, 90}).Draw(rt, "most"))
				n.restarts(t, rt, logs, mode, rapid.IntRange(0, 5).Draw(rt, "crashes"))
			})
		})
	}
	t.Logf("restarts: %+v", n)
	if n.inside < n.starts/10 || n.unfinished < n.starts/10 || n.unsettled == 0 || n.stops == 0 {
		t.Error("too few restarts inside the log")
	}
}

// The same where batches are full before a partition has to be waited for.
func TestRestartsOfALongLog(t *testing.T) {
	var n tally
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "batches"), 0))
		var logs []*batchedLog
		for id := range int32(2) {
			logs = append(logs, batch(steadyLog(id, 2500, int64(id), 3, 3), 1500, true, rng))
		}
		n.restarts(t, rt, logs, rapid.SampledFrom([]Mode{ByTime, ByProgress}).Draw(rt, "mode"), 2)
	})
	t.Logf("restarts: %+v", n)
}

// checkLife holds one life of a closed log against the run that was never stopped.
func checkLife(t *rapid.T, one, whole life, logs []*batchedLog, from *Cut, final bool) {
	if len(one.faults) > 0 {
		t.Fatal(one.faults)
	}
	n := from.records()
	want := whole.places[n:]
	if !final {
		want = want[:min(len(want), len(one.places))]
	}
	if d := difference(one.places, want); d != "" {
		t.Fatalf("from the cut at %d records: %s", n, d)
	}
	for _, c := range append(slices.Clone(one.cuts), one.last) {
		checkCut(t, c, logs, whole.places)
	}
	var refused []place
	for _, p := range whole.refused {
		i := slices.IndexFunc(logs, func(l *batchedLog) bool { return l.id == p.partition })
		if p.offset >= from.next(logs[i]) {
			refused = append(refused, p)
		}
	}
	got := sorted(one.refused)
	if final && !slices.Equal(got, sorted(refused)) {
		t.Fatalf("refused %v, want %v", got, sorted(refused))
	}
	for i, p := range got {
		if !slices.Contains(refused, p) || i > 0 && p == got[i-1] {
			t.Fatalf("refused %v, want some of %v", got, sorted(refused))
		}
	}
	for _, l := range logs {
		lost := int64(0)
		for _, run := range l.lost {
			if run[0] >= from.next(l) {
				lost += run[1] - run[0]
			}
		}
		if one.lost[l.id] > lost || final && one.lost[l.id] != lost {
			t.Fatalf("partition %d lost %d, want %d", l.id, one.lost[l.id], lost)
		}
	}
	if final && one.gap != whole.gap {
		t.Fatalf("gap %v, want %v", one.gap, whole.gap)
	}
}

// While records arrive, every record counts once relative to the cut, and the range that the cut names is finished in the
// same order: all lives together are what the reference makes of the ranges.
func TestRestartsWhileRecordsArrive(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		t.Run(fmt.Sprintf("mode=%d", mode), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				logs, ends := drawBatchedLogs(rt, rapid.SampledFrom([]int{10, 60}).Draw(rt, "most"))
				var plain []*testLog
				for _, l := range logs {
					plain = append(plain, l.testLog)
					for k, e := range l.entries { // one width: when it is settled changes nothing
						if e.bad == nil {
							l.entries[k] = row(l.id, e.offset, e.time, 3)
						}
					}
				}
				var from *Cut
				var before []place
				var ranges []map[int32]span
				crashes := rapid.IntRange(0, 4).Draw(rt, "crashes")
				for k := range crashes + 1 {
					one := live(t, logs, from, ends, mode, rapid.Uint64().Draw(rt, "seed"), k < crashes)
					if len(one.faults) > 0 {
						rt.Fatal(one.faults)
					}
					sequence := slices.Concat(before, one.places)
					all := joined(ranges, one.ranges)
					for _, c := range append(slices.Clone(one.cuts), one.last) {
						checkCut(rt, c, logs, sequence)
					}
					if k == crashes {
						want := reference(plain, all, mode)
						if d := difference(sequence, want.learned); d != "" {
							rt.Fatalf("all of %v: %s", all, d)
						}
						good := 0
						for _, l := range plain {
							for _, e := range l.entries {
								if e.bad == nil {
									good++
								}
							}
						}
						if len(sequence) != good {
							rt.Fatalf("learned %d, want %d", len(sequence), good)
						}
						if got := one.last.Models[1]; !sameState(got, learnPlainly(twoModels[0], want.width, want.entries)) {
							rt.Fatalf("ends as %v", got)
						}
						continue
					}
					if len(one.cuts) == 0 {
						continue
					}
					from = onward(one.cuts[len(one.cuts)-1])
					before = sequence[:from.records()]
					ranges = upTo(all, from)
					for _, l := range logs {
						least := from.next(l)
						for _, p := range from.Partitions {
							if p.Partition == l.id {
								least = max(least, p.Settled)
							}
						}
						ends[l.id] = least
						if least < l.end {
							ends[l.id] = rapid.Int64Range(least, l.end).Draw(rt, "end")
						}
					}
				}
			})
		})
	}
}

// joined appends the ranges of a life to those before: the first may be the last before, gone on with.
func joined(before, more []map[int32]span) []map[int32]span {
	if n := len(before); n > 0 && len(more) > 0 && sameRange(before[n-1], more[0]) {
		before = before[:n-1]
	}
	return slices.Concat(before, more)
}

// upTo returns the ranges up to the one that a cut names.
func upTo(ranges []map[int32]span, c *Cut) []map[int32]span {
	named := map[int32]span{}
	for _, p := range c.Partitions {
		named[p.Partition] = span{p.Start, p.Settled, p.End}
	}
	if i := slices.IndexFunc(ranges, func(r map[int32]span) bool { return sameRange(r, named) }); i >= 0 {
		return slices.Concat(ranges[:i], []map[int32]span{named})
	}
	return append(slices.Clone(ranges), named)
}
