package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Family describes one metric: all series of one name.
type Family struct {
	Name   string
	Type   string // counter, gauge, or histogram
	Labels []string
	Help   string
}

// Families returns every metric of the service, those of the Go runtime and the process left out.
func Families() []Family {
	return New(prometheus.NewRegistry(), Config{}).families
}

// catalogue registers metrics and remembers what it registered.
type catalogue struct {
	reg      prometheus.Registerer
	families []Family
}

func (c *catalogue) add(name, kind, help string, labels []string, vec prometheus.Collector) {
	c.reg.MustRegister(vec)
	c.families = append(c.families, Family{Name: name, Type: kind, Labels: labels, Help: help})
}

func (c *catalogue) counter(name, help string, labels ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	c.add(name, "counter", help, labels, vec)
	return vec
}

func (c *catalogue) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	c.add(name, "gauge", help, labels, vec)
	return vec
}

// histogram has the given classic buckets in a text scrape and native ones in a protobuf scrape. A native bucket is
// at most a tenth wider than the one before it.
func (c *catalogue) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	c.add(name, "histogram", help, labels, vec)
	return vec
}

// add adds v to c. What a counter could not take or would never recover from (negative, NaN, infinite) is left out.
func add(c prometheus.Counter, v float64) {
	if v > 0 && v <= math.MaxFloat64 {
		c.Add(v)
	}
}

// flag sets g to 1 or 0.
func flag(g prometheus.Gauge, on bool) {
	if on {
		g.Set(1)
		return
	}
	g.Set(0)
}

// unmeasured returns a gauge that is NaN until it is set.
func unmeasured(vec *prometheus.GaugeVec, labels ...string) prometheus.Gauge {
	g := vec.WithLabelValues(labels...)
	g.Set(math.NaN())
	return g
}
