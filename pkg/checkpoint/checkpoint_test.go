package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"learner/internal/python"
	"learner/pkg/record"
	"learner/pkg/sgd"
)

var testSource = Source{ClusterID: "c1", Topic: "train", TopicID: "AAEC", Group: `group "é"/1`}

// sampleCheckpoint has something in every field.
func sampleCheckpoint() *Checkpoint {
	return &Checkpoint{
		ID: ID{"aa", 7, "cc"}, Generation: 3, Source: testSource,
		Previous: []ID{{"aa", 4, "bb"}, {"aa", 6, "cc"}}, Resets: []string{"", "first \"reset\""},
		Partitions: []Partition{
			{Partition: 0, Next: 10, Start: 5, Settled: 20, End: 15, Last: Batch{Base: 8, Last: 9, Time: 1_700_000_000_000_001, LeaderEpoch: 2}},
			{Partition: 1, Next: math.MaxInt64, Last: Batch{Base: -1, Last: -1}},
		},
		Header: []string{"label", "a", "b"}, Columns: []record.Column{{Name: "a", Kind: record.Categorical}, {Name: "b"}}, Missing: []uint64{3, 0}, Slots: []int64{7, 0},
		Origins: []string{"Avro schema 1"}, NotFound: []string{"2"},
		Turn: -1, Features: 2, Records: math.MaxUint64, Gap: true, Lost: 12, ConfigRows: "rows", Champion: "logistic", Build: "v1", Created: time.Unix(1e9, 5).UTC(),
		Models: []Model{
			{
				Name: "logistic", Kind: "logistic", ConfigHash: "l", Since: map[int32]int64{0: 5, 1: 0}, Records: math.MaxUint64,
				Tensors: []sgd.Tensor{
					{Name: "steps", Shape: []int{}, Data: []uint64{3}},
					{Name: "weights", Shape: []int{2}, Data: []float64{-0.5, 1e-300}},
					{Name: "window/bits", Shape: []int{3}, Data: []uint8{1, 0, 255}},
				},
			},
			{Name: "fresh", Kind: "mlp", ConfigHash: "m"},
		},
		// The names of these would be those of a model's tensors, were it not for the owner's.
		Comparison: []sgd.Tensor{
			{Name: "logistic/weights", Shape: []int{1}, Data: []float64{7}},
			{Name: "steps", Shape: []int{}, Data: []uint64{9}},
		},
	}
}

func encode(tb testing.TB, c *Checkpoint) []byte {
	tb.Helper()
	data, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// forge returns the file with other metadata and tensors, and a sum that fits.
func forge(tb testing.TB, file []byte, change func(metadata map[string]string, tensors *[]sgd.Tensor)) []byte {
	tb.Helper()
	tensors, metadata, err := ReadSafetensors(file)
	if err != nil {
		tb.Fatal(err)
	}
	change(metadata, &tensors)
	file = write(tb, tensors, metadata)
	if at, ok := sumPlace(file); ok {
		copy(file[at:], sum(file, at))
	}
	return file
}

func TestCheckpointDecodesWhatWasEncoded(t *testing.T) {
	for name, want := range map[string]*Checkpoint{"everything": sampleCheckpoint(), "nothing": {ID: ID{"a", 0, "b"}}} {
		t.Run(name, func(t *testing.T) {
			file := encode(t, want)
			got, err := Decode(file)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if !bytes.Equal(encode(t, got), file) {
				t.Error("encoded again, the bytes differ")
			}
			clear(file)
			if !reflect.DeepEqual(got, want) {
				t.Error("the checkpoint shares memory with the file")
			}
		})
	}
}

// Every field of a checkpoint is kept: one that is added and forgotten fails here.
func TestSampleCheckpointHasEverything(t *testing.T) {
	c := reflect.ValueOf(sampleCheckpoint()).Elem()
	for i := range c.NumField() {
		if c.Field(i).IsZero() {
			t.Errorf("field %s of the sample is empty", c.Type().Field(i).Name)
		}
	}
}

// A checkpoint of a release that did not compare models, and knew no names, is read as one without a comparison and names.
func TestDecodesWithoutComparison(t *testing.T) {
	want := sampleCheckpoint()
	file := forge(t, encode(t, want), func(m map[string]string, tensors *[]sgd.Tensor) {
		for _, key := range optional {
			delete(m, key)
		}
		*tensors = slices.DeleteFunc(*tensors, func(t sgd.Tensor) bool { return strings.HasPrefix(t.Name, "/") })
	})
	got, err := Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	want.Records, want.Comparison, want.Slots = 0, nil, nil
	want.Header, want.Columns, want.Missing, want.Origins, want.NotFound = nil, nil, nil, nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDecodeRefusesEveryDamage(t *testing.T) {
	file := encode(t, sampleCheckpoint())
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			if c, err := Decode(file); !errors.Is(err, ErrCorrupt) || c != nil {
				t.Fatalf("bit %d of byte %d flipped: %v, error %v", bit, i, c, err)
			}
			file[i] ^= 1 << bit
		}
		if c, err := Decode(file[:i]); !errors.Is(err, ErrCorrupt) || c != nil {
			t.Fatalf("cut at byte %d: %v, error %v", i, c, err)
		}
	}
	if _, err := Decode(append(bytes.Clone(file), 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a byte too many: error %v", err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(metadata map[string]string, tensors *[]sgd.Tensor)
		want   string
		is     error
	}{
		{"another version", func(m map[string]string, _ *[]sgd.Tensor) { m["version"] = "2" }, `version "2", this build reads 1`, ErrVersion},
		{"another format", func(m map[string]string, _ *[]sgd.Tensor) { m["format"] = "pt" }, `format "pt"`, ErrCorrupt},
		{"no sum", func(m map[string]string, _ *[]sgd.Tensor) { delete(m, "sha256") }, "without a SHA-256", ErrCorrupt},
		{"a missing field", func(m map[string]string, _ *[]sgd.Tensor) { delete(m, "turn") }, `metadata "turn" is missing`, ErrCorrupt},
		{"an id that is none", func(m map[string]string, _ *[]sgd.Tensor) { m["id"] = "x" }, `metadata "id"`, ErrCorrupt},
		{"text for a number", func(m map[string]string, _ *[]sgd.Tensor) { m["features"] = `"2"` }, `metadata "features"`, ErrCorrupt},
		{"a partition out of range", func(m map[string]string, _ *[]sgd.Tensor) { m["partitions"] = `[{"partition":2147483648}]` }, `metadata "partitions"`, ErrCorrupt},
		{"a tensor of nobody", func(_ map[string]string, t *[]sgd.Tensor) { (*t)[0].Name = "logistic" }, `"logistic" belongs to no model`, ErrCorrupt},
		{"a tensor of no model", func(_ map[string]string, t *[]sgd.Tensor) { (*t)[0].Name = "other/weights" }, `"other/weights" belongs to no model`, ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Decode(forge(t, encode(t, sampleCheckpoint()), tt.change))
			if c != nil || !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, error %v; want one that is %v and says %q", c, err, tt.is, tt.want)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Checkpoint)
		want   string
	}{
		{"a model name with a slash", func(c *Checkpoint) { c.Models[0].Name = "a/b" }, `model name "a/b"`},
		{"a model without a name", func(c *Checkpoint) { c.Models[0].Name = "" }, `model name ""`},
		{"two models of one name", func(c *Checkpoint) { c.Models = append(c.Models, c.Models[0]) }, "two of this name"},
		{"a group that is not UTF-8", func(c *Checkpoint) { c.Group = "\xff" }, "not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sampleCheckpoint()
			tt.change(c)
			if _, err := c.Encode(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// FuzzDecode gives every file a sum that fits, so that what is behind it is met too.
func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sampleCheckpoint()))
	f.Add(encode(f, &Checkpoint{ID: ID{"a", 0, "b"}}))
	f.Add(forge(f, encode(f, sampleCheckpoint()), func(m map[string]string, _ *[]sgd.Tensor) { m["partitions"] = "null" }))
	f.Add([]byte(`{"sha256":"`))
	f.Fuzz(func(t *testing.T, file []byte) {
		if at, ok := sumPlace(file); ok {
			copy(file[at:], sum(file, at))
		}
		c, err := Decode(file)
		if err != nil {
			if c != nil || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("checkpoint %v, error %v", c, err)
			}
			return
		}
		again, err := c.Encode()
		if err != nil {
			t.Skip(err) // a name with a slash, a year that no text can hold
		}
		c2, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(t, c2), again) {
			t.Error("encoded twice, the bytes differ")
		}
	})
}

// pythonCheckpoint reads a checkpoint and verifies its sum with what Python has and the public safetensors package.
const pythonCheckpoint = `
import hashlib, json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="np") as f:
    metadata = f.metadata()
    weights = f.get_tensor("logistic/weights").tolist()
    names = sorted(f.keys())
data = open(sys.argv[1], "rb").read()
digest = metadata["sha256"].encode()
assert hashlib.sha256(data.replace(digest, b"0" * 64, 1)).hexdigest().encode() == digest
print(json.dumps({"id": metadata["id"], "group": metadata["group"], "names": names, "weights": weights,
    "next": [p["next_offset"] for p in json.loads(metadata["partitions"])],
    "records": json.loads(metadata["models"])[0]["records"]}))
`

func TestCheckpointAndPython(t *testing.T) {
	python.Need(t, "numpy", "safetensors")
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	if err := os.WriteFile(path, encode(t, sampleCheckpoint()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := python.Run(t, "-c", pythonCheckpoint, path)
	type view struct {
		ID, Group string
		Names     []string
		Weights   []float64
		Next      []int64
		Records   uint64
	}
	var got view
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := view{
		"aa/7/cc", testSource.Group,
		[]string{"/layout/slots", "/logistic/weights", "/steps", "logistic/steps", "logistic/weights", "logistic/window/bits"},
		[]float64{-0.5, 1e-300},
		[]int64{10, math.MaxInt64},
		math.MaxUint64,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Python reads %+v, want %+v", got, want)
	}
}
