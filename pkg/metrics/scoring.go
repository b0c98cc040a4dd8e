package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/evaluate"
)

// durationBuckets are in seconds, for what takes from a fraction of a millisecond to seconds.
var durationBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// scoreFamilies are the families that hold a model's scores on the test window.
type scoreFamilies struct {
	accuracy, loss, auc, brier, calibrationError *prometheus.GaugeVec
	precision, recall, confusion                 *prometheus.GaugeVec
	binPredicted, binObserved, binRecords        *prometheus.GaugeVec
}

// scoreSeries are the scores of one model on the test window.
type scoreSeries struct {
	accuracy, loss, auc, brier, calibrationError prometheus.Gauge
	precision, recall                            [2]prometheus.Gauge
	confusion                                    [2][2]prometheus.Gauge // actual, predicted
	bins                                         [10]binSeries
}

type binSeries struct{ predicted, observed, records prometheus.Gauge }

type baselineSeries struct{ accuracy, loss prometheus.Gauge }

type testRunSeries struct {
	success, failure           prometheus.Counter
	duration                   prometheus.Observer
	windowRecords, lastSuccess prometheus.Gauge
}

func newScoreFamilies(c *catalogue) *scoreFamilies {
	const none = " NaN: nothing measured yet."
	return &scoreFamilies{
		accuracy: c.gauge("learner_test_accuracy_ratio",
			"Part of the test window that the model predicts right."+none, "model"),
		loss: c.gauge("learner_test_loss", "Mean log loss on the test window, in nats."+none, "model"),
		auc: c.gauge("learner_test_auc_ratio",
			"Area under the ROC curve on the test window. NaN: nothing measured yet, or one class only.", "model"),
		brier: c.gauge("learner_test_brier_score", "Mean squared error of the probability on the test window."+none, "model"),
		calibrationError: c.gauge("learner_test_calibration_error_ratio",
			"Expected calibration error on the test window: mean distance of predicted and observed over the bins, weighted by their records."+none,
			"model"),
		precision: c.gauge("learner_test_precision_ratio",
			"Part of the records predicted as the class that belong to it. NaN: nothing measured yet, or never predicted.", "model", "class"),
		recall: c.gauge("learner_test_recall_ratio",
			"Part of the class's records that are predicted as it. NaN: nothing measured yet, or none in the window.", "model", "class"),
		confusion: c.gauge("learner_test_confusion_records",
			"Records of the test window by actual and predicted class."+none, "model", "actual", "predicted"),
		binPredicted: c.gauge("learner_test_calibration_predicted_ratio",
			"Mean predicted probability in a tenth of [0, 1]; bin 0 is the lowest. NaN: no record in the bin.", "model", "bin"),
		binObserved: c.gauge("learner_test_calibration_observed_ratio",
			"Part of the bin's records that are of class 1. NaN: no record in the bin.", "model", "bin"),
		binRecords: c.gauge("learner_test_calibration_bin_records",
			"Records of the test window in the bin."+none, "model", "bin"),
	}
}

func (f *scoreFamilies) model(name string) *scoreSeries {
	s := &scoreSeries{
		accuracy:         unmeasured(f.accuracy, name),
		loss:             unmeasured(f.loss, name),
		auc:              unmeasured(f.auc, name),
		brier:            unmeasured(f.brier, name),
		calibrationError: unmeasured(f.calibrationError, name),
	}
	for class := range s.precision {
		label := strconv.Itoa(class)
		s.precision[class] = unmeasured(f.precision, name, label)
		s.recall[class] = unmeasured(f.recall, name, label)
		for predicted := range s.confusion[class] {
			s.confusion[class][predicted] = unmeasured(f.confusion, name, label, strconv.Itoa(predicted))
		}
	}
	for i := range s.bins {
		bin := strconv.Itoa(i)
		s.bins[i] = binSeries{
			unmeasured(f.binPredicted, name, bin),
			unmeasured(f.binObserved, name, bin),
			unmeasured(f.binRecords, name, bin),
		}
	}
	return s
}

func (m *Metrics) newScoring(c *catalogue) {
	accuracy := c.gauge("learner_test_baseline_accuracy_ratio",
		"What a baseline reaches on the test window: the majority class, the last label, or the frozen twin. NaN: nothing measured yet.",
		"baseline")
	loss := c.gauge("learner_test_baseline_loss",
		"Mean log loss, in nats, of a baseline on the test window. NaN: nothing measured yet.", "baseline")
	m.baselines.create = func(name string) baselineSeries {
		return baselineSeries{unmeasured(accuracy, name), unmeasured(loss, name)}
	}
	m.baselines.of("majority")
	m.baselines.of("last_label")
	m.baselines.of("frozen_twin")

	runs := c.counter("learner_test_runs_total", "Test runs, by result.", "result")
	m.runs = testRunSeries{
		success: runs.WithLabelValues("success"),
		failure: runs.WithLabelValues("failure"),
		duration: c.histogram("learner_test_run_duration_seconds", "Time to score all models on the test window.",
			durationBuckets).WithLabelValues(),
		windowRecords: unmeasured(c.gauge("learner_test_window_records",
			"Records in the test window at the last run. NaN: no run yet.")),
		lastSuccess: unmeasured(c.gauge("learner_test_last_success_timestamp_seconds",
			"When the last successful test run ended, since 1970. NaN: none yet.")),
	}
}

// Tested sets the scores of a model on the test window. What a score cannot say is NaN.
func (m *Metrics) Tested(model string, scores evaluate.Scores) {
	s := m.models.of(model).test
	s.accuracy.Set(scores.Accuracy)
	s.loss.Set(scores.LogLoss)
	s.auc.Set(scores.AUC)
	s.brier.Set(scores.Brier)
	s.calibrationError.Set(scores.CalibrationError)
	for class := range s.precision {
		s.precision[class].Set(scores.Precision[class])
		s.recall[class].Set(scores.Recall[class])
		for predicted := range s.confusion[class] {
			s.confusion[class][predicted].Set(float64(scores.Confusion[class][predicted]))
		}
	}
	for i, bin := range scores.Calibration {
		s.bins[i].predicted.Set(bin.Predicted)
		s.bins[i].observed.Set(bin.Observed)
		s.bins[i].records.Set(float64(bin.Records))
	}
}

// Baseline sets the scores of a baseline on the test window. name is majority, last_label, or frozen_twin.
func (m *Metrics) Baseline(name string, scores evaluate.Scores) {
	s := m.baselines.of(name)
	s.accuracy.Set(scores.Accuracy)
	s.loss.Set(scores.LogLoss)
}

// TestRun counts a test run over all models, which ended now.
func (m *Metrics) TestRun(ok bool, took time.Duration, windowRecords int) {
	m.runs.duration.Observe(took.Seconds())
	m.runs.windowRecords.Set(float64(windowRecords))
	if !ok {
		m.runs.failure.Inc()
		return
	}
	m.runs.success.Inc()
	m.runs.lastSuccess.Set(float64(time.Now().UnixMicro()) / 1e6)
}
