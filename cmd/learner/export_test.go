package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"learner/internal/broker"
	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/producer"
)

// TestExport holds that the newest committed checkpoint is exported, as it was kept, and says of any other which it is.
func TestExport(t *testing.T) {
	for _, name := range plainClusters {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, name)
			c.create(t, 2, nil)
			c.write(t, susyLines(t)[:1000])
			c.produce(t, c.test, susyLines(t)[1000:1100])
			for _, store := range []string{"topic", "dir"} {
				t.Run(store, func(t *testing.T) { exports(t, c.kept(t, store)) })
			}
		})
	}
}

func exports(t *testing.T, c *testCluster) {
	dir := t.TempDir()
	export := func(args ...string) result {
		t.Helper()
		return runIn(t, dir, c.env, append([]string{"export"}, args...)...)
	}
	if got := export(); got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "checkpoint") {
		t.Errorf("without any checkpoint: %+v", got)
	}
	cfg := c.config(t)
	if cfg.Checkpoint == "topic" {
		if partitions, err := c.kafka(t).Partitions(t.Context(), cfg.CheckpointTopic); err == nil {
			t.Errorf("export created the checkpoint topic: partitions %v", partitions)
		}
	}

	s := startService(t, c, "LEARNER_MODELS=logistic;slow=logistic:rate=0.1")
	s.learns(1000)
	// While it runs, whatever is committed at the time is exported.
	if got := export("--output", "-"); got.code != exitClean {
		t.Errorf("while the service runs: %+v", got)
	} else if _, err := checkpoint.Decode([]byte(got.stdout)); err != nil {
		t.Error(err)
	}
	if code := s.stop(); code != exitClean {
		t.Fatalf("exit code %d", code)
	}
	_, committed := checkpoint.ParseMetadata(c.commits(t)[0].Metadata)

	got := export()
	name := fmt.Sprintf("%s-%d.safetensors", c.group, committed.Sequence)
	for _, want := range []string{committed.String(), c.group, name, "newest committed", "slow: 1000 records learned"} {
		if got.code != exitClean || !strings.Contains(got.stdout, want) || got.stderr != "" {
			t.Fatalf("%+v, want %q", got, want)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	file, err := checkpoint.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if file.ID != committed || len(file.Models) != 2 || file.Models[0].Records != 1000 {
		t.Errorf("exported %s with models %+v, committed is %s", file.ID, file.Models, committed)
	}

	// Another name, in place of what is there; and standard output.
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, bytes.Repeat([]byte("old"), 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := export("--output", other); got.code != exitClean || !strings.Contains(got.stdout, other) {
		t.Errorf("to another name: %+v", got)
	}
	if again, err := os.ReadFile(other); err != nil || !bytes.Equal(again, data) {
		t.Errorf("%d bytes in the other file (%v), want %d", len(again), err, len(data))
	}
	if got := export("--output", "-"); got.stdout != string(data) || !strings.Contains(got.stderr, "standard output") {
		t.Errorf("%d bytes on standard output, want %d; %s", len(got.stdout), len(data), got.stderr)
	}
	if got := export("--output", filepath.Join(dir, "none", "file")); got.code != exitFailure || got.stdout != "" {
		t.Errorf("to a folder that is missing: %+v", got)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 2 {
		t.Errorf("files %q (%v), want two", names, err)
	}
	if got := runIn(t, dir, nil, "inspect", name); got.code != exitFailure {
		t.Errorf("inspect of a file that is missing: %+v", got)
	}
	shown := runIn(t, dir, nil, "inspect", filepath.Join(dir, name))
	for _, want := range []string{
		"checkpoint " + committed.String(), "sequence " + fmt.Sprint(committed.Sequence), "group " + c.group, "topic " + c.train,
		"last batch 0 500 ", " 1 500 ", "model slow kind logistic", "learns partition 0 from 0, 1 from 0", "records 1000",
		"weights float64 [19]", "progressive/records uint64 [] 1000", "champion logistic", "undamaged",
	} {
		if shown.code != exitClean || !strings.Contains(fields(shown.stdout), want) {
			t.Errorf("inspect: %+v\nwant %q", shown, want)
		}
	}

	// The committed one is damaged: the one before it, and no stray beside it, is exported.
	c.damage(t, committed)
	older := slices.DeleteFunc(c.checkpoints(t), func(id checkpoint.ID) bool { return id.Sequence >= committed.Sequence })[0]
	got = export("--output", other)
	for _, want := range []string{"checkpoint " + older.String(), "cannot be used", "passed over: ", committed.String()} {
		if got.code != exitClean || !strings.Contains(got.stdout, want) {
			t.Errorf("committed one damaged: %+v, want %q", got, want)
		}
	}

	// The group is reset: nothing of ours is committed.
	if got := runWith(t, c.env, "reset", "--to", "earliest"); got.code != exitClean {
		t.Fatalf("%+v", got)
	}
	got = export("--output", other)
	for _, want := range []string{"checkpoint " + older.String(), "none is committed"} {
		if got.code != exitClean || !strings.Contains(got.stdout, want) {
			t.Errorf("nothing committed: %+v, want %q", got, want)
		}
	}

	// What is another topic's does not count.
	elsewhere := *c
	elsewhere.train = c.train + "-" + cfg.Checkpoint
	elsewhere.env = c.with("LEARNER_TRAIN_TOPIC=" + elsewhere.train)
	if _, err := producer.EnsureTopic(t.Context(), elsewhere.client(t), elsewhere.train, 1, -1, nil); err != nil {
		t.Fatal(err)
	}
	if got := runIn(t, dir, elsewhere.env, "export"); got.code != exitFailure || !strings.Contains(got.stderr, "topic "+c.train) {
		t.Errorf("for another topic: %+v", got)
	}
}

func TestExportRefuses(t *testing.T) {
	t.Parallel()
	env := []string{"CCLOUD_BOOTSTRAP_ENDPOINT=127.0.0.1:1"}
	for give, want := range map[string]string{
		"export file":             `no arguments, found "file"`,
		"export --output":         "needs an argument",
		"export --force":          "not defined",
		"export --format pmml":    `format "pmml" is none of json, onnx, safetensors`,
		"export --model mix":      "-model goes with -format onnx",
		"inspect":                 "one file",
		"inspect a b":             "one file",
		"inspect --json whatever": "not defined",
	} {
		if got := runWith(t, env, strings.Fields(give)...); got.code != exitUsage || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: %+v, want %q", give, got, want)
		}
	}
	if got := runWith(t, append(env, "LEARNER_CHECKPOINT=none"), "export"); got.code != exitUsage || !strings.Contains(got.stderr, "LEARNER_CHECKPOINT=none keeps no checkpoints") {
		t.Errorf("without a store: %+v", got)
	}
	if got := runWith(t, nil, "export"); got.code != exitUsage || !strings.Contains(got.stderr, "CCLOUD_BOOTSTRAP_ENDPOINT") {
		t.Errorf("without brokers: %+v", got)
	}
}

// TestExportOfAnotherVersion holds that a checkpoint of another release is named, and not passed over for an older one;
// and that a coordinator that is being elected is waited for.
func TestExportOfAnotherVersion(t *testing.T) {
	t.Parallel()
	c, b := embedded(t, broker.Options{Fake: []kfake.Opt{kfake.SeedTopics(1, "train")}})
	folder := t.TempDir()
	env := c.with("LEARNER_CHECKPOINT=dir", "LEARNER_CHECKPOINT_DIR="+folder)
	store, err := checkpoint.NewDir(folder, c.group)
	if err != nil {
		t.Fatal(err)
	}
	id := checkpoint.ID{Lineage: "a", Sequence: 7, Writer: "b"}
	if err := store.Put(t.Context(), id, 1, ofVersion(t, example(id), "2")); err != nil {
		t.Fatal(err)
	}
	err = c.kafka(t).Commit(t.Context(), c.group, consumer.Outsider, "train", map[int32]int64{0: 5}, id.String())
	if err != nil {
		t.Fatal(err)
	}
	b.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorNotAvailable, TopLevel: true})
	got := runWith(t, env, "export")
	for _, want := range []string{`version "2"`, id.String()} {
		if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
}

func TestExportName(t *testing.T) {
	t.Parallel()
	id := checkpoint.ID{Lineage: "a", Sequence: 12, Writer: "b"}
	for give, want := range map[string]string{
		"10x.storage.machine-learning.learner": "10x.storage.machine-learning.learner-12.safetensors",
		"../a b":                               "..%2Fa+b-12.safetensors",
		strings.Repeat("é", 120):               strings.Repeat("%C3%A9", 33) + "%C-12.safetensors",
	} {
		if got := exportName(id, give, formatSafetensors); got != want {
			t.Errorf("%q: %q, want %q", give, got, want)
		}
	}
}

func TestWriteWholeToADevice(t *testing.T) {
	t.Parallel()
	if err := writeWhole(os.DevNull, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Errorf("%s is %v (%v)", os.DevNull, info.Mode(), err)
	}
}
