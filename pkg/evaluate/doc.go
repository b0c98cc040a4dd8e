// Package evaluate measures how good answers are: scores of a model over a window of the newest test records, and of
// baselines over the same window. It knows no Kafka and no HTTP.
//
// The package starts no goroutine. A [Window] belongs to the one goroutine that adds rows and scores.
package evaluate
