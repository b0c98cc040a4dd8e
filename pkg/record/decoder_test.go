package record

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// schemaTypes are schemas of which nothing but the type counts.
type schemaTypes map[string]string

func (s schemaTypes) Schema(id string) (*Definition, error) {
	kind, ok := s[id]
	if !ok {
		return nil, &Bad{Reason: SchemaNotFound, Detail: "schema " + id, Schema: id}
	}
	return &Definition{ID: id, Type: kind, Text: "{}"}, nil
}

// behindID returns value behind a schema id.
func behindID(id uint32, value string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), value...)
}

// idHeader returns headers, as a log has them, of which one holds a schema id.
func idHeader(id uint32) []byte {
	const name = "__value_schema_id"
	headers := append([]byte{2, 2 * byte(len(name))}, name...)
	return append(append(headers, 2*5), behindID(id, "")...)
}

func TestDecoderFormats(t *testing.T) {
	const csv, object, array = "1,2", `{"label":1,"a":2}`, "[1,2]"
	schemas := schemaTypes{"7": "JSON", "8": "PROTOBUF", "9": "XML"}
	byName := Options{Label: "label", Features: []string{"a"}}
	for _, tt := range []struct {
		name   string
		opts   Options
		value  []byte
		header []byte
		seen   string // or the error
	}{
		{"csv", Options{}, []byte(csv), nil, "csv"},
		{"csv asked for", Options{Format: "csv"}, []byte(csv), nil, "csv"},
		{"object", Options{}, []byte("\ufeff \n" + object), nil, "json"},
		{"array", Options{}, []byte(array), nil, "json array"},
		{"json asked for", Options{Format: "json"}, []byte(object), nil, "json"},
		{"csv where json was asked for", Options{Format: "json"}, []byte(csv), nil, "decode: byte 2"},
		{"json where csv was asked for", Options{Format: "csv"}, []byte(array), nil, "label: column 0"},
		{"framed JSON", Options{Schemas: schemas}, behindID(7, object), nil, "json"},
		{"framed JSON array", Options{Format: "json", Schemas: schemas}, behindID(7, array), nil, "json array"},
		{"JSON, id in a header", Options{Schemas: schemas}, []byte(object), idHeader(7), "json"},
		{"framed, nothing in it", Options{Schemas: schemas}, behindID(7, " "), nil, "empty: "},
		{"framed JSON where avro was asked for", Options{Format: "avro", Schemas: schemas}, behindID(7, object), nil, "schema: schema 7 is of JSON"},
		{"framed Protobuf", Options{Schemas: schemas}, behindID(8, "x"), nil, "schema: schema 8: Protobuf is not read"},
		{"framed, of another type", Options{Schemas: schemas}, behindID(9, "x"), nil, `schema: schema 9 is of type "XML"`},
		{"framed, not known", Options{Schemas: schemas}, behindID(10, "x"), nil, "schema_not_found: "},
		{"framed, no registry", Options{}, behindID(7, object), nil, "CCLOUD_SCHEMA_REGISTRY_ENDPOINT"},
		{"not framed", Options{Format: "avro", Schemas: schemas}, []byte(object), nil, "schema: no schema id"},
		{"names, object", byName, []byte(object), nil, "json"},
		{"names, csv without any", byName, []byte(csv), nil, `schema: columns without names: label: "label" is not a column number`},
		{"names, array without any", byName, []byte(array), nil, "schema: columns without names"},
		{"null", Options{}, nil, nil, "tombstone"},
		{"null for avro", Options{Format: "avro", Schemas: schemas}, nil, nil, "tombstone"},
		{"nothing", Options{}, []byte{}, nil, "empty"},
		{"blanks for avro", Options{Format: "avro", Schemas: schemas}, []byte(" \n"), nil, "empty"},
		{"blanks for json", Options{Format: "json"}, []byte("\ufeff\n"), nil, "empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var told []string
			tt.opts.Seen = func(format string) { told = append(told, format) }
			newDecoder, err := NewDecoder(tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			d := newDecoder()
			var dst Block
			for i := range 3 {
				err = d.Decode(&dst, Record{Offset: int64(1 + i), Value: tt.value, Headers: tt.header})
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.seen) || len(told) > 0 {
					t.Errorf("error %q and told of %q, want %q", err, told, tt.seen)
				}
				return
			}
			if dst.Rows() != 3 || !slices.Equal(dst.X, []float64{2, 2, 2}) || !slices.Equal(told, []string{tt.seen}) {
				t.Errorf("%d rows of %v, told of %q, want %q", dst.Rows(), dst.X, told, tt.seen)
			}
		})
	}
}

// Records of all formats may come in one topic.
func TestDecoderMixed(t *testing.T) {
	newDecoder, err := NewDecoder(Options{Columns: []string{"label", "a"}})
	if err != nil {
		t.Fatal(err)
	}
	d := newDecoder()
	var dst Block
	for i, value := range []string{"label,a", "1,2", `{"a":2,"label":1}`, "[1,2]"} {
		if err := d.Decode(&dst, Record{Offset: int64(i), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if row := dst.Row(i); !slices.Equal(row.X, []float64{2}) || !slices.Equal(row.Shape.Columns, []Column{{"a", Numeric}}) {
			t.Errorf("row %d: %+v", i, row)
		}
	}
}

func TestNewDecoderErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		give Options
		want string
	}{
		{"format", Options{Format: "xml"}, `format: "xml" is none of auto, csv, json, avro`},
		{"avro without schemas", Options{Format: "avro"}, "format: avro needs the schemas"},
		{"names for csv", Options{Format: "csv", Label: "y"}, `label: "y" is not a column number`},
		{"names that are not among the columns", Options{Columns: []string{"a", "b"}, Label: "y"}, `label: no column has the name "y"`},
		{"feature twice, said once", Options{Features: []string{"a", "a"}}, `features: "a" is there twice`},
		{"positive, said once", Options{Positive: "|"}, "positive: a value is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewDecoder(tt.give)
			if err == nil || strings.Count(err.Error(), tt.want) != 1 {
				t.Fatalf("error %v, want %q once", err, tt.want)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if option, _, ok := strings.Cut(line, ": "); !ok || !slices.Contains([]string{"format", "label", "columns", "features", "positive"}, option) {
					t.Errorf("line %q begins with no option", line)
				}
			}
		})
	}
	if _, err := NewDecoder(Options{Label: "y", Features: []string{"a", "b.c#"}}); err != nil {
		t.Error(err)
	}
	if !errors.Is(joinLines([]error{nil, nil}), nil) {
		t.Error("an error of nothing")
	}
}
