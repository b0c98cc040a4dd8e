// Package checkpoint holds what a checkpoint is, where checkpoints are kept, and what a start does with those that it
// finds.
//
// A [Checkpoint] is every model's state and the next offsets at one cut. It is kept as a safetensors file, which is
// open, versioned, readable from Python, and cannot run code when it is loaded. A [Store] keeps the checkpoints of a
// group, in a [Topic] or a [Dir]. [Decide] says what follows from the commits and the checkpoints that are there.
//
// The package starts no goroutine.
package checkpoint
