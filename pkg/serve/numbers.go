package serve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// numbers is a JSON list of numbers, or a list of such lists of one length. What is neither is kept as an error, so that
// whoever knows where the list stands can say so.
type numbers struct {
	values []float64
	width  int  // of the inner lists; 0: there are none
	bools  bool // some of the values were true or false, which are read as 1 and 0
	err    error
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *numbers) UnmarshalJSON(text []byte) error {
	*n = numbers{values: room(text)}
	c := cursor{text: text}
	n.err = n.read(&c)
	return nil
}

// room returns an empty slice with room for all values of a list: no more than there are commas in it, and one.
func room(text []byte) []float64 { return make([]float64, 0, bytes.Count(text, []byte{','})+1) }

func (n *numbers) read(c *cursor) error {
	if c.peek() != '[' {
		return fmt.Errorf("data is %s; want a list of numbers", c.what())
	}
	for i := range c.list() {
		if i == 0 && c.peek() == '[' {
			n.width = -1 // the first one says
		}
		if n.width == 0 {
			v, ok := n.number(c)
			if !ok {
				return fmt.Errorf("data[%d] is %s; want a number", i, c.what())
			}
			n.values = append(n.values, v)
			continue
		}
		if err := n.inner(c, i); err != nil {
			return err
		}
	}
	return nil
}

// inner reads the i-th inner list.
func (n *numbers) inner(c *cursor, i int) error {
	if c.peek() != '[' {
		return fmt.Errorf("data[%d] is %s; want a list, as data[0] is", i, c.what())
	}
	before := len(n.values)
	for j := range c.list() {
		v, ok := n.number(c)
		if !ok {
			return fmt.Errorf("data[%d][%d] is %s; want a number", i, j, c.what())
		}
		n.values = append(n.values, v)
	}
	width := len(n.values) - before
	if i == 0 {
		n.width = width
	}
	if width == 0 {
		return fmt.Errorf("data[%d] is empty", i)
	}
	if width != n.width {
		return fmt.Errorf("data[%d] has %d numbers, and data[0] has %d", i, width, n.width)
	}
	return nil
}

func (n *numbers) number(c *cursor) (v float64, ok bool) {
	if b := c.peek(); b == 't' || b == 'f' {
		n.bools = true
	}
	return c.number()
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

// key reads an object's key and the colon behind it.
func (c *cursor) key() []byte {
	c.peek()
	begin, end, escaped := c.at, c.at+1, false
	for ; c.text[end] != '"'; end++ {
		if c.text[end] == '\\' {
			escaped = true
			end++
		}
	}
	key := c.text[begin+1 : end]
	if escaped {
		var text string
		_ = json.Unmarshal(c.text[begin:end+1], &text) // it is correct JSON
		key = []byte(text)
	}
	c.at = end + 1
	c.peek()
	c.at++
	return key
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
