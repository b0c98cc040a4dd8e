// Package dashboard tests what deploy/ has for Grafana and Prometheus: the dashboard, the rules, and the runbook of their
// alerts in README.md.
package dashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dashboardFile = "../../deploy/grafana/dashboards/learner.json"

type dashboard struct {
	UID           string `json:"uid"`
	ID            *int   `json:"id"`
	Title         string `json:"title"`
	Description   string `json:"description"`
	SchemaVersion int    `json:"schemaVersion"`
	Editable      *bool  `json:"editable"`
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct{ List []annotation }
}

type datasource struct{ Type, UID string }

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []target
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []step
			}
		}
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
}

type step struct {
	Color string
	Value *float64
}

type target struct {
	RefID        string
	Datasource   datasource
	Expr         string
	LegendFormat string
	Instant      bool
}

type variable struct {
	Name       string
	Label      string
	Type       string
	Datasource datasource
	Query      json.RawMessage
	Definition string
	Refresh    int
	Multi      bool
	AllValue   string
}

type annotation struct {
	Name        string
	Datasource  datasource
	Enable      bool
	Expr        string
	TextFormat  string
	TitleFormat string
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	d := new(dashboard)
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return d
}

// query is a PromQL expression of the dashboard, and where it stands.
type query struct {
	place   string // the panel's title, or the annotation's name
	refID   string
	expr    string
	legend  string
	instant bool
}

func (q query) String() string { return strings.TrimSpace(q.place + " " + q.refID) }

// queries returns all queries of panels and annotations.
func (d *dashboard) queries() []query {
	var all []query
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all = append(all, query{p.Title, t.RefID, t.Expr, t.LegendFormat, t.Instant})
		}
	}
	for _, a := range d.Annotations.List {
		all = append(all, query{a.Name, "", a.Expr, a.TextFormat, false})
	}
	return all
}

func TestDashboardFitsGrafana(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.SchemaVersion != 42 || len(d.UID) < 8 || len(d.UID) > 40 || d.ID != nil || d.Title == "" || d.Description == "" {
		t.Errorf("schemaVersion %d, uid %q, id %v, title %q: want 42, 8 to 40 characters, null, and some text",
			d.SchemaVersion, d.UID, d.ID, d.Title)
	}
	if d.Editable == nil || *d.Editable {
		t.Error("editable is not false: what is provisioned is changed in its file")
	}
	for _, a := range d.Annotations.List {
		checkDatasource(t, "annotation "+a.Name, a.Datasource)
		if !a.Enable || a.TitleFormat == "" || a.TextFormat == "" {
			t.Errorf("annotation %s is off, or has no text", a.Name)
		}
	}
	ids, titles := map[int]string{}, map[string]bool{}
	for _, p := range d.Panels {
		if before, taken := ids[p.ID]; taken || p.ID < 1 {
			t.Errorf("panel %q has id %d, as %q has", p.Title, p.ID, before)
		}
		ids[p.ID] = p.Title
		if p.Title == "" || titles[p.Title] {
			t.Errorf("the title of panel %d, %q, is empty or that of another", p.ID, p.Title)
		}
		titles[p.Title] = true
		if p.Type != "row" {
			checkPanel(t, p)
		}
	}
}

func checkDatasource(t *testing.T, place string, d datasource) {
	t.Helper()
	if (d != datasource{"prometheus", "${datasource}"}) {
		t.Errorf("%s: the data source is %v, want the variable's", place, d)
	}
}

var (
	panelTypes = []string{"barchart", "stat", "state-timeline", "table", "timeseries"}

	// units are those of Grafana's that fit what is shown.
	units = []string{
		"binBps", "bytes", "cpm", "cps", "none", "percentunit", "recps", "reqps", "rowsps", "s", "sci", "short",
	}
)

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	checkDatasource(t, "panel "+p.Title, p.Datasource)
	if !slices.Contains(panelTypes, p.Type) {
		t.Errorf("panel %q is a %q", p.Title, p.Type)
	}
	if len(p.Description) < 10 || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("panel %q has no description that is a sentence: %q", p.Title, p.Description)
	}
	found := []string{p.FieldConfig.Defaults.Unit}
	for _, o := range p.FieldConfig.Overrides {
		if o.Matcher.ID == "byRegexp" && !matchesLegend(o.Matcher.Options, p.Targets) {
			t.Errorf("panel %q: no legend matches %s", p.Title, o.Matcher.Options)
		}
		for _, property := range o.Properties {
			if property.ID == "unit" {
				found = append(found, strings.Trim(string(property.Value), `"`))
			}
		}
	}
	for _, unit := range found {
		if !slices.Contains(units, unit) {
			t.Errorf("panel %q has unit %q, which is not among %q", p.Title, unit, units)
		}
	}
	if steps := p.FieldConfig.Defaults.Thresholds.Steps; len(steps) == 0 || steps[0].Value != nil ||
		slices.ContainsFunc(steps[1:], func(s step) bool { return s.Value == nil }) {
		t.Errorf("panel %q: thresholds must be given, the first without a value and the others with one", p.Title)
	}
	if len(p.Targets) == 0 {
		t.Errorf("panel %q asks for nothing", p.Title)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		checkDatasource(t, p.Title+" "+target.RefID, target.Datasource)
		if target.RefID == "" || refs[target.RefID] {
			t.Errorf("panel %q: refId %q is empty or taken", p.Title, target.RefID)
		}
		refs[target.RefID] = true
		if target.LegendFormat == "" {
			t.Errorf("panel %q %s has no legend", p.Title, target.RefID)
		}
	}
}

// matchesLegend reports whether a pattern matches a legend. Grafana takes one without slashes for the whole name.
func matchesLegend(pattern string, targets []target) bool {
	inner, opened := strings.CutPrefix(pattern, "/")
	inner, closed := strings.CutSuffix(inner, "/")
	expression, err := regexp.Compile(inner)
	return opened && closed && err == nil && slices.ContainsFunc(targets, func(t target) bool {
		return expression.MatchString(t.LegendFormat)
	})
}

func TestPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	taken := map[[2]int]string{}
	for _, p := range readDashboard(t).Panels {
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q lies outside the 24 columns: %+v", p.Title, g)
		}
		for x := range g.W {
			for y := range g.H {
				at := [2]int{g.X + x, g.Y + y}
				if other, ok := taken[at]; ok {
					t.Fatalf("panel %q overlaps %q in column %d, row %d", p.Title, other, at[0], at[1])
				}
				taken[at] = p.Title
			}
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	known := map[string]bool{"__rate_interval": true}
	sources := 0
	for _, v := range d.Templating.List {
		known[v.Name] = true
		if v.Label == "" {
			t.Errorf("variable %s has no label", v.Name)
		}
		if v.Type == "datasource" {
			sources++
			continue
		}
		checkDatasource(t, "variable "+v.Name, v.Datasource)
		if v.Type != "query" || v.Refresh != 2 {
			t.Errorf("variable %s is a %s with refresh %d, want a query asked anew when the time range changes", v.Name, v.Type, v.Refresh)
		}
		if v.Multi && v.AllValue != ".+" {
			t.Errorf("variable %s stands for all with %q, want .+", v.Name, v.AllValue)
		}
		metric, label, job := labelValues(t, v)
		labels, ok := knownMetrics(t)[metric]
		if !ok || !slices.Contains(append(labels, "job", "instance"), label) {
			t.Errorf("variable %s asks for label %s of %s, which the service does not export", v.Name, label, metric)
		}
		if job != (v.Name != "job") {
			t.Errorf("variable %s: only the job itself is looked for in all jobs", v.Name)
		}
	}
	if sources != 1 {
		t.Errorf("%d variables of data sources, want one", sources)
	}
	for _, name := range []string{"job", "instance", "model", "topic"} {
		if !known[name] {
			t.Errorf("there is no variable %s", name)
		}
	}
	used := map[string]bool{}
	for _, q := range d.queries() {
		for _, m := range variablePattern.FindAllStringSubmatch(q.expr, -1) {
			used[m[1]] = true
			if !known[m[1]] {
				t.Errorf("%s: there is no variable %s", q, m[1])
			}
		}
	}
	for name := range known {
		if name != "datasource" && !used[name] {
			t.Errorf("variable %s is not used", name)
		}
	}
}

var (
	variablePattern    = regexp.MustCompile(`\$\{?(\w+)`)
	labelValuesPattern = regexp.MustCompile(`^label_values\((\w+)(\{job=~"\$job"\})?, (\w+)\)$`)
)

// labelValues takes a variable's query apart; job says whether it asks for the chosen job only.
func labelValues(t *testing.T, v variable) (metric, label string, job bool) {
	t.Helper()
	var q struct{ Query string }
	if err := json.Unmarshal(v.Query, &q); err != nil || q.Query != v.Definition {
		t.Fatalf("variable %s: query %s differs from definition %s (%v)", v.Name, v.Query, v.Definition, err)
	}
	m := labelValuesPattern.FindStringSubmatch(q.Query)
	if m == nil {
		t.Fatalf("variable %s: %s is not of the form %s", v.Name, q.Query, labelValuesPattern)
	}
	return m[1], m[3], m[2] != ""
}

func TestQueriesOfTheDashboard(t *testing.T) {
	t.Parallel()
	known := knownMetrics(t)
	for _, q := range readDashboard(t).queries() {
		for _, problem := range check(q.expr, known) {
			t.Errorf("%s: %s", q, problem)
		}
		labels := slices.Concat(grouping(q.expr)...)
		for _, m := range legendPattern.FindAllStringSubmatch(q.legend, -1) {
			if !slices.Contains(labels, m[1]) {
				t.Errorf("%s: the text speaks of label %s, by which nothing is grouped", q, m[1])
			}
		}
		for _, s := range selectors(q.expr) {
			for _, want := range []string{`job=~"$job"`, `instance=~"$instance`} {
				if !strings.Contains(s.matchers, want) {
					t.Errorf("%s: %s does not look at %s", q, s.name, want)
				}
			}
			if isCounter(t, s.name) && s.duration == "" {
				t.Errorf("%s: %s is a counter, of which only the growth means something", q, s.name)
			}
		}
		for _, m := range ratePattern.FindAllStringSubmatch(q.expr, -1) {
			if m[2] != "$__rate_interval" {
				t.Errorf("%s: %s over %s, want $__rate_interval", q, m[1], m[2])
			}
		}
	}
}

var (
	legendPattern = regexp.MustCompile(`\{\{(\w+)\}\}`)
	ratePattern   = regexp.MustCompile(`\b(rate|irate|increase|changes)\([^()]*\[([^\]]+)\]`)
)

// check returns what is wrong with the names in an expression: metrics that nobody exports, and labels that they do not
// have.
func check(expr string, known map[string][]string) (problems []string) {
	all := map[string]bool{"job": true, "instance": true}
	for _, s := range selectors(expr) {
		labels, ok := known[s.name]
		if !ok {
			problems = append(problems, fmt.Sprintf("nobody exports %s", s.name))
			continue
		}
		for _, label := range labels {
			all[label] = true
		}
		for _, m := range matcherPattern.FindAllStringSubmatch(s.matchers, -1) {
			if !slices.Contains(append(labels, "job", "instance"), m[1]) {
				problems = append(problems, fmt.Sprintf("%s has no label %s, only %q", s.name, m[1], labels))
			}
		}
	}
	for _, list := range grouping(expr) {
		for _, label := range list {
			if !all[label] {
				problems = append(problems, fmt.Sprintf("grouped by %s, which none of its metrics has, only %q", label, slices.Sorted(maps.Keys(all))))
			}
		}
	}
	return problems
}
