package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

var logistic = sgd.Spec{Name: "logistic", Kind: "logistic"}

// drawLogs draws the logs of one to six partitions: empty ones, ones of a single record, gaps, refused records, rows of
// another width, lost runs, and every kind of clock. It returns the ends of the catch-up range, too.
func drawLogs(t *rapid.T, most int) (logs []*testLog, closed map[int32]int64) {
	const width = 5
	closed = map[int32]int64{}
	clock := rapid.SampledFrom([]string{"equal", "increasing", "few", "any", "absurd"}).Draw(t, "clock")
	odd := rapid.SampledFrom([]int{0, 1, 1, 5}).Draw(t, "odd rows of 16")
	id := int32(0)
	for range rapid.IntRange(1, 6).Draw(t, "partitions") {
		id += int32(rapid.SampledFrom([]int{1, 1, 1, 3}).Draw(t, "step")) - 1
		l := &testLog{id: id, first: rapid.SampledFrom([]int64{0, 0, 1, 1000}).Draw(t, "first")}
		l.end = l.first
		if len(logs) == 0 { // close to where the width settles
			for range rapid.SampledFrom([]int{0, 0, 85, 95}).Draw(t, "plain rows first") {
				l.entries = append(l.entries, row(id, l.end, -math.MaxInt64/2, width))
				l.end++
			}
		}
		for _, v := range rapid.SliceOfN(rapid.Uint16(), 0, most).Draw(t, "records") {
			switch v & 15 {
			case 1:
				l.end++
			case 2:
				l.end += 3
			case 3:
				if n := int64(v >> 12); n > 12 {
					l.lost = append(l.lost, [2]int64{l.end, l.end + n})
					l.end += n
				}
			}
			var stamp int64
			switch at := int64(v>>8) & 63; clock {
			case "increasing":
				stamp = l.end * 100
			case "few":
				stamp = at % 3
			case "any":
				stamp = at*1_000_000 - 20_000_000
			case "absurd":
				const limit = 9_223_372_036_854_775_000
				stamp = []int64{-limit, -1, 0, limit}[at%4]
			}
			switch kind := int(v>>4) & 15; {
			case kind == 15:
				l.entries = append(l.entries, bad(l.end))
			case kind < odd:
				l.entries = append(l.entries, row(id, l.end, stamp, width+1+kind%2))
			default:
				l.entries = append(l.entries, row(id, l.end, stamp, width))
			}
			l.end++
		}
		l.end += rapid.SampledFrom([]int64{0, 0, 1, 5}).Draw(t, "markers behind")
		closed[id] = l.end
		if rapid.Bool().Draw(t, "more comes meanwhile") {
			closed[id] = rapid.Int64Range(l.first, l.end).Draw(t, "closed at")
		}
		logs = append(logs, l)
		id++
	}
	return logs, closed
}

// played is what came of playing logs to a trainer.
type played struct {
	places      []place
	passed      map[int32]Passed
	refused     []place
	lost        map[int32]int64
	ranges      []map[int32]span
	width       int
	drawnBack   int // at the tail; in catch-up that is a fault
	caughtUpAt  int // rows learned
	caughtUp    *State
	state       State
	snapshots   []*Snapshot
	bytes, rest int
	faults      []string
}

// play hands logs to a trainer in blocks, order, and rhythm that seed decides. Late partitions come some 40 s late.
func play(t *testing.T, logs []*testLog, closed map[int32]int64, mode Mode, seed uint64, late bool) (out played) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 1))
		source := newFakeSource(rng.IntN(4) * rng.IntN(4))
		for _, l := range logs {
			source.says(l.id, l.first, closed[l.id], closed[l.id])
		}
		r := newRig(source, mode, logistic)
		model := r.learners[1]
		behind := false // not caught up yet when an end was drawn back
		r.seen.onPublish = func(s *Snapshot) {
			if s.Model == logistic.Name && s.CaughtUp && out.caughtUp == nil {
				state := model.state()
				out.caughtUpAt, out.caughtUp = int(s.Records), &state
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		go feed(ctx, source, logs, closed, rng, late)
		r.run(ctx)
		if ctx.Err() != nil {
			out.faults = append(out.faults, "hangs")
		}
		for _, p := range r.told {
			for _, l := range p.Partitions {
				behind = behind || !p.CaughtUp && l.End != l.Settled
			}
		}
		if behind {
			out.faults = append(out.faults, "end drawn back in catch-up")
		}
		for _, n := range r.seen.drawnBack {
			out.drawnBack += n
		}
		out.places, out.passed, out.refused, out.lost = r.recorder.seen(), r.seen.passed, r.seen.refused, r.seen.lost
		progress := r.Progress()
		out.ranges, out.width, out.state = r.ranges(), progress.Features(), model.state()
		for _, s := range r.seen.snapshots {
			if s.Model == logistic.Name {
				out.snapshots = append(out.snapshots, s)
			}
		}
		out.bytes, out.rest = source.bytes, source.outstanding()
		out.faults = append(append(out.faults, source.faults...), r.seen.faults...)
	})
	return out
}

// feed hands out all of the logs and closes the source. What brokers tell of the ends grows with it.
func feed(ctx context.Context, source *fakeSource, logs []*testLog, closed map[int32]int64, rng *rand.Rand, late bool) {
	defer close(source.blocks)
	todo := make([][][2]int64, len(logs))
	for i, l := range logs {
		var cuts []int64
		for range rng.IntN(6) * rng.IntN(6) {
			if l.end > l.first {
				cuts = append(cuts, l.first+rng.Int64N(l.end-l.first))
			}
		}
		todo[i] = l.pieces(cuts)
	}
	favourite := rng.IntN(len(logs)) // runs ahead
	for {
		var open []int
		for i := range todo {
			if len(todo[i]) > 0 {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return
		}
		i := open[rng.IntN(len(open))]
		if slices.Contains(open, favourite) && rng.IntN(2) == 0 {
			i = favourite
		}
		l, piece := logs[i], todo[i][0]
		todo[i] = todo[i][1:]

		switch pause := rng.IntN(100); {
		case pause < 30:
			time.Sleep(time.Duration(rng.IntN(5_000)) * time.Microsecond)
		case pause < 33:
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
		case pause < 36 && late:
			time.Sleep(40 * time.Second)
		}
		b := l.block(piece[0], piece[1])
		if l.isLost(piece[0], piece[1]) {
			b.Lost = piece[1] - piece[0]
		}
		if rng.IntN(3) == 0 { // not decoded yet
			b = &record.Block{Partition: l.id, Base: piece[0], Next: piece[1], Lost: b.Lost, Ready: make(chan struct{}, 1)}
			time.AfterFunc(time.Duration(rng.IntN(3)*rng.IntN(2000))*time.Microsecond, func() {
				fill(b, l)
				b.Ready <- struct{}{}
			})
		}
		// Fetch answers tell the ends; they may know of more than they bring.
		stable := max(closed[l.id], piece[1])
		if rng.IntN(2) == 0 && len(todo[i]) > 0 {
			stable = max(stable, todo[i][rng.IntN(len(todo[i]))][1])
		}
		if source.settled() { // the first range
			source.says(l.id, l.first, stable, max(stable, l.end))
			if rng.IntN(2) == 0 {
				source.tell(l.id)
			}
		}
		if !source.send(ctx, b) {
			return
		}
	}
}

// settled reports whether the ends of the first range were asked for.
func (s *fakeSource) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ages) > 0
}

// sameState reports whether two states hold the same bits, however long it took to copy them.
func sameState(a, b State) bool {
	return a.Records == b.Records && reflect.DeepEqual(a.Tensors, b.Tensors)
}

// learnPlainly has a fresh model learn rows one by one and returns its whole state.
func learnPlainly(spec sgd.Spec, width int, entries []entry) State {
	l := &learner{spec: spec}
	if width > 0 {
		l.model = spec.New(width, 1)
	}
	var correct, n uint64
	var loss float64
	prob := make([]float64, 1)
	for _, e := range entries {
		l.model.Learn(&sgd.Rows{Width: width, X: e.x, Y: []float64{e.y}}, prob)
		if (prob[0] >= .5) == (e.y == 1) {
			correct++
		}
		loss += sgd.LogLoss(prob[0], e.y)
		n++
	}
	l.records, l.correct, l.loss = n, correct, loss
	return l.state()
}

func sorted(places []place) []place {
	places = slices.Clone(places)
	slices.SortFunc(places, func(a, b place) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(a.offset - b.offset)
	})
	return places
}

// difference says where two sequences part.
func difference(got, want []place) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("they part at %d: got %v, want %v (of %d and %d)", i,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))], len(got), len(want))
		}
	}
	return ""
}

// check holds what was played against the reference.
func (out played) check(t *rapid.T, logs []*testLog, closed map[int32]int64, mode Mode) {
	if len(out.faults) > 0 {
		t.Fatalf("faults: %v", out.faults)
	}
	catchUp := map[int32]span{}
	for _, l := range logs {
		catchUp[l.id] = span{l.first, closed[l.id], closed[l.id]}
	}
	first := reference(logs, []map[int32]span{catchUp}, mode)
	if out.caughtUpAt != len(first.learned) {
		t.Fatalf("caught up with %d records, want %d", out.caughtUpAt, len(first.learned))
	}
	if d := difference(out.places[:out.caughtUpAt], first.learned); d != "" {
		t.Fatal("catch-up: " + d)
	}
	if want := learnPlainly(logistic, first.width, first.entries); out.caughtUp == nil || !sameState(*out.caughtUp, want) && len(first.learned) > 0 {
		t.Fatalf("state at the end of catch-up: got %v, want %v", out.caughtUp, want)
	}

	// The tail: ranges are what they were, but they cover everything once and end as the reference does.
	for id, s := range out.ranges[0] {
		if s != catchUp[id] {
			t.Fatalf("first range of %d: %v, want %v", id, s, catchUp[id])
		}
	}
	all := reference(logs, out.ranges, mode)
	if d := difference(out.places, all.learned); d != "" {
		t.Fatalf("all of %v: %s", out.ranges, d)
	}
	if !slices.Equal(sorted(out.refused), sorted(all.refused)) {
		t.Fatalf("refused %v, want %v", sorted(out.refused), sorted(all.refused))
	}
	if all.width != out.width {
		t.Fatalf("width %d, want %d", out.width, all.width)
	}
	if want := learnPlainly(logistic, all.width, all.entries); !sameState(out.state, want) {
		t.Fatalf("state at the end: got %v, want %v", out.state, want)
	}
	good, total := 0, 0
	for _, l := range logs {
		for _, e := range l.entries {
			if good++; e.bad != nil || all.width > 0 && len(e.x) != all.width {
				good--
			}
		}
		total += len(l.entries)
		lost := int64(0)
		for _, run := range l.lost {
			lost += run[1] - run[0]
		}
		if out.lost[l.id] != lost {
			t.Fatalf("partition %d lost %d, want %d", l.id, out.lost[l.id], lost)
		}
		if p := out.passed[l.id]; p.Next != l.end && l.end > 0 {
			t.Fatalf("partition %d passed up to %d, want %d", l.id, p.Next, l.end)
		}
	}
	if len(out.places) != good || len(out.places)+len(out.refused) != total {
		t.Fatalf("learned %d and refused %d of %d records, %d of them good", len(out.places), len(out.refused), total, good)
	}
	out.checkSnapshots(t, logs, all)
	records, bytes := 0, 0
	for _, p := range out.passed {
		records += p.Records
		bytes += p.Bytes
	}
	if records != len(out.places) || bytes != out.bytes || out.rest != 0 {
		t.Fatalf("passed %d records of %d, %d bytes of %d; %d blocks not released", records, len(out.places), bytes, out.bytes, out.rest)
	}
}

// checkSnapshots sees that records and offsets of every snapshot belong together: a prefix of the sequence, and exactly
// the rows below its offsets.
func (out played) checkSnapshots(t rapid.TB, logs []*testLog, all outcome) {
	t.Helper()
	for _, s := range out.snapshots {
		below := 0
		for _, l := range logs {
			for _, e := range l.entries {
				if e.bad == nil && len(e.x) == all.width && e.offset < s.Next[l.id] {
					below++
				}
			}
		}
		if below != int(s.Records) {
			t.Fatalf("snapshot of %d records at %v: %d rows are below", s.Records, s.Next, below)
		}
		for _, p := range all.learned[:s.Records] {
			if p.offset >= s.Next[p.partition] {
				t.Fatalf("snapshot of %d records at %v has not learned %v, which comes before", s.Records, s.Next, p)
			}
		}
		if s.CaughtUp && int(s.Records) < all.borders[0] {
			t.Fatalf("snapshot says caught up with %d records of %d", s.Records, all.borders[0])
		}
	}
}

// The same log and ranges give the same sequence and the same bits, whatever the block sizes, the order of arrival, the
// delays, blocks that are still being decoded, records that arrive meanwhile, and the number of cores.
func TestSameLogSameSequence(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, mode := range []Mode{ByTime, ByProgress} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode=%d/late=%v", mode, late), func(t *testing.T) {
				rapid.Check(t, func(rt *rapid.T) {
					logs, closed := drawLogs(rt, rapid.SampledFrom([]int{3, 30, 90}).Draw(rt, "most"))
					for _, seed := range rapid.SliceOfN(rapid.Uint64(), 2, 2).Draw(rt, "seeds") {
						runtime.GOMAXPROCS(1 + int(seed%3))
						play(t, logs, closed, mode, seed, late).check(rt, logs, closed, mode)
					}
				})
			})
		}
	}
}
