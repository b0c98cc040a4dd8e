package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/record"
)

// Topic counts what is read of one topic.
type Topic struct {
	bytes      prometheus.Counter
	lastRecord prometheus.Gauge
	refused    []prometheus.Counter // by record.Reason

	counts  children[int32, partitionCounts]
	offsets children[int32, prometheus.Gauge]
	lags    children[int32, partitionLag]

	clear func() // removes the gauges of all partitions
}

type partitionCounts struct{ records, lost prometheus.Counter }

type partitionLag struct{ records, seconds, open prometheus.Gauge }

// topicFamilies are the families that every Topic has series in.
type topicFamilies struct {
	records, bytes, skipped, lost     *prometheus.CounterVec
	offset, lag, lagSeconds, openTxns *prometheus.GaugeVec
	lastRecord                        *prometheus.GaugeVec
}

func newTopicFamilies(c *catalogue) *topicFamilies {
	return &topicFamilies{
		records: c.counter("learner_consumer_records_total",
			"Records applied: learned, or taken into the test window.", "topic", "partition"),
		bytes: c.counter("learner_consumer_bytes_total",
			"Bytes of the record batches passed, uncompressed.", "topic"),
		skipped: c.counter("learner_consumer_skipped_records_total",
			"Records refused, by reason.", "topic", "reason"),
		lag: c.gauge("learner_consumer_lag_records",
			"Offsets between the next one to apply and the last stable offset. Only the holder has this series.",
			"topic", "partition"),
		lagSeconds: c.gauge("learner_consumer_lag_seconds",
			"Age of the last applied record while there is lag, else 0. NaN: none applied yet. Only the holder has this series.",
			"topic", "partition"),
		openTxns: c.gauge("learner_consumer_open_transaction_records",
			"Offsets that open transactions hold back: high watermark minus last stable offset. Only the holder has this series.",
			"topic", "partition"),
		lost: c.counter("learner_consumer_lost_records_total",
			"Records that retention or truncation took before they were read.", "topic", "partition"),
		offset: c.gauge("learner_consumer_offset",
			"Next offset to apply. Only the holder has this series.", "topic", "partition"),
		lastRecord: c.gauge("learner_consumer_last_record_timestamp_seconds",
			"The own time of the record applied last, since 1970. NaN: none yet.", "topic"),
	}
}

func (f *topicFamilies) topic(name string) *Topic {
	t := &Topic{bytes: f.bytes.WithLabelValues(name), lastRecord: unmeasured(f.lastRecord, name)}
	for _, reason := range record.Reasons() {
		t.refused = append(t.refused, f.skipped.WithLabelValues(name, reason.String()))
	}
	t.counts.create = func(p int32) partitionCounts {
		partition := strconv.Itoa(int(p))
		return partitionCounts{f.records.WithLabelValues(name, partition), f.lost.WithLabelValues(name, partition)}
	}
	t.offsets.create = func(p int32) prometheus.Gauge {
		return f.offset.WithLabelValues(name, strconv.Itoa(int(p)))
	}
	t.lags.create = func(p int32) partitionLag {
		partition := strconv.Itoa(int(p))
		return partitionLag{
			f.lag.WithLabelValues(name, partition),
			f.lagSeconds.WithLabelValues(name, partition),
			f.openTxns.WithLabelValues(name, partition),
		}
	}
	t.clear = func() {
		this := prometheus.Labels{"topic": name}
		t.offsets.forget(func() { f.offset.DeletePartialMatch(this) })
		t.lags.forget(func() {
			f.lag.DeletePartialMatch(this)
			f.lagSeconds.DeletePartialMatch(this)
			f.openTxns.DeletePartialMatch(this)
		})
	}
	return t
}

// Passed counts records applied of one partition and the bytes that they came in. next is the offset to apply next,
// recordTime the own time of the last of the records; with no record it is not looked at.
func (t *Topic) Passed(partition int32, records int, bytes int, next int64, recordTime time.Time) {
	add(t.counts.of(partition).records, float64(records))
	add(t.bytes, float64(bytes))
	t.offsets.of(partition).Set(float64(next))
	if records > 0 {
		t.lastRecord.Set(float64(recordTime.UnixMicro()) / 1e6)
	}
}

// Refused counts one bad record. Partition and offset are not kept: a reason is a label, an offset is not.
func (t *Topic) Refused(_ int32, r record.Refusal) { t.refused[r.Err.Reason].Inc() }

// Lost counts records that the log no longer had.
func (t *Topic) Lost(partition int32, records int64) {
	add(t.counts.of(partition).lost, float64(records))
}

// Lag sets how far one partition is behind: in offsets, in seconds since the last applied record's own time (0 without
// lag, NaN where none was applied yet), and how many offsets open transactions hold back.
func (t *Topic) Lag(partition int32, records int64, behind float64, openTransaction int64) {
	lag := t.lags.of(partition)
	lag.records.Set(float64(records))
	lag.seconds.Set(behind)
	lag.open.Set(float64(openTransaction))
}
