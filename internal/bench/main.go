// Command bench replays a topic of an embedded broker and prints how fast each stage of a record's way is: bare fetch,
// fetch and decode, and the whole way with one logistic model, progressive scores included. `make bench` runs it.
//
// The broker runs in a process of its own, so that allocations and CPU are the reader's alone; both share the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"learner/internal/broker"
	"learner/pkg/consumer"
	"learner/pkg/producer"
	"learner/pkg/record"
	"learner/pkg/sgd"
	"learner/pkg/susy"
	"learner/pkg/train"
)

func main() {
	records := flag.Int("records", 1_000_000, "records in the topic")
	partitions := flag.Int("partitions", 6, "partitions of the topic")
	compression := flag.String("compression", "none,lz4", "codecs of the batches, one topic for each")
	runs := flag.Int("runs", 5, "runs of each stage; the table shows the median")
	profile := flag.String("cpuprofile", "", "file to write a CPU profile of the whole way to")
	cost := flag.Bool("checkpoints", false, "measure what checkpoints cost and how soon a restart learns, instead")
	serve := flag.Bool("broker", false, "be the broker (used by the benchmark itself)")
	flag.Parse()
	var err error
	if *serve {
		err = serveBroker()
	} else {
		err = run(context.Background(), *records, *partitions, *compression, *runs, *profile, *cost)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serveBroker runs a broker until standard input ends.
func serveBroker() error {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return err
	}
	defer b.Close()
	fmt.Println(b.Addrs()[0])
	_, err = os.Stdin.Read(make([]byte, 1))
	_ = err // the parent has gone, however it did
	return nil
}

func run(ctx context.Context, records, partitions int, compression string, runs int, profile string, cost bool) error {
	self := exec.CommandContext(ctx, os.Args[0], "-broker")
	self.Stderr = os.Stderr
	in, err := self.StdinPipe()
	if err != nil {
		return err
	}
	out, err := self.StdoutPipe()
	if err != nil {
		return err
	}
	if err := self.Start(); err != nil {
		return err
	}
	defer func() { _ = in.Close(); _ = self.Wait() }()
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}

	codecs := strings.Split(compression, ",")
	client := consumer.NewClient(consumer.Config{Brokers: []string{addr}, ClientID: "bench", Topics: codecs})
	defer client.Close()
	if cost {
		return checkpoints(ctx, client, addr, codecs[0], records, partitions)
	}
	for _, codec := range codecs {
		if err := table(ctx, client, codec, records, partitions, runs, profile); err != nil {
			return err
		}
	}
	return nil
}

// table measures all stages on a topic whose name is its codec, and prints them.
func table(ctx context.Context, client *consumer.Client, codec string, records, partitions, runs int, profile string) error {
	size, err := fill(ctx, client, codec, records, partitions)
	if err != nil {
		return err
	}
	fmt.Printf("%d SUSY-like records of %d bytes (CSV), %d partitions, compression %s; %s, %d CPUs, %s; medians of %d runs\n\n",
		records, size/records, partitions, codec, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version(), runs)

	stages := []struct {
		name string
		read func() (int, func() error, error)
	}{
		{"bare fetch", func() (int, func() error, error) { return drain(ctx, client, codec, noDecoder) }},
		{"fetch + decode", func() (int, func() error, error) { return drain(ctx, client, codec, csvDecoder) }},
		{"the whole way", func() (int, func() error, error) { return learn(ctx, client, codec) }},
	}
	rates := make([][]float64, len(stages))
	allocs := make([][]float64, len(stages))
	for range runs { // interleaved, so that a noisy machine is noisy for all
		for i, stage := range stages {
			rate, alloc, err := measure(records, stage.read)
			if err != nil {
				return fmt.Errorf("%s: %w", stage.name, err)
			}
			rates[i], allocs[i] = append(rates[i], rate), append(allocs[i], alloc)
		}
	}
	if profile != "" {
		if err := profileOf(profile, func() error {
			_, stop, err := learn(ctx, client, codec)
			if err == nil {
				err = stop()
			}
			return err
		}); err != nil {
			return err
		}
	}
	fmt.Printf("%-16s %12s %14s %18s\n", "stage", "records/s", "of bare fetch", "allocations/record")
	for i, stage := range stages {
		fmt.Printf("%-16s %12.0f %13.2fx %18.5f\n", stage.name, median(rates[i]), median(rates[i])/median(rates[0]), median(allocs[i]))
	}
	fmt.Println()
	return nil
}

// profileOf writes a CPU profile of work to a file.
func profileOf(name string, work func() error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	err = work()
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// fill writes the records, and returns their size.
func fill(ctx context.Context, client *consumer.Client, codec string, records, partitions int) (size int, err error) {
	if _, err := producer.EnsureTopic(ctx, client.Kafka(), codec, partitions, 1, nil); err != nil {
		return 0, err
	}
	p, err := producer.New(ctx, client.Kafka(), producer.Config{Topic: codec, Compression: codec})
	if err != nil {
		return 0, err
	}
	events := susy.NewGenerator(1)
	var x [susy.Features]float64
	var line []byte
	for i := range records {
		line = susy.AppendCSV(line[:0], events.Next(&x), &x)
		size += len(line)
		if err := p.Send(ctx, int32(i%partitions), time.Now(), nil, line); err != nil {
			return 0, err
		}
	}
	return size, p.Close(ctx)
}

// measure runs one stage and returns records/s and allocations per record, without what it takes to stop: a broker may
// hold its last answer back for a while.
func measure(records int, read func() (n int, stop func() error, err error)) (rate, allocs float64, err error) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	n, stop, err := read()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err == nil {
		err = stop()
	}
	if err == nil && n != records {
		err = fmt.Errorf("%d records of %d", n, records)
	}
	return float64(n) / took.Seconds(), float64(after.Mallocs-before.Mallocs) / float64(n), err
}

func noDecoder() record.Decoder { return nil }

func csvDecoder() record.Decoder {
	csv, err := record.NewCSV(record.CSVOptions{})
	if err != nil {
		panic(err)
	}
	return csv
}

// open starts a reader at the start of the topic and returns the ends of its partitions.
func open(ctx context.Context, c *consumer.Client, topic string, decoder func() record.Decoder) (*consumer.Reader, map[int32]consumer.Offsets, error) {
	partitions, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	ends, err := c.Ends(ctx, topic, partitions)
	if err != nil {
		return nil, nil, err
	}
	start := make(map[int32]consumer.Position)
	for p, end := range ends {
		start[p] = consumer.Position{Offset: end.First}
	}
	return c.NewReader(consumer.ReaderConfig{
		Topic: topic, Start: start, Decoder: decoder, Workers: runtime.GOMAXPROCS(0), Logger: zap.NewNop(),
	}), ends, nil
}

// drain reads the topic to its end and throws the blocks away. Records are counted by their offsets: the topic has no
// gaps.
func drain(ctx context.Context, c *consumer.Client, topic string, decoder func() record.Decoder) (n int, stop func() error, err error) {
	r, ends, err := open(ctx, c, topic, decoder)
	if err != nil {
		return 0, nil, err
	}
	stop = started(ctx, r)
	for left := len(ends); left > 0; {
		b := <-r.Blocks()
		if b == nil {
			return n, nil, errors.Join(errors.New("reading ended"), stop())
		}
		<-b.Ready
		n += int(b.Next - b.Base)
		if b.Next == ends[b.Partition].LastStable {
			left--
		}
		r.Release(b)
	}
	return n, stop, nil
}

// started runs a reader until the function that it returns is called.
func started(ctx context.Context, r *consumer.Reader) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// learn reads the topic with one logistic model until it has caught up.
func learn(ctx context.Context, c *consumer.Client, topic string) (n int, stop func() error, err error) {
	r, _, err := open(ctx, c, topic, csvDecoder)
	if err != nil {
		return 0, nil, err
	}
	specs, err := sgd.ParseModels("logistic")
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	t, err := train.New(train.Config{Models: specs, Seed: 1, Observer: &untilCaughtUp{stop: cancel}, Logger: zap.NewNop()})
	if err != nil {
		cancel()
		return 0, nil, err
	}
	stop = started(context.WithoutCancel(ctx), r)
	t.Run(ctx, r) // until it has caught up
	return int(t.Snapshots()[0].Records), stop, nil
}

// untilCaughtUp is an observer that ends the run once the log is learned.
type untilCaughtUp struct{ stop context.CancelFunc }

func (*untilCaughtUp) Passed(int32, int, int, int64, time.Time)         {}
func (*untilCaughtUp) Refused(int32, int64, *record.Bad)                {}
func (*untilCaughtUp) Lost(int32, int64)                                {}
func (*untilCaughtUp) Waiting(int)                                      {}
func (*untilCaughtUp) DrawnBack(int32)                                  {}
func (*untilCaughtUp) Learned(string, int, int, float64, time.Duration) {}
func (*untilCaughtUp) Happened(train.Event)                             {}
func (*untilCaughtUp) Compared(*train.Comparison)                       {}
func (u *untilCaughtUp) Published(s *train.Snapshot) {
	if s.CaughtUp {
		u.stop()
	}
}
