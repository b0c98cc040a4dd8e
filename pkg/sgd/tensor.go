package sgd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// scalar returns a tensor without dimensions: one value.
func scalar[T number](name string, value T) Tensor {
	return Tensor{Name: name, Shape: []int{}, Data: []T{value}}
}

// vector returns a tensor of one dimension that holds a copy of values.
func vector(name string, values []float64) Tensor {
	return Tensor{Name: name, Shape: []int{len(values)}, Data: slices.Clone(values)}
}

// copyFloats returns copies of vectors that share one allocation.
func copyFloats(of ...[]float64) [][]float64 {
	n := 0
	for _, v := range of {
		n += len(v)
	}
	all := make([]float64, 0, n)
	for i, v := range of {
		all = append(all, v...)
		of[i] = all[len(all)-len(v) : len(all) : len(all)]
	}
	return of
}

// Stored hands out the tensors of a state by name, each once, and collects what does not fit.
type Stored struct {
	*storedTensors
	prefix string // of all names that are asked for
}

type storedTensors struct {
	tensors map[string]Tensor
	faults  []error
}

// NewStored returns tensors to be handed out.
func NewStored(tensors []Tensor) *Stored {
	s := &Stored{storedTensors: &storedTensors{tensors: make(map[string]Tensor, len(tensors))}}
	for _, t := range tensors {
		if _, twice := s.tensors[t.Name]; twice {
			s.Fault("tensor %s is there twice", t.Name)
		}
		s.tensors[t.Name] = t
	}
	return s
}

// under returns the same tensors, to be asked for by what follows a prefix.
func (s *Stored) under(prefix string) *Stored { return &Stored{s.storedTensors, s.prefix + prefix} }

// Fault notes that something does not fit.
func (s *Stored) Fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

// Has reports whether the tensor called name is there, and was not handed out yet.
func (s *Stored) Has(name string) bool {
	_, ok := s.tensors[s.prefix+name]
	return ok
}

// Take hands out all tensors whose name begins with a prefix, by the rest of it, in the order of their names.
func (s *Stored) Take(prefix string) []Tensor {
	var out []Tensor
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		if rest, ok := strings.CutPrefix(name, s.prefix+prefix); ok {
			t := s.tensors[name]
			t.Name = rest
			out = append(out, t)
			delete(s.tensors, name)
		}
	}
	return out
}

// number is what tensors are made of.
type number interface {
	float64 | float32 | int64 | uint64 | uint8
}

// load fills dst, whose length is what the tensor must hold, from the tensor called name.
func load[T number](s *Stored, name string, dst []T) {
	values := Values[T](s, name)
	if values != nil && len(values) != len(dst) {
		s.Fault("tensor %s holds %d values, want %d", s.prefix+name, len(values), len(dst))
		return
	}
	copy(dst, values)
}

// Values returns the values of the tensor called name, which may be any number of them, not to be changed; nil where
// there is no such tensor.
func Values[T number](s *Stored, name string) []T {
	name = s.prefix + name
	t, ok := s.tensors[name]
	if !ok {
		s.Fault("tensor %s is missing", name)
		return nil
	}
	delete(s.tensors, name)
	values, typed := t.Data.([]T)
	if !typed {
		s.Fault("tensor %s holds %T, want %T", name, t.Data, values)
	}
	return values
}

// LoadScalar stores the only value of the tensor called name in dst.
func LoadScalar[T number](s *Stored, name string, dst *T) {
	value := []T{*dst}
	load(s, name, value)
	*dst = value[0]
}

// Done returns an error that names all that did not fit, tensors that nobody asked for among it.
func (s *Stored) Done() error {
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		s.Fault("tensor %s is unknown", name)
	}
	return errors.Join(s.faults...)
}
