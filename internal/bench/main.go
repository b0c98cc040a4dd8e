// Command bench measures how fast each stage of a record's way is, beside other clients on the same broker and rows, and
// prints one table. `make bench` runs it on an embedded broker, `make bench-kafka` on a real one.
//
// The broker and each measurement run in processes of their own; all share the machine. Measurements that are compared take
// turns, so that a noisy machine is noisy for all; figures are medians over the rounds, ratios medians of each round's ratio.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
)

// options are what the flags say.
type options struct {
	records, partitions, runs int
	brokers, out, python      string
	profiles                  string
	checkpoints, predictions  bool
}

func main() {
	var o options
	flag.IntVar(&o.records, "records", 1_000_000, "records in the topic; half as many in those of the table of topics")
	flag.IntVar(&o.partitions, "partitions", 6, "partitions of the topic")
	flag.IntVar(&o.runs, "runs", 5, "runs of each measurement")
	flag.StringVar(&o.brokers, "brokers", "", "addresses of a Kafka, without TLS, to measure on; empty: an embedded one")
	flag.StringVar(&o.out, "o", "", "file to write the table to as well")
	flag.StringVar(&o.python, "python", "python3", "the Python to look for Vowpal Wabbit in")
	flag.StringVar(&o.profiles, "cpuprofile", "", "directory to write CPU profiles of the whole way to, instead")
	flag.BoolVar(&o.checkpoints, "checkpoints", false, "measure what checkpoints cost and how soon a restart learns, instead")
	flag.BoolVar(&o.predictions, "predict", false, "measure how soon predictions are answered during a replay, and what they cost it, instead")
	serve := flag.Int("broker", 0, "be this many brokers (used by the benchmark itself)")
	task := flag.String("child", "", "do this job (used by the benchmark itself)")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	switch {
	case *serve > 0:
		err = serveBroker(*serve)
	case *task != "":
		err = child(ctx, *task)
	default:
		err = run(ctx, &o)
	}
	if err != nil {
		cancel()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

func run(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var c *cluster
	if o.brokers != "" {
		c = &cluster{addrs: strings.Split(o.brokers, ",")}
	} else if c, err = startCluster(ctx, 1); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	switch {
	case o.checkpoints:
		return checkpoints(ctx, c, dir, o)
	case o.predictions:
		return predictions(ctx, c, dir, o)
	case o.profiles != "":
		return profiles(ctx, c, o)
	}
	b := &bench{options: o, cluster: c, dir: dir, rows: newRows(formatCSV, o.records)}
	if err := b.run(ctx); err != nil {
		return err
	}
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(b.text.String()), 0o666)
}

// measurement is something that is measured once in each round.
type measurement struct {
	name    string
	run     func(context.Context) (*result, error)
	results []*result // by round; nil: its program is not installed
}

// stage returns the measurement of a job by a child.
func stage(name string, j job) *measurement {
	return &measurement{name: name, run: func(ctx context.Context) (*result, error) { return spawn(ctx, &j) }}
}

// rounds runs the measurements in turn, several times.
func rounds(ctx context.Context, n int, all []*measurement) error {
	for range n {
		for _, m := range all {
			r, err := m.run(ctx)
			if errors.Is(err, errAbsent) {
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			m.results = append(m.results, r)
		}
	}
	return nil
}

// median returns the median of a figure over the rounds.
func (m *measurement) median(figure func(*result) float64) float64 {
	all := make([]float64, len(m.results))
	for i, r := range m.results {
		all[i] = figure(r)
	}
	return median(all)
}

// ratio returns how many times as fast m is as base, in the median round; 0: one of them is not installed.
func (m *measurement) ratio(base *measurement) float64 {
	if m.results == nil || base.results == nil {
		return 0
	}
	all := make([]float64, len(m.results))
	for i, r := range m.results {
		all[i] = r.rate() / base.results[i].rate()
	}
	return median(all)
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
