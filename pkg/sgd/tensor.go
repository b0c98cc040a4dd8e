package sgd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// scalar returns a tensor without dimensions: one value.
func scalar[T number](name string, value T) Tensor {
	return Tensor{Name: name, Shape: []int{}, Data: []T{value}}
}

// vector returns a tensor of one dimension that holds a copy of values.
func vector(name string, values []float64) Tensor {
	return Tensor{Name: name, Shape: []int{len(values)}, Data: slices.Clone(values)}
}

// stored hands out the tensors of a state, each once, and collects what does not fit.
type stored struct {
	*storedTensors
	prefix string // of all names that are asked for
}

type storedTensors struct {
	tensors map[string]Tensor
	faults  []error
}

func newStored(tensors []Tensor) *stored {
	s := &stored{storedTensors: &storedTensors{tensors: make(map[string]Tensor, len(tensors))}}
	for _, t := range tensors {
		if _, twice := s.tensors[t.Name]; twice {
			s.fault("tensor %s is there twice", t.Name)
		}
		s.tensors[t.Name] = t
	}
	return s
}

// under returns the same tensors, to be asked for by what follows a prefix.
func (s *stored) under(prefix string) *stored { return &stored{s.storedTensors, s.prefix + prefix} }

func (s *stored) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

// number is what tensors are made of.
type number interface {
	float64 | float32 | int64 | uint64 | uint8
}

// load fills dst, whose length is what the tensor must hold, from the tensor called name.
func load[T number](s *stored, name string, dst []T) {
	values := loadAny[T](s, name)
	if values != nil && len(values) != len(dst) {
		s.fault("tensor %s holds %d values, want %d", s.prefix+name, len(values), len(dst))
		return
	}
	copy(dst, values)
}

// loadAny returns the values of the tensor called name, which may be any number of them, not to be changed; nil where
// there is no such tensor.
func loadAny[T number](s *stored, name string) []T {
	name = s.prefix + name
	t, ok := s.tensors[name]
	if !ok {
		s.fault("tensor %s is missing", name)
		return nil
	}
	delete(s.tensors, name)
	values, typed := t.Data.([]T)
	if !typed {
		s.fault("tensor %s holds %T, want %T", name, t.Data, values)
	}
	return values
}

// loadScalar is load for a single value.
func loadScalar[T number](s *stored, name string, dst *T) {
	value := []T{*dst}
	load(s, name, value)
	*dst = value[0]
}

// done returns an error that names all that did not fit, tensors that nobody asked for among it.
func (s *stored) done() error {
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		s.fault("tensor %s is unknown", name)
	}
	return errors.Join(s.faults...)
}
