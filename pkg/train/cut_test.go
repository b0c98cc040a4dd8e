package train

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"learner/pkg/record"
	"learner/pkg/sgd"
)

// openFrom starts a trainer with models from a cut, on logs whose ends brokers tell as given; nil: from the beginning.
func openFrom(t *testing.T, from *Cut, mode Mode, models []sgd.Spec, logs []*testLog, ends ...int64) *scene {
	t.Helper()
	r, err := newRigFrom(from, newFakeSource(0), mode, models...)
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{rig: r, t: t, logs: logs, at: map[int32]int64{}}
	for i, l := range logs {
		s.at[l.id] = l.first
		if from != nil {
			s.at[l.id] = from.at(l.id).Next
		}
		s.source.says(l.id, s.at[l.id], ends[i], ends[i])
	}
	s.ctx, s.stop = s.start(t)
	synctest.Wait()
	return s
}

func (c *Cut) at(partition int32) PartitionPlace {
	return c.Partitions[slices.IndexFunc(c.Partitions, func(p PartitionPlace) bool { return p.Partition == partition })]
}

// cut takes a cut, which must need no more than is there.
func (s *scene) cut(when string) *Cut {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	c, err := s.Cut(ctx)
	if err != nil {
		s.t.Fatalf("%s: %v", when, err)
	}
	return c
}

// stays asserts that no cut can be had now.
func (s *scene) stays(when string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	if c, err := s.Cut(ctx); !errors.Is(err, context.DeadlineExceeded) {
		s.t.Fatalf("%s: cut %+v, error %v, want none in time", when, c, err)
	}
	synctest.Wait()
}

// sends sends log i up to offset to without a word about ends.
func (s *scene) sends(i int, to int64) {
	l := s.logs[i]
	s.source.send(s.ctx, l.block(s.at[l.id], to))
	s.at[l.id] = to
	synctest.Wait()
}

// follows asserts that what was learned up to a cut and what s learned behind it is the sequence of these ranges.
func (s *scene) follows(before []place, c *Cut, ranges ...map[int32]span) outcome {
	s.t.Helper()
	want := reference(s.logs, ranges, s.mode)
	got := slices.Concat(before[:c.records()], s.recorder.seen())
	if d := difference(got, want.learned); d != "" {
		s.t.Fatal(d)
	}
	return want
}

// The range that a cut names is finished as it would have been, whatever came meanwhile. Then comes one whose ends are
// asked for, and only then the log is caught up with.
func TestNamedRangeComesFirst(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			logs := []*testLog{steadyLog(0, 60, 0, 10, 3), steadyLog(1, 60, 5, 7, 3)}
			s := openFrom(t, nil, mode, twoModels, logs, 1, 1)
			s.send(0, 1)
			s.send(1, 1)
			s.learned(2, "catch-up")
			s.source.says(0, 0, 20, 20)
			s.source.says(1, 0, 30, 30)
			s.source.tell(0)
			s.source.tell(1)
			s.send(1, 12)
			s.send(0, 7)
			c := s.cut("inside a range at the tail")
			n := c.records()
			if n <= 2 || n >= 19 || c.at(0).End != 20 || c.at(1).End != 30 || c.at(1).Next == 12 && c.at(0).Next == 7 {
				t.Fatalf("cut %+v with %d records", c.Place, n)
			}
			s.send(0, 40)
			s.send(1, 14)
			s.stop()
			before := s.recorder.seen()

			s = openFrom(t, c, mode, twoModels, logs, 45, 50)
			s.source.silence(true)
			s.sends(0, 45)
			s.sends(1, 32)
			s.learned(20+30-n, "the named range, and nothing else before ends are known")
			if s.Progress().CaughtUp {
				t.Fatal("caught up with the named range")
			}
			s.pass(time.Minute)
			s.learned(20+30-n, "after a minute without answers")
			if between := s.cut("between two ranges"); between.records() != 50 || between.at(0).Next != 20 || between.at(1).Next != 30 {
				t.Fatalf("cut between two ranges %+v", between.Place)
			}
			s.source.silence(false)
			s.pass(2 * time.Second)
			if s.Progress().CaughtUp || s.Snapshots()[1].CaughtUp {
				t.Fatal("caught up before the end")
			}
			s.sends(1, 50)
			s.learned(45+50-n, "all that there is")
			s.pass(time.Second)
			if !s.Progress().CaughtUp || !s.Snapshots()[1].CaughtUp {
				t.Fatal("not caught up")
			}
			s.send(1, 60)
			s.stop()
			s.follows(before, c,
				map[int32]span{0: {0, 1, 1}, 1: {0, 1, 1}}, map[int32]span{0: {1, 20, 20}, 1: {1, 30, 30}},
				map[int32]span{0: {20, 45, 45}, 1: {30, 50, 50}}, map[int32]span{0: {45, 45, 45}, 1: {50, 60, 60}})
		})
	}
}

// A vanished end that was drawn back stays so after a restart, and progress goes by the settled one.
func TestVanishedEndSurvivesARestart(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			logs := []*testLog{steadyLog(0, 200, 0, 10, 3), steadyLog(1, 200, 5, 10, 3)}
			s := openFrom(t, nil, mode, twoModels, logs, 200, 200)
			s.send(0, 140)
			s.send(1, 100)
			s.source.says(1, 0, 120, 120)
			s.pass(33 * time.Second)
			s.drawn(1, 1, "after 33 s")
			c := s.cut("after the drawing back")
			if got := c.at(1); got.Settled != 200 || got.End != 120 || got.Next != 100 || !c.Gap {
				t.Fatalf("cut %+v", c.Place)
			}
			s.stop()
			before := s.recorder.seen()

			s = openFrom(t, c, mode, twoModels, logs, 200, 120)
			s.sends(1, 120)
			s.sends(0, 200)
			s.learned(320-c.records(), "at the end")
			if p := s.Progress(); !p.CaughtUp || !p.Gap {
				t.Fatalf("progress %+v, want caught up with a gap", p)
			}
			s.stop()
			s.follows(before, c, map[int32]span{0: {0, 200, 200}, 1: {0, 200, 120}})
		})
	}
}

// So does the end of a partition that was late: what it has meanwhile belongs to the next range.
func TestLateEndSurvivesARestart(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			logs := []*testLog{steadyLog(0, 40, 0, 10, 3), steadyLog(1, 40, 5, 10, 3), steadyLog(2, 40, 3, 10, 3)}
			s := openFrom(t, nil, mode, twoModels, logs, 1, 1, 1)
			for i := range logs {
				s.send(i, 1)
			}
			for i := range logs {
				s.source.says(int32(i), 0, 40, 40)
				s.source.tell(int32(i))
			}
			s.send(1, 10)
			s.send(2, 20)
			s.send(0, 40)
			s.pass(32 * time.Second)
			s.drawn(1, 1, "after 32 s")
			c := s.cut("after the drawing back")
			if got := c.at(1); got.Settled != 40 || got.End != 10 || got.Next != 10 || c.at(2).Next != 20 || c.Gap {
				t.Fatalf("cut %+v", c.Place)
			}
			s.stop()
			before := s.recorder.seen()

			s = openFrom(t, c, mode, twoModels, logs, 40, 40, 40)
			for _, i := range []int{1, 0, 2} {
				s.sends(i, 40)
			}
			s.stop()
			s.follows(before, c,
				map[int32]span{0: {0, 1, 1}, 1: {0, 1, 1}, 2: {0, 1, 1}},
				map[int32]span{0: {1, 40, 40}, 1: {1, 40, 10}, 2: {1, 40, 40}},
				map[int32]span{0: {40, 40, 40}, 1: {10, 40, 40}, 2: {40, 40, 40}})
		})
	}
}

// A partition that the cut does not know joins with the range behind the one that it names.
func TestPartitionUnknownToTheCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*testLog{steadyLog(0, 150, 1000, 10, 3), steadyLog(2, 20, 0, 1, 3)}
		s := openFrom(t, nil, ByTime, twoModels, logs[:1], 150)
		s.send(0, 120)
		c := s.cut("inside the range")
		s.stop()
		before := s.recorder.seen()
		s = openFrom(t, c, ByTime, twoModels, logs[:1], 150)
		s.logs = logs
		s.source.says(2, 0, 20, 20)
		s.sends(1, 20)
		s.sends(0, 150)
		s.stop()
		s.follows(before, c, map[int32]span{0: {0, 150, 150}}, map[int32]span{0: {150, 150, 150}, 2: {0, 20, 20}})
		last := s.cut("after the end").Models[1]
		if want := map[int32]int64{0: 0, 2: 0}; !maps.Equal(last.Since, want) {
			t.Fatalf("learned since %v, want %v", last.Since, want)
		}
	})
}

// A model that the cut does not have starts empty there, one that is not wanted any more is dropped, the others go on.
func TestModelsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*testLog{steadyLog(0, 200, 0, 10, 3), steadyLog(1, 200, 5, 10, 3), steadyLog(2, 200, 9000, 10, 3)}
		s := openFrom(t, nil, ByTime, twoModels, logs, 200, 200, 200)
		s.send(0, 150)
		s.send(1, 170)
		s.send(2, 10)
		c := s.cut("inside the range")
		n := c.records()
		if n < 200 || c.at(2).Next != 0 {
			t.Fatalf("cut %+v with %d records", c.Place, n)
		}
		s.stop()
		before := s.recorder.seen()

		models := names("slow=logistic:rate=0.1", "fresh=logistic")
		s = openFrom(t, c, ByTime, models, logs, 200, 200, 200)
		since := map[int32]int64{0: c.at(0).Next, 1: c.at(1).Next, 2: 0}
		if at := s.Snapshots(); at[1].Records != uint64(n) || at[1].Predictor == nil || at[2].Records != 0 || !maps.Equal(at[1].Next, since) {
			t.Fatalf("snapshots at the start %+v, %+v", at[1], at[2])
		}
		first := s.cut("before anything more is learned")
		if got := first.Models[2]; got.Name != "fresh" || got.Records != 0 || len(got.Tensors) != 3 || !maps.Equal(got.Since, since) {
			t.Fatalf("the new model starts with %+v", got)
		}
		s.stop()
		s = openFrom(t, first, ByTime, models, logs, 200, 200, 200) // once more, without any tensors
		for i := range logs {
			s.sends(i, 200)
		}
		s.stop()
		want := s.follows(before, c, map[int32]span{0: {0, 200, 200}, 1: {0, 200, 200}, 2: {0, 200, 200}})
		last := s.cut("after the end")
		if len(last.Models) != 3 || !sameState(last.Models[1], learnPlainly(models[0], 3, want.entries)) ||
			!sameState(last.Models[2], learnPlainly(models[1], 3, want.entries[n:])) {
			t.Fatalf("ends as %+v", last.Models)
		}
		if got := last.Models; !maps.Equal(got[1].Since, map[int32]int64{0: 0, 1: 0, 2: 0}) || !maps.Equal(got[2].Since, since) {
			t.Fatalf("learned since %v and %v", got[1].Since, got[2].Since)
		}
	})
}

// A state of another shape is never taken up. The error names the model and the tensor.
func TestStateThatDoesNotFit(t *testing.T) {
	change := func(name string, to func(*sgd.Tensor)) func(*Cut) {
		return func(c *Cut) {
			for i := range c.Models[0].Tensors {
				if c.Models[0].Tensors[i].Name == name {
					to(&c.Models[0].Tensors[i])
				}
			}
		}
	}
	without := func(drop func(name string) bool) func(*Cut) {
		return func(c *Cut) {
			c.Models[0].Tensors = slices.DeleteFunc(c.Models[0].Tensors, func(t sgd.Tensor) bool { return drop(t.Name) })
		}
	}
	with := func(name string) func(*Cut) {
		return func(c *Cut) {
			c.Models[0].Tensors = append(c.Models[0].Tensors, sgd.Tensor{Name: name, Shape: []int{1}, Data: []float64{1}})
		}
	}
	tests := []struct {
		name   string
		change func(*Cut)
		want   []string
	}{
		{"nothing", func(*Cut) {}, nil},
		{"other width", func(c *Cut) { c.Features = 4 }, []string{"weights", "scaler/mean", "scaler/variance"}},
		{"columns not settled", func(c *Cut) { c.Features = 0 }, []string{"columns"}},
		{"tensor too long", change("weights", func(t *sgd.Tensor) { t.Data = make([]float64, 5) }), []string{"weights"}},
		{"scalar of two", change("seen", func(t *sgd.Tensor) { t.Data = make([]float64, 2) }), []string{"seen"}},
		{"other type", change("weights", func(t *sgd.Tensor) { t.Data = []float32{1, 2, 3, 4} }), []string{"weights"}},
		{"missing", without(func(name string) bool { return name == "scaler/count" }), []string{"scaler/count"}},
		{"none but the scores", without(func(name string) bool { return !strings.HasPrefix(name, progressivePrefix) }), []string{"weights"}},
		{"no scores", without(func(name string) bool { return strings.HasPrefix(name, progressivePrefix) }), []string{progressiveRecords, progressiveCorrect, progressiveLoss}},
		{"score of another type", change(progressiveLoss, func(t *sgd.Tensor) { t.Data = []uint64{1} }), []string{progressiveLoss}},
		{"score of two", change(progressiveRecords, func(t *sgd.Tensor) { t.Data = []uint64{1, 2} }), []string{progressiveRecords}},
		{"unknown", with("momentum"), []string{"momentum"}},
		{"unknown score", with("progressive/brier"), []string{"progressive/brier"}},
		{"twice", with("weights"), []string{"weights"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &learner{spec: sgd.Spec{Name: "its-name", Kind: "logistic"}}
			l.learn0(t, 3)
			c := &Cut{Place: Place{Turn: -1, Features: 3}, Models: []State{l.state()}}
			tt.change(c)
			tr, err := New(Config{Models: names("first=logistic", "its-name=logistic"), From: c, Observer: newWitness(), Logger: zap.NewNop()})
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || tr != nil {
				t.Fatal("taken up")
			}
			for _, want := range append(tt.want, "model its-name") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %s", err, want)
				}
			}
		})
	}
}

// learn0 has a learner learn one row of the given width.
func (l *learner) learn0(t *testing.T, width int) {
	t.Helper()
	l.see = newWitness()
	l.learn(&Batch{Rows: sgd.Rows{Width: width, X: make([]float64, width), Y: []float64{1}}, answers: make([]answers, 1)})
}

// What New was given and what a cut holds are nobody's but theirs.
func TestCutIsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*testLog{steadyLog(0, 300, 0, 10, 3)}
		s := openFrom(t, nil, ByTime, twoModels, logs, 300)
		s.send(0, 150)
		c := s.cut("inside the range")
		kept := learnPlainly(twoModels[0], 3, logs[0].entries[:150])
		again := openFrom(t, c, ByTime, twoModels, logs, 300)
		s.send(0, 300)
		again.sends(0, 300)
		s.stop()
		again.stop()
		if !sameState(c.Models[1], kept) || c.at(0).Next != 150 || c.Models[1].Since[0] != 0 {
			t.Fatalf("cut changed to %+v", c)
		}
	})
}

// Cuts at rest: each is answered at once, and each is the same.
func TestCutsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := []*testLog{steadyLog(0, 300, 0, 10, 3), steadyLog(1, 300, 5, 10, 3)}
		s := openFrom(t, nil, ByTime, twoModels, logs, 100, 100)
		s.send(0, 100)
		s.send(1, 100)
		first := s.cut("when idle")
		for range 5 {
			if c := s.cut("when idle, again"); !sameState(c.Models[2], first.Models[2]) || c.at(1) != first.at(1) {
				t.Fatalf("cut %+v, want %+v", c, first)
			}
		}
		if want := (PartitionPlace{Partition: 1, Next: 100, Settled: 100, End: 100, Passed: record.Batch{Last: 99}}); first.at(1) != want {
			t.Fatalf("place %+v, want %+v", first.at(1), want)
		}
		s.send(0, 150)
		s.send(1, 101)
		if c := s.cut("between two ranges at the tail"); c.records() != 251 || c.at(0).Next != 150 || c.at(1).Start != 100 || c.at(1).End != 101 {
			t.Fatalf("cut %+v with %d records", c.Place, c.records())
		}
		s.source.says(1, 0, 200, 200)
		s.source.tell(1)
		s.send(1, 110)
		if c := s.cut("inside a range at the tail"); c.records() != 260 || c.at(1) != (PartitionPlace{
			Partition: 1, Next: 110, Start: 101, Settled: 200, End: 200, Passed: record.Batch{Base: 101, Last: 109},
		}) {
			t.Fatalf("cut %+v with %d records", c.Place, c.records())
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if c := s.cut("beside others"); c.records() != 260 {
					t.Errorf("cut with %d records", c.records())
				}
			})
			all.Go(func() {
				if state, err := s.State(s.t.Context(), "slow"); err != nil || state.Records != 260 {
					t.Errorf("state %+v, %v", state, err)
				}
			})
		}
		all.Wait()
		s.stop()
		if c := s.cut("after the end"); c.records() != 260 || c.at(1).End != 200 {
			t.Fatalf("cut %+v with %d records", c.Place, c.records())
		}
	})
}

// While rows are held back no cut can be had, and the last one has the place before them, where all of them are ahead.
func TestCutsWhileRowsAreHeld(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			logs := []*testLog{steadyLog(0, 300, 0, 10, 3), steadyLog(1, 300, 5, 10, 3)}
			logs[1].entries[0] = bad(0)
			logs[1].entries[1] = bad(1)
			s := openFrom(t, nil, mode, twoModels, logs, 300, 300)
			if c := s.cut("before anything is there"); c.at(0).Next != 0 || c.at(0).End != 300 || c.Features != 0 || c.Turn != -1 {
				t.Fatalf("cut %+v", c.Place)
			}
			s.send(1, 2)
			if c := s.cut("with refused records alone"); c.at(1).Next != 2 || c.at(1).Passed.Last != 1 {
				t.Fatalf("cut %+v", c.Place)
			}
			s.send(0, 30)
			s.send(1, 40)
			s.stays("with rows held")
			s.stays("with rows held, once more")
			s.stop()
			c := s.cut("after the end")
			if c.at(0).Next != 0 || c.at(1).Next != 2 || c.at(1).Passed.Last != 1 || c.Features != 0 || c.Turn != -1 || c.records() != 0 || len(c.Models[1].Tensors) != 3 {
				t.Fatalf("cut %+v, %+v", c.Place, c.Models)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			for range 20 {
				if again, err := s.Cut(gone); err != nil || again != c {
					t.Fatalf("after the end, with a context that has ended: %v", err)
				}
			}

			s = openFrom(t, c, mode, twoModels, logs, 300, 300)
			s.sends(0, 45)
			s.sends(1, 10)
			s.stays("with rows held after the restart")
			s.sends(1, 300)
			s.sends(0, 200)
			if c := s.cut("after the width is settled"); c.Features != 3 || c.records() < 100 {
				t.Fatalf("cut %+v", c.Place)
			}
			s.sends(0, 300)
			s.stop()
			s.follows(nil, c, map[int32]span{0: {0, 300, 300}, 1: {0, 300, 300}})
			if refused := s.seen.refused; len(refused) > 0 {
				t.Fatalf("refused %v again", refused)
			}
		})
	}
}

// What was passed before the first held row is the models' by then: they are to learn from there on.
func TestPassedBeforeRowsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := steadyLog(0, 150, 0, 10, 3)
		l.entries[0], l.entries[1] = bad(0), bad(1)
		r, err := newRigFrom(nil, newFakeSource(2), ByTime, twoModels...)
		if err != nil {
			t.Fatal(err)
		}
		r.source.says(0, 0, 150, 150)
		r.source.send(t.Context(), l.block(0, 2)) // both before the first look
		r.source.send(t.Context(), l.block(2, 50))
		_, stop := r.start(t)
		synctest.Wait()
		var c *Cut
		asked := make(chan struct{})
		go func() { // to be answered when Run ends
			defer close(asked)
			c, err = r.Cut(t.Context())
		}()
		synctest.Wait()
		stop()
		<-asked
		if err != nil || c.at(0).Next != 2 || c.Models[1].Since[0] != 0 || len(c.Models[1].Since) != 1 {
			t.Fatalf("cut %+v, learned since %v, %v", c.Place, c.Models[1].Since, err)
		}
		s := openFrom(t, c, ByTime, twoModels, []*testLog{l}, 150)
		s.sends(0, 150)
		s.stop()
		if last := s.cut("after the end").Models[1]; last.Records != 148 || last.Since[0] != 0 {
			t.Fatalf("ends as %+v", last)
		}
	})
}

// Behind a lost run the stamp of the batch before is unknown, and the cut says so.
func TestCutBehindALostRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := steadyLog(0, 300, 0, 10, 3)
		l.entries = slices.Delete(l.entries, 150, 160)
		s := openFrom(t, nil, ByTime, twoModels, []*testLog{l}, 300)
		s.send(0, 150)
		s.source.send(s.ctx, &record.Block{Partition: 0, Base: 150, Next: 160, Lost: 10})
		c := s.cut("behind the lost run")
		if c.at(0).Passed != noBatch || c.at(0).Next != 160 || !c.Gap {
			t.Fatalf("cut %+v", c.Place)
		}
		s.stop()
		s = openFrom(t, c, ByTime, twoModels, []*testLog{l}, 300)
		s.sends(0, 300)
		s.stop()
		last := s.cut("after the end")
		if !last.Gap || len(s.seen.lost) > 0 || !sameState(last.Models[1], learnPlainly(twoModels[0], 3, l.entries)) {
			t.Fatalf("ends at %+v, lost %v", last, s.seen.lost)
		}
	})
}

// Cuts do not stop the flow, however slow a model is, and whoever stops waiting for one harms nobody.
func TestCutsOfASlowModel(t *testing.T) {
	var took [2]time.Duration
	for i, cutting := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			logs := []*testLog{steadyLog(0, 20_000, 0, 2, 3), steadyLog(1, 20_000, 1, 2, 3)}
			r, err := newRigFrom(nil, newFakeSource(2), ByTime, twoModels...)
			if err != nil {
				t.Fatal(err)
			}
			r.recorder.slow = 100 * time.Millisecond
			for _, l := range logs {
				r.source.says(l.id, 0, l.end, l.end)
			}
			begun := time.Now()
			ctx, stop := r.start(t)
			want := reference(logs, []map[int32]span{{0: {0, 20_000, 20_000}, 1: {0, 20_000, 20_000}}}, ByTime)
			var others sync.WaitGroup
			done := make(chan struct{})
			answered, gone := make([]int, 4), make([]int, 4)
			for k, patience := range []time.Duration{time.Minute, 350 * time.Millisecond, 120 * time.Millisecond, time.Microsecond} {
				if !cutting {
					break
				}
				others.Go(func() {
					for {
						select {
						case <-done:
							return
						case <-time.After(time.Duration(k+1) * 37 * time.Millisecond):
						}
						limited, cancel := context.WithTimeout(t.Context(), patience)
						c, err := r.Cut(limited)
						cancel()
						switch {
						case errors.Is(err, context.DeadlineExceeded):
							gone[k]++
							continue
						case err != nil:
							t.Error(err)
							return
						}
						answered[k]++
						for _, p := range want.learned[:c.records()] {
							if p.offset >= c.at(p.partition).Next {
								t.Errorf("cut %+v with %d records has not learned %v", c.Place, c.records(), p)
								return
							}
						}
						if sum := c.at(0).Next + c.at(1).Next; int(sum) != c.records() || c.Models[0].Records != c.Models[2].Records {
							t.Errorf("cut %+v with %d records", c.Place, c.records())
							return
						}
					}
				})
			}
			shared(ctx, r.source, logs, 700, 3)
			for len(r.recorder.seen()) < 40_000 {
				time.Sleep(time.Millisecond)
			}
			took[i] = time.Since(begun)
			close(done)
			others.Wait()
			time.Sleep(time.Second)
			limited, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if c, err := r.Cut(limited); err != nil || c.records() != 40_000 {
				t.Fatalf("cut at the end: %+v, %v", c, err)
			}
			stop()
			if d := difference(r.recorder.seen(), want.learned); d != "" {
				t.Fatal(d)
			}
			if cutting {
				t.Logf("answered %v, given up %v", answered, gone)
				if answered[0] == 0 || gone[0] > 0 || gone[3] == 0 {
					t.Fatal("no cuts answered, or none given up")
				}
			}
		})
	}
	t.Logf("learning took %v, with cuts %v", took[0], took[1])
	if took[1] > took[0]*3/2 {
		t.Errorf("learning took %v without cuts and %v with them", took[0], took[1])
	}
}

// Before Run there is nothing to cut, and after it without a record there is an empty place.
func TestCutAroundRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(newFakeSource(0), ByTime, twoModels...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if c, err := r.Cut(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("cut before Run: %+v, %v", c, err)
		}
		var waiting sync.WaitGroup
		for range 3 {
			waiting.Go(func() {
				if _, err := r.Cut(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		r.run(ctx)
		waiting.Wait()
		if c, err := r.Cut(t.Context()); err != nil || len(c.Partitions) > 0 || c.Turn != -1 || len(c.Models) != 3 {
			t.Fatalf("cut after Run: %+v, %v", c, err)
		}
	})
}
