package checkpoint

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"learner/internal/python"
	"learner/pkg/sgd"
)

// sample holds each type of value, a scalar, an empty tensor, and text that JSON escapes. It is in file order.
func sample() ([]sgd.Tensor, map[string]string) {
	tensors := []sgd.Tensor{
		{Name: "bias", Shape: []int{}, Data: []float64{-0.25}},
		{Name: "counts", Shape: []int{3}, Data: []int64{math.MinInt64, 0, math.MaxInt64}},
		{Name: "empty", Shape: []int{0, 4}, Data: []float64{}},
		{Name: "steps", Shape: []int{}, Data: []uint64{math.MaxUint64}},
		{Name: "weights", Shape: []int{2, 3}, Data: []float64{0, math.Copysign(0, -1), math.Inf(1), 1e-320, math.Pi, -1e300}},
		{Name: "rows", Shape: []int{1, 2, 1}, Data: []float32{1.5, -2}},
		{Name: `a "name" <é>`, Shape: []int{5}, Data: []uint8{0, 1, 2, 254, 255}},
	}
	metadata := map[string]string{"lineage": "a\n\"b\"\\", "é": "✓", "": "empty key"}
	return tensors, metadata
}

func write(tb testing.TB, tensors []sgd.Tensor, metadata map[string]string) []byte {
	tb.Helper()
	var file bytes.Buffer
	if err := WriteSafetensors(&file, tensors, metadata); err != nil {
		tb.Fatal(err)
	}
	return file.Bytes()
}

// build returns a file with the given header and as many bytes of values.
func build(header string, values int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, values)...)
}

func TestSafetensorsBytes(t *testing.T) {
	header := `{"__metadata__":{"a":"1","b":"2"},"w":{"dtype":"F64","shape":[2],"data_offsets":[0,16]},` +
		`"flag":{"dtype":"U8","shape":[],"data_offsets":[16,17]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	want := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	want = append(want, header...)
	want = append(want, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0, 7) // 1, -2, 7

	got := write(t, []sgd.Tensor{
		{Name: "flag", Shape: []int{}, Data: []uint8{7}},
		{Name: "w", Shape: []int{2}, Data: []float64{1, -2}},
	}, map[string]string{"b": "2", "a": "1"})
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestSafetensorsReadsWhatWasWritten(t *testing.T) {
	tensors, metadata := sample()
	tests := []struct {
		name     string
		tensors  []sgd.Tensor
		metadata map[string]string
	}{
		{"everything", tensors, metadata},
		{"nothing", []sgd.Tensor{}, nil},
		{"empty metadata", []sgd.Tensor{}, map[string]string{}},
		{"metadata only", []sgd.Tensor{}, metadata},
		{"a scalar only", tensors[:1], nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := write(t, tt.tensors, tt.metadata)
			got, gotMetadata, err := ReadSafetensors(file)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.tensors) {
				t.Errorf("tensors %v, want %v", got, tt.tensors)
			}
			if !reflect.DeepEqual(gotMetadata, tt.metadata) {
				t.Errorf("metadata %v, want %v", gotMetadata, tt.metadata)
			}
			clear(file)
			if !reflect.DeepEqual(got, tt.tensors) {
				t.Error("tensors share memory with the file")
			}
			if values := 8 + binary.LittleEndian.Uint64(write(t, tt.tensors, tt.metadata)); values%8 != 0 {
				t.Errorf("values begin at %d, which is no multiple of 8", values)
			}
		})
	}
}

func TestSafetensorsKeepsTheBitsOfNaN(t *testing.T) {
	const quiet, signalling = 0x7ff8dead_beef0001, 0xfff0dead_beef0001
	file := write(t, []sgd.Tensor{
		{Name: "x", Shape: []int{2}, Data: []float64{math.Float64frombits(quiet), math.Float64frombits(signalling)}},
	}, nil)
	tensors, _, err := ReadSafetensors(file)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors[0].Data.([]float64)
	if a, b := math.Float64bits(x[0]), math.Float64bits(x[1]); a != quiet || b != signalling {
		t.Errorf("bits %x, %x; want %x, %x", a, b, uint64(quiet), uint64(signalling))
	}
}

func TestSafetensorsDoesNotDependOnTheOrderOfTensors(t *testing.T) {
	tensors, metadata := sample()
	want := write(t, tensors, metadata)
	slices.Reverse(tensors)
	before := slices.Clone(tensors)
	if got := write(t, tensors, metadata); !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !reflect.DeepEqual(tensors, before) {
		t.Error("writing changed the order of the caller's tensors")
	}
}

func TestWriteSafetensorsRefuses(t *testing.T) {
	x := []float64{1, 2}
	tests := []struct {
		name     string
		tensors  []sgd.Tensor
		metadata map[string]string
		want     string
	}{
		{"fewer values than the shape says", []sgd.Tensor{{Name: "x", Shape: []int{3}, Data: x}}, nil, `tensor "x": 2 values do not fill the shape [3]`},
		{"more values than a scalar has", []sgd.Tensor{{Name: "x", Data: x}}, nil, `2 values do not fill the shape []`},
		{"a negative dimension", []sgd.Tensor{{Name: "x", Shape: []int{-1, -2}, Data: x}}, nil, "negative dimension"},
		{"a shape that overflows", []sgd.Tensor{{Name: "x", Shape: []int{1 << 32, 1 << 32}, Data: x}}, nil, "larger than memory"},
		{"another type", []sgd.Tensor{{Name: "x", Shape: []int{1}, Data: []string{"a"}}}, nil, "data of type []string"},
		{"no data", []sgd.Tensor{{Name: "x"}}, nil, "data of type <nil>"},
		{"a name twice", []sgd.Tensor{{Name: "x", Shape: []int{2}, Data: x}, {Name: "x", Shape: []int{1}, Data: []uint8{1}}}, nil, `tensor "x": two of this name`},
		{"the name of the metadata", []sgd.Tensor{{Name: "__metadata__", Shape: []int{2}, Data: x}}, nil, "reserved"},
		{"a name that is not UTF-8", []sgd.Tensor{{Name: "\xff", Shape: []int{2}, Data: x}}, nil, "not UTF-8"},
		{"metadata that is not UTF-8", nil, map[string]string{"a": "\xff"}, `metadata "a" is not UTF-8`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var file bytes.Buffer
			err := WriteSafetensors(&file, tt.tensors, tt.metadata)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
			if file.Len() > 0 {
				t.Errorf("%d bytes were written", file.Len())
			}
		})
	}
}

// brokenWriter takes a number of bytes and then fails.
type brokenWriter struct{ room int }

var errBroken = errors.New("broken")

func (w *brokenWriter) Write(p []byte) (int, error) {
	if len(p) > w.room {
		return 0, errBroken
	}
	w.room -= len(p)
	return len(p), nil
}

func TestWriteSafetensorsReportsTheWritersError(t *testing.T) {
	tensors, metadata := sample()
	for room := range len(write(t, tensors, metadata)) {
		if err := WriteSafetensors(&brokenWriter{room}, tensors, metadata); !errors.Is(err, errBroken) {
			t.Fatalf("writer with room for %d bytes: error %v", room, err)
		}
	}
}

var refusals = []struct {
	name string
	file []byte
	want string
}{
	{"an empty file", nil, "0 bytes are too short"},
	{"half a header length", []byte{1, 0, 0, 0}, "4 bytes are too short"},
	{"a header longer than the file", build("{}", 0)[:9], "header of 2 bytes in a file of 9"},
	{"a giant header length", bytes.Repeat([]byte{0xff}, 64), "header of 18446744073709551615 bytes"},
	{"no header", build("", 0), "does not begin with {"},
	{"a space before the header", build(" {}", 0), "does not begin with {"},
	{"text that is not JSON", build(`{x}`, 0), "invalid character"},
	{"a header cut off", build(`{"x":{"dtype":"F64"`, 0), "unexpected EOF"},
	{"text after the header", build(`{}{}`, 0), "2 bytes after its end"},
	{"a header that is not UTF-8", build("{\"\xff\":{}}", 0), "not UTF-8"},
	{"an array of tensors", build(`{"x":[]}`, 0), `"x": [ where { belongs`},
	{"a type that is unknown", build(`{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 2), `tensor "x": values of type "BF16" cannot be read`},
	{"a type in lower case", build(`{"x":{"dtype":"f64","shape":[1],"data_offsets":[0,8]}}`, 8), `values of type "f64"`},
	{"a field that is unknown", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"crc":1}}`, 1), `"crc": unknown field`},
	{"a field in another case", build(`{"x":{"DType":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `"DType": unknown field`},
	{"a field twice", build(`{"x":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1), `"dtype" comes twice`},
	{"a type left out", build(`{"x":{"shape":[1],"data_offsets":[0,1]}}`, 1), "dtype, shape, and data_offsets are needed"},
	{"a shape left out", build(`{"x":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "dtype, shape, and data_offsets are needed"},
	{"offsets left out", build(`{"x":{"dtype":"U8","shape":[1]}}`, 1), "dtype, shape, and data_offsets are needed"},
	{"one offset", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1), "1 numbers, want 2"},
	{"a negative dimension", build(`{"x":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), "-1 where a whole number belongs"},
	{"a fraction", build(`{"x":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 1), "1.0 where a whole number belongs"},
	{"null as a dimension", build(`{"x":{"dtype":"U8","shape":[null],"data_offsets":[0,0]}}`, 0), "where a number belongs"},
	{"a dimension beyond 64 bits", build(`{"x":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}`, 1), "where a whole number belongs"},
	{"a shape that overflows", build(`{"x":{"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "larger than memory"},
	{"a giant shape", build(`{"x":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8]}}`, 8), "8 bytes of values, but its type and shape take 8000000000000"},
	{"offsets beyond the file", build(`{"x":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, 8), "from 0 to 9 in a file that has 8"},
	{"giant offsets", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,9223372036854775807]}}`, 8), "from 0 to 9223372036854775807"},
	{"offsets that go backwards", build(`{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"y":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"z":{"dtype":"U8","shape":[0],"data_offsets":[1,0]}}`, 1), "from 1 to 0"},
	{"an overlap", build(`{"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), `tensor "y": begins at 1, inside the tensor before it`},
	{"a gap", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), `tensor "y": begins at 2, with a gap from 1`},
	{"a gap at the beginning", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "with a gap from 0"},
	{"values of no tensor", build(`{}`, 3), "the last 3 bytes belong to no tensor"},
	{"values that do not fill the shape", build(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "4 bytes of values, but its type and shape take 8"},
	{"a name twice", build(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0078":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `"x" comes twice`},
	{"metadata twice", build(`{"__metadata__":{},"__metadata__":{}}`, 0), `"__metadata__" comes twice`},
	{"a key of the metadata twice", build(`{"__metadata__":{"a":"1","a":"2"}}`, 0), `"a" comes twice`},
	{"metadata that is no text", build(`{"__metadata__":{"a":1}}`, 0), "1 where a string belongs"},
}

func TestReadSafetensorsRefuses(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			tensors, _, err := ReadSafetensors(tt.file)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("tensors %v, error %v; want an error that says %q", tensors, err, tt.want)
			}
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
				t.Errorf("%d bytes of memory were taken for a file of %d", taken, len(tt.file))
			}
		})
	}
}

func TestReadSafetensorsRefusesEveryTruncation(t *testing.T) {
	file := write(t, []sgd.Tensor{{Name: "x", Shape: []int{2}, Data: []float64{1, 2}}}, map[string]string{"a": "b"})
	for n := range file {
		if _, _, err := ReadSafetensors(file[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were read as a file", n, len(file))
		}
	}
}

func FuzzReadSafetensors(f *testing.F) {
	tensors, metadata := sample()
	f.Add(write(f, tensors, metadata))
	f.Add(write(f, nil, nil))
	for _, refusal := range refusals {
		f.Add(refusal.file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		tensors, metadata, err := ReadSafetensors(file)
		if err != nil {
			return
		}
		size := 0
		for _, tensor := range tensors {
			size += binary.Size(tensor.Data)
		}
		if size > len(file) {
			t.Fatalf("%d bytes of values from a file of %d", size, len(file))
		}
		again := write(t, tensors, metadata)
		tensors2, metadata2, err := ReadSafetensors(again)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(metadata, metadata2) {
			t.Errorf("metadata %v became %v", metadata, metadata2)
		}
		if a, b := contents(t, tensors), contents(t, tensors2); !reflect.DeepEqual(a, b) {
			t.Errorf("tensors %v became %v", tensors, tensors2)
		}
		if !bytes.Equal(write(t, tensors2, metadata2), again) {
			t.Error("written twice, the bytes differ")
		}
	})
}

// content is a tensor in a form in which NaN equals itself.
type content struct {
	Dtype, Data string
	Shape       []int
}

func contents(tb testing.TB, tensors []sgd.Tensor) map[string]content {
	tb.Helper()
	all := make(map[string]content, len(tensors))
	for _, tensor := range tensors {
		data, err := binary.Append(nil, binary.LittleEndian, tensor.Data)
		if err != nil {
			tb.Fatal(err)
		}
		all[tensor.Name] = content{dtypeOf(tensor.Data), base64.StdEncoding.EncodeToString(data), tensor.Shape}
	}
	return all
}

// copyInPython reads a file with the public safetensors package, prints its content, and writes it again to a second file.
const copyInPython = `
import base64, json, sys
from safetensors import safe_open
from safetensors.numpy import save_file
names = {"float64": "F64", "float32": "F32", "int64": "I64", "uint64": "U64", "uint8": "U8"}
with safe_open(sys.argv[1], framework="np") as f:
    tensors = {k: f.get_tensor(k) for k in f.keys()}
    metadata = f.metadata()
save_file(tensors, sys.argv[2], metadata=metadata)
print(json.dumps({"metadata": metadata, "tensors": {k: {
    "Dtype": names[str(v.dtype)], "Shape": list(v.shape), "Data": base64.b64encode(v.tobytes()).decode(),
} for k, v in tensors.items()}}))
`

func TestSafetensorsAndPython(t *testing.T) {
	python.Need(t, "numpy", "safetensors")
	tensors, metadata := sample()
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.safetensors"), filepath.Join(dir, "theirs.safetensors")
	if err := os.WriteFile(ours, write(t, tensors, metadata), 0o600); err != nil {
		t.Fatal(err)
	}
	out := python.Run(t, "-c", copyInPython, ours, theirs)
	var got struct {
		Metadata map[string]string
		Tensors  map[string]content
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := contents(t, tensors)
	if !reflect.DeepEqual(got.Metadata, metadata) || !reflect.DeepEqual(got.Tensors, want) {
		t.Errorf("Python reads %v %v\nwant %v %v", got.Metadata, got.Tensors, metadata, want)
	}

	file, err := os.ReadFile(theirs)
	if err != nil {
		t.Fatal(err)
	}
	back, backMetadata, err := ReadSafetensors(file)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(backMetadata, metadata) || !reflect.DeepEqual(contents(t, back), want) {
		t.Errorf("from Python comes %v %v\nwant %v %v", backMetadata, back, metadata, tensors)
	}
}
