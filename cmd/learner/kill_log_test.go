package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"learner/pkg/producer"
	"learner/pkg/susy"
)

const (
	killPartitions = 5 // no divisor of what a batch of the merge has
	killRecords    = 300_000
	everyRecords   = 100_000 // where models of every kind take part
	killBad        = 4096    // one record of so many is not a row
)

// writeKillLog creates the topics of a kill test and fills them: rows of which a third is keyed by its label, 16 of them
// with the same timestamp, some records that are none; in batches of about 1000 and then of about 100 records. It returns
// how many rows there are.
func writeKillLog(t *testing.T, c *testCluster, records int, configs map[string]string) (rows int) {
	t.Helper()
	c.create(t, killPartitions, configs)
	lines := susyRows(1, records)
	at := time.Now().Add(-time.Hour)
	for _, part := range []struct{ until, bytes int }{{records / 2, 480_000}, {records, 48_000}} {
		p, err := producer.New(t.Context(), c.client(t), producer.Config{Topic: c.train, BatchBytes: part.bytes, Linger: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for i := records - len(lines); i < part.until; i++ {
			line := lines[0]
			lines = lines[1:]
			var key []byte
			partition := int32(i % killPartitions)
			switch {
			case i%killBad == killBad-1:
				line = []byte("1,not a row")
			case i%3 == 0:
				key = labelKeys[line[0]-'0']
				partition = partitionOf(key, killPartitions)
			}
			if i%killBad != killBad-1 {
				rows++
			}
			if err := p.Send(t.Context(), partition, at.Add(time.Duration(i/16)*time.Millisecond), key, line); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tests := make([]string, 0, 200)
	for _, line := range susyRows(2, cap(tests)) {
		tests = append(tests, string(line))
	}
	c.produce(t, c.test, tests)
	return rows
}

// susyRows returns events as lines of CSV. Generated ones repeat after a while: learning does not care.
func susyRows(seed uint64, n int) [][]byte {
	g, random := susy.NewGenerator(seed), rand.New(rand.NewPCG(seed, 1))
	lines := make([][]byte, 0, n)
	var x [susy.Features]float64
	for range min(n, 20_000) {
		label := g.Next(&x)
		lines = append(lines, susy.AppendCSV(nil, label, &x))
	}
	for len(lines) < n {
		lines = append(lines, lines[random.IntN(20_000)])
	}
	return slices.Clip(lines)
}

// renamed returns the cluster with names of topics and group of their own.
func (c *testCluster) renamed(suffix string) *testCluster {
	own := *c
	own.train, own.test, own.group = c.train+"."+suffix, c.test+"."+suffix, c.group+"."+suffix
	own.env = c.with("LEARNER_TRAIN_TOPIC="+own.train, "LEARNER_TEST_TOPIC="+own.test, "LEARNER_GROUP="+own.group)
	return &own
}
