package train

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"learner/pkg/sgd"
)

// stored hands out tensors by name, each once, and collects what does not fit.
type stored struct {
	tensors map[string]sgd.Tensor
	faults  []error
}

func newStored(tensors []sgd.Tensor) *stored {
	s := &stored{tensors: make(map[string]sgd.Tensor, len(tensors))}
	for _, t := range tensors {
		if _, twice := s.tensors[t.Name]; twice {
			s.fault("tensor %s is there twice", t.Name)
		}
		s.tensors[t.Name] = t
	}
	return s
}

func (s *stored) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf(format, args...))
}

// has reports whether the tensor called name is there, and was not handed out yet.
func (s *stored) has(name string) bool {
	_, ok := s.tensors[name]
	return ok
}

// under hands out all tensors whose name begins with a prefix, by the rest of it.
func (s *stored) under(prefix string) []sgd.Tensor {
	var out []sgd.Tensor
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			t := s.tensors[name]
			t.Name = rest
			out = append(out, t)
			delete(s.tensors, name)
		}
	}
	return out
}

// done returns an error that names all that did not fit, tensors that nobody asked for among it.
func (s *stored) done() error {
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		s.fault("tensor %s is unknown", name)
	}
	return errors.Join(s.faults...)
}

// values returns what the tensor called name holds; nil, and a fault, where it is not there or holds something else.
func values[T uint64 | float64 | uint8](s *stored, name string) []T {
	t, ok := s.tensors[name]
	if !ok {
		s.fault("tensor %s is missing", name)
		return nil
	}
	delete(s.tensors, name)
	out, typed := t.Data.([]T)
	if !typed {
		s.fault("tensor %s holds %T, want %T", name, t.Data, out)
	}
	return out
}

// value stores the only value of the tensor called name in dst.
func value[T uint64 | float64](s *stored, name string, dst *T) {
	before := len(s.faults)
	all := values[T](s, name)
	switch {
	case len(all) == 1:
		*dst = all[0]
	case len(s.faults) == before:
		s.fault("tensor %s holds %d values, want one", name, len(all))
	}
}

// one returns a tensor of one value, list one of many. They share what they are given.
func one[T uint64 | float64](name string, v T) sgd.Tensor {
	return sgd.Tensor{Name: name, Shape: []int{}, Data: []T{v}}
}

func list[T float64 | uint8](name string, v []T) sgd.Tensor {
	return sgd.Tensor{Name: name, Shape: []int{len(v)}, Data: v}
}
