package sgd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// scalar returns a tensor without dimensions: one value.
func scalar[T float64 | uint64](name string, value T) Tensor {
	return Tensor{Name: name, Shape: []int{}, Data: []T{value}}
}

// vector returns a tensor of one dimension that holds a copy of values.
func vector(name string, values []float64) Tensor {
	return Tensor{Name: name, Shape: []int{len(values)}, Data: slices.Clone(values)}
}

// stored hands out the tensors of a state, each once, and collects what does not fit.
type stored struct {
	tensors map[string]Tensor
	faults  []error
}

func newStored(tensors []Tensor) *stored {
	s := &stored{tensors: make(map[string]Tensor, len(tensors))}
	for _, t := range tensors {
		if _, twice := s.tensors[t.Name]; twice {
			s.faults = append(s.faults, fmt.Errorf("tensor %s is there twice", t.Name))
		}
		s.tensors[t.Name] = t
	}
	return s
}

// load fills dst, whose length is what the tensor must hold, from the tensor called name.
func load[T float64 | uint64](s *stored, name string, dst []T) {
	t, ok := s.tensors[name]
	delete(s.tensors, name)
	values, typed := t.Data.([]T)
	switch {
	case !ok:
		s.faults = append(s.faults, fmt.Errorf("tensor %s is missing", name))
	case !typed:
		s.faults = append(s.faults, fmt.Errorf("tensor %s holds %T, want %T", name, t.Data, dst))
	case len(values) != len(dst):
		s.faults = append(s.faults, fmt.Errorf("tensor %s holds %d values, want %d", name, len(values), len(dst)))
	default:
		copy(dst, values)
	}
}

// loadScalar is load for a single value.
func loadScalar[T float64 | uint64](s *stored, name string, dst *T) {
	value := []T{*dst}
	load(s, name, value)
	*dst = value[0]
}

// done returns an error that names all that did not fit, tensors that nobody asked for among it.
func (s *stored) done() error {
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		s.faults = append(s.faults, fmt.Errorf("tensor %s is unknown", name))
	}
	return errors.Join(s.faults...)
}
