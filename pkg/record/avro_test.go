package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/avro"
)

// schemaSet knows schemas by their ids.
type schemaSet map[string]*Definition

func (s schemaSet) Schema(id string) (*Definition, error) {
	if def, ok := s[id]; ok {
		return def, nil
	}
	return nil, &Bad{Reason: SchemaNotFound, Schema: id, Detail: "schema " + id + " is not there"}
}

// avroSchema is the set of one Avro schema, with id 7.
func avroSchema(text string, references ...string) schemaSet {
	return schemaSet{"7": {ID: "7", Type: "AVRO", Text: text, References: references}}
}

func newTestAvro(t testing.TB, opts Options, schemas Schemas) *avroDecoder {
	t.Helper()
	s, err := newSelection(opts)
	if err != nil {
		t.Fatal(err)
	}
	return newAvro(newAvroPlans(s, schemas))
}

// framed is a value with the id of schema 7 in front.
func framed(payload []byte) []byte { return append([]byte{0, 0, 0, 0, 7}, payload...) }

// fieldsOf is the text of a schema of those fields.
func fieldsOf(fields string) string {
	return `{"type": "record", "name": "Event", "namespace": "storage", "fields": [` + fields + `]}`
}

// rowText shows a row by the names of its columns.
func rowText(row Row) string {
	var parts []string
	n, h := 0, 0
	for _, c := range row.Shape.Columns {
		text := "null"
		switch c.Kind {
		case Numeric:
			text = fmt.Sprint(row.X[n])
			n++
		case Categorical:
			text = fmt.Sprintf("%x", row.Hashes[h])
			h++
		}
		parts = append(parts, c.Name+"="+text)
	}
	if n != len(row.X) || h != len(row.Hashes) {
		parts = append(parts, fmt.Sprintf("%d numbers and %d categories too many", len(row.X)-n, len(row.Hashes)-h))
	}
	return strings.Join(parts, " ")
}

// walk is what an Avro decoder should make of a value, found from the schema and the value that the library reads.
type walk struct {
	parts []string
	label string
}

func (w *walk) add(name, text string) { w.parts = append(w.parts, name+"="+text) }

// kindOf is the column that a type is for, as the walk sees it.
func kindOf(node avro.SchemaNode) string {
	switch node.Type {
	case "null":
		return "null"
	case "boolean", "int", "long", "float", "double":
		return "number"
	case "string", "enum":
		return "text"
	case "bytes", "fixed":
		if node.LogicalType == "decimal" {
			return "number"
		}
	case "union":
		kinds := map[string]bool{}
		for _, b := range node.Branches {
			kinds[kindOf(b)] = true
		}
		for _, kind := range []string{"text", "number"} {
			if kinds[kind] {
				return kind
			}
		}
	}
	return ""
}

func (w *walk) value(name string, node avro.SchemaNode, v any) {
	if node.Type == "record" {
		m, _ := v.(map[string]any)
		for _, f := range node.Fields {
			w.value(strings.TrimPrefix(name+"."+f.Name, "."), f.Type, m[f.Name])
		}
		return
	}
	if name == "signal" {
		w.label = fmt.Sprint(v)
		return
	}
	if kind := kindOf(node); kind != "" {
		w.scalar(name, kind, v)
		return
	}
	if node.Type == "union" {
		for _, b := range node.Branches {
			if b.Type == "record" || b.Type == "array" {
				w.value(name, b, v)
			}
		}
		return
	}
	if node.Type == "array" && kindOf(*node.Items) == "number" {
		items, _ := v.([]any)
		for i, item := range items {
			w.scalar(fmt.Sprintf("%s.%d", name, i), "number", item)
		}
	}
}

func (w *walk) scalar(name, kind string, v any) {
	var number float64
	missing := false
	switch v := v.(type) {
	case bool:
		if v {
			number = 1
		}
	case int32:
		number = float64(v)
	case int64:
		number = float64(v)
	case float32:
		number = float64(v)
	case float64:
		number = v
	case time.Time:
		panic("times are read as numbers")
	case *big.Rat:
		number, _ = v.Float64()
	case string:
		w.add(name, fmt.Sprintf("%x", NewHasher(name).Text([]byte(v))))
		return
	default:
		missing = true
	}
	switch {
	case kind == "null":
		w.add(name, "null")
	case kind == "text" && missing:
		w.add(name, "0")
	case kind == "text":
		w.add(name, fmt.Sprintf("%x", NewHasher(name).Number(number)))
	case missing:
		w.add(name, "NaN")
	default:
		w.add(name, fmt.Sprint(number))
	}
}

// randomType returns a type of a schema, and what makes values of it.
func randomType(rng *rand.Rand, depth int, count *int) (string, func() any) {
	*count++
	n := *count
	kinds := 10
	if depth < 4 {
		kinds = 17
	}
	switch rng.IntN(kinds) {
	case 0:
		return `"boolean"`, func() any { return rng.IntN(2) == 1 }
	case 1:
		return `"int"`, func() any { return int32(rng.Uint32()) >> rng.IntN(32) }
	case 2:
		return `{"type": "long", "doc": "of any size"}`, func() any { return int64(rng.Uint64()) >> rng.IntN(64) }
	case 3:
		return `"float"`, func() any { return float32(rng.NormFloat64()) }
	case 4, 5:
		return `"double"`, func() any { return rng.NormFloat64() }
	case 6:
		return `"string"`, func() any { return strings.Repeat("é", rng.IntN(5)) + fmt.Sprint(rng.IntN(100)) }
	case 7:
		return fmt.Sprintf(`{"type": "enum", "name": "E%d", "symbols": ["A", "B", "C"]}`, n), func() any { return string(rune('A' + rng.IntN(3))) }
	case 8:
		scale := rng.IntN(20)
		return fmt.Sprintf(`{"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": %d}`, scale), func() any {
			b := make([]byte, 1+rng.IntN(24))
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			return avro.RatFromBytes(b, scale)
		}
	case 9:
		return fmt.Sprintf(`{"type": "fixed", "name": "F%d", "size": 5}`, n), func() any { return []byte("12345") }
	case 10, 11, 12:
		fields, give := randomFields(rng, depth+1, count)
		return fmt.Sprintf(`{"type": "record", "name": "R%d", "fields": [%s]}`, n, fields), give
	case 13:
		item, give := randomType(rng, 9, count)
		return `{"type": "array", "items": ` + item + `}`, func() any {
			items := []any{}
			for range rng.IntN(4) {
				items = append(items, give())
			}
			return items
		}
	case 14:
		item, give := randomType(rng, depth+1, count)
		return `{"type": "map", "values": ` + item + `}`, func() any { return map[string]any{"a": give(), "b": give()} }
	}
	of, give := randomType(rng, depth+1, count)
	if of[0] == '[' {
		return of, give
	}
	branches := `["null", ` + of + `]`
	if rng.IntN(2) == 0 {
		branches = `[` + of + `, "null"]`
	}
	return branches, func() any {
		if rng.IntN(3) == 0 {
			return nil
		}
		return give()
	}
}

func randomFields(rng *rand.Rand, depth int, count *int) (string, func() any) {
	var fields []string
	makers := map[string]func() any{}
	for i := range 1 + rng.IntN(6) {
		name := fmt.Sprintf("f%d", i)
		typ, give := randomType(rng, depth, count)
		fields = append(fields, fmt.Sprintf(`{"name": %q, "type": %s}`, name, typ))
		makers[name] = give
	}
	return strings.Join(fields, ", "), func() any {
		m := map[string]any{}
		for name, give := range makers {
			m[name] = give()
		}
		return m
	}
}

func TestAvroIsTheLibrary(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	rows := 0
	for range 400 {
		count := 0
		fields, give := randomFields(rng, 0, &count)
		text := fieldsOf(`{"name": "signal", "type": "double"}, ` + fields)
		schema, err := avro.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		d := newTestAvro(t, Options{}, avroSchema(text))
		for range 10 {
			value := give().(map[string]any)
			value["signal"] = float64(rng.IntN(2))
			payload, err := schema.AppendEncode(nil, value)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			var read any
			if _, err := schema.Decode(payload, &read); err != nil {
				t.Fatal(err)
			}
			var want walk
			want.value("", *schema.Root(), read)
			var dst Block
			err = d.Decode(&dst, Record{Value: framed(payload)})
			if err != nil {
				if bad, ok := errors.AsType[*Bad](err); !ok || len(want.parts) > 0 && bad.Reason != Schema {
					t.Fatalf("%s: % x: %v, want %v", text, payload, err, want.parts)
				}
				continue
			}
			rows++
			if got := rowText(dst.Row(0)); got != strings.Join(want.parts, " ") || fmt.Sprint(dst.Y[0]) != want.label {
				t.Fatalf("%s: % x:\n%s\nwant\n%s", text, payload, got, strings.Join(want.parts, " "))
			}
			for cut := range payload {
				checkAvro(t, d, Record{Value: framed(payload[:cut])})
			}
			payload[rng.IntN(len(payload))] ^= byte(1 << rng.IntN(8))
			checkAvro(t, d, Record{Value: framed(payload)})
		}
	}
	if rows < 1000 {
		t.Errorf("%d rows", rows)
	}
}

// checkAvro decodes a record behind another row and checks what holds for any bytes.
func checkAvro(t *testing.T, d *avroDecoder, rec Record) {
	t.Helper()
	shape := &Shape{Columns: []Column{{"before", Numeric}, {"also", Categorical}}}
	dst := Block{X: []float64{1}, Hashes: []uint64{2}}
	dst.EndRow(&Record{}, shape, 1)
	err := d.Decode(&dst, rec)
	if err != nil {
		var bad *Bad
		if !errors.As(err, &bad) || bad.Detail == "" {
			t.Fatalf("error %v", err)
		}
		if dst.Rows() != 1 || len(dst.X) != 1 || len(dst.Hashes) != 1 || len(dst.Shapes) != 1 || dst.Missing {
			t.Fatalf("%v: the block is %+v", err, dst)
		}
		return
	}
	row := dst.Row(1)
	numbers, categories := 0, 0
	names := map[string]bool{}
	for _, c := range row.Shape.Columns {
		if names[c.Name] {
			t.Fatalf("two columns %q", c.Name)
		}
		names[c.Name] = true
		switch c.Kind {
		case Numeric:
			numbers++
		case Categorical:
			categories++
		}
	}
	if dst.Rows() != 2 || numbers != len(row.X) || categories != len(row.Hashes) || dst.Y[1] != 0 && dst.Y[1] != 1 {
		t.Fatalf("row %+v of label %v", row, dst.Y[1])
	}
	for _, v := range row.X {
		if math.IsInf(v, 0) || v != v && !dst.Missing {
			t.Fatalf("row %+v, missing %v", row, dst.Missing)
		}
	}
}

// susySchema is that of events as they are kept by demo-10x-storage's producers: a label and 18 features.
func susySchema(kind string) string {
	fields := []string{`{"name": "signal", "type": "` + kind + `"}`}
	for i := range 18 {
		fields = append(fields, fmt.Sprintf(`{"name": "feature_%d", "type": %q}`, i, kind))
	}
	return fieldsOf(strings.Join(fields, ", "))
}

// susyValues returns the rows of susyLines in Avro.
func susyValues(n int, kind string) (size int, values [][]byte) {
	_, lines := susyLines(n)
	for _, line := range lines {
		value := []byte{0, 0, 0, 0, 7}
		for text := range strings.SplitSeq(string(line), ",") {
			v, _ := plainFloat(text)
			if kind == "float" {
				value = binary.LittleEndian.AppendUint32(value, math.Float32bits(float32(v)))
			} else {
				value = binary.LittleEndian.AppendUint64(value, math.Float64bits(v))
			}
		}
		values = append(values, value)
		size += len(value)
	}
	return size, values
}

func TestAvroRowsAreThoseOfCSV(t *testing.T) {
	_, lines := susyLines(300)
	for _, kind := range []string{"float", "double"} {
		_, values := susyValues(300, kind)
		csv, d := newCSV(t, labelFirst), newTestAvro(t, Options{}, avroSchema(susySchema(kind)))
		var want, got Block
		for i := range lines {
			if err := csv.Decode(&want, Record{Offset: int64(i), Value: lines[i]}); err != nil {
				t.Fatal(err)
			}
			if err := d.Decode(&got, Record{Offset: int64(i), Value: values[i]}); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(want.X, got.X) || !slices.Equal(want.Y, got.Y) || !slices.Equal(want.End, got.End) {
			t.Errorf("the rows of %ss are not those of CSV", kind)
		}
		if len(got.Shapes) != 1 || got.Shapes[0].Shape.Origin != "Avro schema 7" || got.Shapes[0].Shape.Columns[17].Name != "feature_17" {
			t.Errorf("shapes %+v", got.Shapes)
		}
	}
}

// encodes returns the value of schema 7 for what the library takes for it.
func encodes(t testing.TB, schema string, v any) []byte {
	t.Helper()
	payload, err := avro.MustParse(schema).AppendEncode(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return framed(payload)
}

func TestAvroFeatures(t *testing.T) {
	hash := func(column, text string) string {
		return fmt.Sprintf("%s=%x", column, NewHasher(column).Text([]byte(text)))
	}
	type m = map[string]any
	for _, tt := range []struct {
		name   string
		opts   Options
		fields string
		give   m
		want   string
	}{
		{
			"numbers of all types",
			Options{},
			`{"name": "a", "type": "int"}, {"name": "b", "type": "long"}, {"name": "c", "type": "float"}, {"name": "d", "type": "boolean"}, {"name": "e", "type": "double"}`,
			m{"a": -3, "b": int64(1) << 40, "c": float32(0.1), "d": true, "e": 2.5},
			"a=-3 b=1.099511627776e+12 c=0.10000000149011612 d=1 e=2.5",
		},
		{
			"times are numbers",
			Options{},
			`{"name": "a", "type": {"type": "int", "logicalType": "date"}}, {"name": "b", "type": {"type": "long", "logicalType": "timestamp-micros"}}`,
			m{"a": 19000, "b": int64(1600000000000000)},
			"a=19000 b=1.6e+15",
		},
		{
			"decimals",
			Options{},
			`{"name": "a", "type": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2}}, {"name": "b", "type": {"type": "fixed", "name": "D", "size": 17, "logicalType": "decimal", "precision": 39}}`,
			m{"a": big.NewRat(-12345, 100), "b": new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(-1), 127))},
			"a=-123.45 b=-1.7014118346046923e+38",
		},
		{
			"texts",
			Options{},
			`{"name": "a", "type": "string"}, {"name": "b", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"]}}, {"name": "c", "type": {"type": "string", "logicalType": "uuid"}}`,
			m{"a": "é", "b": "Y", "c": "fedcba98-7654-3210-0001-020304050607"},
			hash("a", "é") + " " + hash("b", "Y") + " " + hash("c", "fedcba98-7654-3210-0001-020304050607"),
		},
		{
			"a UUID of 16 bytes is its text",
			Options{},
			`{"name": "c", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}}`,
			m{"c": [16]byte{0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0, 1, 2, 3, 4, 5, 6, 7}},
			hash("c", "fedcba98-7654-3210-0001-020304050607"),
		},
		{
			"missing on either side",
			Options{},
			`{"name": "a", "type": ["null", "double"]}, {"name": "b", "type": ["double", "null"]}, {"name": "c", "type": ["null", "string"]}, {"name": "d", "type": "null"}, {"name": "e", "type": ["null", "int", "float"]}`,
			m{"a": nil, "b": nil, "c": nil, "d": nil, "e": float32(0.5)},
			"a=NaN b=NaN c=0 d=null e=0.5",
		},
		{
			"text or number is a category",
			Options{},
			`{"name": "a", "type": ["string", "long"]}, {"name": "b", "type": ["string", "long"]}`,
			m{"a": "10", "b": int64(10)},
			hash("a", "10") + " " + hash("b", "10"),
		},
		{
			"numbers that are categories",
			Options{Features: []string{"a#", "c"}},
			`{"name": "a", "type": "double"}, {"name": "b", "type": "double"}, {"name": "c", "type": "int"}`,
			m{"a": 10.0, "b": 11.0, "c": 12},
			hash("a", "10") + " c=12",
		},
		{
			"nested records, one of them null",
			Options{},
			`{"name": "a", "type": {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}, {"name": "s", "type": "string"}]}}, {"name": "b", "type": ["null", "R"]}, {"name": "c", "type": ["R", "null"]}`,
			m{"a": m{"x": 1, "s": "u"}, "b": nil, "c": m{"x": 2, "s": "v"}},
			"a.x=1 " + hash("a.s", "u") + " b.x=NaN b.s=0 c.x=2 " + hash("c.s", "v"),
		},
		{
			"arrays",
			Options{},
			`{"name": "a", "type": {"type": "array", "items": "double"}}, {"name": "b", "type": ["null", {"type": "array", "items": ["null", "int"]}]}, {"name": "c", "type": {"type": "array", "items": "string"}}, {"name": "d", "type": "int"}`,
			m{"a": []float64{1, 2}, "b": []any{3, nil}, "c": []string{"no"}, "d": 5},
			"a.0=1 a.1=2 b.0=3 b.1=NaN d=5",
		},
		{
			"some items",
			Options{Features: []string{"a.2", "a.0#"}},
			`{"name": "a", "type": {"type": "array", "items": "double"}}`,
			m{"a": []float64{1, 2, 3, 4}},
			hash("a.0", "1") + " a.2=3",
		},
		{
			"what is no feature",
			Options{},
			`{"name": "a", "type": "bytes"}, {"name": "b", "type": {"type": "fixed", "name": "F", "size": 3}}, {"name": "c", "type": {"type": "map", "values": "double"}}, {"name": "d", "type": {"type": "array", "items": {"type": "array", "items": "int"}}}, {"name": "e", "type": {"type": "fixed", "name": "G", "size": 12, "logicalType": "duration"}}, {"name": "f", "type": "int"}`,
			m{"a": []byte("abc"), "b": []byte("abc"), "c": m{"x": 1.0}, "d": []any{[]any{1, 2}, []any{}}, "e": avro.Duration{Days: 3}, "f": 6},
			"f=6",
		},
		{
			"a record that contains itself",
			Options{},
			`{"name": "a", "type": {"type": "record", "name": "Node", "fields": [{"name": "x", "type": "int"}, {"name": "next", "type": ["null", "Node"]}]}}, {"name": "b", "type": "int"}`,
			m{"a": m{"x": 1, "next": m{"x": 2, "next": m{"x": 3, "next": nil}}}, "b": 4},
			"a.x=1 b=4",
		},
		{
			"a record in a selection",
			Options{Features: []string{"a"}},
			`{"name": "a", "type": {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}}, {"name": "b", "type": "int"}`,
			m{"a": m{"x": 1, "y": 2}, "b": 4},
			"a.x=1 a.y=2",
		},
	} {
		schema := fieldsOf(tt.fields + `, {"name": "signal", "type": "double"}`)
		tt.give["signal"] = 1.0
		d := newTestAvro(t, tt.opts, avroSchema(schema))
		var dst Block
		if err := d.Decode(&dst, Record{Offset: 3, Time: 4, Value: encodes(t, schema, tt.give)}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := rowText(dst.Row(0)); got != tt.want || dst.Y[0] != 1 || dst.Offset[0] != 3 || dst.Time[0] != 4 {
			t.Errorf("%s: %s, label %v, want %s", tt.name, got, dst.Y[0], tt.want)
		}
		if dst.Missing != strings.Contains(tt.want, "NaN") {
			t.Errorf("%s: missing %v", tt.name, dst.Missing)
		}
	}
}

func TestAvroLabels(t *testing.T) {
	type m = map[string]any
	for _, tt := range []struct {
		opts   Options
		typ    string
		give   any
		want   float64
		reason Reason // if it is not 0
		text   string
	}{
		{typ: `"double"`, give: 1.0, want: 1},
		{typ: `"double"`, give: math.Copysign(0, -1), want: 0},
		{typ: `"double"`, give: 2.0, reason: Label, text: `byte 13: field "signal": 2 is neither`},
		{typ: `"double"`, give: math.Inf(1), reason: Label, text: "+Inf is neither"},
		{typ: `"double"`, give: math.NaN(), reason: Label, text: "NaN is neither"},
		{typ: `"boolean"`, give: true, want: 1},
		{typ: `"boolean"`, give: false, want: 0},
		{typ: `"string"`, give: " Yes ", want: 1},
		{typ: `"string"`, give: "maybe", reason: Label, text: `"maybe" is neither`},
		{typ: `"string"`, give: "maybe", opts: Options{Positive: "spam"}, want: 0},
		{typ: `"string"`, give: "SPAM", opts: Options{Positive: "spam"}, want: 1},
		{typ: `["null", "int"]`, give: 1, want: 1},
		{typ: `["null", "int"]`, give: nil, reason: Label, text: `field "signal": the label is missing`},
		{typ: `{"type": "enum", "name": "E", "symbols": ["no", "yes"]}`, give: "yes", want: 1},
		{typ: `"bytes"`, give: []byte("1"), reason: Label, text: "no field label, signal"},
		{typ: `"bytes"`, give: []byte("1"), opts: Options{Label: "signal"}, reason: Label, text: `field "signal" is of type bytes`},
		{typ: `"int"`, give: 1, opts: Options{Label: "other"}, reason: Label, text: `no field "other"`},
	} {
		schema := fieldsOf(`{"name": "x", "type": "double"}, {"name": "signal", "type": ` + tt.typ + `}`)
		d := newTestAvro(t, tt.opts, avroSchema(schema))
		var dst Block
		err := d.Decode(&dst, Record{Value: encodes(t, schema, m{"x": 1.5, "signal": tt.give})})
		if tt.text == "" {
			if err != nil || dst.Y[0] != tt.want || len(dst.X) != 1 {
				t.Errorf("%s %v: %v, %v", tt.typ, tt.give, dst.Y, err)
			}
			continue
		}
		if bad, ok := errors.AsType[*Bad](err); !ok || bad.Reason != tt.reason || !strings.Contains(bad.Detail, tt.text) {
			t.Errorf("%s %v: %v", tt.typ, tt.give, err)
		}
	}

	// In the key; and in a record that may be null.
	schema := fieldsOf(`{"name": "signal", "type": "double"}`)
	d := newTestAvro(t, Options{Label: "key"}, avroSchema(schema))
	var dst Block
	if err := d.Decode(&dst, Record{Key: []byte("1"), Value: encodes(t, schema, m{"signal": 2.5})}); err != nil || dst.Y[0] != 1 || dst.X[0] != 2.5 {
		t.Errorf("label in the key: %+v, %v", dst, err)
	}
	schema = fieldsOf(`{"name": "x", "type": "int"}, {"name": "a", "type": ["null", {"type": "record", "name": "R", "fields": [{"name": "y", "type": "int"}]}]}`)
	d = newTestAvro(t, Options{Label: "a.y"}, avroSchema(schema))
	if err := d.Decode(&dst, Record{Value: encodes(t, schema, m{"x": 7, "a": m{"y": 1}})}); err != nil || dst.Y[1] != 1 || dst.X[1] != 7 {
		t.Errorf("label in a record: %+v, %v", dst, err)
	}
	err := d.Decode(&dst, Record{Value: encodes(t, schema, m{"x": 7, "a": nil})})
	if bad, ok := errors.AsType[*Bad](err); !ok || bad.Reason != Label || dst.Rows() != 2 {
		t.Errorf("label in a record that is null: %v", err)
	}
}

func TestAvroBadValues(t *testing.T) {
	long := func(v ...int64) (b []byte) {
		for _, v := range v {
			b = binary.AppendVarint(b, v)
		}
		return b
	}
	nan := binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN()))
	one := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1))
	for _, tt := range []struct {
		typ     string
		payload []byte // of field x, behind the label
		reason  Reason
		text    string
	}{
		{`"double"`, one[:7], Decode, `byte 6: field "x": the data ends too early`},
		{`"double"`, append(one, 0, 0), Decode, "byte 14: the record ends here, and 2 bytes are left"},
		{`"double"`, nan, NonFinite, `byte 6: field "x": NaN is not finite`},
		{`"float"`, []byte{0, 0, 0x80, 0xff}, NonFinite, `byte 6: field "x": -Inf is not finite`},
		{`["null", "double"]`, append(long(1), nan...), NonFinite, `byte 6: field "x": NaN`},
		{`"boolean"`, []byte{2}, Decode, "0x02 is no boolean"},
		{`"int"`, long(1 << 31), Decode, "2147483648 is no int"},
		{`"long"`, slices.Repeat([]byte{0xff}, 11), Decode, "more than 64 bits"},
		{`"long"`, []byte{0xff}, Decode, "ends too early"},
		{`"string"`, long(-1), Decode, "negative"},
		{`"string"`, long(1 << 60), Decode, "beyond the end"},
		{`"string"`, append(long(2), 0xff, 'a'), UTF8, `field "x": "\xffa" is not UTF-8`},
		{`{"type": "enum", "name": "E", "symbols": ["A"]}`, long(1), Decode, "symbol 1 of 1"},
		{`["null", "int"]`, long(2), Decode, "branch 2 of 2"},
		{`["null", "int"]`, long(-1), Decode, "branch -1 of 2"},
		{`{"type": "bytes", "logicalType": "decimal", "precision": 4}`, long(0), Decode, "a decimal of 0 bytes"},
		{`{"type": "array", "items": "double"}`, long(1 << 40), Decode, `field "x": 1099511627776 items in 0 bytes`},
		{`{"type": "array", "items": "double"}`, append(long(1), nan...), NonFinite, `byte 7: field "x.0": NaN`},
		{`{"type": "array", "items": "int"}`, long(2, 5), Decode, "items in 1 bytes"},
		{`{"type": "array", "items": "int"}`, long(2, 5, 6), Decode, `field "x": the data ends too early`},
		{`{"type": "array", "items": "int"}`, long(-1, -1), Decode, "items of -1 bytes"},
		{`{"type": "array", "items": "int"}`, long(math.MinInt64), Decode, "out of range"},
		{`{"type": "array", "items": "int"}`, long(0), Arity, "all arrays are empty"},
		{`["null", {"type": "record", "name": "R", "fields": [{"name": "y", "type": "int"}]}]`, long(1), Decode, `field "x.y": the data ends too early`},
	} {
		d := newTestAvro(t, Options{}, avroSchema(fieldsOf(`{"name": "label", "type": "boolean"}, {"name": "x", "type": `+tt.typ+`}`)))
		rec := Record{Value: framed(append([]byte{1}, tt.payload...))}
		checkAvro(t, d, rec)
		err := d.Decode(&Block{}, rec)
		if bad, ok := errors.AsType[*Bad](err); !ok || bad.Reason != tt.reason || !strings.Contains(bad.Detail, tt.text) {
			t.Errorf("%s % x: %v", tt.typ, tt.payload, err)
		}
	}

	// What is passed over, before the only feature.
	deep := slices.Repeat(long(1), 6000)
	var parts []string
	for i, typ := range []string{"null", "double", "float", "null", "string", "double"} {
		parts = append(parts, fmt.Sprintf(`{"name": "p%d", "type": %q}`, i, typ))
	}
	for _, tt := range []struct {
		typ     string
		payload []byte
		text    string // empty: it is a row
	}{
		{`{"type": "array", "items": "null"}`, long(1<<40, 0), ""},
		{`{"type": "array", "items": {"type": "record", "name": "Z", "fields": []}}`, long(1<<60, 0), ""},
		{`{"type": "array", "items": "string"}`, append(long(-2, 4), "\x02a\x02b\x00"...), ""},
		{`{"type": "array", "items": "string"}`, long(-2, 400), "items of 400 bytes"},
		{`{"type": "array", "items": {"type": "fixed", "name": "F", "size": 1000}}`, long(1 << 60), "ends too early"},
		{`{"type": "array", "items": {"type": "record", "name": "P", "fields": [` + strings.Join(parts, ", ") + `]}}`, append(long(1), "0123456789ab\x02x01234567\x00"...), ""},
		{`{"type": "map", "values": "null"}`, long(1<<40, 0), "a length is negative"},
		{`{"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}`, append(slices.Clone(deep[:900]), 0), ""},
		{`{"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]}`, deep, "nested"},
		{`{"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}, {"name": "b", "type": "A"}]}`, nil, "nested"},
		{`{"type": "array", "items": {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}}`, long(1<<40, 0), "nested"},
	} {
		d := newTestAvro(t, Options{}, avroSchema(fieldsOf(`{"name": "u", "type": `+tt.typ+`}, {"name": "x", "type": "float"}, {"name": "label", "type": "boolean"}`)))
		rec := Record{Value: framed(append(tt.payload, 0, 0, 0, 0, 1))}
		checkAvro(t, d, rec)
		err := d.Decode(&Block{}, rec)
		if (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.typ, err)
		}
	}

	d := newTestAvro(t, Options{}, avroSchema(susySchema("double")))
	for text, rec := range map[string]Record{
		"tombstone: the value is null": {}, "empty: the value is empty": {Value: []byte{}},
		"decode: byte 0 is 0x7b, not 0": {Value: []byte("{}")}, "schema_not_found: schema 9": {Value: []byte{0, 0, 0, 0, 9, 1}},
		`field "feature_17": the data ends too early`: {Value: framed(make([]byte, 19*8-1))},
		`field "signal": the data ends too early`:     {Value: framed(nil)},
	} {
		checkAvro(t, d, rec)
		if err := d.Decode(&Block{}, rec); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %s", err, text)
		}
	}
	err := newTestAvro(t, Options{}, nil).Decode(&Block{}, Record{Value: framed(nil)})
	if bad, ok := errors.AsType[*Bad](err); !ok || bad.Reason != Schema {
		t.Errorf("without a registry: %v", err)
	}
}

func TestAvroBadSchemas(t *testing.T) {
	for _, tt := range []struct{ typ, schema, text string }{
		{"PROTOBUF", `syntax = "proto3";`, "schema 7 is of type PROTOBUF, not AVRO"},
		{"", "{}", "of type nothing"},
		{"AVRO", `{"type": "record"`, "schema 7 cannot be used: unexpected end"},
		{"AVRO", `"double"`, "is a type double where a record"},
		{"AVRO", `{"type": "array", "items": "double"}`, "is a type array where a record with named fields belongs"},
		{"AVRO", `["null", "int"]`, "is a type union where"},
		{"AVRO", `17`, "neither text nor a list nor an object"},
		{"AVRO", `null`, "neither text nor a list nor an object"},
		{"AVRO", fieldsOf(`{"name": "a", "type": "Unknown"}`), `field "a": type "Unknown" is not known`},
		{"AVRO", fieldsOf(`{"name": "a", "type": "int"}, {"name": "a", "type": "int"}`), `two fields "a"`},
		{"AVRO", fieldsOf(`{"name": "a.b", "type": "int"}`), `field 0 has no name, or "a.b"`},
		{"AVRO", fieldsOf(`{"name": "0", "type": "int"}`), `which is none`},
		{"AVRO", fieldsOf(`{"name": "label", "type": "int"}`), "has no field to learn from"},
		{"AVRO", fieldsOf(`{"name": "label", "type": "int"}, {"name": "a", "type": "bytes"}`), "has no field to learn from"},
		{"AVRO", fieldsOf(`{"name": "a", "type": {"type": "record", "name": "Event", "fields": []}}`), `"storage.Event" is defined twice`},
		{"AVRO", fieldsOf(`{"name": "a", "type": {"type": "enum", "name": "E"}}`), "no symbols"},
		{"AVRO", fieldsOf(`{"name": "a", "type": {"type": "fixed", "name": "F", "size": -1}}`), "a size of -1"},
		{"AVRO", fieldsOf(`{"name": "a", "type": ["int", ["null"]]}`), "a union is in a union"},
		{"AVRO", fieldsOf(`{"name": "a", "type": []}`), "a union is empty"},
		{"AVRO", strings.Repeat(`{"type": "array", "items": `, 2000) + `"int"` + strings.Repeat("}", 2000), "are nested"},
		{"AVRO", doubling(20), "has more than 65536 fields"},
	} {
		d := newTestAvro(t, Options{}, schemaSet{"7": {ID: "7", Type: tt.typ, Text: tt.schema}})
		err := d.Decode(&Block{}, Record{Value: framed([]byte{1, 2, 3})})
		if bad, ok := errors.AsType[*Bad](err); !ok || bad.Reason != Schema || !strings.Contains(bad.Detail, tt.text) || !strings.Contains(bad.Detail, "schema 7") {
			t.Errorf("%.80s: %v", tt.schema, err)
		}
	}
}

// doubling is a schema of records in records, two in each, n deep.
func doubling(n int) string {
	text := `{"type": "record", "name": "R0", "fields": [{"name": "x", "type": "int"}]}`
	for i := range n {
		text = fmt.Sprintf(`{"type": "record", "name": "R%d", "fields": [{"name": "a", "type": %s}, {"name": "b", "type": "R%d"}]}`, i+1, text, i)
	}
	return text
}

func TestAvroReferences(t *testing.T) {
	money := `{"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "sum", "type": "double"}]}`
	price := `{"type": "record", "name": "shop.Price", "fields": [{"name": "is", "type": "Money"}]}`
	sale := fieldsOf(`{"name": "price", "type": "shop.Price"}, {"name": "paid", "type": "shop.Money"}, {"name": "y", "type": "boolean"}`)
	d := newTestAvro(t, Options{}, avroSchema(sale, money, price))
	value := binary.LittleEndian.AppendUint64(framed(nil), math.Float64bits(1.5))
	value = binary.LittleEndian.AppendUint64(value, math.Float64bits(2.5))
	var dst Block
	if err := d.Decode(&dst, Record{Value: append(value, 1)}); err != nil || rowText(dst.Row(0)) != "price.is.sum=1.5 paid.sum=2.5" {
		t.Errorf("%+v, %v", dst, err)
	}
	err := newTestAvro(t, Options{}, avroSchema(sale, price, money)).Decode(&Block{}, Record{Value: framed([]byte{1})})
	if err == nil || !strings.Contains(err.Error(), "reference 1 of 2") {
		t.Errorf("references in another order: %v", err)
	}
}

// TestAvroShapes asks that decoders use one shape for all rows alike, and keep a bounded number of them.
func TestAvroShapes(t *testing.T) {
	s, err := newSelection(Options{})
	if err != nil {
		t.Fatal(err)
	}
	schema := fieldsOf(`{"name": "label", "type": "boolean"}, {"name": "x", "type": {"type": "array", "items": "double"}}`)
	plans := newAvroPlans(s, avroSchema(schema))
	a, b := newAvro(plans), newAvro(plans)
	value := func(n int) []byte {
		v := binary.AppendVarint(framed([]byte{1}), int64(n))
		return append(v, make([]byte, 8*n+1)...)
	}
	var x, y Block
	var decoders sync.WaitGroup
	for d, dst := range map[*avroDecoder]*Block{a: &x, b: &y} {
		decoders.Go(func() {
			for _, n := range []int{2, 3, 2, MaxColumns + 5} {
				if err := d.Decode(dst, Record{Value: value(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if decoders.Wait(); t.Failed() {
		return
	}
	if x.Row(0).Shape != y.Row(2).Shape || x.Row(1).Shape != y.Row(1).Shape || x.Row(0).Shape == x.Row(1).Shape {
		t.Errorf("shapes %+v and %+v", x.Shapes, y.Shapes)
	}
	if row := x.Row(3); len(row.X) != MaxColumns || len(row.Shape.Columns) != MaxColumns {
		t.Errorf("%d numbers of %d columns", len(row.X), len(row.Shape.Columns))
	}
	for n := range 1000 {
		x.Reset()
		if err := a.Decode(&x, Record{Value: value(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	columns := 0
	for _, shape := range a.plan.shapes {
		columns += len(shape.Columns) + 1
	}
	if columns != a.plan.named || columns > maxShapeColumns {
		t.Errorf("shapes of %d columns are kept, %d counted", columns, a.plan.named)
	}
}

func TestAvroAllocatesNothing(t *testing.T) {
	all := fieldsOf(`{"name": "label", "type": "string"}, {"name": "s", "type": "string"}, {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A"]}},
		{"name": "u", "type": {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}},
		{"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 20}},
		{"name": "n", "type": ["null", "int"]}, {"name": "r", "type": ["null", {"type": "record", "name": "R", "fields": [{"name": "f", "type": "float"}]}]},
		{"name": "a", "type": {"type": "array", "items": "double"}}, {"name": "m", "type": {"type": "map", "values": "string"}}, {"name": "c", "type": "int"}`)
	type m = map[string]any
	value := encodes(t, all, m{
		"label": "yes", "s": "some text", "e": "A", "u": [16]byte{1}, "d": big.NewRat(12345678901234567, 1000), "n": nil, "r": m{"f": float32(1)},
		"a": []float64{1, 2, 3}, "m": m{"k": "v"}, "c": 12,
	})
	_, susy := susyValues(3, "double")
	guid := headersOf([]byte("trace"), []byte("x"), []byte(schemaHeader), append([]byte{1}, make([]byte, 16)...))
	schemas := avroSchema(all)
	schemas["00000000-0000-0000-0000-000000000000"] = schemas["7"]
	for name, tt := range map[string]struct {
		opts Options
		set  schemaSet
		recs []Record
	}{
		"doubles": {Options{}, avroSchema(susySchema("double")), []Record{{Value: susy[0]}, {Value: susy[1]}, {Value: susy[2]}}},
		"all":     {Options{}, schemas, []Record{{Value: value}, {Headers: guid, Value: value[5:]}, {Value: value}}},
		"some":    {Options{Features: []string{"a#", "c#", "s"}}, schemas, []Record{{Value: value}}},
	} {
		d := newTestAvro(t, tt.opts, tt.set)
		var dst Block
		pass := func() {
			dst.Reset()
			for _, rec := range tt.recs {
				if err := d.Decode(&dst, rec); err != nil {
					t.Fatal(err)
				}
			}
		}
		pass()
		if n := testing.AllocsPerRun(20, pass); n != 0 {
			t.Errorf("%s: %v allocations for %d rows", name, n, len(tt.recs))
		}
	}
}

func FuzzAvro(f *testing.F) {
	count := 0
	for seed := range uint64(30) {
		fields, give := randomFields(rand.New(rand.NewPCG(seed, 1)), 0, &count)
		schema := fieldsOf(`{"name": "y", "type": ["null", "boolean", "string"]}, ` + fields)
		value := give().(map[string]any)
		value["y"] = true
		f.Add(schema, uint8(seed), []byte{0}, encodes(f, schema, value))
	}
	f.Add(doubling(3), uint8(0), []byte{}, framed([]byte{2, 2, 2, 0, 0, 2, 0, 0}))
	f.Add(fieldsOf(`{"name": "y", "type": "int"}, {"name": "l", "type": {"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"]}]}},
		{"name": "x", "type": {"type": "array", "items": ["null", "float"]}}`), uint8(0), headersOf([]byte(schemaHeader), []byte{0, 0, 0, 0, 7}), []byte{2, 2, 2, 0, 0, 2, 0, 0})
	options := []Options{{}, {Label: "key"}, {Features: []string{"f0", "f1#", "f2.0"}, Positive: "a"}}
	f.Fuzz(func(t *testing.T, schema string, opts uint8, headers, value []byte) {
		d := newTestAvro(t, options[int(opts)%len(options)], avroSchema(schema))
		checkAvro(t, d, Record{Key: []byte("1"), Headers: headers, Value: value})
	})
}

// BenchmarkAvro decodes one row of a label and 18 features in one operation; auto is doubles by way of a decoder of all formats.
func BenchmarkAvro(b *testing.B) {
	for _, name := range []string{"double", "float", "auto"} {
		b.Run(name, func(b *testing.B) {
			kind := name
			if name == "auto" {
				kind = "double"
			}
			size, values := susyValues(1024, kind)
			var d Decoder = newTestAvro(b, Options{}, avroSchema(susySchema(kind)))
			if name == "auto" {
				newDecoder, err := NewDecoder(Options{Schemas: avroSchema(susySchema(kind))})
				if err != nil {
					b.Fatal(err)
				}
				d = newDecoder()
			}
			var dst Block
			b.SetBytes(int64(size / len(values)))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == len(values) {
					i = 0
					dst.Reset()
				}
				if err := d.Decode(&dst, Record{Offset: int64(i), Value: values[i]}); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
