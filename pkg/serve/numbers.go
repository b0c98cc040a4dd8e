package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// data is a JSON list of values, or a list of such lists of one length. What is neither is kept as an error, so that whoever
// knows where the list stands can say so.
type data struct {
	values []float64 // NaN: null, or a text
	texts  [][]byte  // by value, nil: it is no text; nil: there are no texts
	width  int       // of the inner lists; 0: there are none
	nulls  bool      // some of the values were null
	bools  bool      // some of the values were true or false, which are read as 1 and 0
	err    error
}

// UnmarshalJSON implements [json.Unmarshaler].
func (d *data) UnmarshalJSON(text []byte) error {
	*d = data{values: room(text)}
	if bytes.IndexByte(text, '"') >= 0 {
		text = bytes.Clone(text) // for the texts, which are parts of it
	}
	d.err = d.read(&cursor{text: text})
	return nil
}

// room returns an empty slice with room for all values of a list: no more than there are commas in it, and one.
func room(text []byte) []float64 { return make([]float64, 0, bytes.Count(text, []byte{','})+1) }

func (d *data) read(c *cursor) error {
	if c.peek() != '[' {
		return fmt.Errorf("data is %s; want a list of values", c.what())
	}
	for i := range c.list() {
		if i == 0 && c.peek() == '[' {
			d.width = -1 // the first one says
		}
		if d.width == 0 {
			if !d.value(c) {
				return fmt.Errorf("data[%d] is %s; want a value", i, c.what())
			}
			continue
		}
		if err := d.inner(c, i); err != nil {
			return err
		}
	}
	return nil
}

// inner reads the i-th inner list.
func (d *data) inner(c *cursor, i int) error {
	if c.peek() != '[' {
		return fmt.Errorf("data[%d] is %s; want a list, as data[0] is", i, c.what())
	}
	before := len(d.values)
	for j := range c.list() {
		if !d.value(c) {
			return fmt.Errorf("data[%d][%d] is %s; want a value", i, j, c.what())
		}
	}
	width := len(d.values) - before
	if i == 0 {
		d.width = width
	}
	if width == 0 {
		return fmt.Errorf("data[%d] is empty", i)
	}
	if width != d.width {
		return fmt.Errorf("data[%d] has %d values, and data[0] has %d", i, width, d.width)
	}
	return nil
}

// value reads a value, and reports false where there is none.
func (d *data) value(c *cursor) bool {
	switch c.peek() {
	case '"':
		if d.texts == nil {
			d.texts = make([][]byte, cap(d.values))
		}
		d.texts[len(d.values)] = c.quoted()
		d.values = append(d.values, math.NaN())
		return true
	case 'n':
		d.nulls = true
		d.values = append(d.values, math.NaN())
		return c.null()
	case 't', 'f':
		d.bools = true
	}
	v, ok := c.number()
	d.values = append(d.values, v)
	return ok
}

// isText says whether the i-th value is a text.
func (d *data) isText(i int) bool { return d.texts != nil && d.texts[i] != nil }

// of returns the i-th value as one of a column, to which it fits.
func (d *data) of(column *Column, i int) value {
	v := d.values[i]
	switch {
	case column.Category == nil:
		return value{number: v}
	case d.isText(i):
		return value{hash: column.hash(d.texts[i])}
	case v != v:
		return value{}
	}
	return value{hash: column.Category.Number(v)}
}

// place says where the i-th value stands.
func (d *data) place(i int) string {
	if d.width == 0 {
		return fmt.Sprintf("data[%d]", i)
	}
	return fmt.Sprintf("data[%d][%d]", i/d.width, i%d.width)
}

// cursor goes over JSON that encoding/json has found to be correct: it looks at nothing twice, and at no more than it
// has to.
type cursor struct {
	text []byte
	at   int
}

// peek returns the first byte of the next token.
func (c *cursor) peek() byte {
	for {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r':
			c.at++
		default:
			return b
		}
	}
}

// list goes over a list: each time, the body of the loop has to read one value.
func (c *cursor) list() func(yield func(i int) bool) { return c.between(']') }

// object goes over an object: each time, the body of the loop has to read a key and a value.
func (c *cursor) object() func(yield func(i int) bool) { return c.between('}') }

func (c *cursor) between(end byte) func(yield func(i int) bool) {
	return func(yield func(i int) bool) {
		c.peek()
		c.at++ // the opening bracket
		for i := 0; c.peek() != end; i++ {
			if !yield(i) {
				return
			}
			if c.peek() == ',' {
				c.at++
			}
		}
		c.at++
	}
}

// number reads a number, or true or false as 1 or 0. Where there is anything else, or a number that no float64 holds, it
// stays where it is.
func (c *cursor) number() (v float64, ok bool) {
	switch b := c.peek(); {
	case b == 't':
		c.at += len("true")
		return 1, true
	case b == 'f':
		c.at += len("false")
		return 0, true
	case b != '-' && (b < '0' || b > '9'):
		return 0, false
	}
	end := c.end()
	v, err := strconv.ParseFloat(string(c.text[c.at:end]), 64)
	if err != nil {
		return 0, false
	}
	c.at = end
	return v, true
}

// end returns where the number ends that begins here.
func (c *cursor) end() int {
	for i, b := range c.text[c.at:] {
		switch b {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return c.at + i
		}
	}
	return len(c.text)
}

// null reads null. Where there is anything else it stays where it is.
func (c *cursor) null() bool {
	if c.peek() != 'n' {
		return false
	}
	c.at += len("null")
	return true
}

// key reads an object's key and the colon behind it.
func (c *cursor) key() []byte {
	c.peek()
	key := c.quoted()
	c.peek()
	c.at++
	return key
}

// quoted reads a text, whose quotation mark stands here.
func (c *cursor) quoted() []byte {
	begin, end, escaped := c.at, c.at+1, false
	for ; c.text[end] != '"'; end++ {
		if c.text[end] == '\\' {
			escaped = true
			end++
		}
	}
	text := c.text[begin+1 : end]
	if escaped {
		var plain string
		_ = json.Unmarshal(c.text[begin:end+1], &plain) // it is correct JSON
		text = []byte(plain)
	}
	c.at = end + 1
	return text
}

// what says what the next value is, for an error: nothing more is read after it.
func (c *cursor) what() string {
	switch b := c.peek(); b {
	case '[':
		return "a list"
	case '{':
		return "an object"
	case '"':
		return "a text"
	case 'n':
		return "null"
	case 't', 'f':
		return "a truth value"
	}
	at := c.at
	if _, ok := c.number(); ok {
		return "a number"
	}
	return fmt.Sprintf("%.40s, which is too large", c.text[at:c.end()])
}
