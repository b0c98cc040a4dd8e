package record

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonDecoder decodes JSON values. It is for one goroutine.
//
// An object is a row of named columns: numbers, true and false as 1 and 0, and texts as categories; null and blank texts are missing.
// The fields of objects within it have all names with dots between, and the items of arrays of numbers the array's name and
// their number; other arrays are passed over. An array is a line of columns as in CSV.
//
// What is usual goes one way, and everything else, faults and keys with escapes included, another: strict. The usual records are those that go along a path
// of the tree, which strict has made of the records that it has read.
type jsonDecoder struct {
	*selection
	zeroOne bool
	lists   *columns // what of arrays is what; nil: noLists says why they are refused
	noLists *Bad

	root      *jsonNode
	held      printedNumbers
	unescaped []byte // the newest text that had escapes

	room   int               // how much more is kept of keys and shapes, in bytes
	shapes map[string]*Shape // by their columns
}

// jsonRoom bounds what one decoder keeps. Records with keys beyond that go the longer way.
const jsonRoom = 16 << 20

// jsonDepth is how deep objects and arrays may lie in each other.
const jsonDepth = 64

// jsonNode is a place between two values of an object: what came before decides the columns of the row so far.
type jsonNode struct {
	depth  int32
	list   bool                 // within an array of numbers
	likely *jsonEdge            // the field that came last time, or the next item
	others map[string]*jsonEdge // all fields that may come, by key, where there are several
	closed *jsonNode            // behind the end of the object or array
	shape  *Shape               // of a record that ends here
}

// jsonEdge is a field of an object, or an item of an array.
type jsonEdge struct {
	key    string // as it stands in the record
	whole  string // the same in quotes, and a colon
	role   jsonRole
	asked  bool // for by its name, so that numbers in quotes are numbers
	hasher Hasher
	next   [jsonEvents]*jsonNode
}

// jsonRole says what a field is for.
type jsonRole uint8

const (
	jsonSkipped jsonRole = iota
	jsonLabel
	jsonFeature
	jsonCategory // also where it is a number
)

// What a value does to the row's columns. That of the label and of fields that are skipped is always jsonNumber.
const (
	jsonNumber = iota
	jsonText
	jsonNull
	jsonObject
	jsonList   // an array of numbers
	jsonPassed // any other array
	jsonEvents
	jsonClose = jsonEvents // the end of an object or an array of numbers
)

func newJSON(s *selection, lists *columns, noLists *Bad) *jsonDecoder {
	return &jsonDecoder{selection: s, zeroOne: s.zeroOne(), lists: lists, noLists: noLists, root: &jsonNode{depth: 1}, room: jsonRoom, shapes: make(map[string]*Shape)}
}

// decode appends value, which rec holds, to dst as one row, or leaves dst as it was and returns a *Bad: Empty, UTF8, Arity, Number,
// NonFinite, Label, or Decode. It allocates nothing but room in dst, errors, and what it learns of keys.
func (d *jsonDecoder) decode(dst *Block, rec *Record, value []byte) error {
	value = bytes.TrimPrefix(value, byteOrderMark)
	if isBlank(value) {
		return &Bad{Reason: Empty, Detail: "the value is empty or white space"}
	}
	numbers, categories, missing := len(dst.X), len(dst.Hashes), dst.Missing
	shape, label, ok := d.usual(dst, rec.Key, value)
	if !ok {
		dst.X, dst.Hashes, dst.Missing = dst.X[:numbers], dst.Hashes[:categories], missing
		var bad *Bad
		if shape, label, bad = d.strict(dst, rec.Key, value); bad != nil {
			dst.X, dst.Hashes, dst.Missing = dst.X[:numbers], dst.Hashes[:categories], missing
			return bad
		}
	}
	dst.EndRow(rec, shape, label)
	return nil
}

// usual reads a value that has nothing unusual, or says that it cannot.
func (d *jsonDecoder) usual(dst *Block, key, b []byte) (shape *Shape, label float64, ok bool) {
	i := skipWhite(b, 0)
	var next int
	switch {
	case b[i] == '{':
		numbers, categories := len(dst.X), len(dst.Hashes)
		if shape, label, next, ok = d.object(dst, key, b, i+1, true); !ok && d.held.any {
			dst.X, dst.Hashes = dst.X[:numbers], dst.Hashes[:categories]
			shape, label, next, ok = d.object(dst, key, b, i+1, false)
		}
	case b[i] == '[' && d.lists != nil:
		shape = d.lists.shape
		label, next, ok = d.array(dst, key, b, i+1)
	}
	return shape, label, ok && skipWhite(b, next) == len(b)
}

// object reads the object whose brace is before b[i], if there is a path for it. Hold says that numbers that look like those of
// %.18e are read together.
func (d *jsonDecoder) object(dst *Block, key, b []byte, i int, hold bool) (shape *Shape, label float64, next int, ok bool) {
	if d.keyed {
		var bad *Bad
		if label, bad = keyLabel(key, d.labels); bad != nil {
			return nil, 0, 0, false
		}
	}
	d.held.clear()
	n := d.root
	for {
		if hold {
			n, i = d.held.run(n, b, i)
		}
		i = skipWhite(b, i)
		e := n.likely
		switch {
		case e == nil:
			return nil, 0, 0, false
		case n.list:
		case len(b)-i >= len(e.whole) && string(b[i:i+len(e.whole)]) == e.whole:
			i += len(e.whole)
		default:
			if e, i = n.find(b, i); e == nil {
				return nil, 0, 0, false
			}
			n.likely = e
		}
		if i = skipWhite(b, i); i == len(b) {
			return nil, 0, 0, false
		}
		event := jsonNumber
		switch c := b[i]; {
		case hold && e.role == jsonFeature && d.held.add(b, i):
			i += d.held.last
			if d.held.n == mostHeld && !d.held.read(dst) {
				return nil, 0, 0, false
			}
			if next := e.next[jsonNumber]; next != nil && b[i] == ',' { // as good as always
				n = next
				i++
				continue
			}
		case n.list && c != '-' && c != 'n' && !isDigit(c):
			return nil, 0, 0, false
		case c == '{' || c == '[':
			if event, i, ok = e.enter(b, i, int(n.depth)); !ok {
				return nil, 0, 0, false
			}
		case e.role == jsonSkipped:
			if i, ok = skipJSON(b, i, int(n.depth)); !ok {
				return nil, 0, 0, false
			}
		case e.role == jsonLabel:
			if label, i, ok = d.readLabel(b, i); !ok {
				return nil, 0, 0, false
			}
		case c == '"':
			var text []byte
			if text, i, ok = d.readText(b, i+1); !ok {
				return nil, 0, 0, false
			}
			event = jsonText
			switch trimmed := bytes.TrimSpace(text); {
			case len(trimmed) == 0:
				event = jsonNull
			case e.role == jsonFeature && wholeNumber(trimmed):
				v, _, _ := parseFloat(trimmed, 0)
				if !e.asked || math.Abs(v) > math.MaxFloat64 {
					return nil, 0, 0, false
				}
				if !d.held.read(dst) {
					return nil, 0, 0, false
				}
				dst.X = append(dst.X, v)
				event = jsonNumber
			default:
				dst.Hashes = append(dst.Hashes, e.hasher.Text(text))
			}
		case c == 'n':
			if i, ok = skipWord(b, i, "null"); !ok {
				return nil, 0, 0, false
			}
			event = jsonNull
		default:
			var v float64
			if v, i, ok = readNumber(b, i); !ok {
				return nil, 0, 0, false
			}
			if e.role == jsonFeature {
				if !d.held.read(dst) {
					return nil, 0, 0, false
				}
				dst.X = append(dst.X, v)
			} else {
				dst.Hashes = append(dst.Hashes, e.hasher.Number(v))
				event = jsonText
			}
		}
		if n = e.next[event]; n == nil {
			return nil, 0, 0, false
		}
		if event == jsonObject || event == jsonList {
			continue
		}
		for {
			if i = skipWhite(b, i); i == len(b) {
				return nil, 0, 0, false
			}
			c := b[i]
			i++
			if c == ',' {
				break
			}
			if n.list && c != ']' || !n.list && c != '}' {
				return nil, 0, 0, false
			}
			if n.depth == 1 {
				return n.shape, label, i, n.shape != nil && d.held.read(dst)
			}
			if n = n.closed; n == nil {
				return nil, 0, 0, false
			}
		}
	}
}

// printedNumbers are numbers as %.18e writes them, or what looks like some, in a line as scientific takes it: many at once cost half
// of what they cost one by one.
type printedNumbers struct {
	n, size int  // numbers, and bytes of the line, of which the last is a comma
	last    int  // size of the newest number
	any     bool // whether there were some
	line    [mostHeld*(scientificSize+2) + printedRoom]byte
	end     [printedRoom]byte
}

const (
	mostHeld    = 64
	printedRoom = 32 // for one number, in a size that is quick to copy
)

func (p *printedNumbers) clear() { p.n, p.size, p.any = 0, 0, false }

// add takes the number that begins at b[i], if it looks like one.
func (p *printedNumbers) add(b []byte, i int) bool {
	sign := 0
	if b[i] == '-' {
		sign = 1
	}
	size := sign + scientificSize
	if b = b[i:]; len(b) <= size {
		return false
	}
	if len(b) < printedRoom { // at the end of the record
		copy(p.end[:], b)
		b = p.end[:]
	}
	if b[sign+1] != '.' || b[size-4] != 'e' || (b[size-3]-'+')&^2 != 0 || b[size] != ',' && b[size] != '}' {
		return false
	}
	p.take((*[printedRoom]byte)(b))
	p.line[p.size+size] = ','
	p.n, p.size, p.last, p.any = p.n+1, p.size+size+1, size, true
	return true
}

// run takes the fields from b[i] on that come as they did last time, are features, and have numbers that look like some, as far as
// a comma stands behind each. It returns the place behind them.
func (p *printedNumbers) run(n *jsonNode, b []byte, i int) (*jsonNode, int) {
	for p.n < mostHeld-1 {
		e := n.likely
		if e == nil || e.role != jsonFeature || n.list {
			break
		}
		next, at := e.next[jsonNumber], i
		if next == nil || len(b)-at < len(e.whole)+2+printedRoom {
			break
		}
		if b[at] == ' ' {
			at++
		}
		if string(b[at:at+len(e.whole)]) != e.whole {
			break
		}
		if at += len(e.whole); b[at] == ' ' {
			at++
		}
		from := (*[printedRoom]byte)(b[at:])
		sign := 0
		if from[0] == '-' {
			sign = 1
		}
		if from[sign+1] != '.' || from[sign+scientificSize-4] != 'e' || (from[sign+scientificSize-3]-'+')&^2 != 0 || from[sign+scientificSize] != ',' {
			break
		}
		p.take(from)
		size := sign + scientificSize + 1
		p.n, p.size, p.any = p.n+1, p.size+size, true
		n, i = next, at+size
	}
	return n, i
}

// take copies a number, and what comes behind it, to the end of the line.
func (p *printedNumbers) take(from *[printedRoom]byte) {
	to := (*[printedRoom]byte)(p.line[p.size:])
	// Four words: a copy of 32 bytes would be a call.
	binary.LittleEndian.PutUint64(to[0:], binary.LittleEndian.Uint64(from[0:]))
	binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
	binary.LittleEndian.PutUint64(to[16:], binary.LittleEndian.Uint64(from[16:]))
	binary.LittleEndian.PutUint64(to[24:], binary.LittleEndian.Uint64(from[24:]))
}

// read appends the numbers to dst.X. It reports whether they are.
func (p *printedNumbers) read(dst *Block) bool {
	if p.n == 0 {
		return true
	}
	at := len(dst.X)
	dst.X = slices.Grow(dst.X, p.n)[:at+p.n]
	n, _ := scientific(dst.X[at:], p.line[:p.size-1])
	all := n == p.n
	p.n, p.size = 0, 0
	return all
}

// find returns the edge of the key that begins at b[i], and the index behind its colon.
func (n *jsonNode) find(b []byte, i int) (e *jsonEdge, next int) {
	if i == len(b) || b[i] != '"' {
		return nil, 0
	}
	size := bytes.IndexByte(b[i+1:], '"')
	if size < 0 {
		return nil, 0
	}
	key := b[i+1:][:size]
	if e = n.likely; string(key) != e.key {
		e = n.others[string(key)]
	}
	if i = skipWhite(b, i+size+2); i == len(b) || b[i] != ':' {
		return nil, 0
	}
	return e, i + 1
}

// enter goes into the object or the array of numbers that begins at b[i], or behind any other array.
func (e *jsonEdge) enter(b []byte, i, depth int) (event, next int, ok bool) {
	next = skipWhite(b, i+1)
	if next == len(b) {
		return 0, 0, false
	}
	c := b[next]
	switch {
	case b[i] == '{':
		return jsonObject, next, c != '}'
	case c == '-' || isDigit(c) || c == 'n': // in an array of something else, too, this goes the longer way
		return jsonList, next, true
	}
	next, ok = skipJSON(b, i, depth)
	return jsonPassed, next, ok
}

// readLabel reads the label that begins at b[i].
func (d *jsonDecoder) readLabel(b []byte, i int) (label float64, next int, ok bool) {
	switch b[i] {
	case '"':
		text, next, ok := d.readText(b, i+1)
		if ok {
			label, ok = d.text(bytes.TrimSpace(text))
		}
		return label, next, ok
	case 't', 'f':
		v, next, ok := readNumber(b, i)
		if ok {
			label, ok = d.boolean(v == 1)
		}
		return label, next, ok
	}
	v, next, ok := readNumber(b, i)
	if ok && (!d.zeroOne || v != v*v || v > 1) {
		label, ok = d.number(v)
		return label, next, ok
	}
	return math.Abs(v), next, ok
}

// array reads the array whose bracket is before b[i] as a line of columns.
func (d *jsonDecoder) array(dst *Block, key, b []byte, i int) (label float64, next int, ok bool) {
	c := d.lists
	if c.label == keyed {
		var bad *Bad
		if label, bad = keyLabel(key, c.labels); bad != nil {
			return 0, 0, false
		}
	}
	start, hashes := len(dst.X), len(dst.Hashes)
	dst.X = append(dst.X, c.selected...)
	dst.Hashes = append(dst.Hashes, c.missing...)
	last := len(bytes.TrimRight(b, " \t\r\n]")) // where its last number ends
	for col := 0; ; {
		if i = skipWhite(b, i); i == len(b) {
			return 0, 0, false
		}
		use, one := c.of(col), true
		switch {
		case use == skipped:
			if i, ok = skipJSON(b, i, 1); !ok {
				return 0, 0, false
			}
		case use == labelled:
			if label, i, ok = d.readLabel(b, i); !ok {
				return 0, 0, false
			}
		case b[i] == 'n':
			if i, ok = skipWord(b, i, "null"); !ok {
				return 0, 0, false
			}
			if use > categorical {
				c.put(dst, start, use, notANumber)
				dst.Missing = true
			}
		default:
			if use == appended {
				dst.X = slices.Grow(dst.X, (len(b)-i)/(scientificSize+1)+1)
				n, size, fine := readMany(dst.X[len(dst.X):cap(dst.X)], b[i:max(i, last)])
				if !fine {
					return 0, 0, false
				}
				dst.X, col, i, one = dst.X[:len(dst.X)+n], col+n, i+size, n == 0
			}
			if !one {
				break
			}
			var v float64
			if v, i, ok = readNumber(b, i); !ok {
				return 0, 0, false
			}
			if use <= categorical {
				place := int(categorical - use)
				dst.Hashes[hashes+place] = c.hashers[place].Number(v)
			} else {
				c.put(dst, start, use, v)
			}
		}
		if one {
			col++
		}
		if i = skipWhite(b, i); i == len(b) || b[i] != ',' && b[i] != ']' {
			return 0, 0, false
		}
		if b[i] == ']' {
			return label, i + 1, c.check(col, len(dst.X)-start+len(c.missing)) == nil
		}
		i++
	}
}

// readMany reads numbers with nothing but commas between from the beginning of line, as many as it can. It returns how many
// these are, and the index behind the last; fine is false where one is no JSON.
func readMany(dst []float64, line []byte) (n, size int, fine bool) {
	if isScientific(line, 0) {
		if n, size = scientific(dst, line); n > 0 {
			return n, size, true
		}
	}
	n, size = decimals(dst, line)
	noFraction := bytes.Contains(line[:size], []byte(".,")) || size > 0 && line[size-1] == '.'
	return n, size, !noFraction
}

// readNumber reads the number that begins at b[i], or true or false, and returns the index behind it. It takes what JSON's grammar
// allows, and no infinite number.
func readNumber(b []byte, i int) (v float64, next int, ok bool) {
	sign := 0
	if b[i] == '-' {
		sign = 1
	}
	if size := scientificSize + sign; len(b)-i >= size && b[i+size-4] == 'e' && b[i+sign+1] == '.' {
		var one [1]float64
		if n, _ := scientific(one[:], b[i:i+size]); n == 1 {
			return one[0], i + size, true
		}
	}
	switch b[i] {
	case 't':
		next, ok = skipWord(b, i, "true")
		return 1, next, ok
	case 'f':
		next, ok = skipWord(b, i, "false")
		return 0, next, ok
	}
	if !isJSONNumber(b, i+sign) {
		return 0, 0, false
	}
	v, next, ok = parseFloat(b, i)
	return v, next, ok && math.Abs(v) <= math.MaxFloat64
}

// isJSONNumber reports whether a number without sign may begin at b[i] by JSON's grammar, where parseFloat takes more: its whole
// part has digits, no zero in front, and its fraction, if there is one, has digits.
func isJSONNumber(b []byte, i int) bool {
	first := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == first || b[first] == '0' && i > first+1 {
		return false
	}
	return i == len(b) || b[i] != '.' || i+1 < len(b) && isDigit(b[i+1])
}

// wholeNumber reports whether all of text is a number.
func wholeNumber(text []byte) bool {
	_, next, ok := parseFloat(text, 0)
	return ok && next == len(text)
}

// readText returns the text that begins at b[i], behind its opening quote, and the index behind the closing one. The text is valid
// until the next call.
func (d *jsonDecoder) readText(b []byte, i int) (text []byte, next int, ok bool) {
	if text, next, ok = plainText(b, i); ok {
		return text, next, true
	}
	if next, ok = skipText(b, i); !ok {
		return nil, 0, false
	}
	d.unescaped = appendUnescaped(d.unescaped[:0], b[i:next-1])
	return d.unescaped, next, true
}

// appendUnescaped appends text, which is what skipText takes, with the characters that its escapes stand for. Half of a surrogate
// pair becomes U+FFFD, as in encoding/json.
func appendUnescaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		c := text[i+1]
		if c != 'u' {
			dst = append(dst, "\"\\/\b\f\n\r\t"[strings.IndexByte(jsonEscapes, c)])
			text = text[i+2:]
			continue
		}
		r := hexRune(text[i+2 : i+6])
		text = text[i+6:]
		if utf16.IsSurrogate(r) {
			pair := utf8.RuneError
			if len(text) >= 6 && text[0] == '\\' && text[1] == 'u' {
				pair = utf16.DecodeRune(r, hexRune(text[2:6]))
			}
			if r = pair; r != utf8.RuneError {
				text = text[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// jsonEscapes are the characters that may follow a backslash, besides u.
const jsonEscapes = `"\/bfnrt`

// hexRune returns the number that hexadecimal digits mean.
func hexRune(digits []byte) (r rune) {
	for _, c := range digits {
		if isDigit(c) {
			r = r<<4 | rune(c-'0')
		} else {
			r = r<<4 | rune((c|0x20)-'a'+10)
		}
	}
	return r
}

// plainText returns the text without escapes that begins at b[i], behind its opening quote, and the index behind the closing one.
func plainText(b []byte, i int) (text []byte, next int, ok bool) {
	all := byte(0)
	for next = i; next < len(b); next++ {
		c := b[next]
		if c == '"' {
			text = b[i:next]
			return text, next + 1, all < utf8.RuneSelf || utf8.Valid(text)
		}
		if c < ' ' || c == '\\' {
			break
		}
		all |= c
	}
	return nil, 0, false
}

// skipWhite returns the index of the first byte from b[i] on that is no white space.
func skipWhite(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipWord returns the index behind word, if that is what is at b[i].
func skipWord(b []byte, i int, word string) (next int, ok bool) {
	next = i + len(word)
	return next, next <= len(b) && string(b[i:next]) == word
}

// skipJSON returns the index behind the value that begins at b[i], at a depth. It refuses whatever is no JSON.
func skipJSON(b []byte, i, depth int) (next int, ok bool) {
	if i == len(b) {
		return 0, false
	}
	switch b[i] {
	case '"':
		return skipText(b, i+1)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	case '{', '[':
		return skipItems(b, i, depth+1)
	}
	sign := 0
	if b[i] == '-' {
		sign = 1
	}
	if !isJSONNumber(b, i+sign) {
		return 0, false
	}
	_, next, ok = parseFloat(b, i)
	return next, ok
}

// skipItems does what skipJSON does for the object or array that begins at b[i] and is at a depth.
func skipItems(b []byte, i, depth int) (next int, ok bool) {
	fields, end := b[i] == '{', b[i]+2
	if i = skipWhite(b, i+1); i < len(b) && b[i] == end {
		return i + 1, depth <= jsonDepth
	}
	for {
		if fields {
			if i = skipWhite(b, i); i == len(b) || b[i] != '"' {
				return 0, false
			}
			if i, ok = skipText(b, i+1); !ok {
				return 0, false
			}
			if i = skipWhite(b, i); i == len(b) || b[i] != ':' {
				return 0, false
			}
			i++
		}
		if depth > jsonDepth {
			return 0, false
		}
		if i, ok = skipJSON(b, skipWhite(b, i), depth); !ok {
			return 0, false
		}
		if i = skipWhite(b, i); i == len(b) || b[i] != ',' && b[i] != end {
			return 0, false
		}
		if b[i] == end {
			return i + 1, true
		}
		i++
	}
}

// skipText returns the index behind the text that begins at b[i], behind its opening quote.
func skipText(b []byte, i int) (next int, ok bool) {
	start := i
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, utf8.Valid(b[start:i])
		case c < ' ':
			return 0, false
		case c == '\\':
			if i++; i == len(b) {
				return 0, false
			}
			if b[i] != 'u' {
				if strings.IndexByte(jsonEscapes, b[i]) < 0 {
					return 0, false
				}
				continue
			}
			for range 4 {
				if i++; i == len(b) || !isDigit(b[i]) && (b[i]|0x20)-'a' > 5 {
					return 0, false
				}
			}
		}
	}
	return 0, false
}
