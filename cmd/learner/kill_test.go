package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/producer"
	"learner/pkg/sgd"
)

const (
	// cheapModels are many of the cheapest kind, so that there is time to kill.
	cheapModels = "logistic:scaler=plain;a=logistic:scaler=plain,rate=0.1;b=logistic:scaler=plain,rate=0.2;" +
		"c=logistic:scaler=plain,rate=0.3;d=logistic:scaler=plain,rate=0.4;e=logistic:scaler=plain,rate=0.6;" +
		"f=logistic:scaler=plain,rate=0.7;g=logistic:scaler=plain,rate=0.8"
	// killRound is how many kills at random moments one group gets.
	killRound = 20
	// A process learns at most so long before it is killed: a few checkpoints, or hardly one on a fast machine.
	leastSpan, mostSpan = 120 * time.Millisecond, 500 * time.Millisecond
)

// killPlaces are the points to die at in a round, besides the random moments.
var killPlaces = []string{
	"manifest 1", "commit 2", "restore 1", "chunks 1", "manifest 1", "restore 1", "chunks 2", "manifest 2", "commit 1",
}

// everyKind returns models of all kinds that there are; the largest ones in a smaller size.
func everyKind() string {
	options := map[string]string{"forest": ":trees=2", "zoo": ":experts=quad+pwl8+mlp+relu64+knn"}
	var models []string
	for _, kind := range sgd.Kinds() {
		models = append(models, kind+options[kind])
	}
	return strings.Join(models, ";")
}

// killCase is a log that is complete before the first start, and how it is learned.
type killCase struct {
	models, store, order string
	largest              int               // record of the checkpoint topic, so small that a checkpoint has several chunks
	configs              map[string]string // of the topics
}

const (
	smallRecords = 16 << 10 // for a few models
	largeRecords = 256 << 10
)

// The embedded broker does not stamp records itself, whatever the configuration says: see TestKillingShows.
var killCases = []killCase{
	{everyKind(), "topic", "time", largeRecords, nil},
	{everyKind(), "dir", "time", largeRecords, map[string]string{"message.timestamp.type": "LogAppendTime"}},
}

// trial kills a learner of a group of its own again and again.
type trial struct {
	t       *testing.T
	c       *testCluster
	client  *consumer.Client
	store   checkpoint.Store
	stock   string            // the binary to be killed at random moments
	pointed string            // the one that dies at kill points
	want    map[string]string // the models' states of a run that was never stopped
	random  *rand.Rand
	span    time.Duration // for which a process learns at most before it is killed at a random moment

	starts, resumed int            // that decided; of them those that went on above the beginning
	middle          int            // starts below the end of the log
	landed          map[string]int // kills by where they hit
	lineage         string
	entries         map[checkpoint.ID]bool // that were in the store before the last start
	faults          []string
}

// newTrial returns a trial for a case on a cluster, whose topics are there.
func newTrial(t *testing.T, c *testCluster, k killCase, group, stock, pointed string) *trial {
	t.Helper()
	own := *c
	own.group = c.group + group
	dir := t.TempDir()
	own.env = c.with("LEARNER_GROUP="+own.group, "LEARNER_INSTANCE_ID=victim", "LEARNER_MODELS="+k.models,
		"LEARNER_CHAMPION=best", "LEARNER_TWIN_AGE=10000",
		"LEARNER_ORDER="+k.order, "LEARNER_CHECKPOINT="+k.store, "LEARNER_CHECKPOINT_DIR="+dir,
		"LEARNER_CHECKPOINT_TOPIC="+c.train+".checkpoints", "LEARNER_CHECKPOINT_INTERVAL=100ms", "GOMAXPROCS=1")
	cfg, err := loadConfig(own.env, t.TempDir(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafkaClient(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var store checkpoint.Store = checkpoint.NewTopic(&kafkaLog{client: client, topic: cfg.CheckpointTopic}, own.group)
	if k.store == "dir" {
		if store, err = checkpoint.NewDir(dir, own.group); err != nil {
			t.Fatal(err)
		}
	}
	_, err = producer.EnsureTopic(t.Context(), client.Kafka(), cfg.CheckpointTopic, 1, -1,
		map[string]string{"cleanup.policy": "compact", "max.message.bytes": strconv.Itoa(k.largest)})
	if err != nil {
		t.Fatal(err)
	}
	return &trial{
		t: t, c: &own, client: client, store: store, stock: stock, pointed: pointed,
		span: mostSpan, landed: make(map[string]int), entries: make(map[checkpoint.ID]bool),
	}
}

// fault notes something that must not happen to a learner that is as it should be.
func (r *trial) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// asked returns what the brokers answer, once they do: a coordinator may need a moment to come up.
func asked[T any](t *testing.T, ask func() (T, error)) T {
	t.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		answer, err := ask()
		if err == nil {
			return answer
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// commits returns what the group has committed.
func (r *trial) commits() map[int32]consumer.Commit {
	r.t.Helper()
	return asked(r.t, func() (map[int32]consumer.Commit, error) {
		return r.client.Commits(r.t.Context(), r.c.group, r.c.train, []int32{0, 1, 2, 3, 4})
	})
}

// atRandom lets a process live for a while, mostly counted from when it begins to learn.
func (r *trial) atRandom() {
	r.t.Helper()
	early, span := r.random.IntN(4) == 0, r.random.Int64N(int64(r.span))
	r.life(r.stock, "", func(v *victim) {
		if !early && !v.within(time.Minute, func() bool { return v.find(learningLine) != nil }) {
			r.t.Fatalf("the process does not begin to learn:\n%s", v.log)
		}
		if early {
			span /= 2
		}
		time.Sleep(time.Duration(span))
	})
}

// at lets a process live until it dies at a point, or is ready and will come there no more.
func (r *trial) at(point string) {
	r.t.Helper()
	r.life(r.pointed, point, func(v *victim) {
		if !v.within(2*time.Minute, v.isReady) && v.alive() {
			r.t.Fatalf("the process neither dies nor gets ready:\n%s", v.log)
		}
		select {
		case <-v.ended:
		case <-time.After(time.Second): // while it keeps the last checkpoints
		}
	})
}

// life starts a process, waits, kills it, and looks what is left.
func (r *trial) life(binary, point string, wait func(*victim)) {
	r.t.Helper()
	before := r.commits()
	v := startVictim(r.t, binary, r.c, "KILL_AT="+point)
	wait(v)
	v.stop()
	if !v.killed() {
		r.t.Fatalf("the process ended by itself: %s\n%s", v.process.ProcessState, v.log)
	}
	r.looked(v, before)
	place := r.where(v)
	r.landed[place]++
	if learning := v.find(learningLine); learning != nil {
		r.t.Logf("from checkpoint %d at %v to a kill %s", learning.Checkpoint.Sequence, learning.Offsets, place)
	} else {
		r.t.Logf("to a kill %s before it learned", place)
	}
}

// looked compares what a start decided with the commits that were there before it.
func (r *trial) looked(v *victim, before map[int32]consumer.Commit) {
	r.t.Helper()
	decided, learning := v.find(decidedLine), v.find(learningLine)
	for _, c := range before {
		if origin, id := checkpoint.ParseMetadata(c.Metadata); r.lineage == "" && origin == checkpoint.Ours {
			r.lineage = id.Lineage
		}
	}
	if decided == nil {
		return
	}
	r.starts++
	row := decided.Row
	if row != checkpoint.RowResume && len(before) > 0 {
		r.fault("start decided by row %s, with commits", row)
	}
	if learning == nil {
		return
	}
	if lineage := learning.Checkpoint.Lineage; r.lineage != "" && lineage != r.lineage {
		r.fault("a start in lineage %s, after one in %s", lineage, r.lineage)
	}
	var next, end int64
	for p, offset := range learning.Offsets {
		next += offset
		if committed := before[p].Offset; offset < committed {
			r.fault("%d records of partition %d are learned again that were committed", committed-offset, p)
		}
	}
	ends := asked(r.t, func() (map[int32]consumer.Offsets, error) {
		return r.client.Ends(r.t.Context(), r.c.train, slices.Collect(maps.Keys(learning.Offsets)))
	})
	for _, e := range ends {
		end += e.LastStable
	}
	if row == checkpoint.RowResume && next > 0 {
		r.resumed++
	}
	if next < end {
		r.middle++
	}
}

// where finds out by what a process left behind where it was killed.
func (r *trial) where(v *victim) string {
	r.t.Helper()
	entries := asked(r.t, func() ([]checkpoint.Entry, error) { return r.store.List(r.t.Context()) })
	place := "elsewhere"
	if decided := v.find(decidedLine); decided != nil && decided.Row != checkpoint.RowFresh && v.find(learningLine) == nil {
		place = "during a restore"
	}
	if len(entries) > 0 && !r.entries[entries[0].ID] {
		switch e := entries[0]; {
		case errors.Is(e.Err, checkpoint.ErrUnfinished):
			place = "between chunks and manifest"
		case e.Err != nil:
			r.fault("checkpoint %s: %v", e.ID, e.Err)
		case r.commits()[0].Metadata != e.ID.String():
			place = "between manifest and commit"
		}
	}
	clear(r.entries)
	for _, e := range entries {
		r.entries[e.ID] = true
	}
	return place
}

// finish lets a last process learn to the end, and compares what it has learned.
func (r *trial) finish() {
	r.t.Helper()
	before := r.commits()
	v := startVictim(r.t, r.stock, r.c)
	got := r.outcome(v)
	v.stop()
	r.looked(v, before)
	for _, name := range slices.Sorted(maps.Keys(r.want)) {
		if got[name] != r.want[name] {
			r.fault("the state of model %q is not that of a run that was never stopped", name)
		}
	}
	if 2*r.resumed < r.starts {
		r.fault("only %d of %d starts resumed from the last commit above the beginning", r.resumed, r.starts)
	}
}

// outcome waits until a process has learned everything and committed that. It returns the state of each model, and under no
// name that of their comparison.
func (r *trial) outcome(v *victim) map[string]string {
	r.t.Helper()
	all := v.states()
	end := asked(r.t, func() (map[int32]consumer.Offsets, error) {
		return r.client.Ends(r.t.Context(), r.c.train, slices.Collect(maps.Keys(r.commits())))
	})
	if !v.within(time.Minute, func() bool {
		for p, c := range r.commits() {
			if c.Offset != end[p].LastStable {
				return false
			}
		}
		return true
	}) {
		r.t.Fatalf("the process does not commit what it has learned:\n%s", v.log)
	}
	all[""] = parts(r.t, r.committed())[""]
	return all
}

// reference returns the states of a run that is never stopped, which learns every row once, and how long it took.
func (r *trial) reference(rows int) (states map[string]string, took time.Duration) {
	r.t.Helper()
	began := time.Now()
	v := startVictim(r.t, r.stock, r.c)
	states = r.outcome(v)
	took = time.Since(began)
	for _, m := range v.status().Models {
		if m.Records != uint64(rows) {
			r.t.Errorf("model %s has learned %d records of %d", m.Name, m.Records, rows)
		}
	}
	v.stop()
	return states, took
}

// killSeed returns the seed of a test's random moments, which it prints.
func killSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("KILL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("KILL_SEED=%d", seed)
	return seed
}

// onPlainClusters runs a test on the embedded broker and, where the environment names one, on a real Apache Kafka.
func onPlainClusters(t *testing.T, test func(t *testing.T, c *testCluster)) {
	t.Helper()
	for _, name := range []string{"embedded", "kafka"} {
		t.Run(name, func(t *testing.T) { test(t, startCluster(t, name)) })
	}
}

// TestKilledEndsAlike holds that a learner that is killed with SIGKILL, at random moments and at each step of keeping a
// checkpoint, ends with the same bits as one that was never stopped. KILLS says how many random kills there are (20); the
// long form has 200. KILL_SEED repeats the random moments of an earlier run as far as time can be repeated.
func TestKilledEndsAlike(t *testing.T) {
	needsTime(t)
	kills := killRound
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	stock, pointed := buildLearner(t), buildLearner(t, killPoints...)
	seed := killSeed(t)
	onPlainClusters(t, func(t *testing.T, cluster *testCluster) {
		for _, k := range killCases {
			t.Run(k.store, func(t *testing.T) {
				c := cluster.renamed(k.store)
				rows := writeKillLog(t, c, everyRecords, k.configs)
				want, took := newTrial(t, c, k, ".never", stock, pointed).reference(rows)
				for round := 0; round*killRound < kills; round++ {
					r := newTrial(t, c, k, ".killed"+strconv.Itoa(round), stock, pointed)
					r.span = min(max(took/5, leastSpan), mostSpan)
					r.want, r.random = want, rand.New(rand.NewPCG(seed, uint64(round)))
					places := slices.Clone(killPlaces)
					for i := range min(killRound, kills-round*killRound) {
						if i%2 == 0 && len(places) > 0 {
							r.at(places[0])
							places = places[1:]
						}
						r.atRandom()
					}
					r.finish()
					for _, fault := range r.faults {
						t.Error(fault)
					}
					for _, place := range []string{"between chunks and manifest", "between manifest and commit", "during a restore"} {
						if r.landed[place] == 0 {
							t.Errorf("no kill %s", place)
						}
					}
					if 3*r.middle < r.starts {
						t.Errorf("only %d of %d starts were in the middle of the log", r.middle, r.starts)
					}
					t.Logf("%d starts decided, %d resumed above the beginning, %d below the end; kills %v", r.starts, r.resumed, r.middle, r.landed)
				}
			})
		}
	})
}

// TestKillingShows holds that the test above would see what it is there to see: builds with a fault each fail it.
func TestKillingShows(t *testing.T) {
	needsTime(t)
	stock := buildLearner(t)
	// That the broker stamps whole batches matters to the last build alone, which needs a real one for it.
	configs := map[string]string{"message.timestamp.type": "LogAppendTime"}
	c := startCluster(t, "embedded")
	rows := writeKillLog(t, c, killRecords, configs)
	want := make(map[string]map[string]string) // by log and order
	const keeper = "cmd/learner/keeper.go"
	const commit = "\tif k.store != nil {\n\t\tdata, err := c.Encode()\n"
	for i, tt := range []struct {
		name, cluster, order string
		mutations            []mutation
		want                 string // in a fault; empty: there is to be none
	}{
		{"is as it should be", "embedded", "progress", nil, ""},
		{
			"starts fresh", "embedded", "time",
			[]mutation{{keeper, "\tif d.Resume != nil {\n\t\treturn k.resume(ctx, d)\n\t}\n", "\td.Offsets, d.Rest = nil, checkpoint.AtStart\n"}},
			"a start in lineage",
		},
		{
			"commits before it writes", "embedded", "time",
			[]mutation{before(keeper, commit, "\tif err := k.commit(ctx, offsets, c.ID.String()); err != nil {\n\t\treturn err\n\t}\n")},
			"learned again",
		},
		{
			"forgets the turn", "embedded", "time",
			[]mutation{{keeper, "Turn: c.Turn, Features:", "Turn: -1, Features:"}},
			"the state of model",
		},
		{
			"forgets the range", "embedded", "progress",
			[]mutation{{
				keeper, "Next: p.Next, Start: p.Start, Settled: p.Settled, End: p.End, Passed:",
				"Next: p.Next, Start: p.Next, Settled: p.Next, End: p.Next, Passed:",
			}},
			"the state of model",
		},
		{
			"forgets the comparison", "embedded", "time",
			[]mutation{{keeper, "\t\tComparison: c.Comparison,", "\t\t"}},
			`the state of model ""`,
		},
		{
			"forgets the last batch", "kafka", "time",
			[]mutation{{keeper, "Passed: record.Batch(p.Last)", "Passed: record.Batch{Base: -1, Last: -1}"}},
			"the state of model",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := killCase{cheapModels, "topic", tt.order, smallRecords, configs}
			c, rows := c, rows
			if tt.cluster == "kafka" {
				c = startCluster(t, tt.cluster)
				rows = writeKillLog(t, c, killRecords, configs)
			}
			log := c.train + tt.order
			if want[log] == nil {
				want[log], _ = newTrial(t, c, k, ".never."+tt.order, stock, stock).reference(rows)
			}
			variant := buildLearner(t, slices.Concat(killPoints, tt.mutations)...)
			if tt.want == "" {
				if faults := killed(t, c, k, fmt.Sprintf(".killed%d", i), variant, want[log]); len(faults) > 0 {
					t.Error("a build without a fault fails")
				}
				return
			}
			shows := func(fault string) bool { return strings.Contains(fault, tt.want) }
			for trial := range 3 { // the places of a few kills may hide what is forgotten
				if slices.ContainsFunc(killed(t, c, k, fmt.Sprintf(".killed%d.%d", i, trial), variant, want[log]), shows) {
					return
				}
			}
			t.Errorf("no fault with %q", tt.want)
		})
	}
}

// killed kills a variant at points of its way to a checkpoint, lets it finish, and returns its faults.
func killed(t *testing.T, c *testCluster, k killCase, group, variant string, want map[string]string) []string {
	t.Helper()
	r := newTrial(t, c, k, group, variant, variant)
	r.want = want
	for _, point := range []string{"commit 2", "chunks 2", "commit 1", "manifest 2", "commit 1", "commit 1"} {
		r.at(point)
	}
	r.finish()
	t.Log(strings.Join(r.faults, "\n"))
	return r.faults
}
