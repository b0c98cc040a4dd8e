package dashboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"learner/pkg/susy"
)

// mayBeEmpty are the panels and annotations that have nothing to show while all is well, and why.
var mayBeEmpty = map[string]string{
	"Alerts":           "no alert fires",
	"Restarts":         "nothing is started twice",
	"Rebalances":       "the group is complete before the first scrape",
	"Drift":            "the events of the demo do not drift",
	"Champion changes": "the first model leads",

	"Categories that share a slot": "the events of the demo have no categories",
}

// livePatience is how long every query may take to have an answer: the slowest waits for two frozen twins.
const livePatience = 2 * time.Minute

// TestQueriesOnLiveData asks a real Prometheus every query of the dashboard and the rules, while it scrapes the demo with
// three models and a second member that stands by.
func TestQueriesOnLiveData(t *testing.T) {
	if os.Getenv("REQUIRE_PROMETHEUS") == "" {
		t.Skip("needs a Prometheus and a minute: .ci/dashboard runs it")
	}
	p := &prom{t: t, client: &http.Client{Timeout: 10 * time.Second}}
	p.start(startLearners(t))

	d := readDashboard(t)
	names := map[string]bool{}
	pending := map[string]func() error{}
	for _, q := range d.queries() {
		names[q.place] = true
		pending[q.String()] = func() error { return p.answers(q) }
		if _, empty := mayBeEmpty[q.place]; empty {
			pending[q.String()] = func() error { return ignoreEmpty(p.answers(q)) }
		}
	}
	for name := range mayBeEmpty {
		if !names[name] {
			t.Errorf("mayBeEmpty speaks of %s, which the dashboard has not", name)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			pending["variable "+v.Name] = func() error { return p.hasValues(v) }
		}
	}
	for _, r := range readRules(t) {
		pending["rule "+r.record+r.alert] = func() error {
			if r.record != "" {
				return errors.Join(p.answers(query{expr: r.expr}), p.answers(query{expr: r.record}))
			}
			return ignoreEmpty(p.answers(query{expr: r.expr}))
		}
	}
	asked := len(pending)
	pending["both members measure"] = func() error {
		if got, err := p.values(`count(count by (instance) (learner_test_accuracy_ratio > 0))`); err != nil || len(got) != 1 || got[0] != 2 {
			return errors.Join(errEmpty, err)
		}
		return nil
	}
	for {
		for _, name := range slices.Sorted(maps.Keys(pending)) {
			err := pending[name]()
			switch {
			case err == nil:
				delete(pending, name)
			case !errors.Is(err, errEmpty):
				t.Errorf("%s: %v", name, err)
				delete(pending, name)
			case time.Since(p.began) > livePatience:
				t.Errorf("%s: %v after %v", name, err, livePatience)
			}
		}
		if len(pending) == 0 || time.Since(p.began) > livePatience {
			break
		}
		time.Sleep(time.Second)
	}
	p.rulesAreHealthy()
	p.membersAddUp(d)
	t.Logf("%d queries, the last answered after %v", asked, time.Since(p.began).Round(time.Second))
}

// startLearners starts the demo and a member that stands by, and returns where they tell their metrics.
func startLearners(t *testing.T) (targets []string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "learner")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "learner/cmd/learner").CombinedOutput(); err != nil {
		t.Fatalf("build learner: %v\n%s", err, out)
	}
	settings := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOMEMLIMIT=1GiB", "LEARNER_LOG_FORMAT=json", "LEARNER_ADMIN_ADDR=none",
		"LEARNER_MODELS=mix;logistic;net=mlp:hidden=16", "LEARNER_TWIN_AGE=15000", "LEARNER_CHECKPOINT_INTERVAL=1s", "LEARNER_EVAL_INTERVAL=1s",
		"LEARNER_COLUMNS=" + strings.Join(susy.Columns[:], ","), // as the demo has them where nothing is said
	}
	demo := run(t, append(settings, "LEARNER_HTTP_ADDR=127.0.0.1:0"), program, "demo", "-rate", "3000")
	m := demo.waitFor(t, `Embedded broker on (\S+)\. .* http://([^/ ]+)/metrics`)
	broker, holder := m[1], m[2]
	standby := freeAddress(t)
	run(t, append(settings, "LEARNER_HTTP_ADDR="+standby, "CCLOUD_BOOTSTRAP_ENDPOINT="+broker), program)
	return []string{holder, standby}
}

// process is a program that runs until the test ends.
type process struct {
	lines chan string
}

// run starts a program in an empty folder. When the test ends it is told to stop and waited for; if the test has failed,
// what it wrote to standard error last is shown.
func run(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = t.TempDir(), env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	log := filepath.Join(t.TempDir(), "stderr")
	stderr, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{lines: make(chan string, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default: // nobody looks at what comes later
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = cmd.Wait() // that it was told to stop is no error
		_ = stderr.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("%s %q wrote:\n%s", filepath.Base(name), args, text[max(0, len(text)-3000):])
		}
	})
	return p
}

// waitFor returns the first match of a pattern in a line of standard output.
func (p *process) waitFor(t *testing.T, pattern string) []string {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	late := time.After(30 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the process ended without a line like %s", pattern)
			}
			if m := expression.FindStringSubmatch(line); m != nil {
				return m
			}
		case <-late:
			t.Fatalf("no line like %s within 30 s", pattern)
		}
	}
}

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// prom is a Prometheus that runs.
type prom struct {
	t       *testing.T
	client  *http.Client
	address string
	began   time.Time
}

// start starts it, with the rules loaded, and waits until it has scraped all targets.
func (p *prom) start(targets []string) {
	t := p.t
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: learner
    static_configs: [{targets: [%q, %q]}]
`, rules, targets[0], targets[1])
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.address, p.began = freeAddress(t), time.Now()
	run(t, os.Environ(), "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address, "--log.level=warn")
	for {
		up, err := p.values("sum(up)")
		if err == nil && len(up) == 1 && up[0] == float64(len(targets)) {
			return
		}
		if time.Since(p.began) > 30*time.Second {
			t.Fatalf("Prometheus does not scrape %q: sum(up) is %v (%v)", targets, up, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// ask asks Prometheus' API, and reads the answer's data into to.
func (p *prom) ask(path string, form url.Values, to any) error {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.address+"/api/v1/"+path+"?"+form.Encode(), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Error string
		Data  json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w in %.200s", resp.Status, err, body)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, to)
}

var errEmpty = errors.New("the answer is empty")

func ignoreEmpty(err error) error {
	if errors.Is(err, errEmpty) {
		return nil
	}
	return err
}

// filledIn is an expression as Grafana sends it with everything chosen.
func filledIn(expr string) string {
	return strings.NewReplacer("$job", "learner", "$__rate_interval", "10s", "$instance", ".+", "$model", ".+", "$topic", ".+").Replace(expr)
}

// answers asks an expression over the time since the start, and at this moment, and reports an error, or errEmpty where no
// number comes back. An expression that is shown over time may be empty at a moment.
func (p *prom) answers(q query) error {
	var series struct{ Result []struct{ Values [][2]any } }
	if err := p.ask("query_range", url.Values{
		"query": {filledIn(q.expr)}, "step": {"1"},
		"start": {strconv.FormatInt(p.began.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)},
	}, &series); err != nil {
		return err
	}
	now, err := p.values(q.expr)
	if err != nil {
		return err
	}
	var samples []float64
	for _, s := range series.Result {
		for _, v := range s.Values {
			samples = append(samples, number(v))
		}
	}
	if q.instant {
		samples = now
	}
	if !slices.ContainsFunc(samples, func(v float64) bool { return !math.IsNaN(v) }) {
		return fmt.Errorf("%w: %s", errEmpty, filledIn(q.expr))
	}
	return nil
}

// values asks an expression at this moment.
func (p *prom) values(expr string) (all []float64, err error) {
	var vector struct{ Result []struct{ Value [2]any } }
	if err := p.ask("query", url.Values{"query": {filledIn(expr)}}, &vector); err != nil {
		return nil, err
	}
	for _, s := range vector.Result {
		all = append(all, number(s.Value))
	}
	return all, nil
}

// number is the value of a sample: a time and a text.
func number(sample [2]any) float64 {
	text, _ := sample[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// hasValues asks for the values of a variable.
func (p *prom) hasValues(v variable) error {
	metric, label, job := labelValues(p.t, v)
	if job {
		metric += `{job=~"learner"}`
	}
	var values []string
	if err := p.ask("label/"+label+"/values", url.Values{"match[]": {metric}}, &values); err != nil {
		return err
	}
	if len(values) == 0 {
		return errEmpty
	}
	return nil
}

// rulesAreHealthy looks at what Prometheus says of the rules that it evaluates.
func (p *prom) rulesAreHealthy() {
	var loaded struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.ask("rules", nil, &loaded); err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, g := range loaded.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				p.t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(readRules(p.t)); n != want {
		p.t.Errorf("%d rules are evaluated, want %d", n, want)
	}
}

// membersAddUp looks at whether what is shown of two members, both of which export models, is what one service would show.
func (p *prom) membersAddUp(d *dashboard) {
	series := map[string]int{
		"Champion": 1, "Accuracy of the champion": 1, "Loss of the champion": 1, "Over the majority class": 1,
		"Behind": 1, "Caught up in": 1, "Confusion of the champion": 4, "Lag in records": 6, "Role": 2, "Records in a life": 3,
	}
	for _, q := range d.queries() {
		want, ok := series[q.place]
		if !ok {
			continue
		}
		delete(series, q.place)
		got, err := p.values(q.expr)
		if err != nil || len(got) != want {
			p.t.Errorf("%s shows %v, want %d values (%v)", q, got, want, err)
		}
	}
	for name := range series {
		p.t.Errorf("there is no panel %s", name)
	}
	if got, err := p.values(`sum(learner_role{role="holder"})`); err != nil || len(got) != 1 || got[0] != 1 {
		p.t.Errorf("%v members hold the partitions, want 1 (%v)", got, err)
	}
}
