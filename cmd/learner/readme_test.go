package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"learner/pkg/metrics"
)

// checkTable compares the table between the README's lines <!-- name --> and <!-- /name --> with the one that the code
// gives.
func checkTable(t *testing.T, name, want string) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->\n"
	_, rest, opened := strings.Cut(string(readme), begin)
	table, _, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("README.md has no lines %q and %q", begin, end)
	}
	if strings.TrimSpace(table) != strings.TrimSpace(want) {
		t.Errorf("the %s table of README.md differs from the code; it should be:\n%s", name, want)
	}
}

// cell makes text fit for a cell of a Markdown table.
func cell(text string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text) }

func TestREADMEConfiguration(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning |\n|---|---|---|\n")
	for _, s := range settings() {
		def := ""
		if s.def != "" {
			def = "`" + cell(s.def) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.name, def, cell(s.description()))
	}
	checkTable(t, "configuration", b.String())
}

func TestREADMECommands(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| Command | What it does |\n|---|---|\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", cell(c.synopsis()), cell(c.summary))
	}
	checkTable(t, "commands", b.String())
}

func TestREADMEMetrics(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range metrics.Families() {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, cell(f.Help))
	}
	checkTable(t, "metrics", b.String())
}
