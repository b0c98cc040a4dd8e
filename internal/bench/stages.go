package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"learner/internal/turns"
	"learner/pkg/consumer"
	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// What the service does by default.
const (
	twinAge     = 100_000 // records
	evalRecords = 10_000
	evalEvery   = 5 * time.Second
	evalRetry   = 200 * time.Millisecond // while there is no model yet
)

// stages are what a child can measure.
var stages = map[string]work{
	"bare fetch": func(ctx context.Context, j *job, r *result) error { return drain(ctx, j, r, noDecoder) },
	"fetch + decode": func(ctx context.Context, j *job, r *result) error {
		return drain(ctx, j, r, newDecoder)
	},
	"whole way": learn,
	"franz-go":  drainFranz,
	"kafka-go":  drainKafkaGo,
	"width":     width,
	"decoding":  decoding,
	"freshness": freshness,
}

func noDecoder() record.Decoder { return nil }

// open connects, and returns a reader at the start of the topic and the ends of its partitions.
func open(ctx context.Context, j *job, decoder func() record.Decoder, turns *turns.Turns) (*consumer.Client, *consumer.Reader, map[int32]consumer.Offsets, error) {
	topics := []string{j.Topic}
	if j.Tests != "" {
		topics = append(topics, j.Tests)
	}
	c := newClient(j.Brokers, topics...)
	partitions, err := c.Partitions(ctx, j.Topic)
	if err != nil {
		return nil, nil, nil, err
	}
	ends, err := c.Ends(ctx, j.Topic, partitions)
	if err != nil {
		return nil, nil, nil, err
	}
	from := make(map[int32]consumer.Position)
	for p, end := range ends {
		from[p] = consumer.Position{Offset: end.First}
	}
	return c, c.NewReader(consumer.ReaderConfig{
		Topic: j.Topic, Start: from, Decoder: decoder, Workers: turns.Cores(), Turns: turns, Logger: zap.NewNop(),
	}), ends, nil
}

// drain reads the topic to its end and throws the blocks away. Records are counted by their offsets: the topic has no
// gaps.
func drain(ctx context.Context, j *job, r *result, decoder func() record.Decoder) error {
	_, reader, ends, err := open(ctx, j, decoder, turns.New())
	if err != nil {
		return err
	}
	reading := start(ctx, reader)
	left := 0
	for _, end := range ends {
		if end.LastStable > end.First {
			left++
		}
	}
	for left > 0 {
		b := <-reader.Blocks()
		if b == nil {
			return errors.Join(errors.New("reading ended"), <-reading)
		}
		<-b.Ready
		r.Records += int(b.Next - b.Base)
		if b.Next == ends[b.Partition].LastStable {
			left--
		}
		reader.Release(b)
	}
	return nil
}

// start runs a reader, until it fails or the process ends.
func start(ctx context.Context, r *consumer.Reader) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return done
}

// learn reads the topic with models until they have caught up, and measures them on the test topic meanwhile, as the
// service does.
func learn(ctx context.Context, j *job, r *result) error {
	turns := turns.New()
	client, reader, _, err := open(ctx, j, newDecoder, turns)
	if err != nil {
		return err
	}
	specs, err := sgd.ParseModels(j.Models)
	if err != nil {
		return err
	}
	learning, caughtUp := context.WithCancel(ctx)
	watch := &watcher{model: specs[0].Name, caughtUp: caughtUp, quarter: uint64(j.Records / 4)}
	t, err := train.New(train.Config{Models: specs, TwinAge: twinAge, Seed: 1, Turns: turns, Observer: watch, Logger: zap.NewNop()})
	if err != nil {
		caughtUp()
		return err
	}
	start(ctx, reader)
	var evaluating sync.WaitGroup
	var failed error
	if j.Tests != "" {
		evaluating.Go(func() { failed = measureOn(learning, client, j.Tests, t) })
	}
	t.Run(learning, reader)
	r.Records = int(t.Snapshots()[0].Records)
	r.SteadyAllocs = watch.steady
	r.after = func() error {
		evaluating.Wait()
		return failed
	}
	return nil
}

// measureOn keeps measuring the newest snapshots on the newest test records until ctx ends.
func measureOn(ctx context.Context, c *consumer.Client, topic string, t *train.Trainer) error {
	tail := c.NewTail(consumer.TailConfig{
		Topic: topic, Records: evalRecords, Decoder: newDecoder, Logger: zap.NewNop(),
		Refused: func(int32, int64, *record.Bad) {}, Failed: func(error) {},
	})
	window := evaluate.NewWindow(evalRecords)
	for {
		pause := evalRetry
		if s := t.Snapshots(); s[0] != nil && s[0].Predictor != nil {
			err := tail.Read(ctx, func(r consumer.Row) { window.Add(r.X, nil, r.Y) })
			if err != nil && ctx.Err() == nil {
				return err
			}
			for _, snapshot := range t.Snapshots() {
				if snapshot != nil && snapshot.Predictor != nil {
					window.Score(snapshot.Predictor)
				}
			}
			window.Majority()
			window.LastLabel()
			if twin := t.Twin(); twin != nil {
				window.Score(twin)
			}
			pause = evalEvery
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// silent is an observer that does nothing.
type silent struct{}

func (silent) Passed(int32, int, int, int64, time.Time)         {}
func (silent) Refused(int32, record.Refusal)                    {}
func (silent) Lost(int32, int64)                                {}
func (silent) Waiting(int)                                      {}
func (silent) DrawnBack(int32)                                  {}
func (silent) Learned(string, int, int, float64, time.Duration) {}
func (silent) Happened(train.Event)                             {}
func (silent) Compared(*train.Comparison)                       {}

// watcher ends the run once the log is learned, and notes the allocations behind the first quarter.
type watcher struct {
	silent
	model    string // the first; only its goroutine touches what follows
	caughtUp func()
	quarter  uint64
	from     uint64 // records learned when allocations were noted
	allocs   uint64
	steady   float64 // allocations per record since then
}

// Published looks at a snapshot.
func (w *watcher) Published(s *train.Snapshot) {
	if s.Model != w.model {
		return
	}
	if w.from == 0 && s.Records >= w.quarter {
		w.from, w.allocs = s.Records, mallocs()
	}
	if s.CaughtUp {
		w.steady = float64(mallocs()-w.allocs) / float64(max(s.Records-w.from, 1))
		w.caughtUp()
	}
}
