package main

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"learner/pkg/deadletter"
	"learner/pkg/metrics"
	"learner/pkg/record"
	"learner/pkg/train"
)

// observer turns what a trainer tells into metrics and log lines. It embeds the metrics that need no more.
type observer struct {
	*metrics.Metrics
	service *service
	refused refusals
	letters *deadletter.Queue // nil: none; set before the trainer runs

	mu       sync.Mutex
	last     map[int32]time.Time // per partition, the timestamp of the last record learned
	informed map[string]int      // by model, the number of features that the metrics tell
	missing  *uint64             // values that had been missing when they were counted last; nil: not yet
}

func newObserver(s *service) *observer {
	return &observer{
		Metrics: s.metrics, service: s, last: make(map[int32]time.Time), informed: make(map[string]int),
		refused: refusals{log: s.log, topic: s.cfg.TrainTopic},
	}
}

// Passed implements train.Observer.
func (o *observer) Passed(partition int32, records, bytes int, next int64, recordTime time.Time) {
	o.Metrics.Passed(partition, records, bytes, next, recordTime)
	if records > 0 {
		o.mu.Lock()
		o.last[partition] = recordTime
		o.mu.Unlock()
	}
}

// lastTime returns the timestamp of the last record learned from a partition.
func (o *observer) lastTime(partition int32) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, ok := o.last[partition]
	return t, ok
}

// Refused implements train.Observer.
func (o *observer) Refused(partition int32, r record.Refusal) {
	o.Metrics.Refused(partition, r)
	o.service.trainSkipped.note(r.Err)
	o.refused.note(partition, r.Offset, r.Err)
	o.letters.Add(partition, r)
}

// Published implements train.Observer.
func (o *observer) Published(snapshot *train.Snapshot) {
	accuracy, loss := progressive(snapshot)
	o.Model(snapshot.Model, snapshot.Stats, snapshot.Records, accuracy, loss)
	o.mu.Lock()
	defer o.mu.Unlock()
	if snapshot.Layout == nil {
		return
	}
	before, now := o.informed[snapshot.Model], snapshot.Layout.Features()
	if before == now {
		return
	}
	o.informed[snapshot.Model] = now
	o.ModelInfo(snapshot.Model, o.service.kind(snapshot.Model), now, classes, o.service.cfg.Format)
	if before > 0 && snapshot.Model == o.service.specs[0].Name {
		o.ColumnsAdded(now - before)
	}
}

// columns brings the metrics of columns and categories up to date. What was missing at the first call was restored, and is not
// counted.
func (o *observer) columns(t *train.Trainer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	missing := sumOf(t.Progress().Missing)
	if o.missing != nil {
		o.MissingValues(missing - *o.missing)
	}
	o.missing = &missing
	o.service.columnMetrics(t)
}

func sumOf(counts []uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// Happened implements train.Observer.
func (o *observer) Happened(e train.Event) {
	s := o.service
	switch e.Kind {
	case train.ChampionChanged:
		s.metrics.ChampionChanged()
		s.log.Info("champion changed", zap.String("champion", e.Champion), zap.String("before", e.Before), zap.Uint64("record", e.Record))
	case train.DriftReported:
		s.metrics.Drifted(e.Detector, e.Signal)
		fields := []zap.Field{
			zap.String("detector", e.Detector), zap.String("signal", e.Signal), zap.Float64("score", e.Score), zap.Uint64("record", e.Record),
		}
		if e.Signal == train.SignalFeatures {
			fields = append(fields, zap.String("feature", s.cfg.numberName(s.layout(), e.Feature)))
		}
		s.log.Warn("drift", fields...)
	case train.SchemaMet:
		if e.Schema != "" {
			s.metrics.SchemaMet()
		}
	}
}

// Compared implements train.Observer.
func (o *observer) Compared(c *train.Comparison) { o.service.compared(c, o.service.layout()) }

// classes is how many labels there are: the task is binary classification.
const classes = 2

// skipped counts refused records by reason. Any goroutine may use it.
type skipped [256]atomic.Int64

func (s *skipped) note(bad *record.Bad) { s[bad.Reason].Add(1) }

func (s *skipped) byReason() map[string]int64 {
	counts := make(map[string]int64)
	for _, reason := range record.Reasons() {
		counts[reason.String()] = s[reason].Load()
	}
	return counts
}

// refusals logs refused records, at most one a second for each reason, so that a bad producer does not fill the log.
type refusals struct {
	log   *zap.Logger
	topic string

	mu    sync.Mutex
	next  [256]time.Time // by reason: when the next one may be logged
	quiet [256]int       // by reason: how many were not logged since the last
}

// note logs a refused record, or counts it for the next line.
func (r *refusals) note(partition int32, offset int64, bad *record.Bad) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.next[bad.Reason]) {
		r.quiet[bad.Reason]++
		return
	}
	r.log.Warn("record refused", zap.String("topic", r.topic), zap.Int32("partition", partition),
		zap.Int64("offset", offset), zap.Stringer("reason", bad.Reason), zap.String("detail", bad.Detail),
		zap.Int("not_logged_since_last", r.quiet[bad.Reason]))
	r.next[bad.Reason], r.quiet[bad.Reason] = now.Add(time.Second), 0
}
