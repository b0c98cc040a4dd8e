package record

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// CSV decodes records whose value is one line of comma-separated numbers: RFC 4180, with spaces and tabs around fields
// and a byte order mark before the first allowed. Columns that are neither label nor feature may hold any text. It
// holds no state, so that several goroutines may use one CSV.
//
// Of several faults the first from the left is the reason for a refusal, the key coming before the value; but text
// that is not UTF-8 is refused for that.
type CSV struct {
	names    []string  // of all columns, or none
	label    int       // its column, or keyed
	use      []int32   // what a column is for: a feature's place in the row from 0, skipped, labelled, or appended
	beyond   int32     // what columns behind those are for
	selected []float64 // zeros: the places of the features that were asked for
}

// keyed as the label's column means the record's key.
const keyed = -1

var byteOrderMark = []byte("\ufeff")

// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad: Tombstone, Empty, UTF8, Arity,
// Number, NonFinite, Label, or Decode. A header line at offset 0 is no row and no error. Decode allocates nothing but
// room in dst and errors.
func (c *CSV) Decode(dst *Block, rec Record) error {
	if rec.Value == nil {
		return &Bad{Reason: Tombstone, Detail: "the value is null"}
	}
	line := trimLine(rec.Value)
	if isBlank(line) {
		return &Bad{Reason: Empty, Detail: "the value is empty or white space"}
	}
	if rec.Offset == 0 && IsHeader(rec.Value) {
		return nil
	}
	width := len(dst.X)
	label, bad := c.row(dst, rec.Key, line)
	if bad != nil {
		dst.X = dst.X[:width]
		if !utf8.Valid(line) {
			bad = notUTF8(line)
		}
		return bad
	}
	dst.EndRow(&rec, nil, label)
	return nil
}

// row appends the features in line to dst.X and returns the label.
func (c *CSV) row(dst *Block, key, line []byte) (label float64, bad *Bad) {
	if c.label == keyed {
		if label, bad = keyLabel(key); bad != nil {
			return 0, bad
		}
	}
	start := len(dst.X)
	x := dst.X
	x = append(x, c.selected...)
	columns, next := 0, -1
	for next < len(line) {
		i, col := next+1, columns
		printed := isScientific(line, i)
		if col >= len(c.use) && c.beyond == appended {
			x = slices.Grow(x, (len(line)-next)/(scientificSize+1))
			read := decimals
			if printed {
				read = scientific
			}
			if n, size := read(x[len(x):cap(x)], line[i:]); n > 0 {
				x, columns, next = x[:len(x)+n], columns+n, i+size
				continue
			}
		}
		columns++
		use := c.beyond
		if col < len(c.use) {
			use = c.use[col]
		}
		if use == skipped {
			if next, bad = c.skip(line, i, col); bad != nil {
				return 0, bad
			}
			continue
		}
		var v float64
		var ok bool
		if printed {
			var one [1]float64
			n, size := scientific(one[:], line[i:])
			v, next, ok = one[0], i+size, n == 1
		}
		if !ok {
			v, next, ok = parseFloat(line, i)
		}
		// Blanks and quotes go the longer way, too.
		if !ok || next < len(line) && line[next] != ',' {
			if v, next, bad = c.oddNumber(line, i, col, use); bad != nil {
				return 0, bad
			}
		}
		switch {
		case use == labelled:
			if v != v*v || v > 1 { // it is neither 0 nor 1, without asking which: labels are a coin toss
				return 0, c.bad(Label, col, line[i:next], "is neither 0 nor 1")
			}
			label = math.Abs(v)
		case math.Abs(v) > math.MaxFloat64:
			return 0, c.bad(NonFinite, col, line[i:next], "is not finite")
		case use == appended:
			x = append(x, v)
		default:
			x[start+int(use)] = v
		}
	}
	dst.X = x
	return label, c.checkWidth(columns, len(x)-start)
}

// checkWidth returns an error for rows that miss a column which was asked for, or do not fit the names.
func (c *CSV) checkWidth(columns, features int) *Bad {
	switch {
	case len(c.names) > 0 && columns != len(c.names):
		return &Bad{Reason: Arity, Detail: fmt.Sprintf("%d columns where %d have names", columns, len(c.names))}
	case columns < len(c.use):
		return &Bad{Reason: Arity, Detail: fmt.Sprintf("%d columns; column %d is not among them", columns, len(c.use)-1)}
	case features == 0:
		return &Bad{Reason: Arity, Detail: "the label is the only column"}
	}
	return nil
}

// skip passes over a field that is not used.
func (c *CSV) skip(line []byte, i, col int) (next int, bad *Bad) {
	text, next, fault := field(line, i)
	switch {
	case fault != "":
		return 0, c.bad(Decode, col, line[i:], fault)
	case !utf8.Valid(text):
		return 0, notUTF8(line)
	}
	return next, nil
}

// oddNumber reads a field that is not just a decimal number: a number in blanks or quotes, or a fault.
func (c *CSV) oddNumber(line []byte, i, col int, use int32) (v float64, next int, bad *Bad) {
	text, next, fault := field(line, i)
	if fault != "" {
		return 0, 0, c.bad(Decode, col, line[i:], fault)
	}
	v, ok := number(text)
	switch {
	case use == labelled && !ok:
		bad = c.bad(Label, col, text, "is neither 0 nor 1")
	case len(text) == 0:
		bad = c.bad(Number, col, text, "is empty")
	case !ok:
		bad = c.bad(Number, col, text, "is not a number")
	}
	return v, next, bad
}

// keyLabel returns the label that a record's key holds.
func keyLabel(key []byte) (float64, *Bad) {
	if key == nil {
		return 0, &Bad{Reason: Label, Detail: "the key is null"}
	}
	text, next, fault := field(trimLine(key), 0)
	if v, ok := number(text); ok && fault == "" && next == len(trimLine(key)) && (v == 0 || v == 1) {
		return math.Abs(v), nil
	}
	return 0, &Bad{Reason: Label, Detail: "key: " + quoted(key) + " is neither 0 nor 1"}
}

// IsHeader reports whether line is a CSV header: every field has content and none is a number, not-a-number and
// infinity included.
func IsHeader(line []byte) bool {
	line = trimLine(line)
	for i := 0; ; {
		text, next, fault := field(line, i)
		if fault != "" || len(text) == 0 || !utf8.Valid(text) {
			return false
		}
		if _, ok := number(text); ok {
			return false
		}
		if next == len(line) {
			return true
		}
		i = next + 1
	}
}

// trimLine cuts off a byte order mark before line and one line break behind it: \n, \r\n, or the \r that is left
// where a file with \r\n was split at \n.
func trimLine(line []byte) []byte {
	line = trimLast(bytes.TrimPrefix(line, byteOrderMark), '\n')
	return trimLast(line, '\r')
}

// trimLast cuts off c behind line.
func trimLast(line []byte, c byte) []byte {
	if n := len(line); n > 0 && line[n-1] == c {
		return line[:n-1]
	}
	return line
}

// isBlank reports whether line has nothing but white space.
func isBlank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// field returns the text of the field that begins at line[i], without blanks and quotes around it, and the index of
// the comma behind it or of the line's end. Doubled quotes stay doubled: no number has any. A fault says what is
// wrong with the field.
func field(line []byte, i int) (text []byte, next int, fault string) {
	i = skipBlanks(line, i)
	if i < len(line) && line[i] == '"' {
		return quotedField(line, i+1)
	}
	next = i
	for ; next < len(line) && line[next] != ','; next++ {
		switch line[next] {
		case '"':
			return nil, 0, "has a quote inside a field without quotes"
		case '\r', '\n':
			return nil, 0, "has a line break outside of quotes"
		}
	}
	return bytes.TrimRight(line[i:next], " \t"), next, ""
}

// quotedField does what field does for a field whose opening quote is before line[i].
func quotedField(line []byte, i int) (text []byte, next int, fault string) {
	end := i
	for {
		n := bytes.IndexByte(line[end:], '"')
		if n < 0 {
			return nil, 0, "has no closing quote"
		}
		end += n + 1
		if end == len(line) || line[end] != '"' {
			break
		}
		end++
	}
	next = skipBlanks(line, end)
	if next < len(line) && line[next] != ',' {
		return nil, 0, "has more behind the closing quote"
	}
	return bytes.Trim(line[i:end-1], " \t"), next, ""
}

// skipBlanks returns the index of the first byte from line[i] on that is neither a space nor a tab.
func skipBlanks(line []byte, i int) int {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t') {
		i++
	}
	return i
}

// number returns the number that all of text is. Infinity stands for not-a-number, too: neither is of use.
func number(text []byte) (v float64, ok bool) {
	if v, next, ok := parseFloat(text, 0); ok && next == len(text) {
		return v, true
	}
	word := text
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		word = text[1:]
	}
	if bytes.EqualFold(word, []byte("inf")) || bytes.EqualFold(word, []byte("infinity")) || bytes.EqualFold(text, []byte("nan")) {
		return math.Inf(1), true
	}
	return 0, false
}

// bad returns the error for what was found in a column.
func (c *CSV) bad(reason Reason, col int, found []byte, fault string) *Bad {
	if col < len(c.names) {
		return &Bad{Reason: reason, Detail: fmt.Sprintf("column %d (%s): %s %s", col, c.names[col], quoted(found), fault)}
	}
	return &Bad{Reason: reason, Detail: fmt.Sprintf("column %d: %s %s", col, quoted(found), fault)}
}

// notUTF8 returns the error for a line that is not UTF-8. It names the column as far as commas tell it.
func notUTF8(line []byte) *Bad {
	valid := 0
	for valid < len(line) {
		r, size := utf8.DecodeRune(line[valid:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		valid += size
	}
	col := bytes.Count(line[:valid], []byte{','})
	return &Bad{Reason: UTF8, Detail: fmt.Sprintf("column %d: byte %d is not UTF-8: %s", col, valid, quoted(line[valid:]))}
}

// quoted returns text in quotes, cut short.
func quoted(text []byte) string {
	const most = 40
	if len(text) <= most {
		return fmt.Sprintf("%q", text)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%q…", text[:cut])
}
