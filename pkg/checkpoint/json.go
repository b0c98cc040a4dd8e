package checkpoint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"learner/pkg/sgd"
)

const jsonVersion = 1 // of the JSON form; files of safetensors have their own

// Settings are what a model was made with besides its kind.
type Settings struct {
	Options map[string]string `json:"options"` // those that were given
	Seed    uint64            `json:"seed"`
}

// JSON returns everything that is in the checkpoint as JSON, under the names of its metadata, tensors as of type [Tensors].
// Settings holds those of models, by name; of others they are null.
func (c *Checkpoint) JSON(settings map[string]*Settings) ([]byte, error) {
	type model struct {
		*Model
		Settings *Settings `json:"settings"`
		Tensors  Tensors   `json:"tensors"`
	}
	models := make([]model, len(c.Models))
	for i := range c.Models {
		m := &c.Models[i]
		models[i] = model{m, settings[m.Name], m.Tensors}
	}
	document := c.fields()
	document["format"], document["version"] = format, jsonVersion
	document["models"], document["comparison"] = models, Tensors(c.Comparison)
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s as JSON: %w", c.ID, err)
	}
	return append(text, '\n'), nil
}

// Tensors are tensors that encoding/json writes as an object: by name, in their order, type (float64, float32, int64, uint64, or uint8), shape,
// and values, as arrays in arrays, such as
//
//	{"weights": {"type": "float64", "shape": [2], "values": [0.5, -1]}}
//
// A tensor of shape [] has one number for values. What is no number in JSON is "NaN", "Infinity", or "-Infinity".
type Tensors []sgd.Tensor

// MarshalJSON implements [json.Marshaler].
func (tensors Tensors) MarshalJSON() ([]byte, error) {
	sorted := slices.SortedFunc(slices.Values(tensors), func(a, b sgd.Tensor) int { return cmp.Compare(a.Name, b.Name) })
	text := []byte{'{'}
	for i := range sorted {
		t := &sorted[i]
		if err := check(t); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendString(text, t.Name), ':')
		switch data := t.Data.(type) {
		case []float64:
			text = appendTensor(text, t.Shape, data, func(dst []byte, v float64) []byte { return appendFloat(dst, v, 64) })
		case []float32:
			text = appendTensor(text, t.Shape, data, func(dst []byte, v float32) []byte { return appendFloat(dst, float64(v), 32) })
		case []int64:
			text = appendTensor(text, t.Shape, data, func(dst []byte, v int64) []byte { return strconv.AppendInt(dst, v, 10) })
		case []uint64:
			text = appendTensor(text, t.Shape, data, func(dst []byte, v uint64) []byte { return strconv.AppendUint(dst, v, 10) })
		case []uint8:
			text = appendTensor(text, t.Shape, data, func(dst []byte, v uint8) []byte { return strconv.AppendUint(dst, uint64(v), 10) })
		}
	}
	return append(text, '}'), nil
}

// appendTensor appends a tensor, each value as one says.
func appendTensor[T any](dst []byte, shape []int, values []T, one func(dst []byte, v T) []byte) []byte {
	dst = fmt.Appendf(dst, `{"type":"%T","shape":[`, *new(T))
	for d, n := range shape {
		if d > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	dst = append(dst, `],"values":`...)
	dst, _ = appendNested(dst, shape, values, one)
	return append(dst, '}')
}

// appendNested appends the first values, as many as fill the shape, and returns the others, too.
func appendNested[T any](dst []byte, shape []int, values []T, one func(dst []byte, v T) []byte) (text []byte, rest []T) {
	if len(shape) == 0 {
		return one(dst, values[0]), values[1:]
	}
	dst = append(dst, '[')
	for i := range shape[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, values = appendNested(dst, shape[1:], values, one)
	}
	return append(dst, ']'), values
}

// appendFloat appends the shortest text that is read as v in so many bits.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}
