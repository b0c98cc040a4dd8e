// Package varint reads the numbers of Kafka's records and of Avro: zigzag encoding, seven bits a byte.
package varint

import "encoding/binary"

// Read is binary.Varint, but quick for the numbers of one byte or two that most are. It returns a number and how many bytes it
// takes: 0 where b ends too early, less than 0 where it has more than 64 bits.
func Read(b []byte) (v int64, n int) {
	var u uint64
	switch {
	case len(b) > 0 && b[0] < 0x80:
		u, n = uint64(b[0]), 1
	case len(b) > 1 && b[1] < 0x80:
		u, n = uint64(b[0]&0x7F)|uint64(b[1])<<7, 2
	default:
		u, n = binary.Uvarint(b)
	}
	return int64(u>>1) ^ -int64(u&1), n
}
