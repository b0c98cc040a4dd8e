package main

import (
	"testing"

	"learner/internal/broker"
)

// Every stage that reads a topic reads all of it, through whatever client.
func TestStages(t *testing.T) {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	c := &cluster{addrs: b.Addrs()}
	const records = 3000
	rows := newRows(formatCSV, records)
	topic := &topic{name: "stages", codec: "zstd", partitions: 6, records: records, place: byLabel(6)}
	if err := c.fill(t.Context(), topic, rows); err != nil {
		t.Fatal(err)
	}
	for name, do := range stages {
		if name == "width" || name == "decoding" || name == "freshness" {
			continue // they read no topic that is filled
		}
		j := job{Stage: name, Brokers: c.addrs, Topic: topic.name, Tests: topic.name, Records: records, Models: eightModels()}
		r, err := measure(t.Context(), &j, do)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if r.Records != records || r.Peak < 1<<20 || r.CPU <= 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if err := c.close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A topic that is keyed by label has no partition with both classes.
func TestByLabel(t *testing.T) {
	place := byLabel(6)
	first := map[int]byte{}
	rows := newRows(formatCSV, 200)
	for i := range rows.len() {
		row := rows.at(i)
		partition, key, _ := place(i, row)
		if class, ok := first[partition]; ok && class != row[0] || len(key) != 1 {
			t.Fatalf("row %d with label %c and key %q goes to partition %d, which has label %c", i, row[0], key, partition, class)
		}
		first[partition] = row[0]
	}
	if len(first) != 2 {
		t.Errorf("%d partitions for two labels", len(first))
	}
}
