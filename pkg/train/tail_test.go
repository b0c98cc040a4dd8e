package train

import (
	"context"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"learner/pkg/record"
)

// scene is a trainer at work in a synctest bubble, and the logs that it is given piece by piece.
type scene struct {
	*rig
	t    *testing.T
	ctx  context.Context
	stop func()
	logs []*testLog
	at   map[int32]int64 // how much of each log was sent
}

// open starts a trainer on logs whose first range ends at closed, one for each log.
func open(t *testing.T, mode Mode, logs []*testLog, closed ...int64) *scene {
	t.Helper()
	s := &scene{rig: newRig(newFakeSource(0), mode), t: t, logs: logs, at: map[int32]int64{}}
	for i, l := range logs {
		s.at[l.id] = l.first
		s.source.says(l.id, l.first, closed[i], closed[i])
	}
	s.ctx, s.stop = s.start(t)
	synctest.Wait()
	return s
}

// send sends log i up to offset to. The answer that brings it tells the end as the broker knows it, at least to.
func (s *scene) send(i int, to int64) {
	l := s.logs[i]
	s.source.mu.Lock()
	end := s.source.broker[l.id]
	end.First, end.Stable, end.Log = l.first, max(end.Stable, to), max(end.Log, to)
	s.source.broker[l.id] = end
	s.source.mu.Unlock()
	s.source.tell(l.id)
	s.source.send(s.ctx, l.block(s.at[l.id], to))
	s.at[l.id] = to
	synctest.Wait()
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// learned asserts how many rows are learned.
func (s *scene) learned(want int, when string) {
	s.t.Helper()
	if got := len(s.recorder.seen()); got != want {
		s.t.Fatalf("%s: learned %d rows, want %d", when, got, want)
	}
}

// drawn asserts how often the end of log i was drawn back.
func (s *scene) drawn(i, want int, when string) {
	s.t.Helper()
	if got := s.seen.count(s.seen.drawnBack, s.logs[i].id); got != want {
		s.t.Fatalf("%s: end of partition %d drawn back %d times, want %d", when, s.logs[i].id, got, want)
	}
}

// end stops the trainer and asserts that its sequence is that of the reference for these ranges.
func (s *scene) end(ranges ...map[int32]span) {
	s.t.Helper()
	s.stop()
	want := reference(s.logs, ranges, s.mode)
	if d := difference(s.recorder.seen(), want.learned); d != "" {
		s.t.Fatal(d)
	}
	if faults := slices.Concat(s.source.faults, s.seen.faults); len(faults) > 0 {
		s.t.Fatal(faults)
	}
}

func TestTailRangesFollowArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 9, 0, 10, 3), steadyLog(1, 9, 5, 10, 3)}, 4, 4)
		if s.Progress().CaughtUp {
			t.Fatal("caught up with nothing")
		}
		s.send(0, 6) // beyond the range's end
		s.learned(0, "before partition 1 is there")
		s.send(1, 4)
		s.learned(10, "catch-up, and then what was there: 4 to 6 of partition 0")
		if p := s.Progress(); !p.CaughtUp || p.Features() != 3 || p.Gap {
			t.Fatalf("progress %+v", p)
		}
		s.send(1, 6)
		s.learned(12, "later records of partition 1")
		s.send(0, 9)
		s.send(1, 9)
		s.learned(18, "all")
		s.pass(publishEvery)
		for _, snapshot := range s.Snapshots() {
			if snapshot.Records != 18 || snapshot.Next[0] != 9 || snapshot.Next[1] != 9 {
				t.Fatalf("snapshot %+v after a while without records", snapshot)
			}
		}
		s.drawn(0, 0, "at the end")
		s.end(
			map[int32]span{0: {0, 4, 4}, 1: {0, 4, 4}},
			map[int32]span{0: {4, 6, 6}, 1: {4, 4, 4}},
			map[int32]span{0: {6, 6, 6}, 1: {4, 6, 6}},
			map[int32]span{0: {6, 9, 9}, 1: {6, 6, 6}},
			map[int32]span{0: {9, 9, 9}, 1: {6, 9, 9}},
		)
	})
}

// A partition that is late at the tail is waited for 30 s, and then its end is drawn back to where it stands.
func TestLateAtTheTail(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, mode, []*testLog{steadyLog(0, 40, 0, 10, 3), steadyLog(1, 40, 5, 10, 3)}, 0, 0)
			s.source.says(0, 0, 10, 10)
			s.source.says(1, 0, 20, 20)
			s.source.tell(0)
			s.source.tell(1)
			s.send(1, 7)
			s.send(0, 10)
			s.pass(29 * time.Second)
			s.drawn(1, 0, "after 29 s")
			if got := s.seen.lastWaiting(); got != 1 {
				t.Fatalf("waits for %d partitions, want 1", got)
			}
			s.pass(2 * time.Second)
			s.drawn(1, 1, "after 31 s")
			s.learned(17, "after the drawing back")
			s.pass(2 * time.Second)
			if got := s.seen.lastWaiting(); got != 0 {
				t.Fatalf("waits for %d partitions after the drawing back, want 0", got)
			}
			// The next range has the same partition in it and waits again, this time not in vain.
			s.send(0, 12)
			s.pass(10 * time.Second)
			s.send(1, 20)
			s.learned(32, "after the rest came")
			s.drawn(1, 1, "at the end")
			if s.Progress().Gap {
				t.Fatal("a late partition is no gap")
			}
			s.end(s.ranges()...)
			if got, want := s.ranges()[1][1], (span{0, 20, 7}); got != want {
				t.Fatalf("range of the late partition %v, want %v", got, want)
			}
		})
	}
}

// Blocks of other partitions, however often they come, do not lengthen the wait for the late one.
func TestLateWhileOthersTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 400, 0, 10, 3), steadyLog(1, 5, 5, 10, 3)}, 0, 0)
		s.source.says(1, 0, 5, 5)
		s.source.tell(1)
		for k := range int64(58) {
			s.send(0, k+1)
			s.pass(500 * time.Millisecond)
		}
		s.drawn(1, 0, "after 29 s")
		for k := int64(58); k < 64; k++ {
			s.send(0, k+1)
			s.pass(500 * time.Millisecond)
		}
		s.drawn(1, 1, "after 32 s")
		s.stop()
	})
}

// In catch-up a partition is waited for without limit, and the wait is told.
func TestLateInCatchUp(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, mode, []*testLog{steadyLog(0, 10, 0, 10, 3), steadyLog(1, 10, 5, 10, 3)}, 10, 10)
			s.send(0, 10)
			s.send(1, 4)
			s.pass(10 * time.Minute)
			s.drawn(1, 0, "after 10 min")
			if got := s.seen.lastWaiting(); got != 1 {
				t.Fatalf("waits for %d partitions, want 1", got)
			}
			p := s.Progress()
			if p.CaughtUp || p.Partitions[0].Waiting || !p.Partitions[1].Waiting {
				t.Fatalf("progress %+v", p)
			}
			s.send(1, 10)
			s.learned(20, "after it came")
			s.pass(2 * time.Second)
			if got := s.seen.lastWaiting(); got != 0 {
				t.Fatalf("waits for %d partitions at the end, want 0", got)
			}
			if p := s.Progress(); !p.CaughtUp || p.Partitions[1].Waiting {
				t.Fatalf("progress %+v", p)
			}
			s.end(map[int32]span{0: {0, 10, 10}, 1: {0, 10, 10}})
		})
	}
}

// A log that ends before the range does must say so for 30 s, always the same. Then the end is drawn back to there, a gap
// is marked, and progress goes by the settled end as before.
func TestEndVanishesInCatchUp(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, mode, []*testLog{steadyLog(0, 100, 0, 10, 3), steadyLog(1, 100, 5, 10, 3)}, 100, 100)
			s.send(0, 100)
			s.send(1, 50)
			s.source.says(1, 0, 60, 60)
			s.pass(25 * time.Second)
			s.source.says(1, 0, 100, 100) // recovers
			s.pass(3 * time.Second)
			s.source.says(1, 0, 60, 60)
			s.pass(25 * time.Second)
			s.drawn(1, 0, "after two times 25 s with an answer between")
			s.source.says(1, 0, 61, 61)
			s.pass(25 * time.Second)
			s.drawn(1, 0, "after 25 s of another answer")
			s.source.silence(true)
			s.pass(2 * time.Minute)
			s.drawn(1, 0, "after two minutes without an answer")
			if s.Progress().Gap {
				t.Fatal("gap before anything is believed")
			}
			s.source.silence(false)
			s.pass(8 * time.Second)
			s.drawn(1, 1, "after 30 s of the same answer")
			s.stop()
		})
	}
}

func TestEndVanishesInCatchUpAndGoesOn(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		for cut := range 2 {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, mode, []*testLog{steadyLog(0, 100, 0, 10, 3), steadyLog(1, 100, 5, 10, 3)}, 100, 100)
				whole := 1 - cut
				s.send(whole, 100)
				s.send(cut, 50)
				s.source.says(int32(cut), 0, 60, 60)
				s.pass(33 * time.Second)
				s.drawn(cut, 1, "after 33 s")
				p := s.Progress()
				want := PartitionProgress{Partition: int32(cut), Next: 50, Settled: 100, End: 60, Waiting: true}
				if p.Partitions[cut] != want || !p.Gap {
					t.Fatalf("progress %+v, want %+v and a gap", p, want)
				}
				s.pass(time.Hour)
				s.drawn(cut, 1, "after an hour: 50 to 60 are still to come")
				s.source.send(s.ctx, s.logs[cut].block(50, 60))
				synctest.Wait()
				s.learned(160, "at the end")
				if p := s.Progress(); !p.CaughtUp || !p.Gap {
					t.Fatalf("progress %+v, want caught up with a gap", p)
				}
				s.end(map[int32]span{int32(whole): {0, 100, 100}, int32(cut): {0, 100, 60}})
			})
		}
	}
}

// An end is compared with the log's own end: one that an open transaction hides for a while has not vanished.
func TestOpenTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 100, 0, 10, 3)}, 100)
		s.send(0, 50)
		s.source.says(0, 0, 60, 100)
		s.pass(10 * time.Minute)
		s.drawn(0, 0, "after ten minutes")
		s.send(0, 100)
		s.learned(100, "at the end")
		s.end(map[int32]span{0: {0, 100, 100}})
	})
}

// At the tail, too, a vanished end is a gap, not only a late partition; and without answers it is late after all.
func TestEndVanishesAtTheTail(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := open(t, ByTime, []*testLog{steadyLog(0, 100, 0, 10, 3), steadyLog(1, 100, 5, 10, 3)}, 0, 0)
			s.source.says(1, 0, 20, 20)
			s.source.tell(1)
			s.send(1, 5)
			s.source.says(1, 0, 5, 5)
			s.pass(5 * time.Second)
			s.source.silence(silent)
			s.pass(24 * time.Second)
			s.drawn(1, 0, "after 29 s")
			s.pass(32 * time.Second)
			s.drawn(1, 1, "after 61 s")
			if got := s.Progress().Gap; got == silent {
				t.Fatalf("gap %v with silent %v", got, silent)
			}
			s.learned(5, "what there was")
			s.stop()
		})
	}
}

// What a log said long ago, before it moved on, is no reason to believe it at once the next time.
func TestEndVanishesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 10, 0, 10, 3), steadyLog(1, 200, 5, 10, 3)}, 10, 200)
		s.send(0, 10)
		s.source.says(1, 0, 100, 100)
		s.pass(10 * time.Second)
		s.source.says(1, 0, 200, 200)
		for k := range int64(70) { // never quiet long enough for a look
			s.send(1, k+1)
			s.pass(500 * time.Millisecond)
		}
		s.source.says(1, 0, 100, 100)
		s.pass(25 * time.Second)
		s.drawn(1, 0, "after 25 s of the same answer")
		s.pass(8 * time.Second)
		s.drawn(1, 1, "after 33 s of the same answer")
		s.stop()
	})
}

// A run of records that the log no longer has is counted and passed; a gap is marked, and what follows is learned.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := steadyLog(0, 30, 0, 10, 3)
		l.entries = slices.Delete(l.entries, 10, 20)
		s := open(t, ByTime, []*testLog{l}, 15)
		s.send(0, 10)
		s.source.says(0, 0, 30, 30)
		s.source.tell(0)
		s.source.send(s.ctx, &record.Block{Partition: 0, Base: 10, Next: 20, Lost: 10})
		synctest.Wait()
		p := s.Progress()
		if !p.Gap || !p.CaughtUp || p.Partitions[0].Next != 20 {
			t.Fatalf("progress %+v, want caught up at 20 with a gap", p)
		}
		s.at[0] = 20
		s.send(0, 30)
		s.learned(20, "at the end")
		s.stop()
		if s.seen.lost[0] != 10 || s.seen.passed[0].Next != 30 {
			t.Fatalf("lost %d, passed %+v", s.seen.lost[0], s.seen.passed[0])
		}
	})
}

// A new partition joins with the next range, however early its records are stamped.
func TestNewPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*testLog{steadyLog(0, 20, 1000, 10, 3), steadyLog(3, 20, 1005, 10, 3), steadyLog(2, 10, 0, 1, 3)}
		s := open(t, ByTime, logs[:2], 1, 1)
		s.logs = logs
		s.send(0, 1)
		s.send(1, 1)
		s.source.says(0, 0, 10, 10)
		s.source.says(3, 0, 10, 10)
		s.source.tell(0)
		s.source.tell(3)
		s.send(0, 5)
		s.send(1, 5)
		s.learned(9, "both up to where one of them waits")
		s.send(2, 10)
		s.send(0, 10)
		s.pass(time.Second)
		s.learned(10, "the new one does not change the range in hand")
		s.send(1, 10)
		s.learned(30, "after the range")
		s.end(
			map[int32]span{0: {0, 1, 1}, 3: {0, 1, 1}},
			map[int32]span{0: {1, 10, 10}, 3: {1, 10, 10}},
			map[int32]span{0: {10, 10, 10}, 2: {0, 10, 10}, 3: {10, 10, 10}},
		)
	})
}

// Ends of the first range are asked for, those at the tail only where they were told more than a second ago.
func TestEndsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 50, 0, 10, 3), steadyLog(1, 50, 5, 10, 3)}, 0, 0)
		asked := func(i int) int { return s.seen.count(s.source.asked, s.logs[i].id) }
		if s.source.ages[0] != 0 || asked(0) != 1 || asked(1) != 1 {
			t.Fatalf("first range: ages %v, asked %v", s.source.ages, s.source.asked)
		}
		s.pass(10 * time.Second)
		s.source.tell(1)
		s.pass(900 * time.Millisecond)
		s.source.says(1, 0, 5, 5) // not told by any fetch answer yet, but the last is fresh
		s.send(0, 10)
		s.learned(10, "a range of partition 0 alone")
		if asked(1) != 1 {
			t.Fatalf("partition 1 asked for %d times, though told 0.9 s ago", asked(1))
		}
		s.pass(10 * time.Second)
		s.send(0, 20)
		s.learned(10, "partition 1 has records, as it says when asked: they belong to the range")
		if asked(1) != 2 {
			t.Fatalf("partition 1 asked for %d times, want 2: it was told 10 s ago", asked(1))
		}
		s.send(1, 5)
		s.learned(25, "at the end")
		for _, age := range s.source.ages[1:] {
			if age != time.Second {
				t.Fatalf("ages %v, want 1 s at the tail", s.source.ages)
			}
		}
		s.end(
			map[int32]span{0: {0, 10, 10}, 1: {0, 0, 0}},
			map[int32]span{0: {10, 20, 20}, 1: {0, 5, 5}},
		)
	})
}

// Without an answer about every end the first range is not settled.
func TestFirstEndsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newFakeSource(0)
		logs := []*testLog{steadyLog(0, 10, 0, 10, 3), steadyLog(1, 10, 5, 10, 3)}
		s := &scene{rig: newRig(source, ByTime), t: t, logs: logs, at: map[int32]int64{}}
		source.says(0, 0, 10, 10)
		source.says(1, 0, 10, 10)
		source.silence(true)
		s.ctx, s.stop = s.start(t)
		s.send(0, 10)
		s.source.send(s.ctx, logs[1].block(0, 5))
		s.pass(time.Minute)
		if p := s.Progress(); p.CaughtUp || len(s.recorder.seen()) > 0 {
			t.Fatalf("progress %+v before the ends are known", p)
		}
		source.silence(false)
		s.pass(2 * time.Second)
		s.at[1] = 5
		s.send(1, 10)
		s.learned(20, "at the end")
		s.end(map[int32]span{0: {0, 10, 10}, 1: {0, 10, 10}})
	})
}

// Rows wider than a batch is meant for, still held when catching up ends, are learned once.
func TestWideRowsHeld(t *testing.T) {
	for _, n := range []int{40, 100, 150} {
		synctest.Test(t, func(t *testing.T) {
			l := steadyLog(0, n, 0, 10, 2000)
			l.entries[3] = row(0, 3, 30, 2001)
			l.entries[n-1] = row(0, int64(n-1), 30, 2001)
			s := open(t, ByTime, []*testLog{l}, int64(n))
			s.send(0, int64(n))
			s.learned(n-2, "at the end")
			s.stop()
			if got := s.seen.snapshots[0]; len(s.seen.refused) != 2 || s.seen.reasons[record.Arity] != 2 || got.Records < uint64(min(n-2, 99)) && got.Records > 0 {
				t.Fatalf("refused %v (%v), first snapshot has %d records", s.seen.refused, s.seen.reasons, got.Records)
			}
		})
	}
}

// Until the width is settled nothing is handed on: neither rows nor offsets.
func TestHeldRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, 300, 0, 10, 3)}, 200)
		s.send(0, 99)
		s.pass(time.Minute)
		s.learned(0, "with 99 records")
		if len(s.seen.passed) > 0 || len(s.seen.snapshots) > 0 {
			t.Fatalf("passed %v, %d snapshots", s.seen.passed, len(s.seen.snapshots))
		}
		s.send(0, 100)
		s.learned(100, "with 100 records")
		s.stop()
	})
}

// When the width is settled, rows of another width that were next in their partitions are passed over. A partition that
// has nothing behind them is waited for.
func TestWaitsWhereWidthSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := steadyLog(1, 5, 1001, 10, 3)
		odd.entries[0] = row(1, 0, 5000, 4)
		s := open(t, ByTime, []*testLog{steadyLog(0, 300, 0, 10, 3), odd}, 300, 5)
		s.send(1, 1)
		s.send(0, 300)
		s.learned(100, "before the rest of partition 1")
		s.send(1, 5)
		s.learned(304, "at the end")
		s.end(map[int32]span{0: {0, 300, 300}, 1: {0, 5, 5}})
	})
}

// A batch that is full with the last row of a block: the block's bytes are told all the same.
func TestBytesOfLastBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, ByTime, []*testLog{steadyLog(0, batchRows, 0, 10, 3)}, batchRows)
		s.send(0, batchRows)
		s.learned(batchRows, "at the end")
		if p := s.seen.passed[0]; p.Bytes != s.source.bytes || p.Records != batchRows || p.Next != batchRows {
			t.Fatalf("passed %+v, want %d bytes", p, s.source.bytes)
		}
		s.stop()
	})
}

// At the tail the width is settled at the end of a range: not by what happens to have arrived.
func TestWidthAtTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := steadyLog(0, 8, 0, 10, 3)
		l.entries[0] = row(0, 0, 0, 4)
		s := open(t, ByTime, []*testLog{l}, 0)
		if !s.Progress().CaughtUp {
			t.Fatal("not caught up with an empty log")
		}
		s.source.says(0, 0, 8, 8)
		s.source.tell(0)
		s.send(0, 1) // alone it would settle four features
		s.pass(10 * time.Second)
		s.send(0, 8)
		s.learned(7, "at the end")
		s.end(map[int32]span{0: {}}, map[int32]span{0: {0, 8, 8}})
	})
}

// Progress compares exactly: near the top of int64, quotients that no float64 tells apart.
func TestProgressIsExact(t *testing.T) {
	const far = math.MaxInt64 - 10
	a := &lane{start: 0, settled: far}
	b := &lane{start: 0, settled: far - 1}
	if !a.behind(b, far-3, far-3) || b.behind(a, far-3, far-3) {
		t.Fatal("the longer range has come less far at the same offset")
	}
	c := &lane{start: 100, settled: 100 + 1<<40}
	d := &lane{start: 0, settled: 1 << 41}
	if c.behind(d, 100+4, 9) || d.behind(c, 9, 100+4) {
		t.Fatal("equal quotients differ")
	}
}
