package record

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// CSV decodes records whose value is one line of comma-separated values: RFC 4180, with spaces and tabs around fields
// and a byte order mark before the first allowed. Features are numbers, or the categories of columns that are marked; an
// empty field is a missing value. Columns that are neither label nor feature may hold any text. A CSV holds no state, so
// that several goroutines may use one.
//
// Of several faults the first from the left is the reason for a refusal, the key coming before the value; but text
// that is not UTF-8 is refused for that.
type CSV struct{ *columns }

// NewCSV returns a decoder of CSV records. Its error names every value in opts that is wrong.
func NewCSV(opts Options) (*CSV, error) {
	c, err := newColumns(opts)
	if err != nil {
		return nil, err
	}
	return &CSV{c}, nil
}

var byteOrderMark = []byte("\ufeff")

// Decode appends rec to dst as one row, or leaves dst as it was and returns a *Bad: Tombstone, Empty, UTF8, Arity,
// Number, NonFinite, Label, or Decode. No row and no error are the names of all columns in order, anywhere, and at offset 0
// any header line that cannot be read as a row. Decode allocates nothing but room in dst and errors.
func (c *CSV) Decode(dst *Block, rec Record) error { return c.decode(dst, &rec) }

func (c *CSV) decode(dst *Block, rec *Record) error {
	if rec.Value == nil {
		return &Bad{Reason: Tombstone, Detail: "the value is null"}
	}
	line := trimLine(rec.Value)
	if isBlank(line) {
		return &Bad{Reason: Empty, Detail: "the value is empty or white space"}
	}
	if len(c.names) > 0 && c.isNames(line) {
		return nil
	}
	numbers, categories := len(dst.X), len(dst.Hashes)
	label, missing, bad := c.row(dst, rec.Key, line)
	if bad != nil {
		dst.X, dst.Hashes = dst.X[:numbers], dst.Hashes[:categories]
		switch {
		case !utf8.Valid(line):
			return notUTF8(line)
		case rec.Offset == 0 && IsHeader(rec.Value):
			return nil
		}
		return bad
	}
	dst.Missing = dst.Missing || missing
	dst.EndRow(rec, c.shape, label)
	return nil
}

// isNames reports whether line holds the names of all columns, in order.
func (c *CSV) isNames(line []byte) bool {
	if first := line[0]; first != c.names[0][0] && first != '"' && first != ' ' && first != '\t' {
		return false // as good as always
	}
	next := -1
	for _, name := range c.names {
		if next == len(line) {
			return false
		}
		var text []byte
		var fault string
		if text, next, fault = field(line, next+1); fault != "" || string(undoubled(text)) != name {
			return false
		}
	}
	return next == len(line)
}

// row appends the features in line to dst and returns the label, and whether a number is missing.
func (c *CSV) row(dst *Block, key, line []byte) (label float64, missing bool, bad *Bad) {
	if c.label == keyed {
		if label, bad = keyLabel(key, c.labels); bad != nil {
			return 0, false, bad
		}
	}
	start, hashes := len(dst.X), len(dst.Hashes)
	x := dst.X
	x = append(x, c.selected...)
	dst.Hashes = append(dst.Hashes, c.missing...)
	columns, next := 0, -1
	for next < len(line) {
		i, col := next+1, columns
		printed := isScientific(line, i)
		use, run := c.beyond, 0
		to := x
		switch {
		case col < len(c.use):
			if use = c.use[col]; use >= 0 {
				run = int(c.runs[col])
				to = x[start+int(use):][:run]
			}
		case use == appended:
			x = slices.Grow(x, (len(line)-next)/(scientificSize+1))
			to = x[len(x):cap(x)]
			run = len(to)
		}
		if run > 1 {
			read := decimals
			if printed {
				read = scientific
			}
			if n, size := read(to, line[i:]); n > 0 {
				if use == appended {
					x = x[:len(x)+n]
				}
				columns, next = columns+n, i+size
				continue
			}
		}
		columns++
		if use == skipped || use <= categorical {
			text, end, bad := c.text(line, i, col)
			if bad != nil {
				return 0, false, bad
			}
			if use != skipped {
				place := categorical - use
				dst.Hashes[hashes+int(place)] = categoryHash(c.hashers[place], undoubled(text))
			}
			next = end
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
		ok = ok && (next == len(line) || line[next] == ',')
		if use == labelled {
			// Whether it is 0 or 1 is asked without asking which: labels are a coin toss.
			if ok && c.zeroOne && v == v*v && v <= 1 {
				label = math.Abs(v)
				continue
			}
			if label, next, bad = c.oddLabel(line, i, col); bad != nil {
				return 0, false, bad
			}
			continue
		}
		// Blanks and quotes go the longer way, too.
		if !ok {
			if v, next, bad = c.oddNumber(line, i, col); bad != nil {
				return 0, false, bad
			}
			missing = missing || v != v
		}
		switch {
		case math.Abs(v) > math.MaxFloat64:
			return 0, false, c.bad(NonFinite, col, line[i:next], "is not finite")
		case use == appended:
			x = append(x, v)
		default:
			x[start+int(use)] = v
		}
	}
	dst.X = x
	return label, missing, c.check(columns, len(x)-start+len(c.missing))
}

// text returns the text of a field, without blanks and quotes around it, and the index of the comma or the end behind it.
func (c *CSV) text(line []byte, i, col int) (text []byte, next int, bad *Bad) {
	text, next, fault := field(line, i)
	switch {
	case fault != "":
		return nil, 0, c.bad(Decode, col, line[i:], fault)
	case !utf8.Valid(text):
		return nil, 0, notUTF8(line)
	}
	return text, next, nil
}

// oddNumber reads a field that is not just a decimal number: a number in blanks or quotes, nothing, or a fault.
func (c *CSV) oddNumber(line []byte, i, col int) (v float64, next int, bad *Bad) {
	text, next, bad := c.text(line, i, col)
	if bad == nil {
		v, bad = c.textNumber(col, text)
	}
	return v, next, bad
}

// oddLabel reads a label that is not just 0 or 1.
func (c *CSV) oddLabel(line []byte, i, col int) (label float64, next int, bad *Bad) {
	text, next, bad := c.text(line, i, col)
	if bad == nil {
		label, bad = c.textLabel(col, undoubled(text))
	}
	return label, next, bad
}

// keyLabel returns the label that a record's key holds.
func keyLabel(key []byte, l *labels) (float64, *Bad) {
	if key == nil {
		return 0, &Bad{Reason: Label, Detail: "the key is null"}
	}
	text, next, fault := field(trimLine(key), 0)
	if fault == "" && next == len(trimLine(key)) && utf8.Valid(text) {
		if label, ok := l.text(undoubled(text)); ok {
			return label, nil
		}
	}
	return 0, &Bad{Reason: Label, Detail: "key: " + quoted(key) + " is " + l.wanted()}
}

// undoubled returns text with one quote for two, as they stand in quotes.
func undoubled(text []byte) []byte {
	if bytes.IndexByte(text, '"') < 0 {
		return text
	}
	return bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
}

// categoryHash returns the hash of a category in a column that is marked: that of a number, where it is written as one, and 0
// for no text.
func categoryHash(h Hasher, text []byte) uint64 {
	if len(text) == 0 {
		return 0
	}
	if v, next, ok := parseFloat(text, 0); ok && next == len(text) && v-v == 0 {
		return h.Number(v)
	}
	return h.Text(text)
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
