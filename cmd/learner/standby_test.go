package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
	"learner/pkg/checkpoint"
)

// session is how long the coordinator takes to give up a member that is silent, by default.
const session = 10 * time.Second

// slowly makes the brokers hand out a topic a batch at a time, with a pause before each, so that a small topic is learned
// for a while. The function that it returns ends that.
func slowly(b *broker.Broker, topic string, pause time.Duration) (hurry func()) {
	var over atomic.Bool
	b.Fake.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		f := r.(*kmsg.FetchRequest)
		if len(f.Topics) > 0 && f.Topics[0].Topic == topic && !over.Load() {
			f.MaxBytes = 1
			b.Fake.SleepControl(func() { time.Sleep(pause) })
		}
		return nil, nil, false
	})
	return func() { over.Store(true) }
}

// shortenedSession is what shortSession sets.
const shortenedSession = 3 * time.Second

// shortSession makes the coordinator give a silent member up sooner than it was asked to.
func shortSession(b *broker.Broker) {
	b.Fake.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake.KeepControl()
		r.(*kmsg.JoinGroupRequest).SessionTimeoutMillis = int32(shortenedSession.Milliseconds())
		return nil, nil, false
	})
}

// holds waits until the process has the partitions, and learns.
func (r *running) holds() {
	r.t.Helper()
	r.eventually("has the partitions", func() bool { return r.records() > 0 && r.status().Role == "holder" })
}

// standsBy waits until the process stands by, and is ready to take over.
func (r *running) standsBy() {
	r.t.Helper()
	r.eventually("stands by", func() bool { return r.status().Role == "standby" })
	r.answersReady()
}

// answersReady waits until the process is ready, in whatever role.
func (r *running) answersReady() {
	r.t.Helper()
	r.eventually("is ready", func() bool {
		code, _ := r.get("/readyz")
		return code == http.StatusOK
	})
}

// kill ends the process as a crash would.
func (v *victim) kill() {
	if code := v.stop(); code != -1 {
		v.t.Errorf("exit code %d of a process that is killed", code)
	}
}

// opened waits until the process listens.
func (v *victim) opened() *victim {
	v.t.Helper()
	v.eventually("listens", func() bool {
		if m := listening.FindStringSubmatch(v.log.String()); m != nil {
			v.url = "http://" + m[1]
		}
		return v.url != ""
	})
	return v
}

// TestFollow holds that a standby shows and answers what the holder committed last, and goes on from there when the
// holder stops.
func TestFollow(t *testing.T) {
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			base := startCluster(t, cluster)
			base.create(t, 3, nil)
			base.write(t, lines[:3000])
			for _, store := range []string{"topic", "dir"} {
				t.Run(store, func(t *testing.T) { follows(t, base.kept(t, store), lines) })
			}
		})
	}
}

func follows(t *testing.T, c *testCluster, lines []string) {
	holder := startService(t, c)
	holder.ready()
	n := holder.records()
	standby := startService(t, c)
	standby.standsBy()
	followed := func() bool {
		h, s := holder.status(), standby.status()
		return s.Role == "standby" && s.Lineage == h.Lineage && s.Sequence == h.Sequence && len(s.Models) > 0 &&
			s.Models[0].Records == h.Models[0].Records
	}
	standby.eventually("follows", followed)
	same(t, "standby", standby.state(), holder.state())
	for role, want := range map[string]float64{"standby": 1, "holder": 0} {
		if got := standby.metrics()[`learner_role{role="`+role+`"}`]; got != want {
			t.Errorf("learner_role of the standby: %s is %v", role, got)
		}
	}

	c.write(t, lines[n:n+300])
	holder.learns(n + 300)
	standby.eventually("follows what is new", followed)
	want := holder.state()
	same(t, "standby after more records", standby.state(), want)
	if got := standby.consumed(c); got != 0 {
		t.Errorf("a standby has learned %d records", got)
	}

	holder.stops()
	stopped := time.Now()
	standby.eventually("takes over", func() bool {
		st := standby.status()
		return st.Role == "holder" && len(standby.rows()) > 0
	})
	took := time.Since(stopped)
	t.Logf("taken over %.2f s after a clean stop", took.Seconds())
	if took > 2*time.Second {
		t.Errorf("taken over %s after a clean stop", took)
	}
	standby.learns(n + 300)
	standby.decides(checkpoint.RowResume)
	same(t, "after the take-over", standby.state(), want)
	c.write(t, lines[n+300:n+400])
	standby.learns(n + 400)
	if got := standby.consumed(c); got != 100 {
		t.Errorf("%d records learned since the take-over, want 100", got)
	}
	standby.stops()
}

// TestTakeOver holds that a standby goes on from the last committed cut when the holder is killed in the middle.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	binary := buildLearner(t)
	lines := susyLines(t)
	for _, store := range []string{"topic", "dir"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c, b := embedded(t, broker.Options{})
			c.create(t, 3, nil)
			c.write(t, lines[:3000])
			want := c.reference(t)
			c = c.kept(t, store)
			hurry := slowly(b, c.train, 50*time.Millisecond)
			holder := startVictim(t, binary, c).opened()
			holder.holds()
			standby := startService(t, c)
			standby.standsBy()
			standby.eventually("follows a checkpoint in the middle", func() bool { return standby.records() > 0 })
			holder.kill()
			killed := time.Now()
			standby.eventually("takes over", func() bool { return len(standby.rows()) > 0 })
			took := time.Since(killed)
			t.Logf("taken over %.2f s after SIGKILL", took.Seconds())
			if took > session+2*time.Second {
				t.Errorf("taken over %s after SIGKILL", took)
			}
			hurry()
			standby.learns(3000)
			standby.decides(checkpoint.RowResume)
			same(t, "after the take-over", standby.state(), want)
			if got := standby.consumed(c); got == 0 || got == 3000 {
				t.Errorf("the standby has learned %d of 3000 records", got)
			}
			standby.stops()
		})
	}
}

// TestStaticMember holds that a process that was killed has its partitions back at once when it carries an instance id,
// and that a reset by the environment happens once however often it is killed.
func TestStaticMember(t *testing.T) {
	binary := buildLearner(t)
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster).kept(t, "topic")
			c.create(t, 3, nil)
			c.write(t, lines[:3000])
			c.env = c.with("LEARNER_INSTANCE_ID=one")
			member := startVictim(t, binary, c).opened()
			member.learns(3000)
			member.eventually("commits", func() bool { return member.status().Sequence > 1 })
			standby := startService(t, c, "LEARNER_INSTANCE_ID=two")
			standby.standsBy()
			member.kill()
			c.write(t, lines[3000:3100])
			started := time.Now()
			member = startVictim(t, binary, c).opened()
			member.eventually("learns", func() bool { return member.records() == 3100 })
			took := time.Since(started)
			t.Logf("learns again %.2f s after its restart", took.Seconds())
			if took > 2*time.Second {
				t.Errorf("a static member learns again %s after its restart", took)
			}
			if rows := standby.rows(); len(rows) > 0 {
				t.Errorf("the standby decided %v", rows)
			}
			standby.stops()

			// Crash loop.
			member.kill()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			before := c.lineage(t)
			begun := ""
			for i := 0; i < 8 || begun == ""; i++ {
				member = startVictim(t, binary, c, "LEARNER_RESET=earliest", "LEARNER_RESET_ID=again")
				member.within(time.Duration(random.IntN(400))*time.Millisecond, func() bool { return false })
				member.kill()
				now := c.lineage(t)
				if begun != "" && now != begun {
					t.Fatalf("crash %d: lineage %s after the reset to %s", i, now, begun)
				}
				if now != before {
					begun = now
				}
			}
			member = startVictim(t, binary, c, "LEARNER_RESET=earliest", "LEARNER_RESET_ID=again").opened()
			member.learns(3100)
			if got := member.status().Lineage; got != begun {
				t.Errorf("lineage %s, the reset began %s", got, begun)
			}

			// Another process with the same id ends the first.
			second := startService(t, c)
			second.eventually("learns", func() bool { return second.records() == 3100 })
			select {
			case <-member.ended:
			case <-time.After(10 * time.Second):
				t.Fatal("two processes carry one instance id")
			}
			if code := member.process.ProcessState.ExitCode(); code != exitFailure || !strings.Contains(member.log.String(), "LEARNER_INSTANCE_ID") {
				t.Errorf("exit code %d", code)
			}
			second.stops()
		})
	}
}

// lineage returns the lineage that is committed.
func (c *testCluster) lineage(t *testing.T) string {
	t.Helper()
	return newestOf(c.commits(t)).Lineage
}

// TestRollingRestart holds that two members can be restarted one after the other, each when the other is ready, with one
// ready at any moment; and that one whose configuration would be refused stops such a roll-out.
func TestRollingRestart(t *testing.T) {
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster).kept(t, "topic")
			c.create(t, 3, nil)
			c.write(t, lines[:3000])
			one := startService(t, c)
			one.learns(3000)
			one.eventually("commits what it has learned", func() bool { return one.status().Sequence > 1 })
			two := startService(t, c)
			two.standsBy()
			two.eventually("answers", func() bool { return two.records() == 3000 })

			watch := newWatch(t, one.url, two.url)
			one.stops()
			three := startService(t, c)
			watch.add(three.url)
			three.answersReady() // it may have come in time to have the partitions
			two.stops()
			four := startService(t, c)
			watch.add(four.url)
			four.answersReady()
			holder := three
			holder.eventually("or its successor takes over", func() bool {
				if four.status().Role == "holder" {
					holder = four
				}
				return holder.status().Role == "holder"
			})
			watch.end(t)

			for name, env := range map[string]string{"seed": "LEARNER_SEED=2", "models": "LEARNER_MODELS=logistic:rate=0.1"} {
				wrong := startService(t, c, env)
				wrong.eventually("says that it could not take over", func() bool {
					code, body := wrong.get("/readyz")
					return code == http.StatusServiceUnavailable && strings.Contains(string(body), "configuration does not fit checkpoint")
				})
				if st := wrong.status(); st.Role != "standby" {
					t.Errorf("another %s: role %s", name, st.Role)
				}
				n := holder.records()
				c.write(t, lines[:30])
				holder.eventually("learns on", func() bool { return holder.records() >= n+30 })
				if code, _ := wrong.get("/readyz"); code == http.StatusOK {
					t.Errorf("another %s: ready", name)
				}
				wrong.stops()
			}

			// A reset that waits does not stop a roll-out.
			waiting := startService(t, c, "LEARNER_RESET=earliest", "LEARNER_RESET_ID=rolled", "LEARNER_SEED=2")
			waiting.standsBy()
			if note := waiting.status().Note; !strings.Contains(note, "reset rolled") {
				t.Errorf("note %q", note)
			}
			n := holder.records()
			for _, member := range []*running{three, four} {
				if member != holder {
					member.stops()
				}
			}
			holder.stops()
			waiting.learns(n)
			waiting.decides(checkpoint.RowReset)
			waiting.stops()
		})
	}
}

// watch looks all the time whether one of several members is ready and answers.
type watch struct {
	mu    sync.Mutex
	urls  []string
	looks int
	gaps  []string

	stop, stopped chan struct{}
}

func newWatch(t *testing.T, urls ...string) *watch {
	w := &watch{urls: urls, stop: make(chan struct{}), stopped: make(chan struct{})}
	go func() {
		defer close(w.stopped)
		for {
			select {
			case <-w.stop:
				return
			case <-time.After(5 * time.Millisecond):
				w.look()
			}
		}
	}()
	t.Cleanup(func() { w.end(t) })
	return w
}

func (w *watch) add(url string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.urls = append(w.urls, url)
}

// look asks all members, the newest first.
func (w *watch) look() {
	w.mu.Lock()
	urls := slices.Clone(w.urls)
	w.looks++
	w.mu.Unlock()
	var answers []string
	for _, url := range slices.Backward(urls) {
		code, text := ask(url + "/readyz")
		if code != http.StatusOK {
			answers = append(answers, text)
			continue
		}
		if code, text = ask(url + "/api/models/logistic/state"); code == http.StatusOK {
			return
		}
		answers = append(answers, text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gaps = append(w.gaps, time.Now().Format(time.StampMilli)+": "+strings.Join(answers, "; "))
}

func ask(url string) (code int, text string) {
	response, err := http.Get(url)
	if err != nil {
		return 0, "gone"
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	_, _ = body.ReadFrom(response.Body)
	return response.StatusCode, fmt.Sprintf("%d %.200s", response.StatusCode, body.String())
}

// end stops looking, and holds that there was no gap.
func (w *watch) end(t *testing.T) {
	select {
	case <-w.stop:
		return
	default:
	}
	close(w.stop)
	<-w.stopped
	t.Logf("%d looks at two members that are restarted in turn", w.looks)
	if len(w.gaps) > 0 {
		t.Errorf("nobody was ready in %d of %d looks:\n%s", len(w.gaps), w.looks, strings.Join(w.gaps[:min(len(w.gaps), 10)], "\n"))
	}
}

// step is where a holder is stopped in its way to a committed checkpoint.
type step struct {
	name string
	// reached reports whether a request is the one before which the holder is stopped.
	reached func(kmsg.Request) bool
	late    bool // the request arrives after the take-over; otherwise it never left
	handled bool // it arrives, and the holder stops without hearing so
}

// TestFencing stops a holder by SIGSTOP in each of its steps, lets a standby take over, and wakes it up: what it writes
// then is never restored, and its commit is refused.
func TestFencing(t *testing.T) {
	t.Parallel()
	binary := buildLearner(t)
	produces := func(with, without string) func(kmsg.Request) bool {
		return func(r kmsg.Request) bool {
			p, ok := r.(*kmsg.ProduceRequest)
			if !ok || len(p.Topics) != 1 || p.Topics[0].Topic != "checkpoints" {
				return false
			}
			records := p.Topics[0].Partitions[0].Records
			return bytes.Contains(records, []byte(with)) && !bytes.Contains(records, []byte(without))
		}
	}
	chunk, manifest := produces("/0000", "/manifest"), produces("/manifest", "/0000")
	commit := func(r kmsg.Request) bool { _, ok := r.(*kmsg.OffsetCommitRequest); return ok }
	for _, s := range []step{
		{name: "before the chunks", reached: chunk},
		{name: "chunks on their way", reached: chunk, late: true},
		{name: "between chunks and manifest", reached: manifest},
		{name: "manifest on its way", reached: manifest, late: true},
		{name: "between manifest and commit", reached: commit},
		{name: "commit on its way", reached: commit, late: true},
		{name: "after the commit", reached: commit, handled: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			fenced(t, binary, s)
		})
	}
}

func fenced(t *testing.T, binary string, s step) {
	c, b := embedded(t, broker.Options{Fake: []kfake.Opt{kfake.GroupMinSessionTimeout(time.Second)}})
	shortSession(b)
	c.create(t, 3, nil)
	c.write(t, susyLines(t)[:3000])
	want := c.reference(t)
	hurry := slowly(b, c.train, 50*time.Millisecond)
	holder := startVictim(t, binary, c).opened()
	holder.holds()
	standby := startService(t, c)
	standby.standsBy()
	standby.eventually("follows a checkpoint in the middle", func() bool { return standby.records() > 0 })

	var inTheAir string // id of the checkpoint at which the holder was stopped
	stopped, takenOver := make(chan struct{}), make(chan struct{})
	control := func(r kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-stopped:
			return nil, nil, false // once
		default:
		}
		if !s.reached(r) {
			return nil, nil, false
		}
		if err := syscall.Kill(holder.process.Process.Pid, syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		switch r := r.(type) {
		case *kmsg.ProduceRequest:
			inTheAir = string(checkpointKey.FindSubmatch(r.Topics[0].Partitions[0].Records)[1])
		case *kmsg.OffsetCommitRequest:
			inTheAir = *r.Topics[0].Partitions[0].Metadata
		}
		close(stopped)
		switch {
		case s.handled:
			return nil, nil, false
		case s.late:
			b.Fake.SleepControl(func() { <-takenOver })
			return nil, nil, false
		}
		return nil, errors.New("the request never left"), true
	}
	b.Fake.ControlKey(int16(kmsg.Produce), control)
	b.Fake.ControlKey(int16(kmsg.OffsetCommit), control)
	select {
	case <-stopped:
	case <-time.After(20 * time.Second):
		t.Fatal("the holder does not come to this step")
	}
	at, first := time.Now(), c.writer(t)
	standby.eventually("takes over", func() bool { return len(standby.rows()) > 0 })
	t.Logf("taken over %.2f s after SIGSTOP", time.Since(at).Seconds())
	standby.eventually("commits", func() bool { return c.writer(t) != first })
	close(takenOver)
	if err := syscall.Kill(holder.process.Process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	holder.eventually("stands by", func() bool { return holder.status().Role == "standby" })
	hurry()
	standby.learns(3000)
	standby.decides(checkpoint.RowResume)
	same(t, "after the take-over", standby.state(), want)
	restored := restoredID.FindStringSubmatch(standby.log.String())[1]
	if (restored == inTheAir) != s.handled {
		t.Errorf("restored %s; the holder was stopped at %s", restored, inTheAir)
	}
	if !holder.alive() {
		t.Error("the process that lost the partitions has ended")
	}
	if rows := standby.rows(); len(rows) != 1 {
		t.Errorf("the standby has decided %d times", len(rows))
	}

	// Everything that is committed is of the one that took over, and the other follows it.
	holder.eventually("follows", func() bool { return holder.records() == 3000 && maps.Equal(holder.state(), want) })
	standby.stops()
	holder.eventually("takes over again", func() bool { return len(holder.rows()) == 2 })
	holder.learns(3000)
	same(t, "back at the first holder", holder.state(), want)
}

// TestPausedHolder stops a holder by SIGSTOP at a random moment while records arrive, on a real broker, and wakes it up
// when a standby has taken over: every record counts once.
func TestPausedHolder(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "kafka").kept(t, "topic")
	lines := susyLines(t)
	c.create(t, 3, nil)
	c.write(t, lines[:1000])
	holder := startVictim(t, buildLearner(t), c).opened()
	holder.learns(1000)
	standby := startService(t, c)
	standby.standsBy()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c.write(t, lines[1000:2000])
	time.Sleep(time.Duration(rand.New(rand.NewPCG(seed, 0)).IntN(200)) * time.Millisecond)
	if err := syscall.Kill(holder.process.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.write(t, lines[2000:3000])
	standby.learns(3000)
	standby.decides(checkpoint.RowResume)
	if err := syscall.Kill(holder.process.Process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.write(t, lines[3000:4000])
	holder.eventually("stands by", func() bool { return holder.status().Role == "standby" })
	standby.learns(4000)
	holder.eventually("follows", func() bool { return holder.records() == 4000 && maps.Equal(holder.state(), standby.state()) })
	if rows := standby.rows(); len(rows) != 1 {
		t.Errorf("the standby has decided %d times", len(rows))
	}
}

var (
	checkpointKey = regexp.MustCompile(`group/([0-9a-f]+/[0-9]+/[0-9a-f]+)/(?:[0-9]{4}|manifest)`)
	restoredID    = regexp.MustCompile(`resume from checkpoint ([0-9a-f]+/[0-9]+/[0-9a-f]+)`)
)

// writer returns who wrote the checkpoint that is committed.
func (c *testCluster) writer(t *testing.T) string {
	t.Helper()
	return newestOf(c.commits(t)).Writer
}
