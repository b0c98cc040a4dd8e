package checkpoint

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"learner/pkg/record"
)

func TestCompatible(t *testing.T) {
	c := &Checkpoint{ID: ID{"a", 7, "b"}, ConfigRows: "rows", Models: []Model{
		{Name: "one", Kind: "logistic", ConfigHash: "1"}, {Name: "two", Kind: "mlp", ConfigHash: "2"},
	}}
	one, two := ModelConfig{"one", "logistic", "1"}, ModelConfig{"two", "mlp", "2"}
	tests := []struct {
		name           string
		now            Config
		added, dropped []string
		refused        []string
	}{
		{name: "the same", now: Config{"rows", []ModelConfig{one, two}}},
		{name: "another order", now: Config{"rows", []ModelConfig{two, one}}},
		{name: "one added", now: Config{"rows", []ModelConfig{one, {"three", "mlp", "2"}, two}}, added: []string{"three"}},
		{name: "one dropped", now: Config{"rows", []ModelConfig{two}}, dropped: []string{"one"}},
		{name: "renamed", now: Config{"rows", []ModelConfig{{"uno", "logistic", "1"}, two}}, added: []string{"uno"}, dropped: []string{"one"}},
		{name: "other rows", now: Config{"columns", []ModelConfig{one, two}}, refused: []string{"format, label, features, or order", "LEARNER_RESET"}},
		{name: "another kind", now: Config{"rows", []ModelConfig{{"one", "mlp", "3"}, two}}, refused: []string{"model one is of kind logistic, and is configured as mlp", "another name"}},
		{name: "other options", now: Config{"rows", []ModelConfig{one, {"two", "mlp", "3"}}}, refused: []string{"model two has other options", "another name", "learner reset"}},
		{
			name: "everything at once", now: Config{"columns", []ModelConfig{{"one", "mlp", "3"}, {"two", "mlp", "3"}, {"three", "mlp", "3"}}},
			refused: []string{"checkpoint a/7/b", "format", "model one", "model two"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			added, dropped, err := c.Compatible(tt.now)
			if !slices.Equal(added, tt.added) || !slices.Equal(dropped, tt.dropped) || (err != nil) != (tt.refused != nil) {
				t.Errorf("added %v, dropped %v, error %v", added, dropped, err)
			}
			for _, want := range tt.refused {
				if err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestHash(t *testing.T) {
	seen := map[string][]string{}
	for _, parts := range [][]string{nil, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"a", "b"}, {"ab"}, {"b", "a"}} {
		hash := Hash(parts...)
		if len(hash) != 16 || hash != Hash(parts...) {
			t.Errorf("hash %q", hash)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%q and %q have one hash", other, parts)
		}
		seen[hash] = parts
	}
}

func TestCheckLog(t *testing.T) {
	last := record.Batch{Base: 8, Last: 9, Time: 1000, LeaderEpoch: 2}
	c := &Checkpoint{ID: ID{"a", 7, "b"}, Source: testSource, Partitions: []Partition{
		{Partition: 0, Next: 10, Last: Batch(last)},
		{Partition: 1, Next: 10, Last: Batch{Base: -1, Last: -1}},
	}}
	changed := func(change func(*record.Batch)) *record.Batch {
		b := last
		change(&b)
		return &b
	}
	good := Extent{First: 0, End: 20}
	tests := []struct {
		name    string
		topicID string
		log     map[int32]Extent
		lost    map[int32]int64
		refused string
	}{
		{name: "the same", topicID: "AAEC", log: map[int32]Extent{0: {0, 20, &last}, 1: good}},
		{name: "no batch was passed", log: map[int32]Extent{0: {0, 20, &last}, 1: {0, 20, &last}}},
		{name: "learned to the end", log: map[int32]Extent{0: {0, 10, &last}, 1: {10, 10, nil}}},
		{name: "grown", log: map[int32]Extent{0: {0, 10, &last}, 1: good, 2: good}},
		{name: "retention left all that was not learned", log: map[int32]Extent{0: {10, 20, nil}, 1: good}},
		{name: "retention took what was not learned", log: map[int32]Extent{0: {12, 20, nil}, 1: {20, 20, nil}}, lost: map[int32]int64{0: 2, 1: 10}},
		{name: "another id", topicID: "BBBB", log: map[int32]Extent{0: {0, 20, &last}, 1: good}, refused: "deleted and created again"},
		{name: "a partition less", log: map[int32]Extent{0: {0, 20, &last}}, refused: "partition 1 is gone"},
		{name: "shorter", log: map[int32]Extent{0: {0, 20, &last}, 1: {0, 9, nil}}, refused: "partition 1 ends at offset 9, before the next one to learn, 10"},
		{name: "another time", log: map[int32]Extent{0: {0, 20, changed(func(b *record.Batch) { b.Time++ })}, 1: good}, refused: "another batch at offset 9"},
		{name: "another epoch", log: map[int32]Extent{0: {0, 20, changed(func(b *record.Batch) { b.LeaderEpoch = 0 })}, 1: good}, refused: "another batch at offset 9"},
		{name: "other borders", log: map[int32]Extent{0: {0, 20, changed(func(b *record.Batch) { b.Last++ })}, 1: good}, refused: "another batch at offset 9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lost, err := c.CheckLog(tt.topicID, tt.log)
			if !maps.Equal(lost, tt.lost) {
				t.Errorf("lost %v, want %v", lost, tt.lost)
			}
			if (err != nil) != (tt.refused != "") || err != nil && (!strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "LEARNER_RESET")) {
				t.Errorf("error %v, want one that says %q", err, tt.refused)
			}
		})
	}
}
