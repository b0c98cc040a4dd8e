package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Kind says what the values of a column are.
type Kind uint8

// The kinds.
const (
	Numeric     Kind = iota
	Categorical      // text, of which each value is a feature of its own
	Null             // nothing but null, which may stand for either
	kinds
)

var kindNames = [kinds]string{"number", "category", "null"}

func (k Kind) String() string { return kindNames[k] }

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes a kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if string(text) == name {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown kind of column %q", text)
}

// Column is a named column of a row.
type Column struct {
	Name string `json:"name"` // of nested fields, all names with dots between
	Kind Kind   `json:"kind"`
}

// Shape says which columns a row has, the label left out, in the order of its record. No two have the same name. It is
// immutable, and decoders use one shape for all records alike. Rows whose columns have no names have no shape.
type Shape struct {
	Columns []Column
	Origin  string // what it is from, for people: "Avro schema 17"
}

// Hasher makes the hashes of one column's values. They are the same in every process, on every machine.
type Hasher uint64

// NewHasher returns the hasher of the column of a name.
func NewHasher(column string) Hasher { return Hasher(xxhash.Sum64String(column)) }

// Text returns the hash of a value; never 0, which stands for a missing one in blocks.
func (h Hasher) Text(value []byte) uint64 { return h.of(xxhash.Sum64(value)) }

// Number returns the hash of a number: that of its shortest text, so that 10, 10.0, and "10" are one category. Only from 1e21 on,
// and below 1e-6, that has an exponent.
func (h Hasher) Number(v float64) uint64 {
	var text [32]byte
	if v == 0 {
		v = 0 // no sign
	}
	format := byte('f')
	if size := math.Abs(v); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	return h.Text(strconv.AppendFloat(text[:0], v, format, -1, 64))
}

// Missing returns the hash that stands for "the column has no value".
func (h Hasher) Missing() uint64 { return h.of(math.MaxUint64) ^ 1 }

// of mixes the hash of a value with that of the column.
func (h Hasher) of(value uint64) uint64 {
	var both [16]byte
	binary.LittleEndian.PutUint64(both[:], uint64(h))
	binary.LittleEndian.PutUint64(both[8:], value)
	return max(1, xxhash.Sum64(both[:]))
}
