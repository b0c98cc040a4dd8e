// Package metrics holds every metric of the service: its name, type, unit, labels, and help.
//
// Other packages declare the few methods they call as interfaces of their own, which [Metrics] satisfies. The methods
// are safe for any number of goroutines and are called once for a batch or a block, never for a good record. Those that
// learning calls take no lock and allocate nothing once a partition or a model has been seen. Series whose labels are
// known at the start exist from the start: counters at 0, gauges at NaN where nothing was measured yet. Names end in
// _ratio for values from 0 to 1; losses are in nats.
package metrics

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config names what is known at the start.
type Config struct {
	Version    string
	Revision   string
	TrainTopic string
	TestTopic  string
	Models     []string
}

// Metrics is the service's metrics. The methods of the embedded Topic speak of the train topic.
type Metrics struct {
	*Topic
	Test *Topic // the test topic

	families []Family

	// Service and group.
	ready           prometheus.Gauge
	holder, standby prometheus.Gauge
	waiting         prometheus.Gauge
	drawnBack       children[int32, prometheus.Counter]
	rebalances      *prometheus.CounterVec
	assigned        prometheus.Gauge
	errors          *prometheus.CounterVec
	commits         prometheus.Counter
	throttled       prometheus.Counter
	restarts        *prometheus.CounterVec
	checkpoints     checkpointSeries
	deadLetters     deadLetterSeries
	columns         columnSeries

	// Models and their scores.
	info      *prometheus.GaugeVec
	models    children[string, *modelSeries]
	comparing comparingSeries
	baselines children[string, baselineSeries]
	runs      testRunSeries

	requests    children[request, requestSeries]
	predictions children[string, [2]prometheus.Counter] // by model: of each class
}

// New registers all metrics with reg. It panics if one of their names is taken.
func New(reg prometheus.Registerer, cfg Config) *Metrics {
	c := &catalogue{reg: reg}
	m := &Metrics{}

	c.gauge("learner_build_info", "Always 1; the labels tell which build this is.",
		"version", "revision", "goversion", "goos", "goarch").
		WithLabelValues(cfg.Version, cfg.Revision, runtime.Version(), runtime.GOOS, runtime.GOARCH).Set(1)
	m.info = c.gauge("learner_model_info", "Always 1; the labels tell what the model is and what it learns from.",
		"model", "algorithm", "features", "classes", "format")
	m.ready = c.gauge("learner_ready", "1 when /readyz answers 200, else 0.").WithLabelValues()

	topics := newTopicFamilies(c)
	m.Topic, m.Test = topics.topic(cfg.TrainTopic), topics.topic(cfg.TestTopic)
	m.newConsuming(c, cfg)
	m.newCheckpoints(c, cfg)
	m.newDeadLetters(c)
	m.newColumns(c)
	m.newLearning(c)
	m.newComparing(c)
	m.newScoring(c)
	m.newHTTP(c)
	for _, name := range cfg.Models {
		m.models.of(name)
		m.predictions.of(name)
	}
	m.families = c.families
	return m
}

func (m *Metrics) newConsuming(c *catalogue, cfg Config) {
	m.waiting = c.gauge("learner_order_waiting_partitions",
		"Partitions that have more records in the range and that the merge waits for.").WithLabelValues()
	drawnBack := c.counter("learner_order_ends_drawn_back_total",
		"Times that a range's end was drawn back to where its partition stood.", "topic", "partition")
	m.drawnBack.create = func(partition int32) prometheus.Counter {
		return drawnBack.WithLabelValues(cfg.TrainTopic, strconv.Itoa(int(partition)))
	}
	role := c.gauge("learner_role", "1 for the role that this member of the group has, else 0; both 0: none yet.", "role")
	m.holder, m.standby = role.WithLabelValues("holder"), role.WithLabelValues("standby")
	m.rebalances = c.counter("learner_consumer_rebalances_total",
		"Rebalances, by what they did to this member's partitions.", "event")
	start(m.rebalances, "assigned", "revoked", "lost")
	m.assigned = c.gauge("learner_consumer_assigned_partitions",
		"Partitions that this member holds.", "topic").WithLabelValues(cfg.TrainTopic)
	m.errors = c.counter("learner_consumer_errors_total", "Errors on the way to Kafka, by what was being done.", "kind")
	start(m.errors, "dial", "auth", "fetch", "commit", "join")
	m.commits = c.counter("learner_consumer_commits_total", "Offset commits that succeeded.").WithLabelValues()
	m.throttled = c.counter("learner_consumer_throttle_seconds_total",
		"Time for which brokers told this client to hold back.").WithLabelValues()
}

// start creates the series of each value of a single label, at 0.
func start(vec *prometheus.CounterVec, values ...string) {
	for _, v := range values {
		vec.WithLabelValues(v)
	}
}

// Ready says whether the service is ready.
func (m *Metrics) Ready(ready bool) { flag(m.ready, ready) }

// Role says whether this member of the group holds the partitions or stands by.
func (m *Metrics) Role(holder bool) {
	flag(m.holder, holder)
	flag(m.standby, !holder)
}

// Rebalanced counts a rebalance. event is assigned, revoked, or lost.
func (m *Metrics) Rebalanced(event string) { m.rebalances.WithLabelValues(event).Inc() }

// Assigned sets the number of partitions of the train topic that this member holds. With none, the gauges of single
// partitions are taken away: they are the next holder's to tell.
func (m *Metrics) Assigned(partitions int) {
	m.assigned.Set(float64(partitions))
	for p := range int32(partitions) {
		m.counts.of(p)
		m.drawnBack.of(p)
	}
	if partitions == 0 {
		m.clear()
		m.waiting.Set(0)
	}
}

// ConsumerError counts an error. kind is dial, auth, fetch, commit, or join.
func (m *Metrics) ConsumerError(kind string) { m.errors.WithLabelValues(kind).Inc() }

// Committed counts an offset commit.
func (m *Metrics) Committed() { m.commits.Inc() }

// Throttled counts time for which a broker told the client to hold back.
func (m *Metrics) Throttled(d time.Duration) { add(m.throttled, d.Seconds()) }

// Waiting sets the number of partitions that the merge waits for.
func (m *Metrics) Waiting(partitions int) { m.waiting.Set(float64(partitions)) }

// DrawnBack counts an end of a range that was drawn back.
func (m *Metrics) DrawnBack(partition int32) { m.drawnBack.of(partition).Inc() }
