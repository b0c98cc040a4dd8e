package dashboard

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/metrics"
)

// The names in PromQL, found by pattern: enough to see what an expression asks for. Whether it can be evaluated is what
// promtool and Prometheus are asked in .ci/dashboard.
var (
	groupingPattern = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
	selectorPattern = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?\s*(\[[^\]]*\])?\s*(\()?`)
	matcherPattern  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	offsetPattern   = regexp.MustCompile(`\boffset\s+\S+?(\)|\s|$)`)
)

type selector struct{ name, matchers, duration string }

// selectors returns the metrics that an expression asks for.
func selectors(expr string) (found []selector) {
	expr = offsetPattern.ReplaceAllString(groupingPattern.ReplaceAllString(expr, ""), "$1")
	for _, m := range selectorPattern.FindAllStringSubmatch(expr, -1) {
		called := m[4] != ""
		if !called && !slices.Contains([]string{"and", "or", "unless", "by", "on"}, m[1]) {
			found = append(found, selector{m[1], m[2], m[3]})
		}
	}
	return found
}

// grouping returns the lists of labels that an expression groups and matches by.
func grouping(expr string) (lists [][]string) {
	for _, m := range groupingPattern.FindAllStringSubmatch(expr, -1) {
		var list []string
		for label := range strings.SplitSeq(m[1], ",") {
			list = append(list, strings.TrimSpace(label))
		}
		lists = append(lists, list)
	}
	return lists
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	const expr = `0.5 * max by (le, job) (rate(a_total{x="(1)",y=~"b|"}[5m] offset 30m)) > 2 unless on (job) (time() - b:c == 1e3)`
	want := []selector{{"a_total", `{x="(1)",y=~"b|"}`, "[5m]"}, {"b:c", "", ""}}
	if got := slices.DeleteFunc(selectors(expr), func(s selector) bool { return s.name == "e3" }); !reflect.DeepEqual(got, want) {
		t.Errorf("selectors %q, want %q", got, want)
	}
	if got, want := grouping(expr), [][]string{{"le", "job"}, {"job"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("groupings %q, want %q", got, want)
	}
}

// knownMetrics returns the labels of every metric that can be asked for: those of the service, of the Go runtime and the
// process, what Prometheus adds, and what the rules record.
func knownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{"up": nil, "ALERTS": {"alertname", "alertstate", "severity"}}
	for _, f := range metrics.Families() {
		known[f.Name] = f.Labels
		if f.Type == "histogram" {
			known[f.Name+"_bucket"] = append(slices.Clone(f.Labels), "le")
			known[f.Name+"_sum"], known[f.Name+"_count"] = f.Labels, f.Labels
		}
	}
	page := httptest.NewRecorder()
	metrics.Handler(prometheus.NewRegistry()).ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for line := range strings.Lines(page.Body.String()) {
		if name := regexp.MustCompile(`^\w+`).FindString(line); name != "" {
			known[name] = nil
		}
	}
	for _, r := range readRules(t) {
		if level, _, ok := strings.Cut(r.record, ":"); ok {
			known[r.record] = strings.Split(level, "_")
		}
	}
	return known
}

func isCounter(t *testing.T, name string) bool {
	t.Helper()
	for _, f := range metrics.Families() {
		if f.Type == "counter" && f.Name == name || f.Type == "histogram" && strings.HasPrefix(name, f.Name) {
			return true
		}
	}
	return strings.HasSuffix(name, "_total")
}
