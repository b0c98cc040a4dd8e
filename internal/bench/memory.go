package main

import (
	"context"
	"errors"
	"time"
)

// memory measures the most memory that a process needs which learns at full speed from several brokers, many partitions,
// packed batches, and one partition that holds half of the records, all later than those of the others.
func (b *bench) memory(ctx context.Context) (err error) {
	const partitions, ahead = 24, 30 * time.Minute
	c, where := b.cluster, "this Kafka"
	if b.brokers == "" {
		if c, err = startCluster(ctx, 6); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close(ctx)) }()
		where = "6 brokers"
	}
	t := &topic{
		name: "ahead", codec: "zstd", partitions: partitions, records: b.rows.len(),
		place: func(i int, _ []byte) (int, []byte, time.Duration) {
			if i%2 == 0 {
				return 0, nil, ahead
			}
			return 1 + i/2%(partitions-1), nil, 0
		},
	}
	tests := newTests(b.rows)
	if err := errors.Join(c.fill(ctx, t, b.rows), c.fill(ctx, tests, b.rows)); err != nil {
		return err
	}
	m := stage("far ahead", job{Stage: "whole way", Brokers: c.addrs, Topic: t.name, Tests: tests.name, Records: t.records, Models: "logistic"})
	if err := rounds(ctx, b.runs, []*measurement{m}); err != nil {
		return err
	}
	b.say("\n%s, %d partitions, zstd, one partition far ahead: %s records/s, peak %s MiB\n", where, partitions, rate(m), mebibytes(m))
	b.noteMemory("one partition far ahead", m)
	return c.remove(ctx, t, tests)
}
