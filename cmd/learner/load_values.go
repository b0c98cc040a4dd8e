package main

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// sampleLines is how many lines tell which columns hold numbers.
const sampleLines = 100

// table is what a file's columns are, where records are written in another format than the lines are.
type table struct {
	names  []string
	number []bool // whether the column holds numbers; else text
}

// newTable looks at the first lines of a file. Without names columns are called label, c1, c2, and so on. A # behind a name
// says that the column holds text, also where that looks like numbers.
func newTable(names []string, lines [][]byte) (*table, error) {
	t := &table{}
	for _, line := range lines {
		fields, err := splitLine(line)
		if err != nil {
			continue // left out, too, when it is written
		}
		if t.number == nil {
			t.number = slices.Repeat([]bool{true}, len(fields))
		}
		for i, field := range fields[:min(len(fields), len(t.number))] {
			_, err := strconv.ParseFloat(field, 64)
			t.number[i] = t.number[i] && (field == "" || err == nil)
		}
	}
	if len(t.number) < 2 {
		return nil, errors.New("the first lines have no columns besides the label")
	}
	if names == nil {
		names = []string{"label"}
		for i := 1; i < len(t.number); i++ {
			names = append(names, "c"+strconv.Itoa(i))
		}
	}
	if len(names) != len(t.number) {
		return nil, fmt.Errorf("%d names for %d columns", len(names), len(t.number))
	}
	for i, name := range names {
		name, marked := strings.CutSuffix(strings.TrimSpace(name), "#")
		t.names = append(t.names, name)
		t.number[i] = t.number[i] && !marked
	}
	return t, nil
}

// splitLine returns the fields of a line, without blanks around them.
func splitLine(line []byte) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(line))
	r.TrimLeadingSpace = true
	fields, err := r.Read()
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields, err
}

// value is a field: missing, a number, or a text.
type value struct {
	missing bool
	number  float64
	text    string
}

// values reads a line as a row of the table.
func (t *table) values(line []byte) ([]value, error) {
	fields, err := splitLine(line)
	if err != nil {
		return nil, err
	}
	if len(fields) != len(t.names) {
		return nil, fmt.Errorf("%d columns where the first lines have %d", len(fields), len(t.names))
	}
	row := make([]value, len(fields))
	for i, field := range fields {
		switch {
		case field == "":
			row[i].missing = true
		case t.number[i]:
			if row[i].number, err = strconv.ParseFloat(field, 64); err != nil || math.IsInf(row[i].number, 0) || math.IsNaN(row[i].number) {
				return nil, fmt.Errorf("column %s: %.40q is no number, as the first lines have there", t.names[i], field)
			}
		default:
			row[i].text = field
		}
	}
	return row, nil
}

// appendJSON appends a row as a JSON object.
func (t *table) appendJSON(dst []byte, row []value) []byte {
	dst = append(dst, '{')
	for i, v := range row {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, t.names[i]), ':')
		switch {
		case v.missing:
			dst = append(dst, "null"...)
		case t.number[i]:
			dst = strconv.AppendFloat(dst, v.number, 'g', -1, 64)
		default:
			dst = appendJSONString(dst, v.text)
		}
	}
	return append(dst, '}')
}

func appendJSONString(dst []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always is JSON
	}
	return append(dst, quoted...)
}

// avroSchema returns the schema of the table's rows: a record with a field for each column, of double or string; null where
// a value is missing. What Avro does not allow in names becomes _.
func (t *table) avroSchema() (string, error) {
	type field struct {
		Name    string   `json:"name"`
		Type    []string `json:"type"`
		Default *string  `json:"default"`
	}
	fields := make([]field, len(t.names))
	seen := make(map[string]int)
	for i, name := range t.names {
		name = avroName(name)
		if before, ok := seen[name]; ok {
			return "", fmt.Errorf("columns %s and %s would both be the Avro field %s", t.names[before], t.names[i], name)
		}
		seen[name] = i
		kind := "string"
		if t.number[i] {
			kind = "double"
		}
		fields[i] = field{Name: name, Type: []string{"null", kind}}
	}
	text, err := json.Marshal(map[string]any{"type": "record", "name": "Row", "namespace": "learner", "fields": fields})
	return string(text), err
}

// avroName returns a name as Avro allows it: letters, digits, and _, not a digit first.
func avroName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	if clean == "" || clean[0] >= '0' && clean[0] <= '9' {
		return "_" + clean
	}
	return clean
}

// appendAvro appends a row by avroSchema, framed for Schema Registry: a byte 0, the schema's id, and the binary encoding.
func (t *table) appendAvro(dst []byte, schema int, row []value) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, 0), uint32(schema))
	for i, v := range row {
		switch {
		case v.missing:
			dst = binary.AppendVarint(dst, 0)
		case t.number[i]:
			dst = binary.AppendVarint(dst, 1)
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.number))
		default:
			dst = binary.AppendVarint(dst, 1)
			dst = append(binary.AppendVarint(dst, int64(len(v.text))), v.text...)
		}
	}
	return dst
}
