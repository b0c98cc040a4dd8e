package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/record"
)

// deadLetterSeries are the series of refused records that are written to a topic.
type deadLetterSeries struct {
	written []prometheus.Counter // by record.Reason
	queued  prometheus.Gauge
}

func (m *Metrics) newDeadLetters(c *catalogue) {
	written := c.counter("learner_dead_letters_total",
		"Refused records that were written to the dead-letter topic, by reason; repeats count.", "reason")
	for _, reason := range record.Reasons() {
		m.deadLetters.written = append(m.deadLetters.written, written.WithLabelValues(reason.String()))
	}
	m.deadLetters.queued = c.gauge("learner_dead_letter_queue_records",
		"Refused records that wait to be written to the dead-letter topic.").WithLabelValues()
}

// DeadLetter counts a refused record that the dead-letter topic has.
func (m *Metrics) DeadLetter(reason record.Reason) { m.deadLetters.written[reason].Inc() }

// DeadLettersQueued sets how many refused records wait.
func (m *Metrics) DeadLettersQueued(n int) { m.deadLetters.queued.Set(float64(n)) }
