package record

import "learner/internal/varint"

// cursor reads the numbers and byte strings of Avro's binary encoding, which are those of Kafka's records, too. Where
// something is not as it should be, the cursor stays there and says in fault what is wrong.
type cursor struct {
	data  []byte
	at    int
	fault string
}

const cutShort = "the data ends too early"

// long reads a number in zigzag encoding.
func (c *cursor) long() (v int64, ok bool) {
	v, n := varint.Read(c.data[c.at:])
	if n <= 0 {
		c.fault = cutShort
		if n < 0 {
			c.fault = "a number has more than 64 bits"
		}
		return 0, false
	}
	c.at += n
	return v, true
}

// take returns the next n bytes.
func (c *cursor) take(n int) (b []byte, ok bool) {
	if n > len(c.data)-c.at {
		c.fault = cutShort
		return nil, false
	}
	c.at += n
	return c.data[c.at-n : c.at : c.at], true
}

// bytes reads a length and as many bytes.
func (c *cursor) bytes() (b []byte, ok bool) {
	start := c.at
	n, ok := c.long()
	switch {
	case !ok:
	case n < 0:
		c.at, c.fault = start, "a length is negative"
	case n > int64(len(c.data)-c.at):
		c.at, c.fault = start, "a length goes beyond the end"
	default:
		return c.take(int(n))
	}
	return nil, false
}

// nullable reads a length and as many bytes; -1 is null.
func (c *cursor) nullable() (b []byte, ok bool) {
	start := c.at
	if n, ok := c.long(); ok && n == -1 {
		return nil, true
	}
	c.at = start
	return c.bytes()
}
