package metrics

import (
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/sgd"
)

// modelSeries are the series of one model.
type modelSeries struct {
	correct, incorrect, loss, nonFinite  prometheus.Counter
	step                                 prometheus.Observer
	learningRate, weightNorm, updateNorm prometheus.Gauge

	records, progressiveAccuracy, progressiveLoss prometheus.Gauge
	recentRecords, recentAccuracy, recentLoss     prometheus.Gauge
	compared, difference, low, high               prometheus.Gauge

	refusedSteps atomic.Uint64 // of the model's whole life, as told last; MaxUint64: never told

	champion prometheus.Gauge
	test     *scoreSeries
}

func (m *Metrics) newLearning(c *catalogue) {
	predictions := c.counter("learner_train_predictions_total",
		"Predictions made on train records before learning from them.", "model", "outcome")
	loss := c.counter("learner_train_loss_total",
		"Sum of the log loss, in nats, of the predictions made before learning.", "model")
	step := c.histogram("learner_train_step_duration_seconds",
		"Time to predict, score, and learn one record: the mean of a batch, observed once for each batch.",
		prometheus.ExponentialBuckets(5e-8, 2, 16), "model")
	learningRate := c.gauge("learner_train_learning_rate", "Rate of the next step. NaN: nothing learned yet.", "model")
	weightNorm := c.gauge("learner_train_weight_norm",
		"Euclidean norm of the weights without bias. NaN: nothing learned yet.", "model")
	updateNorm := c.gauge("learner_train_update_norm",
		"Euclidean norm of the last step. NaN: nothing learned yet.", "model")
	nonFinite := c.counter("learner_train_nonfinite_total",
		"Steps refused because a weight would have become NaN or infinite.", "model")
	m.restarts = c.counter("learner_train_restarts_total", "Times that learning began with fresh models, by reason.", "reason")
	start(m.restarts, "start", "reset_offset", "diverged", "manual")
	records := c.gauge("learner_model_records", "Records that the model has learned from in its whole life.", "model")
	accuracy := c.gauge("learner_model_progressive_accuracy_ratio",
		"Part of its whole life's records that the model predicted right before learning from them. NaN: none yet.", "model")
	meanLoss := c.gauge("learner_model_progressive_loss",
		"Mean log loss, in nats, over the model's whole life, before learning. NaN: none yet.", "model")
	recentRecords := c.gauge("learner_model_recent_records",
		"How many of the model's newest records its recent scores are of. NaN: none yet.", "model")
	recentAccuracy := c.gauge("learner_model_recent_accuracy_ratio",
		"Part of the model's newest records, up to 10,000, that it predicted right before learning from them. NaN: none yet.", "model")
	recentLoss := c.gauge("learner_model_recent_loss",
		"Mean log loss, in nats, over the model's newest records, up to 10,000, before learning. NaN: none yet.", "model")
	compared := c.gauge("learner_comparison_records",
		"Records over which the model is compared with the champion: it begins anew now and then, so that an old advantage does not "+
			"hide a new one. NaN: not compared.", "model")
	difference := c.gauge("learner_comparison_difference",
		"Mean log loss of the champion less that of the model over these records, in nats, each capped at 5: above 0 the model is "+
			"better. NaN: not compared.", "model")
	low := c.gauge("learner_comparison_low",
		"Lower bound of the difference, which holds with the upper one however often it is looked at: above 0 the model is better for "+
			"certain. NaN: not compared.", "model")
	high := c.gauge("learner_comparison_high",
		"Upper bound of the difference: below 0 the model is worse for certain. NaN: not compared.", "model")
	champion := c.gauge("learner_champion", "1 for the model that answers for the service, else 0.", "model")
	scores := newScoreFamilies(c)

	m.models.create = func(name string) *modelSeries {
		s := &modelSeries{
			correct:             predictions.WithLabelValues(name, "correct"),
			incorrect:           predictions.WithLabelValues(name, "incorrect"),
			loss:                loss.WithLabelValues(name),
			nonFinite:           nonFinite.WithLabelValues(name),
			step:                step.WithLabelValues(name),
			learningRate:        unmeasured(learningRate, name),
			weightNorm:          unmeasured(weightNorm, name),
			updateNorm:          unmeasured(updateNorm, name),
			records:             records.WithLabelValues(name),
			progressiveAccuracy: unmeasured(accuracy, name),
			progressiveLoss:     unmeasured(meanLoss, name),
			recentRecords:       unmeasured(recentRecords, name),
			recentAccuracy:      unmeasured(recentAccuracy, name),
			recentLoss:          unmeasured(recentLoss, name),
			compared:            unmeasured(compared, name),
			difference:          unmeasured(difference, name),
			low:                 unmeasured(low, name),
			high:                unmeasured(high, name),
			champion:            champion.WithLabelValues(name),
			test:                scores.model(name),
		}
		s.refusedSteps.Store(math.MaxUint64)
		return s
	}
}

// ModelInfo says what a model is: its algorithm, how many features and classes it has, and the format of the records
// that it learns from. A later call for the same model replaces the earlier one.
func (m *Metrics) ModelInfo(model, algorithm string, features, classes int, format string) {
	m.info.DeletePartialMatch(prometheus.Labels{"model": model})
	m.info.WithLabelValues(model, algorithm, strconv.Itoa(features), strconv.Itoa(classes), format).Set(1)
}

// Learned counts a batch that a model learned from: how many records, how many of them it had predicted right, the
// sum of their log losses in nats, and the time that it all took.
func (m *Metrics) Learned(model string, records, correct int, loss float64, took time.Duration) {
	s := m.models.of(model)
	add(s.correct, float64(correct))
	add(s.incorrect, float64(records-correct))
	add(s.loss, loss)
	if records > 0 {
		s.step.Observe(took.Seconds() / float64(records))
	}
}

// Model sets what a model tells of itself, and its life's records, progressive accuracy, and mean progressive loss.
//
// A restored model brings a number of refused steps along, and the counter must start at 0: only growth from call to
// call is counted. So the first call belongs before the first record, and one after each restore.
func (m *Metrics) Model(model string, stats sgd.Stats, lifetimeRecords uint64, accuracy, loss float64) {
	s := m.models.of(model)
	s.learningRate.Set(stats.LearningRate)
	s.weightNorm.Set(stats.WeightNorm)
	s.updateNorm.Set(stats.UpdateNorm)
	if before := s.refusedSteps.Swap(stats.NonFinite); stats.NonFinite > before {
		s.nonFinite.Add(float64(stats.NonFinite - before))
	}
	s.records.Set(float64(lifetimeRecords))
	s.progressiveAccuracy.Set(accuracy)
	s.progressiveLoss.Set(loss)
}

// Champion says which model answers for the service.
func (m *Metrics) Champion(model string) {
	m.models.of(model)
	for name, s := range m.models.all() {
		flag(s.champion, name == model)
	}
}

// Restarted counts a beginning with fresh models. reason is start, reset_offset, diverged, or manual.
func (m *Metrics) Restarted(reason string) { m.restarts.WithLabelValues(reason).Inc() }
