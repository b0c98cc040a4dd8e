package main

import (
	"context"
	"fmt"
	"math"
)

// topics measures the whole way of topics of other shapes, against a topic like the first, as long as they.
func (b *bench) topics(ctx context.Context) error {
	records := max(b.rows.len()/2, 1)
	var all []*topic
	var ways []*measurement
	add := func(name string, t *topic) error {
		t.name, t.records = fmt.Sprintf("shape-%d", len(all)), records
		if err := b.fill(ctx, t, b.rows); err != nil {
			return err
		}
		all, ways = append(all, t), append(ways, b.wholeWay(name, t, "logistic"))
		return nil
	}
	if err := add(fmt.Sprintf("%d partitions, none", b.partitions), &topic{codec: "none", partitions: b.partitions}); err != nil {
		return err
	}
	for _, codec := range []string{"none", "lz4", "zstd"} {
		for _, partitions := range []int{4, 24} {
			if err := add(fmt.Sprintf("%d partitions, %s", partitions, codec), &topic{codec: codec, partitions: partitions}); err != nil {
				return err
			}
		}
		keyed := &topic{codec: codec, partitions: b.partitions, place: byLabel(b.partitions)}
		if err := add(fmt.Sprintf("%d partitions, keyed by label, %s", b.partitions, codec), keyed); err != nil {
			return err
		}
	}
	if err := rounds(ctx, b.runs, ways); err != nil {
		return err
	}
	b.say("\n%d records in topics of other shapes; whole way, logistic\n", records)
	lines := [][]string{{"topic", "records/s", "CPU s/M records", "÷ the first", "peak MiB"}}
	least := math.Inf(1)
	for _, m := range ways {
		lines = append(lines, []string{m.name, rate(m), cpu(m), ratio(m.ratio(ways[0])), mebibytes(m)})
		least = min(least, m.ratio(ways[0]))
	}
	b.lines(lines)
	b.least("slowest topic ÷ the first", least, .6)
	b.noteMemory("in topics of other shapes", ways...)
	return b.remove(ctx, all...)
}
