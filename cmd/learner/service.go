package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"learner/internal/turns"
	"learner/pkg/checkpoint"
	"learner/pkg/consumer"
	"learner/pkg/metrics"
	"learner/pkg/record"
	"learner/pkg/registry"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// service is a running learner: a member of the group that trains while it holds the partitions, measures on the test
// topic, and answers HTTP.
//
//	goroutine     started and waited for by  ends when                        it alone touches
//	HTTP, admin   run                        all others have ended            its listener
//	sampler       HTTP                       all others have ended            what it adds to serve's history
//	membership    run                        context, after the tenure        member id, generation
//	tenure        membership                 the partitions are lost          the trainer's Run
//	reader        tenure                     the trainer has ended            see consumer.Reader
//	keeper        tenure                     the trainer has ended            the store
//	follow        run                        context                          what a standby serves
//	evaluate      run                        context                          the test window
type service struct {
	cfg     *Config
	log     *zap.Logger
	client  *consumer.Client
	metrics *metrics.Metrics
	specs   []sgd.Spec
	schemas *registry.Client // nil: there is no Schema Registry
	server  *serve.Server
	admin   *serve.Admin // nil: there is none
	turns   *turns.Turns
	started time.Time

	tenure     atomic.Pointer[tenure]                // nil while another member holds the partitions
	followed   atomic.Pointer[followed]              // what another member committed last; nil before the first look
	membership atomic.Pointer[consumer.GroupStatus]  // nil before the group was asked
	tests      atomic.Pointer[testRun]               // the newest measurement; nil before the first
	problem    atomic.Pointer[string]                // what the start or a checkpoint waits for; nil: nothing
	kept       atomic.Pointer[keptMark]              // what this process committed or restored last as holder
	columns    atomic.Pointer[askedColumns]          // see columnsOf; nil before they were needed
	decoders   atomic.Pointer[func() record.Decoder] // nil before a lineage was settled
	formats    seenFormats
	stopping   atomic.Bool

	trainSkipped, testSkipped skipped
	effects                   effectCache
}

// keptMark is a checkpoint, when it was made, and the generation in which it was committed or restored.
type keptMark struct {
	id         checkpoint.ID
	made       time.Time
	generation int32
}

// tenure is the time for which this process has the partitions.
type tenure struct {
	trainer  *train.Trainer
	reader   *consumer.Reader
	observer *observer
	lineage  string
	served   bool                      // it took over as a standby that answered from the same lineage
	asked    chan chan<- checkpoint.ID // for checkpoints by operators, see keeper.keepFor
	ended    <-chan struct{}           // closed when it learns no more
}

// serveTopics runs the service on the configured cluster.
func serveTopics(ctx context.Context, p *process) error {
	if err := p.parseNothing(); err != nil {
		return err
	}
	cfg, log, err := p.start(cluster)
	if err != nil {
		return err
	}
	s, err := newService(cfg, log, p.level)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// newService prepares a service. It listens already, so that probes are answered from the start.
func newService(cfg *Config, log *zap.Logger, level zap.AtomicLevel) (*service, error) {
	specs, err := sgd.ParseModels(cfg.Models)
	if err != nil {
		return nil, usagef("LEARNER_MODELS: %w", err)
	}
	client, err := kafkaClient(cfg, log)
	if err != nil {
		return nil, err
	}
	build := currentBuild()
	series := prometheus.NewRegistry()
	s := &service{cfg: cfg, log: log, client: client, specs: specs, turns: turns.New(), started: time.Now()}
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	s.metrics = metrics.New(series, metrics.Config{
		Version: build.Version, Revision: build.Revision, TrainTopic: cfg.TrainTopic, TestTopic: cfg.TestTopic, Models: names,
	})
	s.metrics.Champion(specs[0].Name)
	s.formats.log = log
	if s.schemas, err = cfg.registry(log, func(r registry.Result) { s.metrics.SchemaRequested(string(r)) }); err != nil {
		client.Close()
		return nil, err
	}
	s.server = serve.New(serve.Config{
		Addr:     cfg.HTTPAddr,
		Version:  serve.Version{Version: build.Version, Revision: build.Revision, Go: build.Go},
		Alive:    func() error { return nil },
		Unready:  s.unready,
		Status:   func() any { return s.wholeStatus() },
		Live:     s.live(),
		Models:   s,
		Metrics:  s.scraped(metrics.Handler(series)),
		Observer: s.metrics,
		Log:      log,

		Predictor: s.predictor,
	})
	err = s.server.Listen()
	if err == nil {
		err = s.listenAdmin(level)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends the connections.
func (s *service) close() {
	s.client.Close()
	if s.schemas != nil {
		s.schemas.Close()
	}
}

// run serves until ctx ends or something cannot be mended. The order of stopping: not ready; stop fetching; finish the
// batch in hand, so that what was fetched counts; keep and commit a last checkpoint, while the generation lives; leave
// the group, so that a standby need not wait; HTTP last, so that probes are answered until the end.
func (s *service) run(ctx context.Context) error {
	defer s.close()
	web, stopWeb := context.WithCancel(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	var wait, waitWeb sync.WaitGroup
	var webErr error
	waitWeb.Go(func() {
		webErr = s.server.Run(web)
		stop()
	})
	s.log.Info("listening", zap.String("address", s.server.Addr().String()))
	var adminErr error
	if s.admin != nil {
		waitWeb.Go(func() {
			adminErr = s.admin.Run(web)
			stop()
		})
		s.log.Info("listening for operators", zap.String("address", s.admin.Addr().String()))
	}
	wait.Go(func() {
		<-ctx.Done()
		s.stopping.Store(true)
		s.log.Info("stopping")
	})

	err := s.client.Check(ctx, []string{s.cfg.TrainTopic}, s.cfg.Group)
	if err == nil {
		err = s.checkDeadLetters(ctx)
	}
	if err == nil {
		wait.Go(func() { s.evaluate(ctx) })
		wait.Go(func() { s.follow(ctx) })
		err = s.client.RunGroup(ctx, consumer.GroupConfig{
			Group: s.cfg.Group, Topic: s.cfg.TrainTopic, InstanceID: s.cfg.InstanceID, Logger: s.log,
			Progress: s.progress, OnEvent: s.rebalanced, OnStatus: s.membershipChanged,
		}, func(held context.Context, t *consumer.Tenure) error { return s.hold(ctx, held, t) })
	} else if ctx.Err() != nil {
		err = nil // stopped while it was looking
	}
	stop()
	wait.Wait()
	stopWeb()
	waitWeb.Wait()
	return errors.Join(err, webErr, adminErr)
}

// progress is what this member tells the group, so that the partitions go to the one that is furthest.
func (s *service) progress() (sequence int64, generation int32) {
	if mark := s.kept.Load(); mark != nil {
		return mark.id.Sequence, mark.generation
	}
	return 0, 0
}

func (s *service) rebalanced(event string) {
	s.metrics.Rebalanced(event)
	if event != "assigned" {
		s.metrics.Assigned(0)
	}
}

func (s *service) membershipChanged(status consumer.GroupStatus) {
	s.membership.Store(&status)
	s.metrics.Role(status.State == consumer.Holder)
	if status.Err != nil {
		s.metrics.ConsumerError("join")
	}
}

// hold learns for one tenure. service ends when the process is to stop: then, and not when the partitions are lost, a
// last checkpoint is kept. When another member turns out to have committed meanwhile, it starts anew from there.
func (s *service) hold(service, ctx context.Context, t *consumer.Tenure) error {
	for {
		err := s.learn(service, ctx, t)
		if !errors.Is(err, errOvertaken) || ctx.Err() != nil {
			return err
		}
		s.log.Warn("start anew", zap.Error(err))
	}
}

// learn decides what to start from, and learns until ctx ends.
func (s *service) learn(service, ctx context.Context, t *consumer.Tenure) error {
	k := &keeper{service: s, tenure: t}
	from, err := k.begin(ctx)
	if err != nil || from == nil {
		return err
	}
	if err := s.useHeader(k.header); err != nil {
		return err
	}
	if s.schemas != nil {
		s.schemas.Condemn(from.NotFound...)
	}
	s.metrics.Assigned(len(from.Partitions))
	s.log.Info("learning goes on", zap.Stringer("checkpoint", s.kept.Load().id), zap.Any("offsets", nextOffsets(from)))
	observer := newObserver(s)
	trainer, err := train.New(s.training(from, observer))
	if err != nil {
		return err
	}
	observer.columns(trainer)
	reader := s.client.NewReader(consumer.ReaderConfig{
		Topic: s.cfg.TrainTopic, Start: positions(from), Decoder: s.decoder, Workers: s.turns.Cores(), Turns: s.turns, Logger: s.log,
		Keep: s.cfg.DeadLetterTopic != "", Throttled: s.metrics.Throttled, Failed: s.fetchFailed,
	})
	learning, stop := context.WithCancel(ctx)
	defer stop()
	k.letters = s.newDeadLetters(learning)
	defer k.letters.Close()
	observer.letters = k.letters
	followed, asked := s.followed.Load(), make(chan chan<- checkpoint.ID)
	s.tenure.Store(&tenure{
		trainer: trainer, reader: reader, observer: observer, lineage: k.lineage, asked: asked, ended: learning.Done(),
		served: followed != nil && len(followed.snapshots) > 0 && followed.checkpoint.ID.Lineage == k.lineage,
	})
	defer s.tenure.Store(nil)

	var wait sync.WaitGroup
	var readErr, keepErr error
	wait.Go(func() {
		readErr = reader.Run(learning)
		stop() // also where blocks are left that wait for their schemas
	})
	wait.Go(func() {
		if keepErr = k.keep(learning, trainer, asked); keepErr != nil {
			stop()
		}
	})
	trainer.Run(learning, reader)
	stop()
	wait.Wait()
	limitErr := trainer.Err()
	if limitErr != nil {
		limitErr = fmt.Errorf("learning from %s ends, as LEARNER_BAD_RECORD_LIMIT says: %w", s.cfg.TrainTopic, limitErr)
	} else if keepErr == nil && service.Err() != nil {
		k.final(ctx, trainer)
	}
	return errors.Join(readErr, keepErr, limitErr)
}

// training returns the configuration of a trainer that goes on from a cut.
func (s *service) training(from *train.Cut, observer train.Observer) train.Config {
	return train.Config{
		Models: s.specs, Best: s.cfg.Champion == "best", TwinAge: s.cfg.TwinAge, Seed: s.cfg.Seed, From: from, Mode: s.mode(),
		HashBits: s.cfg.HashBits, First: s.cfg.firstColumns(),
		Limit: train.Limit(s.cfg.BadRecordLimit), Turns: s.turns, Observer: observer, Logger: s.log,
	}
}

// nextOffsets returns the next offset of each partition of a cut.
func nextOffsets(cut *train.Cut) map[int32]int64 {
	offsets := make(map[int32]int64, len(cut.Partitions))
	for _, p := range cut.Partitions {
		offsets[p.Partition] = p.Next
	}
	return offsets
}

// positions returns where a reader begins to go on from a cut.
func positions(from *train.Cut) map[int32]consumer.Position {
	all := make(map[int32]consumer.Position, len(from.Partitions))
	for _, p := range from.Partitions {
		all[p.Partition] = consumer.Position{Offset: p.Next, Previous: p.Passed.Time, Known: p.Passed.Last >= 0}
	}
	return all
}

func (s *service) mode() train.Mode {
	if s.cfg.Order == "progress" {
		return train.ByProgress
	}
	return train.ByTime
}

// decoder returns a decoder for one goroutine. There is one once the header is settled.
func (s *service) decoder() record.Decoder { return (*s.decoders.Load())() }

// useHeader settles the names of CSV columns, where a header line has them, and so how records are decoded.
func (s *service) useHeader(header []string) error {
	options := s.cfg.recordOptions(header)
	options.Seen = s.formats.note
	if s.schemas != nil {
		options.Schemas = s.schemas
	}
	decoders, err := record.NewDecoder(options)
	if err != nil {
		return decoderFaults(err).err()
	}
	s.decoders.Store(&decoders)
	return nil
}

// seenFormats logs each format that records have once.
type seenFormats struct {
	log  *zap.Logger
	seen sync.Map
}

func (f *seenFormats) note(format string) {
	if _, told := f.seen.LoadOrStore(format, true); !told {
		f.log.Info("records have the format "+format, zap.String("format", format))
	}
}

func (s *service) fetchFailed(err error) {
	kind := consumer.Kind(err)
	if kind == "" {
		kind = "fetch"
	}
	s.metrics.ConsumerError(kind)
}

// scraped brings the metrics that change with time up to date before they are read.
func (s *service) scraped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if t := s.tenure.Load(); t != nil {
			for _, p := range t.partitions() {
				s.metrics.Lag(p.Partition, p.Records, float64(p.Behind), p.OpenTransaction)
				s.metrics.RangeEnd(p.Partition, p.End)
			}
			t.observer.columns(t.trainer)
		}
		if s.schemas != nil {
			s.metrics.SchemasPending(s.schemas.Pending())
		}
		s.metrics.Ready(len(s.unready()) == 0)
		next.ServeHTTP(w, r)
	})
}
