package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"learner/internal/turns"
	"learner/pkg/producer"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

const (
	freshRate   = 10_000 // records/s
	freshFor    = 10 * time.Second
	freshLinger = 5 * time.Millisecond
	freshTick   = time.Millisecond
)

// freshRecords is how many records the measurement of freshness sends.
const freshRecords = int(freshRate * freshFor / time.Second)

// freshness measures how soon a record is in the snapshot that predictions use.
func (b *bench) freshness(ctx context.Context) error {
	t := &topic{name: "fresh", codec: "lz4", partitions: b.partitions}
	if err := b.fill(ctx, t, b.rows); err != nil {
		return err
	}
	r, err := spawn(ctx, &job{Stage: "freshness", Brokers: b.addrs, Topic: t.name, Records: freshRecords, Models: "logistic"})
	if err != nil {
		return err
	}
	b.say("\nfrom sending a record to the snapshot that has learned it, %d records/s for %s: p50 %.1f ms, p99 %.1f ms, at most %.1f ms\n",
		freshRate, freshFor, 1e3*r.Figures["p50"], 1e3*r.Figures["p99"], 1e3*r.Figures["max"])
	b.most("freshness, p99, ms", 1e3*r.Figures["p99"], 50, "%.1f")
	return b.remove(ctx, t)
}

// freshness sends records at a steady rate while a model learns them. Figures has quantiles of the time from sending a
// record to the first snapshot that has learned it, in seconds; the wait of the producer for more records is part of it.
func freshness(ctx context.Context, j *job, r *result) error {
	turns := turns.New()
	client, reader, ends, err := open(ctx, j, newDecoder, turns)
	if err != nil {
		return err
	}
	specs, err := sgd.ParseModels(j.Models)
	if err != nil {
		return err
	}
	out, err := producer.New(ctx, client.Kafka(), producer.Config{Topic: j.Topic, Linger: freshLinger})
	if err != nil {
		return err
	}
	learning, stopLearning := context.WithCancel(ctx)
	f := &fresh{sent: make([][]time.Time, len(ends)), seen: make([]int64, len(ends)), done: stopLearning}
	t, err := train.New(train.Config{Models: specs, TwinAge: twinAge, Seed: 1, Turns: turns, Observer: f, Logger: zap.NewNop()})
	if err != nil {
		stopLearning()
		return err
	}
	start(ctx, reader)
	var wait sync.WaitGroup
	wait.Go(func() { t.Run(learning, reader) })

	rows := newRows(formatCSV, freshRate)
	tick := time.NewTicker(freshTick)
	defer tick.Stop()
	began := time.Now()
	for i := 0; i < freshRecords && err == nil; <-tick.C {
		for due := min(int(time.Since(began)*freshRate/time.Second), freshRecords); i < due && err == nil; i++ {
			p := int32(i % len(ends))
			now := time.Now()
			f.send(p, now)
			err = out.Send(ctx, p, now, nil, rows.at(i%rows.len()))
		}
	}
	if err != nil {
		stopLearning()
	}
	wait.Wait()
	if err := errors.Join(err, out.Close(ctx)); err != nil {
		return err
	}
	slices.Sort(f.took)
	at := func(q float64) float64 { return f.took[int(q*float64(len(f.took)-1))] }
	r.Records = len(f.took)
	r.Figures = map[string]float64{"p50": at(.5), "p99": at(.99), "max": at(1)}
	return nil
}

// fresh is an observer that measures how old records are when they become visible.
type fresh struct {
	silent
	mu   sync.Mutex // guards sent: the producer appends, the learner reads
	sent [][]time.Time
	seen []int64 // by partition: offsets below were seen; the learner's
	took []float64
	done func()
}

func (f *fresh) send(partition int32, now time.Time) {
	f.mu.Lock()
	f.sent[partition] = append(f.sent[partition], now)
	f.mu.Unlock()
}

// Published takes the age of all records that the snapshot is the first to have.
func (f *fresh) Published(s *train.Snapshot) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for partition, next := range s.Next {
		for ; f.seen[partition] < next; f.seen[partition]++ {
			f.took = append(f.took, now.Sub(f.sent[partition][f.seen[partition]]).Seconds())
		}
	}
	if len(f.took) == freshRecords {
		f.done()
	}
}
