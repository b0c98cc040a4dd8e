package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"learner/pkg/checkpoint"
	"learner/pkg/sgd"
)

// example returns a checkpoint of one model.
func example(id checkpoint.ID) *checkpoint.Checkpoint {
	return &checkpoint.Checkpoint{
		ID: id, Generation: 3, Source: checkpoint.Source{ClusterID: "abc", Topic: "train", TopicID: "QUJD", Group: "group"},
		Previous: []checkpoint.ID{{Lineage: id.Lineage, Sequence: id.Sequence - 1, Writer: "c"}}, Resets: []string{"one", "two"},
		Partitions: []checkpoint.Partition{
			{Partition: 0, Next: 5, Start: 1, Settled: 9, End: 8, Last: checkpoint.Batch{Base: 2, Last: 4, Time: 1_769_860_800_000_000, LeaderEpoch: 6}},
			{Partition: 1, Last: checkpoint.Batch{Base: -1, Last: -1}},
		},
		Turn: 1, Features: 2, Records: 15, Gap: true, Lost: 11, ConfigRows: "r0", Champion: "m", Build: "v1",
		Created: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		Comparison: []sgd.Tensor{
			{Name: "changes", Shape: []int{}, Data: []uint64{9}}, {Name: "twin/newest_at", Shape: []int{}, Data: []uint64{12}},
		},
		Models: []checkpoint.Model{{
			Name: "m", Kind: "logistic", ConfigHash: "h0", Since: map[int32]int64{0: 1, 1: 0}, Records: 4,
			Tensors: []sgd.Tensor{
				{Name: "weights", Shape: []int{2}, Data: []float64{1, 2}},
				{Name: "progressive/correct", Shape: []int{}, Data: []uint64{3}},
				{Name: "progressive/loss", Shape: []int{}, Data: []float64{2.5}},
			},
		}},
	}
}

func encoded(t *testing.T, c *checkpoint.Checkpoint) []byte {
	t.Helper()
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// ofVersion returns a whole file of another version of the format.
func ofVersion(t *testing.T, c *checkpoint.Checkpoint, version string) []byte {
	t.Helper()
	const field = `"sha256":"`
	data := bytes.Replace(encoded(t, c), []byte(`"version":"1"`), []byte(`"version":"`+version+`"`), 1)
	at := bytes.Index(data, []byte(field)) + len(field)
	place := data[at : at+2*sha256.Size]
	copy(place, strings.Repeat("0", len(place)))
	sum := sha256.Sum256(data)
	copy(place, hex.EncodeToString(sum[:]))
	return data
}

// inspectData runs learner inspect on a file of data.
func inspectData(t *testing.T, data []byte) result {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return runWith(t, nil, "inspect", name)
}

func TestInspect(t *testing.T) {
	t.Parallel()
	id := checkpoint.ID{Lineage: "a", Sequence: 7, Writer: "b"}
	data := encoded(t, example(id))
	got := inspectData(t, data)
	for _, want := range []string{
		"checkpoint a/7/b lineage a sequence 7 writer b, in generation 3 of the group group group cluster abc topic train, id QUJD",
		"before it a/6/c resets used one, two features 2 records 15 gap 11 offsets lost before they were learned taken last partition 1",
		"rows configuration r0 champion m build v1 created 2026-01-31T12:00:00.000Z file ",
		"partition next offset range start settled end end last batch " +
			"0 5 1 9 8 2 to 4, 2026-01-31T12:00:00.000Z, leader epoch 6 1 0 0 0 0 none",
		"model m kind logistic, configuration h0 learns partition 0 from 1, 1 from 0 records 4 " +
			"progressive accuracy 0.7500, log loss 0.6250",
		"weights float64 [2]", "progressive/correct uint64 [] 3",
		"comparison of the models the next twin taken at record 12, 3 records ago tensor type shape value changes uint64 [] 9",
	} {
		if got.code != exitClean || !strings.Contains(fields(got.stdout), want) {
			t.Errorf("%+v\nwant %q", got, want)
		}
	}

	fresh := example(id)
	fresh.Models, fresh.Previous, fresh.Resets, fresh.TopicID, fresh.Gap, fresh.Turn = nil, nil, nil, "", false, -1
	fresh.Comparison = nil
	got = inspectData(t, encoded(t, fresh))
	if strings.Contains(got.stdout, "comparison") {
		t.Errorf("a comparison where there is none: %s", got.stdout)
	}
	for _, want := range []string{"id none before it none resets used none", "gap none taken last none", "no models yet"} {
		if got.code != exitClean || !strings.Contains(fields(got.stdout), want) {
			t.Errorf("%+v\nwant %q", got, want)
		}
	}

	hostile := example(id)
	hostile.Build = "\x1b[2J\r\tv1"
	if got = inspectData(t, encoded(t, hostile)); strings.ContainsAny(got.stdout, "\x1b\r\t") {
		t.Errorf("%q", got.stdout)
	}
}

// TestInspectDamaged holds that a checkpoint with any byte cut or flipped is called damaged: not another kind of file.
func TestInspectDamaged(t *testing.T) {
	t.Parallel()
	data := encoded(t, example(checkpoint.ID{Lineage: "a", Sequence: 7, Writer: "b"}))
	for i := range data {
		for what, damaged := range map[string][]byte{"cut": data[:i], "flipped": flipped(data, i)} {
			text, err := inspected(damaged)
			if err == nil || text != "" || !strings.Contains(err.Error(), "damaged") {
				t.Fatalf("%s at byte %d of %d: %v, %q", what, i, len(data), err, text)
			}
		}
	}
	for what, damaged := range map[string][]byte{"text": []byte("1,2,3\n"), "nothing": nil, "flipped": flipped(data, len(data)-1)} {
		if got := inspectData(t, damaged); got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "damaged") {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func flipped(data []byte, at int) []byte {
	data = bytes.Clone(data)
	data[at] ^= 4
	return data
}

func TestInspectOtherFiles(t *testing.T) {
	t.Parallel()
	got := inspectData(t, ofVersion(t, example(checkpoint.ID{Lineage: "a", Sequence: 7, Writer: "b"}), "2"))
	for _, want := range []string{"the file is whole", `version "2", this build reads 1`} {
		if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, want) {
			t.Errorf("another version: %+v, want %q", got, want)
		}
	}

	var state bytes.Buffer
	err := checkpoint.WriteSafetensors(&state, []sgd.Tensor{
		{Name: "weights", Shape: []int{2, 1}, Data: []float64{1, 2}}, {Name: "steps", Shape: []int{}, Data: []uint64{7}},
	}, map[string]string{"model": "m", "format": "pt"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "-"} {
		got = inspectData(t, state.Bytes())
		if name == "-" {
			var stdout, stderr bytes.Buffer
			got.code = run(t.Context(), &process{args: []string{"inspect", "-"}, stdin: &state, stdout: &stdout, stderr: &stderr})
			got.stdout, got.stderr = stdout.String(), stderr.String()
		}
		for _, want := range []string{
			"no checkpoint: plain safetensors", `format "pt" model "m"`, "weights float64 [2 1]", "steps uint64 [] 7",
		} {
			if got.code != exitClean || !strings.Contains(fields(got.stdout), want) {
				t.Errorf("%s: %+v\nwant %q", name, got, want)
			}
		}
	}
}
