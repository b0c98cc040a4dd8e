package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/producer"
)

// plainClusters are those on which restarts are tested: how one connects makes no difference to them.
var plainClusters = []string{"embedded", "kafka"}

// embedded starts an embedded broker of a test's own, and names topics and a group on it.
func embedded(t *testing.T, options broker.Options) (*testCluster, *broker.Broker) {
	t.Helper()
	b, err := broker.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	c := &testCluster{train: "train", test: "test", group: "group"}
	c.env = []string{
		"CCLOUD_BOOTSTRAP_ENDPOINT=" + strings.Join(b.Addrs(), ","), "LEARNER_TRAIN_TOPIC=train", "LEARNER_TEST_TOPIC=test",
		"LEARNER_GROUP=group", "LEARNER_HTTP_ADDR=127.0.0.1:0", "LEARNER_ADMIN_ADDR=none", "LEARNER_EVAL_INTERVAL=200ms", "LEARNER_LOG_FORMAT=json",
		"LEARNER_CHECKPOINT_TOPIC=checkpoints", "LEARNER_CHECKPOINT_INTERVAL=100ms", "LEARNER_MODELS=logistic",
	}
	return c, b
}

// as returns the cluster with a group of its own and some variables set otherwise.
func (c *testCluster) as(group string, env ...string) *testCluster {
	own := *c
	own.group = c.group + "-" + group
	own.env = c.with(append(env, "LEARNER_GROUP="+own.group)...)
	return &own
}

// kept returns the cluster with a store of its own for each group, and frequent checkpoints.
func (c *testCluster) kept(t *testing.T, store string) *testCluster {
	t.Helper()
	env := []string{"LEARNER_CHECKPOINT=" + store, "LEARNER_CHECKPOINT_INTERVAL=100ms", "LEARNER_CHECKPOINT_TOPIC=" + c.train + "-checkpoints"}
	if store == "dir" {
		env = append(env, "LEARNER_CHECKPOINT_DIR="+t.TempDir())
	}
	return c.as(store, env...)
}

// write appends rows to the train topic, one partition after the other in turn, in batches of a few dozen: so that a
// small topic too is read in many steps.
func (c *testCluster) write(t *testing.T, lines []string) {
	t.Helper()
	p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train, BatchBytes: 6000, Linger: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for i, line := range lines {
		at := start.Add(time.Duration(i) * time.Microsecond)
		if err := p.Send(t.Context(), int32(i%p.Partitions()), at, nil, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// state returns the state of every model.
func (r *running) state() map[string]string {
	r.t.Helper()
	all := map[string]string{}
	for _, m := range r.status().Models {
		code, body := r.get("/api/models/" + m.Name + "/state")
		if code != 200 {
			r.t.Fatalf("state of %s: %d %s", m.Name, code, body)
		}
		all[m.Name] = string(body)
	}
	return all
}

// records returns how many records the first model has learned in its life.
func (r *running) records() int {
	r.t.Helper()
	if st := r.status(); len(st.Models) > 0 {
		return int(st.Models[0].Records)
	}
	return 0
}

// learns waits until the first model has learned n records in its life, and everything that there is.
func (r *running) learns(n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("learns %d records", n), func() bool { return r.records() >= n })
	r.ready()
	if got := r.records(); got != n {
		r.t.Errorf("%d records learned, want %d", got, n)
	}
}

// consumed returns how many train records this process has read and learned.
func (r *running) consumed(c *testCluster) int {
	r.t.Helper()
	return int(sum(r.metrics(), "learner_consumer_records_total", c.train))
}

// rows returns what the process decided at its starts.
func (r *running) rows() []string {
	var rows []string
	for _, m := range decidedRow.FindAllStringSubmatch(r.log.String(), -1) {
		rows = append(rows, m[1])
	}
	return rows
}

var decidedRow = regexp.MustCompile(`"start decided","row":"([a-z_]+)"`)

// decides waits for the first decision and holds that it is the row wanted.
func (r *running) decides(want checkpoint.Row) {
	r.t.Helper()
	r.eventually("decides", func() bool { return len(r.rows()) > 0 })
	if got := r.rows()[0]; got != string(want) {
		r.t.Fatalf("row %s, want %s", got, want)
	}
}

// stops stops the service in order.
func (r *running) stops() {
	r.t.Helper()
	if code := r.stop(); code != exitClean {
		r.t.Errorf("exit code %d", code)
	}
}

// same holds that two states are equal, bit for bit.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("%s: the state is another:\n%s\nwant\n%s", what, describe(t, got), describe(t, want))
	}
}

// describe prints states for people.
func describe(t *testing.T, states map[string]string) string {
	t.Helper()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(states)) {
		tensors, _, err := checkpoint.ReadSafetensors([]byte(states[name]))
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range tensors {
			fmt.Fprintf(&text, "%s/%s %.100v\n", name, tensor.Name, tensor.Data)
		}
	}
	return text.String()
}

// reference learns the train topic in a run that is never stopped, in a group of its own, and returns what comes out.
func (c *testCluster) reference(t *testing.T) map[string]string {
	t.Helper()
	own := c.as("reference-"+strconv.FormatInt(testNumber.Add(1), 10), "LEARNER_CHECKPOINT=none")
	s := startService(t, own)
	s.ready()
	defer s.stops()
	return s.state()
}

// TestRestart holds that a start goes on from the last checkpoint and reads nothing twice.
func TestRestart(t *testing.T) {
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster)
			c.create(t, 3, nil)
			c.write(t, lines[:3000])
			want := c.reference(t)
			for _, store := range []string{"topic", "dir"} {
				t.Run(store, func(t *testing.T) {
					own := *c
					own.train = c.train + "-" + store
					own.env = c.with("LEARNER_TRAIN_TOPIC=" + own.train)
					own.create(t, 3, nil)
					own.write(t, lines[:3000])
					restarts(t, own.kept(t, store), lines, want)
				})
			}
			t.Run("none", func(t *testing.T) {
				own := c.kept(t, "none")
				for _, row := range []checkpoint.Row{checkpoint.RowFresh, checkpoint.RowStoreless} {
					s := startService(t, own)
					s.ready()
					s.decides(row)
					same(t, "without a store", s.state(), want)
					s.stops()
				}
				// A store that is switched on does not resume what was without one.
				s := startService(t, own, "LEARNER_CHECKPOINT=topic")
				s.ready()
				s.decides(checkpoint.RowStoreless)
				same(t, "with a store from now on", s.state(), want)
				s.stops()
			})
		})
	}
}

func restarts(t *testing.T, c *testCluster, lines []string, want map[string]string) {
	first := startService(t, c)
	first.learns(3000)
	first.decides(checkpoint.RowFresh)
	before := first.status()
	same(t, "first run", first.state(), want)
	first.stops()

	second := startService(t, c)
	second.learns(3000)
	second.decides(checkpoint.RowResume)
	same(t, "after a restart", second.state(), want)
	if n := second.consumed(c); n != 0 {
		t.Errorf("%d records read again", n)
	}
	after := second.status()
	if after.Lineage != before.Lineage || after.Sequence < before.Sequence {
		t.Errorf("lineage %s at sequence %d, was %s at %d", after.Lineage, after.Sequence, before.Lineage, before.Sequence)
	}
	if n := sum(second.metrics(), "learner_train_restarts_total"); n != 0 {
		t.Errorf("%v new lineages after a plain restart", n)
	}
	second.stops()

	// What comes while nobody learns is learned next.
	c.write(t, lines[3000:3500])
	third := startService(t, c)
	third.learns(3500)
	third.decides(checkpoint.RowResume)
	if n := third.consumed(c); n != 500 {
		t.Errorf("%d records read where 500 are new", n)
	}
	third.stops()
	if got := c.checkpoints(t)[0].Sequence; got <= after.Sequence {
		t.Errorf("the newest checkpoint is %d after new records, was %d", got, after.Sequence)
	}
}

// lastFlipped, halved, and removed are what may happen to a checkpoint's data.
func lastFlipped(data []byte) []byte {
	return append(data[:len(data)-1:len(data)-1], data[len(data)-1]+1)
}

func halved(data []byte) []byte { return data[:len(data)/2] }

func removed([]byte) []byte { return nil }

// damage changes a byte of a checkpoint, wherever it is kept; a second time too.
func (c *testCluster) damage(t *testing.T, id checkpoint.ID) {
	t.Helper()
	c.spoil(t, id, lastFlipped)
}

// spoil does something to a checkpoint's data, wherever they are kept.
func (c *testCluster) spoil(t *testing.T, id checkpoint.ID, how func([]byte) []byte) {
	t.Helper()
	cfg := c.config(t)
	if cfg.Checkpoint == "dir" {
		names, err := filepath.Glob(filepath.Join(cfg.CheckpointDir, fmt.Sprintf("*.%s.%d.%s.*", id.Lineage, id.Sequence, id.Writer)))
		if err != nil || len(names) != 1 {
			t.Fatalf("checkpoint %s has the files %q (%v)", id, names, err)
		}
		data, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if data = how(data); data == nil {
			err = os.Remove(names[0])
		} else {
			err = os.WriteFile(names[0], data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	log, err := openLog(t.Context(), cfg.CheckpointTopic, c.kafka(t), false)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte(c.group + "/" + id.String() + "/0000")
	var chunk []byte
	if _, err := log.Read(t.Context(), 0, func(_ int64, k, v []byte) error {
		if bytes.Equal(k, key) {
			chunk = bytes.Clone(v)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(chunk) == 0 {
		t.Fatalf("the topic has no chunk %s", key)
	}
	if err := log.Append(t.Context(), []checkpoint.KeyValue{{Key: key, Value: how(chunk)}}); err != nil {
		t.Fatal(err)
	}
	if err := log.producer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// config returns the configuration of the group's members.
func (c *testCluster) config(t *testing.T) *Config {
	t.Helper()
	cfg, err := loadConfig(c.env, t.TempDir(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// kafka returns a client of the service's own kind.
func (c *testCluster) kafka(t *testing.T) *consumer.Client {
	t.Helper()
	client, err := kafkaClient(c.config(t), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// checkpoints returns the ids of the whole checkpoints of the group, newest first.
func (c *testCluster) checkpoints(t *testing.T) (ids []checkpoint.ID) {
	t.Helper()
	store, err := openStore(t.Context(), c.config(t), c.kafka(t), false)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := store.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Err == nil {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// commits returns what the group has committed.
func (c *testCluster) commits(t *testing.T) map[int32]consumer.Commit {
	t.Helper()
	client := c.kafka(t)
	partitions, err := client.Partitions(t.Context(), c.train)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := client.Commits(t.Context(), c.group, c.train, partitions)
	if err != nil {
		t.Fatal(err)
	}
	return commits
}

// commit commits an offset as an operator would.
func (c *testCluster) commit(t *testing.T, offsets map[int32]int64) {
	t.Helper()
	if err := c.kafka(t).Commit(t.Context(), c.group, consumer.Outsider, c.train, offsets, ""); err != nil {
		t.Fatal(err)
	}
}

// forget deletes the group with its commits, as the coordinator does after an idle week.
func (c *testCluster) forget(t *testing.T) {
	t.Helper()
	r, err := c.client(t).DeleteGroups(t.Context(), &kafka.DeleteGroupsRequest{GroupIDs: []string{c.group}})
	if err == nil {
		err = r.Errors[c.group]
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestStartRows holds that a start finds its row of the table, and does what it says, in all that can befall a group
// between two starts.
func TestStartRows(t *testing.T) {
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			c := startCluster(t, cluster)
			c.create(t, 3, nil)
			c.write(t, lines[:3000])
			want := c.reference(t)
			for _, store := range []string{"topic", "dir"} {
				t.Run(store, func(t *testing.T) { startRows(t, c.kept(t, store), want) })
			}
		})
	}
}

func startRows(t *testing.T, c *testCluster, want map[string]string) {
	lineages := map[string]bool{}
	// once starts, learns everything, and stops. A new lineage starts with a name that was never there.
	once := func(what string, row checkpoint.Row, fresh bool, env ...string) status {
		t.Helper()
		s := startService(t, c, env...)
		s.learns(3000)
		s.decides(row)
		same(t, what, s.state(), want)
		st := s.status()
		if lineages[st.Lineage] == fresh {
			t.Errorf("%s: lineage %s, new is %v, want %v", what, st.Lineage, !fresh, fresh)
		}
		lineages[st.Lineage] = true
		if n := s.consumed(c); fresh && n != 3000 {
			t.Errorf("%s: a new lineage has read %d records", what, n)
		}
		s.stops()
		return st
	}
	once("empty group", checkpoint.RowFresh, true)

	c.forget(t)
	once("forgotten commits", checkpoint.RowNewest, false)

	c.damage(t, c.checkpoints(t)[0])
	once("damaged newest checkpoint", checkpoint.RowOlder, false)
	for id := range c.commits(t) {
		if got := c.commits(t)[id].Metadata; got != c.checkpoints(t)[0].String() {
			t.Errorf("partition %d has commit %s, not that of the newest whole checkpoint %s", id, got, c.checkpoints(t)[0])
		}
	}

	for _, id := range c.checkpoints(t) {
		c.damage(t, id)
	}
	once("damaged checkpoints", checkpoint.RowLost, true)

	if got := runWith(t, c.env, "reset", "--to", "earliest"); got.code != exitClean {
		t.Fatalf("%+v", got)
	}
	before := c.checkpoints(t)[0].Sequence
	if st := once("learner reset", checkpoint.RowOperator, true); st.Sequence <= before {
		t.Errorf("sequence %d after a reset, was %d", st.Sequence, before)
	}
	once("restart after the reset", checkpoint.RowResume, false)

	if dir := os.Getenv("KAFKA_TEST_DIR"); dir != "" && slices.Contains(c.env, "CCLOUD_BOOTSTRAP_ENDPOINT="+os.Getenv("KAFKA_TEST_PLAINTEXT")) {
		tool := exec.CommandContext(t.Context(), "../../.ci/kafka", "tool", "groups", "--group", c.group, "--topic", c.train,
			"--reset-offsets", "--to-earliest", "--execute")
		if out, err := tool.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		once("kafka-consumer-groups --reset-offsets", checkpoint.RowOperator, true)
		once("restart after that", checkpoint.RowResume, false)
	}

	// The environment resets once for each id, whatever comes later.
	reset := []string{"LEARNER_RESET=earliest", "LEARNER_RESET_ID=first"}
	once("LEARNER_RESET", checkpoint.RowReset, true, reset...)
	once("LEARNER_RESET again", checkpoint.RowResume, false, reset...)
	c.commit(t, map[int32]int64{0: 0, 1: 0, 2: 0})
	once("an operator's reset after it", checkpoint.RowOperator, true, reset...)
	once("LEARNER_RESET after an operator's", checkpoint.RowResume, false, reset...)
	c.commit(t, map[int32]int64{0: 3, 1: 0, 2: 0})
	once("another id beside an operator's reset", checkpoint.RowReset, true, "LEARNER_RESET=earliest", "LEARNER_RESET_ID=second")
	once("the first id again", checkpoint.RowResume, false, reset...)

	// Offsets that do not belong together are refused, with words that help.
	c.commit(t, map[int32]int64{1: 0})
	newest := c.checkpoints(t)
	got := runWith(t, c.env)
	if got.code != exitFailure || !strings.Contains(got.stderr, `"row":"refuse_mixed"`) ||
		!strings.Contains(got.stderr, "learner: ") || !strings.Contains(got.stderr, "learner reset --to earliest") {
		t.Errorf("offsets that do not belong together: exit code %d, %s", got.code, got.stderr)
	}
	if now := c.checkpoints(t); !slices.Equal(now, newest) {
		t.Errorf("a refused start left checkpoints: %v, were %v", now, newest)
	}
	// The refused member has left the group: a reset is possible at once.
	if got := runWith(t, c.env, "reset", "--to", "earliest"); got.code != exitClean {
		t.Fatalf("%+v", got)
	}
	once("reset of a refused group", checkpoint.RowOperator, true)
}

// TestDamagedCheckpoints damages the newest checkpoint between two starts, again and again while a log is learned: what
// comes out is what a run gives that was never stopped.
func TestDamagedCheckpoints(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"topic", "dir"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c, b := embedded(t, broker.Options{})
			c.create(t, 3, nil)
			c.write(t, susyLines(t)[:3000])
			want := c.reference(t)
			c = c.kept(t, store)
			hurry := slowly(b, c.train, 30*time.Millisecond)
			for i, how := range []func([]byte) []byte{nil, lastFlipped, halved, removed} {
				if how != nil {
					c.spoil(t, newestOf(c.commits(t)), how)
				}
				s := startService(t, c)
				s.eventually("decides", func() bool { return len(s.rows()) > 0 })
				if i > 0 {
					s.decides(checkpoint.RowOlder)
				}
				sequence := s.status().Sequence
				s.eventually("commits two more", func() bool { return s.status().Sequence > sequence+2 })
				if n := s.records(); n == 3000 {
					t.Error("all is learned before the end of the test")
				}
				s.stops()
			}
			hurry()
			s := startService(t, c)
			s.learns(3000)
			s.decides(checkpoint.RowResume)
			same(t, "after damaged checkpoints", s.state(), want)
			s.stops()
		})
	}
}

// TestConfigurationChange holds what a start makes of a model that was added, taken out, or changed.
func TestConfigurationChange(t *testing.T) {
	t.Parallel()
	lines := susyLines(t)
	c, _ := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	c.write(t, lines[:3000])
	// run starts with models, learns n records of the first one's life, and stops.
	run := func(models string, n int) (st status, state map[string]string, log string) {
		t.Helper()
		s := startService(t, c, "LEARNER_MODELS="+models)
		s.learns(n)
		st, state = s.status(), s.state()
		s.stops()
		return st, state, s.log.String()
	}
	const slow = "slow=logistic:rate=0.1"
	_, _, log := run("logistic", 3000)
	if strings.Contains(log, "models changed") {
		t.Error("a fresh lineage says that models changed")
	}

	c.write(t, lines[3000:3300])
	st, both, log := run("logistic;"+slow, 3300)
	added := st.Models[1]
	since := map[int32]int64{0: 1000, 1: 1000, 2: 1000}
	if added.Records != 300 || !maps.Equal(added.Since, since) || !strings.Contains(log, `"start_empty":["slow"],"dropped":[]`) {
		t.Errorf("a model that was added has learned %d records since %v", added.Records, added.Since)
	}
	st, again, _ := run("logistic;"+slow, 3300)
	if !maps.Equal(st.Models[1].Since, since) {
		t.Errorf("after a restart the model says since %v", st.Models[1].Since)
	}
	same(t, "two models after a restart", again, both)

	// What is stored must be as it was trained.
	newest := c.checkpoints(t)[0]
	for name, env := range map[string][]string{
		"other option":     {"LEARNER_MODELS=logistic:rate=0.1;" + slow},
		"names swapped":    {"LEARNER_MODELS=slow=logistic;logistic=logistic:rate=0.1"},
		"other seed":       {"LEARNER_MODELS=logistic;" + slow, "LEARNER_SEED=2"},
		"other label":      {"LEARNER_MODELS=logistic;" + slow, "LEARNER_LABEL=1"},
		"other features":   {"LEARNER_MODELS=logistic;" + slow, "LEARNER_FEATURES=1,2,3"},
		"other order":      {"LEARNER_MODELS=logistic;" + slow, "LEARNER_ORDER=progress"},
		"columns reversed": {"LEARNER_MODELS=logistic;" + slow, "LEARNER_FEATURES=18,17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1"},
	} {
		got := runWith(t, c.with(env...))
		if got.code != exitFailure || !strings.Contains(got.stderr, "learner: configuration does not fit checkpoint "+newest.String()) ||
			!strings.Contains(got.stderr, "learner reset --to earliest") {
			t.Errorf("%s: exit code %d, %s", name, got.code, got.stderr)
		}
	}
	if now := c.checkpoints(t)[0]; now != newest {
		t.Errorf("refused starts left checkpoint %s, the newest was %s", now, newest)
	}

	c.write(t, lines[3300:3600])
	st, _, log = run(slow, 600)
	if len(st.Models) != 1 || !strings.Contains(log, `"start_empty":[],"dropped":["logistic"]`) {
		t.Errorf("models %+v after one was taken out", st.Models)
	}
	c.write(t, lines[3600:3900])
	st, _, _ = run(slow+";logistic", 900)
	if st.Models[1].Records != 300 {
		t.Errorf("a model that was dropped and added again has learned %d records", st.Models[1].Records)
	}
}

// TestRetention holds that records which were deleted before they were learned are counted, once, and mark the lineage.
func TestRetention(t *testing.T) {
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		t.Run(cluster, func(t *testing.T) {
			var c *testCluster
			var deleteRecords func(below map[int32]int64)
			if cluster == "embedded" {
				var b *broker.Broker
				c, b = embedded(t, broker.Options{})
				deleteRecords = func(below map[int32]int64) {
					for partition, offset := range below {
						if err := b.Fake.DeleteRecords(c.train, partition, offset); err != nil {
							t.Fatal(err)
						}
					}
				}
			} else {
				c = startCluster(t, cluster).kept(t, "topic")
				deleteRecords = func(below map[int32]int64) { c.deleteRecords(t, below) }
			}
			retention(t, c, lines, deleteRecords)
		})
	}
}

// deleteRecords deletes the records of the train topic below offsets, by Kafka's own tool.
func (c *testCluster) deleteRecords(t *testing.T, below map[int32]int64) {
	t.Helper()
	var partitions []string
	for partition, offset := range below {
		partitions = append(partitions, fmt.Sprintf(`{"topic":%q,"partition":%d,"offset":%d}`, c.train, partition, offset))
	}
	file := filepath.Join(t.TempDir(), "offsets.json")
	if err := os.WriteFile(file, []byte(`{"partitions":[`+strings.Join(partitions, ",")+`],"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := exec.CommandContext(t.Context(), "../../.ci/kafka", "tool", "org.apache.kafka.tools.DeleteRecordsCommand", "--offset-json-file", file)
	if out, err := tool.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func retention(t *testing.T, c *testCluster, lines []string, deleteRecords func(map[int32]int64)) {
	c.create(t, 3, nil)
	c.write(t, lines[:3000])
	s := startService(t, c)
	s.learns(3000)
	if s.status().Gap {
		t.Error("a gap before anything was lost")
	}
	s.stops()
	c.write(t, lines[3000:4200])
	deleteRecords(map[int32]int64{0: 1100, 1: 1200, 2: 1300})
	s = startService(t, c)
	s.learns(4200 - 100 - 200 - 300)
	s.decides(checkpoint.RowResume)
	if got := sum(s.metrics(), "learner_consumer_lost_records_total", c.train); got != 600 || !s.status().Gap {
		t.Errorf("%v records lost, gap %v, want 600", got, s.status().Gap)
	}
	if log := s.log.String(); strings.Count(log, "retention has taken records") != 3 || !strings.Contains(log, `"partition":2,"offsets":300`) {
		t.Error("the log does not say what was lost")
	}
	s.stops()
	s = startService(t, c)
	s.learns(3600)
	if got := sum(s.metrics(), "learner_consumer_lost_records_total", c.train); got != 0 || !s.status().Gap {
		t.Errorf("after a restart %v records lost, gap %v", got, s.status().Gap)
	}
	s.stops()
}

// TestTopicRecreated holds that a start stops where the topic is not the one that the models were learned from.
func TestTopicRecreated(t *testing.T) {
	t.Parallel()
	lines := susyLines(t)
	for _, cluster := range plainClusters {
		for _, rows := range []int{0, 4000} {
			t.Run(fmt.Sprintf("%s, %d rows", cluster, rows), func(t *testing.T) {
				c := startCluster(t, cluster).kept(t, "topic")
				c.create(t, 3, nil)
				c.write(t, lines[:3000])
				s := startService(t, c)
				s.learns(3000)
				s.stops()
				newest := c.checkpoints(t)[0]
				c.recreate(t)
				c.write(t, lines[:rows])
				start := time.Now()
				got := runWith(t, c.env)
				if got.code != exitFailure || !strings.Contains(got.stderr, "learner reset --to earliest") || !strings.Contains(got.stderr,
					"learner: topic "+c.train+" was deleted and created again since checkpoint "+newest.String()) {
					t.Errorf("exit code %d, %s", got.code, got.stderr)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %s", took)
				}
				if got := runWith(t, c.env, "reset", "--to", "earliest"); got.code != exitClean {
					t.Fatalf("%+v", got)
				}
				s = startService(t, c)
				s.decides(checkpoint.RowOperator)
				s.learns(rows)
				s.stops()
			})
		}
	}
}

// recreate deletes the train topic and creates it again.
func (c *testCluster) recreate(t *testing.T) {
	t.Helper()
	client := c.client(t)
	r, err := client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{c.train}})
	if err == nil {
		err = r.Errors[c.train]
	}
	if err != nil {
		t.Fatal(err)
	}
	for created := false; !created; time.Sleep(50 * time.Millisecond) {
		if created, err = producer.EnsureTopic(t.Context(), client, c.train, 3, -1, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnreadableStart holds that a start waits, and says for what, where commits or checkpoints cannot be read: an error
// is never taken for "none".
func TestUnreadableStart(t *testing.T) {
	t.Parallel()
	lines := susyLines(t)
	c, b := embedded(t, broker.Options{})
	c.create(t, 3, nil)
	c.write(t, lines[:3000])
	s := startService(t, c)
	s.learns(3000)
	want := s.status()
	s.stops()

	for _, tt := range []struct {
		name  string
		fault kfake.Fault
		want  string // on /readyz
	}{
		{"commits, coordinator loading", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress}, "read the commits of group"},
		{"commits of one partition", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Partitions: []int32{1}, Err: kerr.UnstableOffsetCommit}, "read the commits of group"},
		{"commits, no permission", kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed}, "read the commits of group"},
		{"checkpoints, no permission", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "checkpoints", Err: kerr.TopicAuthorizationFailed}, "checkpoints"},
		{"checkpoints, no leader", kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "checkpoints", Err: kerr.LeaderNotAvailable}, "checkpoints"},
		{"checkpoint topic's configuration", kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed}, "allow DESCRIBE_CONFIGS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fault.Count = -1
			h := b.Fake.Fault(tt.fault)
			s := startService(t, c)
			s.eventually("says what it waits for", func() bool {
				code, body := s.get("/readyz")
				return code == http.StatusServiceUnavailable && strings.Contains(string(body), tt.want)
			})
			if code, _ := s.get("/healthz"); code != http.StatusOK {
				t.Errorf("/healthz answers %d", code)
			}
			time.Sleep(300 * time.Millisecond)
			if rows := s.rows(); len(rows) > 0 {
				t.Errorf("decided %v without an answer", rows)
			}
			h.Remove()
			s.learns(3000)
			s.decides(checkpoint.RowResume)
			if got := s.status(); got.Lineage != want.Lineage {
				t.Errorf("lineage %s, was %s", got.Lineage, want.Lineage)
			}
			s.stops()
		})
	}
}

// TestCheckpointTopicUnusable holds that the error of a checkpoint topic that will not do names the command that mends
// it, and that the service goes on when it was mended.
func TestCheckpointTopicUnusable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		make func(t *testing.T, c *testCluster, b *broker.Broker) (mend func())
		want string
	}{
		{
			"may not be created", func(_ *testing.T, _ *testCluster, b *broker.Broker) func() {
				h := b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "checkpoints", Err: kerr.TopicAuthorizationFailed, Count: -1})
				return h.Remove
			},
			"kafka-topics --create --topic checkpoints --partitions 1 --config cleanup.policy=compact",
		},
		{
			"not compacted", func(t *testing.T, _ *testCluster, b *broker.Broker) func() {
				policy := "delete"
				if err := b.Fake.CreateTopic("checkpoints", 1, map[string]string{"cleanup.policy": policy}); err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := b.Fake.DeleteTopic("checkpoints"); err != nil {
						t.Error(err)
					}
				}
			},
			"kafka-configs --alter --topic checkpoints --add-config cleanup.policy=compact",
		},
		{
			"compacted and deleted", func(t *testing.T, c *testCluster, b *broker.Broker) func() {
				if err := b.Fake.CreateTopic("checkpoints", 1, map[string]string{"cleanup.policy": "compact,delete"}); err != nil {
					t.Fatal(err)
				}
				client := c.client(t)
				return func() {
					if _, err := client.AlterConfigs(t.Context(), &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{{
						ResourceType: kafka.ResourceTypeTopic, ResourceName: "checkpoints",
						Configs: []kafka.AlterConfigRequestConfig{{Name: "cleanup.policy", Value: "compact"}},
					}}}); err != nil {
						t.Error(err)
					}
				}
			},
			"kafka-configs --alter --topic checkpoints --add-config cleanup.policy=compact",
		},
		{
			"several partitions", func(t *testing.T, _ *testCluster, b *broker.Broker) func() {
				if err := b.Fake.CreateTopic("checkpoints", 2, map[string]string{"cleanup.policy": "compact"}); err != nil {
					t.Fatal(err)
				}
				return func() {
					if err := b.Fake.DeleteTopic("checkpoints"); err != nil {
						t.Error(err)
					}
				}
			},
			"LEARNER_CHECKPOINT_TOPIC",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, b := embedded(t, broker.Options{})
			c.create(t, 1, nil)
			c.write(t, susyLines(t)[:200])
			mend := tt.make(t, c, b)
			s := startService(t, c)
			s.eventually("says how to mend it", func() bool {
				code, body := s.get("/readyz")
				return code == http.StatusServiceUnavailable && strings.Contains(string(body), tt.want)
			})
			if n := len(c.commits(t)); n > 0 {
				t.Errorf("%d partitions have a commit", n)
			}
			mend()
			s.learns(200)
			s.decides(checkpoint.RowFresh)
			s.stops()
		})
	}
}

// TestCheckpointFolderUnusable holds that the service waits, and says so, where its folder cannot be made.
func TestCheckpointFolderUnusable(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t, broker.Options{})
	c.create(t, 1, nil)
	c.write(t, susyLines(t)[:200])
	path := filepath.Join(t.TempDir(), "checkpoints")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startService(t, c, "LEARNER_CHECKPOINT=dir", "LEARNER_CHECKPOINT_DIR="+path)
	s.eventually("says what is wrong", func() bool {
		code, body := s.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(string(body), path)
	})
	if n := len(c.commits(t)); n > 0 {
		t.Errorf("%d partitions have a commit", n)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.learns(200)
	s.decides(checkpoint.RowFresh)
	s.stops()
}
