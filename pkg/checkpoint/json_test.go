package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"learner/pkg/sgd"
)

// stored is a tensor in the form that Tensors are written in.
type stored struct {
	Type   string
	Shape  []int
	Values any
}

// flat returns the values one after the other, and the shape that they have.
func (s *stored) flat(tb testing.TB) (values []string, shape []int) {
	tb.Helper()
	shape = []int{}
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		list, nested := v.([]any)
		if !nested {
			values = append(values, fmt.Sprint(v))
			return
		}
		if depth == len(shape) {
			shape = append(shape, len(list))
		} else if shape[depth] != len(list) {
			tb.Errorf("arrays of %d and of %d values side by side", shape[depth], len(list))
		}
		for _, v := range list {
			walk(v, depth+1)
		}
	}
	walk(s.Values, 0)
	return values, shape
}

// restore returns the tensor that was written.
func (s *stored) restore(tb testing.TB, name string) sgd.Tensor {
	tb.Helper()
	values, shape := s.flat(tb)
	if !reflect.DeepEqual(shape, s.Shape) {
		tb.Errorf("%s: values in the shape %v, want %v", name, shape, s.Shape)
	}
	t := sgd.Tensor{Name: name, Shape: s.Shape}
	switch s.Type {
	case "float64":
		t.Data = parsed(tb, values, func(text string) (float64, error) { return strconv.ParseFloat(text, 64) })
	case "float32":
		t.Data = parsed(tb, values, func(text string) (float32, error) { v, err := strconv.ParseFloat(text, 32); return float32(v), err })
	case "int64":
		t.Data = parsed(tb, values, func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) })
	case "uint64":
		t.Data = parsed(tb, values, func(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) })
	case "uint8":
		t.Data = parsed(tb, values, func(text string) (uint8, error) { v, err := strconv.ParseUint(text, 10, 8); return uint8(v), err })
	default:
		tb.Errorf("%s: type %q", name, s.Type)
	}
	return t
}

func parsed[T any](tb testing.TB, texts []string, parse func(string) (T, error)) []T {
	tb.Helper()
	values := make([]T, len(texts))
	for i, text := range texts {
		var err error
		if values[i], err = parse(text); err != nil {
			tb.Error(err)
		}
	}
	return values
}

// readJSON reads text without a loss.
func readJSON(tb testing.TB, text []byte, into any) {
	tb.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		tb.Fatalf("%v in %s", err, text)
	}
}

func sameTensors(tb testing.TB, got map[string]stored, want []sgd.Tensor) {
	tb.Helper()
	restored := make([]sgd.Tensor, 0, len(got))
	for name, s := range got {
		restored = append(restored, s.restore(tb, name))
	}
	if got, want := contents(tb, restored), contents(tb, want); !reflect.DeepEqual(got, want) {
		tb.Errorf("from JSON comes %v, want %v", got, want)
	}
}

// TestTensorsAsJSON holds that every bit of a tensor can be had back, but for those of a NaN.
func TestTensorsAsJSON(t *testing.T) {
	tensors, _ := sample()
	tensors = append(tensors, sgd.Tensor{Name: "odd \"name\"", Shape: []int{5}, Data: []float64{
		math.NaN(), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1,
	}})
	text, err := json.Marshal(Tensors(tensors))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]stored
	readJSON(t, text, &got)
	for i := range tensors { // JSON knows no shape behind a length of 0
		if stored := got[tensors[i].Name]; len(stored.Shape) == 2 && stored.Shape[0] == 0 {
			stored.Shape = stored.Shape[:1]
			got[tensors[i].Name], tensors[i].Shape = stored, stored.Shape
		}
	}
	sameTensors(t, got, tensors)
	if want := `"rows":{"type":"float32","shape":[1,2,1],"values":[[[1.5],[-2]]]}`; !strings.Contains(string(text), want) {
		t.Errorf("%s lacks %s", text, want)
	}
	if _, err := json.Marshal(Tensors{{Name: "short", Shape: []int{2}, Data: []float64{1}}}); err == nil || !strings.Contains(err.Error(), `"short"`) {
		t.Errorf("a tensor that does not fill its shape: error %v", err)
	}
}

func TestCheckpointAsJSON(t *testing.T) {
	c := sampleCheckpoint()
	settings := map[string]*Settings{c.Models[0].Name: {Options: map[string]string{"rate": "0.1"}, Seed: 1 << 63}}
	text, err := c.JSON(settings)
	if err != nil {
		t.Fatal(err)
	}
	again := Checkpoint{}
	fields := again.fields()
	var document map[string]json.RawMessage
	readJSON(t, text, &document)
	for key, field := range fields { // all but the tensors reads back as it was
		if err := json.Unmarshal(document[key], field); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	var rest struct {
		Format     string
		Version    int
		Comparison map[string]stored
		Models     []struct {
			Settings *Settings
			Tensors  map[string]stored
		}
	}
	readJSON(t, text, &rest)
	if rest.Format != "learner-checkpoint" || rest.Version != 1 || len(document) != len(fields)+3 {
		t.Errorf("format %s, version %d, %d keys", rest.Format, rest.Version, len(document))
	}
	sameTensors(t, rest.Comparison, c.Comparison)
	for i, m := range rest.Models {
		sameTensors(t, m.Tensors, c.Models[i].Tensors)
		if want := settings[c.Models[i].Name]; !reflect.DeepEqual(m.Settings, want) {
			t.Errorf("model %s: settings %v, want %v", c.Models[i].Name, m.Settings, want)
		}
		c.Models[i].Tensors = nil
	}
	c.Comparison = nil
	if !reflect.DeepEqual(again.fields(), c.fields()) {
		t.Errorf("from JSON comes %+v\nwant %+v", again, *c)
	}
}
