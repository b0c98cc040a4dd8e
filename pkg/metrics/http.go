package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type request struct {
	handler, method string
	code            int
}

type requestSeries struct {
	count    prometheus.Counter
	duration prometheus.Observer
}

func (m *Metrics) newHTTP(c *catalogue) {
	requests := c.counter("learner_http_requests_total",
		"HTTP requests answered. The handler is the route's pattern; / stands for all unknown paths.",
		"handler", "method", "code")
	duration := c.histogram("learner_http_request_duration_seconds",
		"Time to answer an HTTP request.", durationBuckets, "handler", "method")
	m.requests.create = func(r request) requestSeries {
		return requestSeries{
			requests.WithLabelValues(r.handler, r.method, strconv.Itoa(r.code)),
			duration.WithLabelValues(r.handler, r.method),
		}
	}
	predictions := c.counter("learner_predictions_total",
		"Rows that a model was asked for over HTTP, by the class that it answered with.", "model", "class")
	m.predictions.create = func(model string) [2]prometheus.Counter {
		return [2]prometheus.Counter{predictions.WithLabelValues(model, "0"), predictions.WithLabelValues(model, "1")}
	}
}

// Requested counts an HTTP request. handler and method must come from a small fixed set.
func (m *Metrics) Requested(handler, method string, code int, took time.Duration) {
	s := m.requests.of(request{handler, method, code})
	s.count.Inc()
	s.duration.Observe(took.Seconds())
}

// Predicted counts the rows of a request that a model answered with each class.
func (m *Metrics) Predicted(model string, class0, class1 int) {
	s := m.predictions.of(model)
	add(s[0], float64(class0))
	add(s[1], float64(class1))
}

// Handler returns the page that Prometheus reads: all of reg, together with what the Go runtime and the process tell
// of themselves, which Handler registers. It is to be called once for a registry.
func Handler(reg *prometheus.Registry) http.Handler {
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		Registry:          reg,
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
		CoalesceGather:    true,
	})
}
