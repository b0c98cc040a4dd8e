package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
)

// replayResult is what a replay has found out.
type replayResult struct {
	Records   int            `json:"records"`
	Features  int            `json:"features"`
	Models    []replayLine   `json:"models"`
	Baselines []replayLine   `json:"baselines"`
	Refused   map[string]int `json:"refused"` // lines that were refused, by reason

	named   []record.Refusal
	leftOut []lineCount
}

// replayLine is one line of the table. All scores are progressive: of answers given before the record was learned.
type replayLine struct {
	Model        string      `json:"model"`
	Kind         string      `json:"kind"` // with options
	Records      int         `json:"records"`
	Accuracy     serve.Float `json:"accuracy"`
	LogLoss      serve.Float `json:"log_loss"`
	AUC          serve.Float `json:"auc"`
	Nanoseconds  float64     `json:"ns_per_record"` // to predict and learn; 0 for baselines
	StepsRefused uint64      `json:"steps_refused"` // because the state would have become NaN or infinite
}

// baselineKind is the kind of the lines that are no model.
const baselineKind = "baseline"

// result scores all answers.
func (r *replay) result() *replayResult {
	result := &replayResult{
		Records: len(r.labels), Features: r.features(), Refused: r.refused, named: r.named, leftOut: r.leftOut(),
		Baselines: []replayLine{
			baselineLine("majority class", r.labels, (*evaluate.Labels).Majority),
			baselineLine("last label", r.labels, (*evaluate.Labels).LastLabel),
		},
	}
	for _, m := range r.models {
		if m.Model == nil {
			continue
		}
		class := make([]bool, len(m.prob))
		for i, p := range m.prob {
			class[i] = p >= .5
		}
		line := scoredLine(m.spec.Name, kindOf(m.spec), m.prob, class, r.labels)
		line.Nanoseconds = float64(m.took.Nanoseconds()) / float64(len(r.labels))
		line.StepsRefused = m.Stats().NonFinite
		result.Models = append(result.Models, line)
	}
	return result
}

// scoredLine scores answers: the probabilities that the labels are 1, and whether class 1 was predicted.
func scoredLine(model, kind string, prob []float64, class []bool, labels []float64) replayLine {
	correct, loss := 0, 0.0
	for i, y := range labels {
		if class[i] == (y == 1) {
			correct++
		}
		loss += sgd.LogLoss(prob[i], y)
	}
	n := float64(len(labels))
	return replayLine{
		Model: model, Kind: kind, Records: len(labels),
		Accuracy: serve.Float(float64(correct) / n), LogLoss: serve.Float(loss / n), AUC: serve.Float(evaluate.AUC(prob, labels)),
	}
}

// baselineLine scores an answer that needs no features, given for each record by the labels before it.
func baselineLine(name string, labels []float64, answer func(before *evaluate.Labels) (prob, class float64)) replayLine {
	prob, class := make([]float64, len(labels)), make([]bool, len(labels))
	var before evaluate.Labels
	for i, y := range labels {
		p, predicted := answer(&before)
		prob[i], class[i] = p, predicted == 1
		before.Add(y)
	}
	return scoredLine(name, baselineKind, prob, class, labels)
}

// kindOf returns a model's kind with its options, as LEARNER_MODELS has them.
func kindOf(spec sgd.Spec) string {
	options := make([]string, 0, len(spec.Options))
	for _, name := range slices.Sorted(maps.Keys(spec.Options)) {
		options = append(options, name+"="+spec.Options[name])
	}
	if len(options) == 0 {
		return spec.Kind
	}
	return spec.Kind + ":" + strings.Join(options, ",")
}

// tableHead names the columns of a table.
var tableHead = []string{"Model", "Kind", "Records", "Accuracy", "Log loss", "AUC", "ns/record", "Steps refused"}

// cells returns the line as a table shows it.
func (l *replayLine) cells() []string {
	nanoseconds, refused := "–", "–"
	if l.Kind != baselineKind {
		nanoseconds, refused = fmt.Sprintf("%.0f", l.Nanoseconds), fmt.Sprint(l.StepsRefused)
	}
	return []string{
		l.Model, l.Kind, fmt.Sprint(l.Records), fmt.Sprintf("%.4f", l.Accuracy), fmt.Sprintf("%.4f", l.LogLoss),
		fmt.Sprintf("%.4f", l.AUC), nanoseconds, refused,
	}
}

// lines returns all lines of the table, the baselines last.
func (r *replayResult) lines() []replayLine { return slices.Concat(r.Models, r.Baselines) }

// text returns the table for a terminal.
func (r *replayResult) text() string {
	d := newDescription()
	d.line("%s", strings.ToLower(strings.Join(tableHead, "\t")))
	for _, l := range r.lines() {
		d.line("%s", strings.Join(l.cells(), "\t"))
	}
	return d.String()
}

// markdown returns the table as Markdown.
func (r *replayResult) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|---|---|%s\n", strings.Join(tableHead, " | "), strings.Repeat("---:|", len(tableHead)-2))
	for _, l := range r.lines() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(l.cells(), " | "))
	}
	return b.String()
}

// json returns everything as JSON.
func (r *replayResult) json() string {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil { // there is nothing in it that JSON cannot hold
		panic("evaluate: " + err.Error())
	}
	return string(text) + "\n"
}

// notes says what the table is of, and what is not in it.
func (r *replayResult) notes() string {
	return fmt.Sprintf("\n%s of %s; %s\n", plural(int64(r.Records), "record"), plural(int64(r.Features), "feature"), r.missing("\n- "))
}

// nothing is the error where there is no record to show anything of.
func (r *replayResult) nothing() error {
	return errors.New("no record can be learned: " + r.missing("\n"))
}

// missing says which lines were not learned, the named ones each after a separator.
func (r *replayResult) missing(separator string) string {
	var reasons []string
	refused := 0
	for _, reason := range record.Reasons() {
		if n := r.Refused[reason.String()]; n > 0 {
			reasons = append(reasons, fmt.Sprintf("%d × %v", n, reason))
			refused += n
		}
	}
	var b strings.Builder
	b.WriteString("none refused")
	if refused > 0 {
		b.Reset()
		fmt.Fprintf(&b, "%d refused: %s", refused, strings.Join(reasons, ", "))
	}
	for _, left := range r.leftOut {
		if left.n > 0 {
			fmt.Fprintf(&b, "; left out: %d × %s", left.n, left.what)
		}
	}
	for _, n := range r.named {
		fmt.Fprintf(&b, "%sline %d: %v", separator, n.Offset, n.Err)
	}
	return b.String()
}
