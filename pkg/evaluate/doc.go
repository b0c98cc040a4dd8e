// Package evaluate measures how good answers are: scores of a model over a window of the newest test records, of its newest
// train records, and of baselines over the same; whether a model is better than another for certain ([Comparison]); and
// whether what a model meets has changed ([PageHinkley], [Stability]). It knows no Kafka and no HTTP.
//
// The package starts no goroutine. Everything in it belongs to the one goroutine that adds to it. What a checkpoint keeps has
// a State, a list of numbers, and a Restore that goes on from it bit for bit, on every CPU.
package evaluate
