package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"learner/internal/broker"
	"learner/pkg/producer"
	"learner/pkg/susy"
)

// demoFlags are the flags of `learner demo`.
type demoFlags struct {
	rate    int
	records int
	seed    uint64
	data    string
}

func (f *demoFlags) register(flags *flag.FlagSet) {
	flags.IntVar(&f.rate, "rate", 5000, "training records produced each second; 0: as fast as it goes")
	flags.IntVar(&f.records, "records", 0, "training records after which the demo ends; 0: it runs until it is stopped")
	flags.Uint64Var(&f.seed, "seed", 1, "seed of the generated events, and of which records are for testing")
	flags.StringVar(&f.data, "data", "", "CSV or CSV.gz file to stream instead of generated events")
}

const (
	demoPartitions = 6
	// demoTestEvery is how many generated records there are for each that goes to the test topic.
	demoTestEvery = 10
	// demoRetention bounds each partition of the embedded broker, which keeps its log in memory.
	demoRetention = "41943040"
	demoTarget    = .77 // test accuracy that is remarked upon: near what a linear model can reach on SUSY
)

// demo runs the service on an embedded broker that is fed while it learns.
func demo(ctx context.Context, p *process) error {
	var f demoFlags
	flags := p.newFlags()
	f.register(flags)
	rest, err := p.parse(flags)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return usagef("demo takes no arguments, found %q", rest[0])
	case f.rate < 0 || f.records < 0:
		return usagef("demo: -rate and -records must not be negative")
	}
	// The lines of the demo are what there is to see: the log speaks up only when something is wrong.
	p.environ = append(slices.Clip(p.environ), "LEARNER_LOG_LEVEL=warn", "LEARNER_EVAL_INTERVAL=1s")
	cfg, log, err := p.start(offline)
	if err != nil {
		return err
	}
	next := generated(f.seed)
	if f.data == "" && len(cfg.Columns) == 0 {
		cfg.Columns = susy.Columns[:]
	}
	if f.data != "" {
		file, err := os.Open(f.data)
		if err != nil {
			return fmt.Errorf("open the file to stream: %w", err)
		}
		defer func() { _ = file.Close() }()
		if next, err = streamed(file, f.seed); err != nil {
			return err
		}
	}
	embedded, err := broker.Start(broker.Options{Configs: map[string]string{"log.cleaner.backoff.ms": "5000"}})
	if err != nil {
		return err
	}
	defer embedded.Close()
	cfg.Brokers, cfg.Security, cfg.APIKey, cfg.APISecret = embedded.Addrs(), "plaintext", "", ""
	cfg.Checkpoint = "topic" // those of another cluster would not fit

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	client, err := kafkaClient(cfg, log)
	if err != nil {
		return err
	}
	defer client.Close()
	var producers [2]*producer.Producer
	for i, topic := range []string{cfg.TrainTopic, cfg.TestTopic} {
		if _, err := producer.EnsureTopic(ctx, client.Kafka(), topic, demoPartitions, 1, map[string]string{"retention.bytes": demoRetention}); err != nil {
			return err
		}
		if producers[i], err = producer.New(ctx, client.Kafka(), producer.Config{Topic: topic}); err != nil {
			return err
		}
	}
	s, err := newService(cfg, log, p.level)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.stdout, "Live page: http://%s/\nEmbedded broker on %s. Status: http://%[1]s/api/status  Metrics: http://%[1]s/metrics\n",
		browsable(s.server.Addr()), embedded.Addrs()[0])

	var wait sync.WaitGroup
	var fed, ran error
	feed := &demoFeed{rate: f.rate, records: f.records, train: producers[0], test: producers[1], next: next}
	wait.Go(func() {
		if fed = feed.run(ctx); fed != nil {
			stop()
		}
	})
	wait.Go(func() {
		ran = s.run(ctx)
		stop()
	})
	show := &demoLines{service: s, feed: feed, out: p.stdout, started: time.Now()}
	show.run(ctx)
	stop()
	wait.Wait()
	return errors.Join(fed, ran)
}
