package train

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"learner/pkg/sgd"
)

// shared hands out logs in blocks of size offsets, each partition as long as fewer than share of its blocks are not
// released, and then says that brokers have nothing more. It returns once all is handed out or ctx ends.
func shared(ctx context.Context, source *fakeSource, logs []*testLog, size int64, share int) {
	room := map[int32]chan struct{}{}
	for _, l := range logs {
		room[l.id] = make(chan struct{}, share)
		source.says(l.id, l.first, l.end, l.end)
	}
	source.onFree = func(id int32) { <-room[id] }
	var feeds sync.WaitGroup
	for _, l := range logs {
		feeds.Go(func() {
			for at := l.first; at < l.end; at += size {
				select {
				case room[l.id] <- struct{}{}:
				case <-ctx.Done():
					return
				}
				if !source.send(ctx, l.block(at, min(at+size, l.end))) {
					return
				}
			}
		})
	}
	feeds.Wait()
}

func names(models ...string) []sgd.Spec {
	specs := make([]sgd.Spec, len(models))
	for i, text := range models {
		var err error
		if specs[i], err = sgd.Parse(text); err != nil {
			panic(err)
		}
	}
	return specs
}

// numbers returns the first value of a tensor of a state.
func numbers[T uint64 | float64](t rapid.TB, s State, name string) T {
	t.Helper()
	for _, tensor := range s.Tensors {
		if tensor.Name == name {
			return tensor.Data.([]T)[0]
		}
	}
	t.Fatalf("state without %s", name)
	return 0
}

// Snapshots are immutable, and their records and offsets belong together; the state is to be had at any time, at a
// border, and after the end.
func TestSnapshotsAndState(t *testing.T) {
	logs := []*testLog{steadyLog(0, 20_000, 0, 3, 4), steadyLog(1, 20_000, 1, 3, 4), steadyLog(2, 5_000, 2, 12, 4)}
	rng := map[int32]span{}
	source := newFakeSource(1)
	for _, l := range logs {
		rng[l.id] = span{0, l.end, l.end}
		source.says(l.id, 0, l.end, l.end)
	}
	want := reference(logs, []map[int32]span{rng}, ByTime)
	r := newRig(source, ByTime, names("a=logistic", "b=logistic:rate=0.1")...)
	type answer struct {
		snapshot *Snapshot
		prob     float64
	}
	var answers []answer // for one row, when the snapshot was new
	x := want.entries[0].x
	r.seen.onPublish = func(s *Snapshot) {
		if s.Model == "a" && s.Predictor != nil {
			var prob [1]float64
			s.Predict(prob[:], x, nil)
			answers = append(answers, answer{s, prob[0]})
		}
	}
	ctx, stop := r.start(t)
	var asking sync.WaitGroup
	done := make(chan struct{})
	asking.Go(func() {
		checked := uint64(0)
		for {
			state, err := r.State(t.Context(), "b")
			if err != nil {
				t.Error(err)
				return
			}
			if state.Records > 0 {
				n, seen := numbers[uint64](t, state, "progressive/records"), numbers[float64](t, state, "seen")
				if n != state.Records || seen != float64(n) {
					t.Errorf("state of %d records: progressive/records %d, seen %v", state.Records, n, seen)
				}
			}
			if state.Records > checked+2000 || checked == 0 && state.Records > 0 {
				checked = state.Records
				if plain := learnPlainly(r.cfg.Models[2], 4, want.entries[:checked]); !sameState(state, plain) {
					t.Errorf("state of %d records: got %v, want %v", checked, state, plain)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	})
	shared(ctx, source, logs, 500, 2)
	for r.Snapshots()[1] == nil || !r.Snapshots()[1].CaughtUp {
		time.Sleep(time.Millisecond)
	}
	close(done)
	asking.Wait()
	stop()

	if d := difference(r.recorder.seen(), want.learned); d != "" {
		t.Fatal(d)
	}
	for _, a := range answers {
		var prob [1]float64
		if a.snapshot.Predict(prob[:], x, nil); prob[0] != a.prob {
			t.Fatalf("snapshot of %d records answered %v when new, %v at the end", a.snapshot.Records, a.prob, prob[0])
		}
		if a.snapshot.Features != 4 || a.snapshot.Outputs != 1 || a.snapshot.Correct > a.snapshot.Records {
			t.Fatalf("snapshot %+v", a.snapshot)
		}
	}
	out := played{snapshots: r.seen.snapshots}
	out.checkSnapshots(t, logs, want)
	for _, s := range r.Snapshots() {
		if s.Records != 45_000 || s.Next[0] != 20_000 || s.Next[1] != 20_000 || s.Next[2] != 5_000 || !s.CaughtUp {
			t.Fatalf("last snapshot %+v", s)
		}
	}
	t.Logf("%d snapshots", len(r.seen.snapshots))
}

// A stop in the middle: the batch in hand is learned by all models, and Run returns.
func TestCleanStop(t *testing.T) {
	for _, at := range []int{0, 50, 99, 150, 3000} {
		logs := []*testLog{steadyLog(0, 20_000, 0, 3, 4), steadyLog(1, 20_000, 1, 3, 4)}
		source := newFakeSource(1)
		r := newRig(source, ByTime, names("a=logistic", "b=logistic:rate=0.1")...)
		ctx, cancel := context.WithCancel(t.Context())
		var feeds sync.WaitGroup
		if at == 0 {
			cancel()
		}
		feeds.Go(func() {
			for from := int64(0); from < 20_000; from += 10 {
				if from*2 >= int64(at) {
					cancel()
				}
				for _, l := range logs {
					if !source.send(ctx, l.block(from, from+10)) {
						return
					}
				}
			}
		})
		for _, l := range logs {
			source.says(l.id, 0, l.end, l.end)
		}
		r.run(ctx)
		cancel()
		feeds.Wait()

		records := len(r.recorder.seen())
		want := reference(logs, []map[int32]span{{0: {0, 20_000, 20_000}, 1: {0, 20_000, 20_000}}}, ByTime)
		if d := difference(r.recorder.seen(), want.learned[:records]); d != "" {
			t.Fatal(d)
		}
		if at < 99 && records > 0 {
			t.Fatalf("stopped at %d: learned %d, though the width cannot be settled", at, records)
		}
		for i, s := range r.Snapshots() {
			if s == nil || int(s.Records) != records || s.CaughtUp {
				t.Fatalf("stopped at %d: last snapshot of model %d %+v, want %d records", at, i, s, records)
			}
			sum := int64(0)
			for _, next := range s.Next {
				sum += next
			}
			if sum != int64(records) {
				t.Fatalf("stopped at %d: next offsets %v with %d records", at, s.Next, records)
			}
			if i > 0 {
				state, err := r.State(t.Context(), s.Model)
				if plain := learnPlainly(r.cfg.Models[i], 4*min(records, 1), want.entries[:records]); err != nil || !sameState(state, plain) {
					t.Fatalf("stopped at %d: state of %s after the end: %v, %v, want %v", at, s.Model, state, err, plain)
				}
			}
		}
	}
}

// A slow model slows the source down: no more is released than was learned and what lies between, and no partition that
// is far ahead keeps the one that is waited for from coming.
func TestSlowModel(t *testing.T) {
	for _, mode := range []Mode{ByTime, ByProgress} {
		synctest.Test(t, func(t *testing.T) {
			const share = 3
			// Partition 0 is early as a whole, partition 3 late as a whole.
			logs := []*testLog{
				steadyLog(0, 20_000, 0, 1, 3), steadyLog(1, 20_000, 10_000, 1, 3),
				steadyLog(2, 200, 0, 100, 3), steadyLog(3, 20_000, 1_000_000, 1, 3),
			}
			source := newFakeSource(2)
			r := newRig(source, mode, logistic)
			r.recorder.slow = 100 * time.Millisecond
			for _, l := range logs {
				source.says(l.id, 0, l.end, l.end)
			}
			ctx, stop := r.start(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				shared(ctx, source, logs, 700, share)
			}()
			for fed := false; !fed; {
				select {
				case <-done:
					fed = true
				case <-time.After(50 * time.Millisecond):
				}
				synctest.Wait()
				if n := source.outstanding(); n > len(logs)*share {
					t.Fatalf("%d blocks are out", n)
				}
				source.mu.Lock()
				ahead := source.rows - len(r.recorder.seen())
				source.mu.Unlock()
				if most := (batchesEach + 2) * batchRows; ahead > most {
					t.Fatalf("%d rows released and not learned, want %d at most", ahead, most)
				}
			}
			time.Sleep(time.Minute)
			if p := r.Progress(); !p.CaughtUp || len(r.recorder.seen()) != 60_200 {
				t.Fatalf("learned %d rows, progress %+v", len(r.recorder.seen()), p)
			}
			stop()
			rng := map[int32]span{}
			for _, l := range logs {
				rng[l.id] = span{0, l.end, l.end}
			}
			if d := difference(r.recorder.seen(), reference(logs, []map[int32]span{rng}, mode).learned); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func TestStateOfNoModel(t *testing.T) {
	tr, err := New(Config{Models: names("logistic"), Observer: newWitness(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.State(t.Context(), "svm"); err == nil {
		t.Error("state of a model that is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.State(ctx, "logistic"); err == nil {
		t.Error("state before Run, without waiting")
	}
	if s := tr.Snapshots(); len(s) != 1 || s[0] != nil {
		t.Errorf("snapshots before Run: %v", s)
	}
}
