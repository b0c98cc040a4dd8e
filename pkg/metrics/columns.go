package metrics

import "github.com/prometheus/client_golang/prometheus"

// columnSeries are the series of the columns of rows, of the categories in them, and of the schemas that tell of both.
type columnSeries struct {
	numbers, categories prometheus.Gauge
	added, missing      prometheus.Counter
	used, free          prometheus.Gauge
	collisions          prometheus.Gauge
	met                 prometheus.Counter
	requests            *prometheus.CounterVec
	pending             prometheus.Gauge
}

func (m *Metrics) newColumns(c *catalogue) {
	s := &m.columns
	kinds := c.gauge("learner_columns", "Columns that models learn from, by what their values are.", "kind")
	s.numbers, s.categories = kinds.WithLabelValues("number"), kinds.WithLabelValues("category")
	s.added = c.counter("learner_columns_added_total",
		"Columns that records brought along after the first ones.").WithLabelValues()
	s.missing = c.counter("learner_missing_values_total",
		"Values that were missing in records learned, of all columns.").WithLabelValues()
	slots := c.gauge("learner_category_slots",
		"Slots for categories, by whether a category has one. Their number is 2 to the power of LEARNER_HASH_BITS.", "state")
	s.used, s.free = slots.WithLabelValues("used"), slots.WithLabelValues("free")
	s.collisions = unmeasured(c.gauge("learner_category_collision_ratio",
		"Estimated part of the categories that have no slot of their own: those beyond the slots used, of as many categories as are "+
			"estimated from the slots used. NaN: no categories yet."))
	s.met = c.counter("learner_schemas_met_total",
		"Schemas of records that were learned first after the first records.").WithLabelValues()
	s.requests = c.counter("learner_schema_registry_requests_total", "Requests to the Schema Registry, by result.", "result")
	start(s.requests, "ok", "not_found", "error")
	s.pending = c.gauge("learner_schema_pending",
		"Schemas that records name and that the registry has not told yet: their partitions are held up.").WithLabelValues()
}

// Columns sets how many columns hold numbers, and how many categories.
func (m *Metrics) Columns(numbers, categories int) {
	m.columns.numbers.Set(float64(numbers))
	m.columns.categories.Set(float64(categories))
}

// ColumnsAdded counts columns that records brought along.
func (m *Metrics) ColumnsAdded(columns int) { add(m.columns.added, float64(columns)) }

// MissingValues counts values that were missing in records learned.
func (m *Metrics) MissingValues(values uint64) { add(m.columns.missing, float64(values)) }

// Categories sets how many slots for categories there are and are used, and the estimated part of the categories that have
// none of their own.
func (m *Metrics) Categories(slots, used int, collisions float64) {
	m.columns.used.Set(float64(used))
	m.columns.free.Set(float64(slots - used))
	m.columns.collisions.Set(collisions)
}

// SchemaMet counts a schema that was met first.
func (m *Metrics) SchemaMet() { m.columns.met.Inc() }

// SchemaRequested counts a request to the Schema Registry. result is ok, not_found, or error.
func (m *Metrics) SchemaRequested(result string) { m.columns.requests.WithLabelValues(result).Inc() }

// SchemasPending sets how many schemas are waited for.
func (m *Metrics) SchemasPending(schemas int) { m.columns.pending.Set(float64(schemas)) }
