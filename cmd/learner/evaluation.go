package main

import (
	"context"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"

	"learner/pkg/consumer"
	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/train"
)

// testRun is one measurement of all models on the same window of the test topic.
type testRun struct {
	Time      time.Time         `json:"time"` // of the newest run that succeeded
	Records   int               `json:"window_records"`
	Baselines map[string]scores `json:"baselines"`
	Error     string            `json:"error,omitempty"` // of the newest run, if it failed

	models map[string]*scores
}

// scores are evaluate.Scores as /api/status shows them.
type scores struct {
	Accuracy    serve.Float `json:"accuracy"`
	Loss        serve.Float `json:"log_loss"`
	AUC         serve.Float `json:"auc"`
	Brier       serve.Float `json:"brier"`
	Calibration serve.Float `json:"calibration_error"`
	Confusion   [2][2]int   `json:"confusion"` // [actual][predicted]
	Bins        [10]bin     `json:"calibration"`
}

// bin is a tenth of the probabilities in a calibration curve.
type bin struct {
	Records   int         `json:"records"`
	Predicted serve.Float `json:"predicted"` // mean
	Observed  serve.Float `json:"observed"`  // share of label 1
}

func shown(s evaluate.Scores) scores {
	show := scores{
		Accuracy: serve.Float(s.Accuracy), Loss: serve.Float(s.LogLoss), AUC: serve.Float(s.AUC),
		Brier: serve.Float(s.Brier), Calibration: serve.Float(s.CalibrationError), Confusion: s.Confusion,
	}
	for i, b := range s.Calibration {
		show.Bins[i] = bin{b.Records, serve.Float(b.Predicted), serve.Float(b.Observed)}
	}
	return show
}

// evaluate keeps measuring the newest snapshots on the newest test records until ctx ends.
func (s *service) evaluate(ctx context.Context) {
	refused := refusals{log: s.log, topic: s.cfg.TestTopic}
	e := &evaluation{service: s, refuse: func(partition int32, offset int64, bad *record.Bad) {
		s.metrics.Test.Refused(partition, record.Refusal{Offset: offset, Err: bad})
		s.testSkipped.note(bad)
		refused.note(partition, offset, bad)
	}}
	e.begin()
	for ctx.Err() == nil {
		pause := s.cfg.EvalInterval
		if !e.measure(ctx) {
			pause = min(pause, firstTestRetry)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// firstTestRetry is how soon after the start it is looked again whether there is a model to be measured.
const firstTestRetry = 200 * time.Millisecond

// evaluation is the state of the goroutine that measures.
type evaluation struct {
	service *service
	tail    *consumer.Tail
	refuse  func(partition int32, offset int64, bad *record.Bad)
	rows    []testRow // the newest, oldest first
	window  *evaluate.Window
	layout  *record.Layout // by which rows were placed in the window; nil: none yet
	known   int            // categories then
	failed  string
}

// testRow is a record of the test topic.
type testRow struct {
	record.Row
	y float64
}

// measure does one run, and reports false where there is no model yet.
func (e *evaluation) measure(ctx context.Context) bool {
	s := e.service
	_, snapshots, _, slots := s.serving()
	if len(snapshots) == 0 || snapshots[0] == nil || snapshots[0].Layout == nil && !snapshots[0].CaughtUp {
		return false
	}
	start := time.Now()
	run := &testRun{Time: start, Baselines: map[string]scores{}, models: map[string]*scores{}}
	err := e.refill(ctx, snapshots[0].Layout, slots)
	if err != nil {
		if ctx.Err() != nil {
			return true
		}
		if err.Error() != e.failed {
			s.log.Warn("measure on the test topic", zap.Error(err))
		}
		e.failed = err.Error()
		s.metrics.TestRun(false, time.Since(start), e.window.Len())
		if last := s.tests.Load(); last != nil {
			*run = *last
		} else {
			run.Time = time.Time{}
		}
		run.Error = err.Error()
		s.tests.Store(run)
		return true
	}
	e.failed = ""
	run.Records = e.window.Len()
	for _, snapshot := range snapshots {
		if snapshot == nil || snapshot.Predictor == nil {
			continue
		}
		result := e.window.Score(snapshot.Predictor)
		s.metrics.Tested(snapshot.Model, result)
		show := shown(result)
		run.models[snapshot.Model] = &show
	}
	baselines := map[string]evaluate.Scores{train.Majority: e.window.Majority(), train.LastLabel: e.window.LastLabel()}
	if twin := s.twin(); twin != nil {
		baselines[train.FrozenTwin] = e.window.Score(twin)
	} else {
		s.metrics.Baseline(train.FrozenTwin, evaluate.Scores{Accuracy: math.NaN(), LogLoss: math.NaN()})
	}
	for name, result := range baselines {
		s.metrics.Baseline(name, result)
		run.Baselines[name] = shown(result)
	}
	s.metrics.TestRun(true, time.Since(start), run.Records)
	s.tests.Store(run)
	return true
}

// refill takes the newest test records into the window. Until a model has learned a record the columns of rows are not
// known, and the window stays empty.
func (e *evaluation) refill(ctx context.Context, layout *record.Layout, slots *record.Slots) error {
	if layout == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, testReadTimeout)
	defer cancel()
	placer := record.NewPlacer(layout, slots, false, nil)
	passed := map[int32]train.Passed{}
	fresh := 0
	err := e.tail.Read(ctx, func(r consumer.Row) {
		if bad := placer.Fits(r.Shape, len(r.X)); bad != nil {
			e.refuse(r.Partition, r.Offset, bad)
			return
		}
		row := r.Row
		row.X, row.Hashes = slices.Clone(row.X), slices.Clone(row.Hashes)
		e.rows = append(e.rows, testRow{row, r.Y})
		fresh++
		passed[r.Partition] = train.Passed{Records: passed[r.Partition].Records + 1, Next: r.Offset + 1, Time: r.Time}
	})
	for partition, p := range passed {
		e.service.metrics.Test.Passed(partition, p.Records, 0, p.Next, time.UnixMicro(p.Time))
	}
	e.rows = slices.Delete(e.rows, 0, max(0, len(e.rows)-e.service.cfg.EvalRecords))
	e.place(placer, min(fresh, len(e.rows)), slots.Occupancy().Used)
	return err
}

// place brings fresh rows, the newest, into the window; all of them where the layout is another by now, or more categories
// are known.
func (e *evaluation) place(placer *record.Placer, fresh, known int) {
	if placer.Layout() != e.layout || known != e.known {
		e.window, e.layout, e.known = evaluate.NewWindow(e.service.cfg.EvalRecords), placer.Layout(), known
		fresh = len(e.rows)
	}
	var x []float64
	var sparse []int32
	for _, row := range e.rows[len(e.rows)-fresh:] {
		if placer.Fits(row.Shape, len(row.X)) != nil {
			continue // of a type that another record has settled since
		}
		x, sparse, _ = placer.Place(x[:0], sparse[:0], row.Row, false)
		e.window.Add(x, sparse, row.y)
	}
}

// begin begins with an empty window, to be filled from the newest records.
func (e *evaluation) begin() {
	s := e.service
	e.window = evaluate.NewWindow(s.cfg.EvalRecords)
	e.tail = s.client.NewTail(consumer.TailConfig{
		Topic: s.cfg.TestTopic, Records: s.cfg.EvalRecords, Decoder: s.decoder, Logger: s.log,
		Refused: e.refuse, Failed: s.fetchFailed,
	})
}

// testReadTimeout bounds one reading of new test records.
const testReadTimeout = time.Minute

// untested says why the newest measurement does not count for readiness; empty: it does.
func (s *service) untested() []string {
	run := s.tests.Load()
	stale := max(5*s.cfg.EvalInterval, 30*time.Second)
	switch {
	case run == nil:
		return []string{"not measured on the test topic yet"}
	case run.Error != "" && time.Since(run.Time) > stale:
		return []string{"measure on the test topic: " + run.Error}
	}
	return nil
}
