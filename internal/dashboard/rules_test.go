package dashboard

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	rulesFile     = "../../deploy/prometheus/rules/learner.yaml"
	rulesTestFile = "../../deploy/prometheus/rules/learner_test.yaml"
	readmeFile    = "../../README.md"
)

// rule is a rule of the rules file: record or alert is its name.
type rule struct {
	record, alert, expr string
	severity            string
	annotations         map[string]string
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var keyPattern = regexp.MustCompile(`^( *)(?:- )?(\w+): ?(.*)$`)

// readRules reads the rules. It understands as much of YAML as they use; that the file is YAML is for promtool to check.
func readRules(t *testing.T) (rules []rule) {
	t.Helper()
	block := -1 // indentation of the key whose expression is being read
	for line := range strings.Lines(read(t, rulesFile)) {
		line = strings.TrimRight(line, "\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		if block >= 0 && indent > block {
			rules[len(rules)-1].expr += line + "\n"
			continue
		}
		block = -1
		m := keyPattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		switch key, value := m[2], m[3]; key {
		case "record":
			rules = append(rules, rule{record: value})
		case "alert":
			rules = append(rules, rule{alert: value, annotations: map[string]string{}})
		case "expr":
			if value == "|" {
				block = indent
				continue
			}
			rules[len(rules)-1].expr = value
		case "severity":
			rules[len(rules)-1].severity = value
		case "summary", "description", "runbook_url":
			rules[len(rules)-1].annotations[key] = value
		}
	}
	return rules
}

func TestRules(t *testing.T) {
	t.Parallel()
	rules := readRules(t)
	if len(rules) < 20 {
		t.Fatalf("%d rules were read", len(rules))
	}
	known := knownMetrics(t)
	for _, r := range rules {
		name := r.record + r.alert
		if len(selectors(r.expr)) == 0 {
			t.Errorf("%s asks for nothing: %q", name, r.expr)
		}
		for _, problem := range check(r.expr, known) {
			t.Errorf("%s: %s", name, problem)
		}
		if r.record != "" {
			continue
		}
		if !strings.HasPrefix(r.alert, "Learner") || !slices.Contains([]string{"critical", "warning", "info"}, r.severity) {
			t.Errorf("alert %s has severity %q", r.alert, r.severity)
		}
		if r.annotations["summary"] == "" || r.annotations["description"] == "" {
			t.Errorf("alert %s has no summary or no description", r.alert)
		}
		if want := "README.md#" + strings.ToLower(r.alert); r.annotations["runbook_url"] != want {
			t.Errorf("the runbook of alert %s is at %q, want %q", r.alert, r.annotations["runbook_url"], want)
		}
	}
}

func TestEveryRuleIsTested(t *testing.T) {
	t.Parallel()
	text := read(t, rulesTestFile)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`alertname: (\w+)\n.*\n +exp_alerts:(.*)`).FindAllStringSubmatch(text, -1) {
		if m[2] == " []" {
			quiet[m[1]] = true
		} else {
			fires[m[1]] = true
		}
	}
	for _, r := range readRules(t) {
		switch {
		case r.alert != "" && (!fires[r.alert] || !quiet[r.alert]):
			t.Errorf("alert %s is tested to fire: %v, and not to fire: %v", r.alert, fires[r.alert], quiet[r.alert])
		case r.record != "" && !regexp.MustCompile(`expr: .*`+r.record).MatchString(text):
			t.Errorf("%s is not tested", r.record)
		}
	}
}

func TestRunbook(t *testing.T) {
	t.Parallel()
	_, rest, _ := strings.Cut(read(t, readmeFile), "\n## Runbook\n")
	runbook, _, _ := strings.Cut(rest, "\n## ")
	var told, alerts []string
	for _, m := range regexp.MustCompile(`(?m)^### (Learner\w+)$`).FindAllStringSubmatch(runbook, -1) {
		told = append(told, m[1])
	}
	for _, r := range readRules(t) {
		if r.alert != "" {
			alerts = append(alerts, r.alert)
		}
	}
	if !slices.Equal(told, alerts) {
		t.Errorf("README.md's runbook speaks of\n%q, the rules of\n%q", told, alerts)
	}
}
