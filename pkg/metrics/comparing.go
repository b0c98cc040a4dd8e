package metrics

import "github.com/prometheus/client_golang/prometheus"

// comparingSeries are the series of champion, baselines, and drift.
type comparingSeries struct {
	changes   prometheus.Counter
	baselines children[string, progressiveSeries]
	twinAge   prometheus.Gauge
	drift     children[detector, driftSeries]
	stability children[string, prometheus.Gauge]
}

// progressiveSeries are the progressive scores of a baseline.
type progressiveSeries struct{ accuracy, loss, recentAccuracy, recentLoss prometheus.Gauge }

// detector is a detector of drift and what it looks at.
type detector struct{ name, signal string }

type driftSeries struct {
	detected prometheus.Counter
	score    prometheus.Gauge
}

func (m *Metrics) newComparing(c *catalogue) {
	const none = " NaN: nothing measured yet."
	s := &m.comparing
	s.changes = c.counter("learner_champion_changes_total", "Times that another model became the champion.").WithLabelValues()
	accuracy := c.gauge("learner_baseline_accuracy_ratio",
		"Part of the train records that a baseline predicted right, each before it was learned: the majority class, the last label, "+
			"or the frozen twin, an older copy of the champion that learns no more."+none, "baseline")
	loss := c.gauge("learner_baseline_loss", "Mean log loss, in nats, of a baseline on the train records."+none, "baseline")
	recentAccuracy := c.gauge("learner_baseline_recent_accuracy_ratio",
		"Part of the newest train records, up to 10,000, that a baseline predicted right."+none, "baseline")
	recentLoss := c.gauge("learner_baseline_recent_loss",
		"Mean log loss, in nats, of a baseline on the newest train records, up to 10,000."+none, "baseline")
	s.baselines.create = func(name string) progressiveSeries {
		return progressiveSeries{
			unmeasured(accuracy, name), unmeasured(loss, name), unmeasured(recentAccuracy, name), unmeasured(recentLoss, name),
		}
	}
	for _, name := range []string{"majority", "last_label", "frozen_twin"} {
		s.baselines.of(name)
	}
	s.twinAge = unmeasured(c.gauge("learner_twin_age_records",
		"Records learned since the copy of the champion was taken that is the frozen twin. NaN: there is none yet."))

	detected := c.counter("learner_drift_detected_total",
		"Reports of drift, by the detector and what it looks at: the champion's loss, the twin's excess over it, or the features.",
		"detector", "signal")
	score := c.gauge("learner_drift_score",
		"What a detector goes by: adwin the mean of its signal over its window, in nats; page_hinkley how far a sum has risen above its "+
			"lowest point; psi the highest index of all features."+none, "detector", "signal")
	s.drift.create = func(d detector) driftSeries {
		return driftSeries{detected.WithLabelValues(d.name, d.signal), unmeasured(score, d.name, d.signal)}
	}
	for _, d := range []detector{
		{"adwin", "champion"}, {"adwin", "excess"}, {"page_hinkley", "champion"}, {"page_hinkley", "excess"}, {"psi", "features"},
	} {
		s.drift.of(d)
	}
	stability := c.gauge("learner_feature_population_stability_index",
		"By how much a feature's distribution has changed since before the frozen twin was taken; above 0.2 it counts as changed. "+
			"The feature is its column's name, or number where columns have none. NaN: nothing measured yet.", "feature")
	s.stability.create = func(feature string) prometheus.Gauge { return unmeasured(stability, feature) }
}

// ChampionChanged counts a change of champion.
func (m *Metrics) ChampionChanged() { m.comparing.changes.Inc() }

// Recent sets a model's scores on the newest records of its life, before learning each: how many these are, accuracy, and
// mean log loss in nats.
func (m *Metrics) Recent(model string, records int, accuracy, loss float64) {
	s := m.models.of(model)
	s.recentRecords.Set(float64(records))
	s.recentAccuracy.Set(accuracy)
	s.recentLoss.Set(loss)
}

// Difference sets by how much a model loses less than the champion, in nats a record, over how many records, and the
// bounds of that difference; all NaN where the model is not compared.
func (m *Metrics) Difference(model string, records, difference, low, high float64) {
	s := m.models.of(model)
	s.compared.Set(records)
	s.difference.Set(difference)
	s.low.Set(low)
	s.high.Set(high)
}

// ProgressiveBaseline sets the scores of a baseline on the train records: of all, and of the newest. name is majority,
// last_label, or frozen_twin.
func (m *Metrics) ProgressiveBaseline(name string, accuracy, loss, recentAccuracy, recentLoss float64) {
	s := m.comparing.baselines.of(name)
	s.accuracy.Set(accuracy)
	s.loss.Set(loss)
	s.recentAccuracy.Set(recentAccuracy)
	s.recentLoss.Set(recentLoss)
}

// TwinAge sets how many records were learned since the frozen twin was taken; NaN: there is none.
func (m *Metrics) TwinAge(records float64) { m.comparing.twinAge.Set(records) }

// Drifted counts a report of drift.
func (m *Metrics) Drifted(name, signal string) {
	m.comparing.drift.of(detector{name, signal}).detected.Inc()
}

// DriftScore sets what a detector goes by.
func (m *Metrics) DriftScore(name, signal string, score float64) {
	m.comparing.drift.of(detector{name, signal}).score.Set(score)
}

// Stability sets by how much a feature's distribution has changed.
func (m *Metrics) Stability(feature string, index float64) {
	m.comparing.stability.of(feature).Set(index)
}
