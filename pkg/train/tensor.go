package train

import "learner/pkg/sgd"

// one returns a tensor of one value, list one of many. They share what they are given.
func one[T uint64 | float64](name string, v T) sgd.Tensor {
	return sgd.Tensor{Name: name, Shape: []int{}, Data: []T{v}}
}

func list[T float64 | uint8](name string, v []T) sgd.Tensor {
	return sgd.Tensor{Name: name, Shape: []int{len(v)}, Data: v}
}
