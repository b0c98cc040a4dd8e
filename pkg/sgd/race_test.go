//go:build race

package sgd

func init() { raced = true }
