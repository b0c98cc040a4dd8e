package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// safeBuffer is a buffer that a running service writes and a test reads.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// running is a service that runs in this process.
type running struct {
	t    *testing.T
	url  string
	log  *safeBuffer
	stop func() int // stops it in order and returns the exit code
}

var listening = regexp.MustCompile(`"listening","address":"([^"]+)"`)

// startService runs the service until the test ends or stop is called.
func startService(t *testing.T, c *testCluster, env ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, log: &safeBuffer{}}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, &process{
			stdin: strings.NewReader(""), stdout: io.Discard, stderr: r.log,
			environ: c.with(env...), dir: t.TempDir(),
		})
	}()
	r.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case got := <-code:
			return got
		case <-time.After(20 * time.Second):
			t.Errorf("the service does not stop:\n%s", r.log)
			return -1
		}
	})
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log of the service:\n%s", r.log)
		}
	})
	r.eventually("listens", func() bool {
		m := listening.FindStringSubmatch(r.log.String())
		if m != nil {
			r.url = "http://" + m[1]
		}
		return m != nil
	})
	return r
}

// eventually waits for a condition.
func (r *running) eventually(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("the service never %s", what)
}

// get returns a path's answer.
func (r *running) get(path string) (code int, body []byte) {
	r.t.Helper()
	response, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, body
}

// metrics scrapes /metrics and returns the value of every series as Prometheus writes it, labels in order.
func (r *running) metrics() map[string]float64 {
	r.t.Helper()
	_, body := r.get("/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	all := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			all[name+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}

func labels(m *dto.Metric) string {
	var pairs []string
	for _, l := range m.GetLabel() {
		pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

// sum adds up the series of a family whose labels contain all of the given text.
func sum(all map[string]float64, family string, with ...string) (total float64) {
series:
	for series, value := range all {
		if series != family && !strings.HasPrefix(series, family+"{") {
			continue
		}
		for _, w := range with {
			if !strings.Contains(series, w) {
				continue series
			}
		}
		total += value
	}
	return total
}

// status returns /api/status.
func (r *running) status() status {
	r.t.Helper()
	var st status
	_, body := r.get("/api/status")
	if err := json.Unmarshal(body, &st); err != nil {
		r.t.Fatalf("%v in %s", err, body)
	}
	return st
}

// ready waits for /readyz, and for a measurement that began after the service was ready.
func (r *running) ready() {
	r.t.Helper()
	r.eventually("is ready", func() bool {
		code, _ := r.get("/readyz")
		return code == http.StatusOK
	})
	now := time.Now()
	r.eventually("measures", func() bool {
		st := r.status()
		return st.Role != "holder" || st.Test != nil && st.Test.Time.After(now)
	})
}
