package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"learner/pkg/record"
	"learner/pkg/susy"
)

// The formats that rows are written in: the same values each time, but for floats, which are rounded.
const (
	formatCSV    = "CSV"
	formatJSON   = "JSON objects"
	formatAvro   = "Avro doubles"
	formatFloats = "Avro floats"
)

// appendRow appends a row in a format.
func appendRow(dst []byte, format string, label int, x *[susy.Features]float64) []byte {
	switch format {
	case formatCSV:
		return susy.AppendCSV(dst, label, x)
	case formatJSON:
		dst = fmt.Appendf(dst, `{"label":%d`, label)
		for i, v := range x {
			dst = fmt.Appendf(dst, `,%q:`, susy.Columns[1+i])
			dst = strconv.AppendFloat(dst, v, 'e', 18, 64)
		}
		return append(dst, '}')
	}
	schema := byte(1)
	if format == formatFloats {
		schema = 2
	}
	dst = append(dst, 0, 0, 0, 0, schema) // framed for Schema Registry
	for i := range 1 + susy.Features {
		v := float64(label)
		if i > 0 {
			v = x[i-1]
		}
		if format == formatFloats {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v)))
		} else {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}

// schemas is a registry that knows the two schemas of rows.
type schemas map[string]*record.Definition

func newSchemas() schemas {
	all := schemas{}
	for id, number := range map[string]string{"1": "double", "2": "float"} {
		var fields [1 + susy.Features]map[string]string
		for i, name := range susy.Columns {
			fields[i] = map[string]string{"name": strings.NewReplacer("(", "_", ")", "").Replace(name), "type": number}
		}
		text, err := json.Marshal(map[string]any{"type": "record", "name": "event", "fields": fields})
		if err != nil {
			panic(err) // texts always are JSON
		}
		all[id] = &record.Definition{ID: id, Type: "AVRO", Text: string(text)}
	}
	return all
}

// Schema implements record.Schemas.
func (s schemas) Schema(id string) (*record.Definition, error) {
	if d, ok := s[id]; ok {
		return d, nil
	}
	return nil, &record.Bad{Reason: record.SchemaNotFound, Schema: id}
}

// newDecoder returns a decoder as the service has it by default.
var newDecoder = func() func() record.Decoder {
	decoders, err := record.NewDecoder(record.Options{Format: "auto", Schemas: newSchemas()})
	if err != nil {
		panic(err) // the options are good
	}
	return decoders
}()

const (
	decodeRounds = 9
	decodeRows   = 2000
	decodeSpan   = 60 * time.Millisecond
)

// decoding measures what a record costs the decoder in each format, on one core. Formats take turns.
func decoding(_ context.Context, _ *job, r *result) error {
	formats := []string{formatCSV, formatJSON, formatAvro, formatFloats}
	decode, took := make(map[string]func()), make(map[string][]float64)
	for _, format := range formats {
		rows, decoder := newRows(format, decodeRows), newDecoder()
		var block record.Block
		decode[format] = func() {
			block.Reset()
			for i := range rows.len() {
				if err := decoder.Decode(&block, record.Record{Offset: int64(i), Value: rows.at(i)}); err != nil {
					panic(err) // the rows are good
				}
			}
		}
		decode[format]()
	}
	for range decodeRounds {
		for _, format := range formats {
			start, n := time.Now(), 0
			for time.Since(start) < decodeSpan {
				decode[format]()
				n += decodeRows
			}
			took[format] = append(took[format], float64(time.Since(start).Nanoseconds())/float64(n))
		}
	}
	r.Figures = map[string]float64{}
	for format, all := range took {
		r.Figures[format] = median(all)
	}
	return nil
}

// formats measures what records cost in each format: their decoding, and the whole way.
func (b *bench) formats(ctx context.Context) error {
	costs, err := spawn(ctx, &job{Stage: "decoding"})
	if err != nil {
		return err
	}
	records := max(b.rows.len()/2, 1)
	var all []*topic
	var measured []*measurement
	lines := [][]string{{"format", "bytes", "ns to decode", "records/s", "CPU s/M records", "÷ franz-go", "÷ franz-go on CSV"}}
	for _, format := range []string{formatCSV, formatJSON, formatAvro, formatFloats} {
		rows := newRows(format, records)
		t := &topic{name: "format-" + strings.ReplaceAll(strings.ToLower(format), " ", "-"), codec: "none", partitions: b.partitions, records: records}
		if err := b.fill(ctx, t, rows); err != nil {
			return err
		}
		all = append(all, t)
		way := b.wholeWay(format, t, "logistic")
		franz := stage("franz-go", job{Stage: "franz-go", Brokers: b.addrs, Topic: t.name, Records: records})
		measured = append(measured, way, franz)
		lines = append(lines, []string{format, fmt.Sprint(len(rows.text) / rows.len()), fmt.Sprintf("%.0f", costs.Figures[format])})
	}
	if err := rounds(ctx, b.runs, measured); err != nil {
		return err
	}
	for i := range all {
		way, franz := measured[2*i], measured[2*i+1]
		lines[1+i] = append(lines[1+i], rate(way), cpu(way), ratio(way.ratio(franz)), ratio(way.ratio(measured[1])))
	}
	b.say("\nthe same rows in other formats; decoding on one core; whole way, logistic, of %d records\n", records)
	b.lines(lines)
	b.most("decoding Avro doubles ÷ CSV", costs.Figures[formatAvro]/costs.Figures[formatCSV], .6, "%.2f")
	b.most("decoding JSON objects ÷ CSV", costs.Figures[formatJSON]/costs.Figures[formatCSV], 2, "%.2f")
	b.least("whole way, Avro doubles ÷ franz-go", measured[4].ratio(measured[5]), 1.25)
	b.least("whole way, Avro doubles ÷ franz-go on the same rows as CSV", measured[4].ratio(measured[1]), 1.25)
	return b.remove(ctx, all...)
}
