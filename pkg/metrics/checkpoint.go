package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// checkpointSeries are the series of checkpoints and of the lineage that they belong to.
type checkpointSeries struct {
	pause       prometheus.Observer
	lastSuccess prometheus.Gauge
	sequence    prometheus.Gauge
	lineage     *prometheus.GaugeVec
	rangeEnd    children[int32, prometheus.Gauge]
}

func (m *Metrics) newCheckpoints(c *catalogue, cfg Config) {
	s := &m.checkpoints
	s.pause = c.histogram("learner_checkpoint_pause_seconds",
		"Time for which learning stood still while a model's state was copied for a checkpoint; the longest of all models.",
		[]float64{1e-5, 4e-5, 1.6e-4, 6.4e-4, 2.56e-3, 1.024e-2, 4.096e-2, .16384, .65536}).WithLabelValues()
	s.lastSuccess = unmeasured(c.gauge("learner_checkpoint_last_success_timestamp_seconds",
		"When the last checkpoint was made that was written and committed. NaN: none yet."))
	s.sequence = unmeasured(c.gauge("learner_checkpoint_sequence",
		"Sequence of the checkpoint that was committed, or followed, last. NaN: none yet."))
	s.lineage = c.gauge("learner_lineage_info",
		"Always 1; the label tells the history that the models belong to: it begins with fresh models.", "lineage")
	end := c.gauge("learner_order_range_end_offset",
		"Where the range in hand ends: nothing behind it is learned before all partitions stand at their ends.", "topic", "partition")
	s.rangeEnd.create = func(partition int32) prometheus.Gauge {
		return end.WithLabelValues(cfg.TrainTopic, strconv.Itoa(int(partition)))
	}
}

// CheckpointPause says for how long learning stood still for a checkpoint.
func (m *Metrics) CheckpointPause(d time.Duration) { m.checkpoints.pause.Observe(d.Seconds()) }

// CheckpointKept says that a checkpoint made at the given time was written and committed.
func (m *Metrics) CheckpointKept(made time.Time) {
	m.checkpoints.lastSuccess.Set(float64(made.UnixMicro()) / 1e6)
}

// Lineage says to which history the models belong, and by which checkpoint they were kept last.
func (m *Metrics) Lineage(lineage string, sequence int64) {
	m.checkpoints.lineage.Reset()
	m.checkpoints.lineage.WithLabelValues(lineage).Set(1)
	m.checkpoints.sequence.Set(float64(sequence))
}

// RangeEnd says where the range in hand ends in a partition.
func (m *Metrics) RangeEnd(partition int32, end int64) {
	m.checkpoints.rangeEnd.of(partition).Set(float64(end))
}
