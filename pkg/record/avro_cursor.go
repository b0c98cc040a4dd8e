package record

import "encoding/binary"

// cursor reads the numbers and byte strings of Avro's binary encoding, which are those of Kafka's records, too. Where
// something is not as it should be, the cursor stays there and says in fault what is wrong.
type cursor struct {
	data  []byte
	at    int
	fault string
}

const cutShort = "the data ends too early"

// long reads a number in zigzag encoding. Most have one byte or two.
func (c *cursor) long() (v int64, ok bool) {
	b := c.data[c.at:]
	n := 1
	var u uint64
	switch {
	case len(b) > 0 && b[0] < 0x80:
		u = uint64(b[0])
	case len(b) > 1 && b[1] < 0x80:
		u, n = uint64(b[0]&0x7F)|uint64(b[1])<<7, 2
	default:
		u, n = binary.Uvarint(b)
	}
	if n <= 0 {
		c.fault = cutShort
		if n < 0 {
			c.fault = "a number has more than 64 bits"
		}
		return 0, false
	}
	c.at += n
	return int64(u>>1) ^ -int64(u&1), true
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
