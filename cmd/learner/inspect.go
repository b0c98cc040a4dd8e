package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"learner/pkg/checkpoint"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// inspect prints what is in a file that was exported, that a folder of checkpoints has, or that the service answered as
// the state of a model.
func inspect(_ context.Context, p *process) error {
	rest, err := p.parse(p.newFlags())
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usagef("inspect takes one file, or - for standard input, found %q", rest)
	}
	var data []byte
	if rest[0] == "-" {
		data, err = io.ReadAll(p.stdin)
	} else {
		data, err = os.ReadFile(rest[0])
	}
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	text, err := inspected(data)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", rest[0], err)
	}
	return p.print(printable(text))
}

// inspected describes a file.
func inspected(data []byte) (string, error) {
	c, err := checkpoint.Decode(data)
	if err == nil {
		return describeCheckpoint(c, len(data)), nil
	}
	if errors.Is(err, checkpoint.ErrVersion) {
		return "", fmt.Errorf("the file is whole, and another release has to read it: %w", err)
	}
	tensors, metadata, plain := checkpoint.ReadSafetensors(data)
	_, id := metadata["id"]
	_, sum := metadata["sha256"]
	switch {
	case plain != nil:
		return "", fmt.Errorf("the file is damaged, or no safetensors file at all: %w", plain)
	case id || sum: // every checkpoint has both, and no single damage takes both away
		return "", fmt.Errorf("the file is damaged: %w", err)
	}
	return describeState(tensors, metadata, len(data)), nil
}

// describeState describes a safetensors file that is no checkpoint.
func describeState(tensors []sgd.Tensor, metadata map[string]string, size int) string {
	d := newDescription()
	d.line("no checkpoint: plain safetensors, such as the state of one model\t%s", bytesText(int64(size)))
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		d.line("%s\t%q", key, metadata[key])
	}
	d.tensors(tensors)
	return d.String()
}

// describeCheckpoint describes a checkpoint.
func describeCheckpoint(c *checkpoint.Checkpoint, size int) string {
	d := newDescription()
	d.line("checkpoint\t%s", c.ID)
	d.line("lineage\t%s", c.ID.Lineage)
	d.line("sequence\t%d", c.ID.Sequence)
	d.line("writer\t%s, in generation %d of the group", c.ID.Writer, c.Generation)
	d.line("group\t%s", c.Group)
	d.line("cluster\t%s", c.ClusterID)
	d.line("topic\t%s, id %s", c.Topic, orNone(c.TopicID))
	before := make([]string, len(c.Previous))
	for i, id := range c.Previous {
		before[i] = id.String()
	}
	d.line("before it\t%s", orNone(strings.Join(before, ", ")))
	d.line("resets used\t%s", orNone(strings.Join(c.Resets, ", ")))
	d.line("features\t%d", c.Features)
	d.line("records\t%d", c.Records)
	gap := "none"
	if c.Gap {
		gap = plural(c.Lost, "offset") + " lost before they were learned"
	}
	d.line("gap\t%s", gap)
	turn := "none"
	if c.Turn >= 0 {
		turn = fmt.Sprint("partition ", c.Turn)
	}
	d.line("taken last\t%s", turn)
	d.line("rows\tconfiguration %s", c.ConfigRows)
	d.line("champion\t%s", c.Champion)
	d.line("build\t%s", c.Build)
	d.line("created\t%s", c.Created.UTC().Format(logTime))
	d.line("file\t%s, undamaged", bytesText(int64(size)))

	d.line("")
	d.line("partition\tnext offset\trange start\tsettled end\tend\tlast batch")
	for _, p := range c.Partitions {
		last := "none"
		if p.Last.Last >= 0 {
			last = fmt.Sprintf("%d to %d, %s, leader epoch %d", p.Last.Base, p.Last.Last,
				time.UnixMicro(p.Last.Time).UTC().Format(logTime), p.Last.LeaderEpoch)
		}
		d.line("%d\t%d\t%d\t%d\t%d\t%s", p.Partition, p.Next, p.Start, p.Settled, p.End, last)
	}
	for i := range c.Models {
		d.model(&c.Models[i])
	}
	if len(c.Models) == 0 {
		d.line("")
		d.line("no models yet: a lineage begins here")
	}
	if len(c.Comparison) > 0 {
		d.line("")
		d.line("comparison of the models")
		for _, twin := range []struct{ name, of string }{{"frozen twin", "predicting"}, {"the next twin", "newest"}} {
			if at := single(c.Comparison, "twin/"+twin.of+"_at"); at >= 0 {
				d.line("%s\ttaken at record %.0f, %.0f records ago", twin.name, at, float64(c.Records)-at)
			}
		}
		d.tensors(c.Comparison)
	}
	return d.String()
}

// description is a text under construction, with columns.
type description struct {
	strings.Builder
	table *tabwriter.Writer
}

func newDescription() *description {
	d := &description{}
	d.table = tabwriter.NewWriter(&d.Builder, 0, 0, 2, ' ', 0)
	return d
}

// String returns the text.
func (d *description) String() string {
	_ = d.table.Flush() // a strings.Builder takes everything
	return d.Builder.String()
}

func (d *description) line(format string, args ...any) {
	_, _ = fmt.Fprintf(d.table, format+"\n", args...)
}

func (d *description) model(m *checkpoint.Model) {
	d.line("")
	d.line("model\t%s", m.Name)
	d.line("kind\t%s, configuration %s", m.Kind, m.ConfigHash)
	since := make([]string, 0, len(m.Since))
	for _, p := range slices.Sorted(maps.Keys(m.Since)) {
		since = append(since, fmt.Sprintf("%d from %d", p, m.Since[p]))
	}
	d.line("learns\tpartition %s", strings.Join(since, ", "))
	d.line("records\t%d", m.Records)
	accuracy, loss := progressive(&train.Snapshot{
		Records: m.Records, Correct: uint64(single(m.Tensors, "progressive/correct")), Loss: single(m.Tensors, "progressive/loss"),
	})
	d.line("progressive\taccuracy %.4f, log loss %.4f", accuracy, loss)
	d.tensors(m.Tensors)
}

// tensors lists tensors, with their value where there is only one.
func (d *description) tensors(tensors []sgd.Tensor) {
	d.line("")
	d.line("tensor\ttype\tshape\tvalue")
	for _, t := range tensors {
		value := ""
		if len(t.Shape) == 0 {
			value = strings.Trim(fmt.Sprint(t.Data), "[]")
		}
		d.line("%s\t%s\t%v\t%s", t.Name, strings.TrimPrefix(fmt.Sprintf("%T", t.Data), "[]"), t.Shape, value)
	}
}

// single returns the value of a tensor that has one; NaN: there is none.
func single(tensors []sgd.Tensor, name string) float64 {
	for _, t := range tensors {
		if t.Name != name || len(t.Shape) > 0 {
			continue
		}
		switch data := t.Data.(type) {
		case []float64:
			return data[0]
		case []uint64:
			return float64(data[0])
		}
	}
	return math.NaN()
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// printable replaces what a terminal might obey: a file is whatever someone has made it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
