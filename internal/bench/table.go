package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const mib = 1 << 20

// bench is one run of the whole benchmark.
type bench struct {
	*options
	*cluster
	dir   string
	rows  *rows
	text  strings.Builder // what was printed
	tests *topic
	goals []goal
}

// goal is a figure that has to be reached.
type goal struct {
	name      string
	figure    float64 // 0: not measured
	format    string
	want      float64
	orSmaller bool // want is the most, not the least
}

// say prints a text, which is then part of the table.
func (b *bench) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.text.WriteString(text)
	fmt.Print(text)
}

// lines prints lines of cells in columns, the first to the left, the others to the right.
func (b *bench) lines(lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		padded := []string{fmt.Sprintf("%-*s", widths[0], line[0])}
		for i, cell := range line[1:] {
			padded = append(padded, fmt.Sprintf("%*s", widths[i+1], cell))
		}
		b.say("%s\n", strings.TrimRight(strings.Join(padded, "  "), " "))
	}
}

func (b *bench) run(ctx context.Context) error {
	broker := "embedded broker (kfake) in a process of its own"
	if b.brokers != "" {
		broker = "Kafka at " + b.brokers
	}
	b.say("%s, %s, %d CPUs (%s), %s; %s on the same machine\n", time.Now().UTC().Format(time.DateOnly), processor(), runtime.NumCPU(),
		runtime.GOARCH, runtime.Version(), broker)
	b.say("SUSY-like rows of %d bytes (CSV, 18 features); medians of %d interleaved runs; load average at the start %s\n\n",
		len(b.rows.text)/b.rows.len(), b.runs, load())
	b.tests = newTests(b.rows)
	if err := b.fill(ctx, b.tests, b.rows); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{b.stages, b.formats, b.topics, b.memory, b.widths, b.freshness} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	b.verdict()
	return nil
}

// stages measures each stage of the way and each peer on one topic.
func (b *bench) stages(ctx context.Context) error {
	t := &topic{name: "stages", codec: "none", partitions: b.partitions, records: b.rows.len()}
	if err := b.fill(ctx, t, b.rows); err != nil {
		return err
	}
	read := func(name string) *measurement {
		return stage(name, job{Stage: name, Brokers: b.addrs, Topic: t.name, Records: t.records})
	}
	bare, decode, franz, kafkaGo := read("bare fetch"), read("fetch + decode"), read("franz-go"), read("kafka-go")
	way := func(name, models string) *measurement { return b.wholeWay("whole way, "+name, t, models) }
	logistic, mix, eight := way("logistic", "logistic"), way("mix", "mix"), way("8 logistic", eightModels())
	drain := func(name string, end ...string) *measurement {
		return &measurement{name: name, run: func(ctx context.Context) (*result, error) {
			return drainKcat(ctx, &job{Brokers: b.addrs, Topic: t.name, Records: t.records}, end...)
		}}
	}
	kcat, counting := drain("kcat -e", "-e"), drain("kcat -c", "-c", strconv.Itoa(t.records))
	wabbit := &measurement{name: "Vowpal Wabbit, from a file", run: func(context.Context) (*result, error) { return nil, errAbsent }}
	if v, err := newVowpal(ctx, b.python, b.dir, b.rows); err == nil {
		wabbit.run = v.learn
	} else if !errors.Is(err, errAbsent) {
		return err
	}
	all := []*measurement{bare, decode, logistic, mix, eight, franz, kcat, counting, kafkaGo, wabbit}
	if err := rounds(ctx, b.runs, all); err != nil {
		return err
	}
	b.say("%d records, %d partitions, not compressed\n", t.records, t.partitions)
	lines := [][]string{{"stage", "records/s", "CPU s/M records", "÷ franz-go", "÷ bare fetch", "÷ kcat -e", "peak MiB"}}
	for _, m := range all {
		if m.results == nil {
			lines = append(lines, []string{m.name, "not installed"})
			continue
		}
		lines = append(lines, []string{
			m.name, rate(m), cpu(m), ratio(m.ratio(franz)), ratio(m.ratio(bare)), ratio(m.ratio(kcat)), mebibytes(m),
		})
	}
	b.lines(lines)
	b.say("allocations of the whole way, logistic, with those of starting: %.5f per record\n", logistic.median(func(r *result) float64 { return r.Allocs }))
	b.least("whole way, logistic ÷ franz-go", logistic.ratio(franz), 1)
	b.least("whole way, logistic ÷ bare fetch", logistic.ratio(bare), .6)
	b.least("whole way, logistic ÷ kcat -e", logistic.ratio(kcat), 1.5)
	b.least("whole way, mix ÷ franz-go", mix.ratio(franz), .5)
	b.most("time of 8 models ÷ time of 1", logistic.ratio(eight), 2.5, "%.2f")
	b.most("allocations per record, behind the first quarter", logistic.median(func(r *result) float64 { return r.SteadyAllocs }), .001, "%.5f")
	b.noteMemory("one topic", logistic, mix, eight)
	return b.remove(ctx, t)
}

// wholeWay returns the measurement of the whole way of a topic.
func (b *bench) wholeWay(name string, t *topic, models string) *measurement {
	return stage(name, job{Stage: "whole way", Brokers: b.addrs, Topic: t.name, Tests: b.tests.name, Records: t.records, Models: models})
}

// eightModels returns the configuration of eight linear models.
func eightModels() string {
	models := make([]string, 8)
	for i := range models {
		models[i] = fmt.Sprintf("m%d=logistic", i+1)
	}
	return strings.Join(models, ";")
}

func (b *bench) least(name string, figure, want float64) {
	b.goals = append(b.goals, goal{name: name, figure: figure, format: "%.2f", want: want})
}

func (b *bench) most(name string, figure, want float64, format string) {
	b.goals = append(b.goals, goal{name: name, figure: figure, format: format, want: want, orSmaller: true})
}

// noteMemory notes the most memory that any run needed.
func (b *bench) noteMemory(where string, all ...*measurement) {
	most := 0.
	for _, m := range all {
		for _, r := range m.results {
			most = max(most, r.Peak)
		}
	}
	b.most("peak memory of the worst run, MiB, "+where, most/mib, 200, "%.0f")
}

// verdict prints all figures that have to be reached.
func (b *bench) verdict() {
	b.say("\n")
	lines := make([][]string, 1, 1+len(b.goals))
	lines[0] = []string{"figure", "measured", "wanted", ""}
	for _, g := range b.goals {
		sign, reached := "≥", g.figure >= g.want
		if g.orSmaller {
			sign, reached = "≤", g.figure <= g.want
		}
		line := []string{g.name, fmt.Sprintf(g.format, g.figure), fmt.Sprintf("%s %v", sign, g.want), ""}
		switch {
		case g.figure == 0:
			line[1], line[3] = "not measured", "a program is not installed"
		case !reached:
			line[3] = "not reached"
		}
		lines = append(lines, line)
	}
	b.lines(lines)
}

// Cells of the tables.

func rate(m *measurement) string { return fmt.Sprintf("%.0f", m.median((*result).rate)) }

func cpu(m *measurement) string {
	return fmt.Sprintf("%.2f", m.median(func(r *result) float64 { return r.CPU / float64(r.Records) * 1e6 }))
}

func mebibytes(m *measurement) string {
	if peak := m.median(func(r *result) float64 { return r.Peak }); peak > 0 {
		return fmt.Sprintf("%.0f", peak/mib)
	}
	return "" // another program's
}

func ratio(r float64) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r)
}

// load returns how many threads have wanted to run in the last minute: figures of a machine that is busy mean little.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

// processor returns the name that the processor gives itself.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown processor"
}
