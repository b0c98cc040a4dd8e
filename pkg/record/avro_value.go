package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
)

// avroValue is a value that may be a feature.
type avroValue struct {
	is     valueIs
	number float64 // of a boolean 0 or 1
	text   []byte
}

type valueIs uint8

const (
	isMissing valueIs = iota
	isNumber
	isBoolean
	isText
)

// value reads a value. What is null, or no feature, is missing.
func (d *avroDecoder) value(t *avroType) (v avroValue, ok bool) {
	switch t.kind {
	case avroBoolean:
		b, ok := d.take(1)
		if !ok {
			return v, false
		}
		if b[0] > 1 {
			d.at, d.fault = d.at-1, fmt.Sprintf("%#02x is no boolean", b[0])
			return v, false
		}
		return avroValue{is: isBoolean, number: float64(b[0])}, true
	case avroInt:
		start := d.at
		n, ok := d.long()
		if ok && n != int64(int32(n)) {
			d.at, d.fault = start, fmt.Sprintf("%d is no int", n)
			return v, false
		}
		return avroValue{is: isNumber, number: float64(n)}, ok
	case avroLong:
		n, ok := d.long()
		return avroValue{is: isNumber, number: float64(n)}, ok
	case avroFloat:
		b, ok := d.take(4)
		if !ok {
			return v, false
		}
		return avroValue{is: isNumber, number: float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))}, true
	case avroDouble:
		b, ok := d.take(8)
		if !ok {
			return v, false
		}
		return avroValue{is: isNumber, number: math.Float64frombits(binary.LittleEndian.Uint64(b))}, true
	case avroBytes, avroString:
		b, ok := d.bytes()
		return d.meaning(t, b, ok)
	case avroFixed:
		b, ok := d.take(t.size)
		return d.meaning(t, b, ok)
	case avroEnum:
		i, ok := d.index(len(t.symbols), "symbol")
		if !ok {
			return v, false
		}
		return avroValue{is: isText, text: t.symbols[i]}, true
	case avroUnion:
		i, ok := d.index(len(t.of), "branch")
		if !ok {
			return v, false
		}
		return d.value(t.of[i])
	}
	return v, d.skip(t)
}

// meaning returns what bytes mean.
func (d *avroDecoder) meaning(t *avroType, b []byte, ok bool) (avroValue, bool) {
	switch {
	case !ok:
		return avroValue{}, false
	case t.logical == avroDecimal:
		return d.decimal(b, t.scale)
	case t.kind == avroString:
		return avroValue{is: isText, text: b}, true
	case t.logical == avroUUID:
		return avroValue{is: isText, text: appendGUID(d.scratch[:0], b)}, true
	}
	return avroValue{}, true
}

// index reads the number of one of n things.
func (d *avroDecoder) index(n int, what string) (i int, ok bool) {
	start := d.at
	v, ok := d.long()
	if ok && (v < 0 || v >= int64(n)) {
		d.at, d.fault = start, fmt.Sprintf("%s %d of %d", what, v, n)
		return 0, false
	}
	return int(v), ok
}

// maxDecimal bounds the bytes of a decimal.
const maxDecimal = 1024

// decimal returns the value of a decimal: a whole number in two's complement, the highest byte first, that is to be divided by
// 10^scale. It is rounded once, as its digits are: see parseFloat.
func (d *avroDecoder) decimal(b []byte, scale int) (avroValue, bool) {
	if len(b) == 0 || len(b) > maxDecimal {
		d.at, d.fault = d.at-len(b), fmt.Sprintf("a decimal of %d bytes", len(b))
		return avroValue{}, false
	}
	text := d.scratch[:0]
	if len(b) <= 16 {
		text = appendInt128(text, b)
	} else {
		n := new(big.Int).SetBytes(b)
		if b[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		text = n.Append(text, 10)
	}
	text = strconv.AppendInt(append(text, 'e'), -int64(scale), 10)
	v, _, _ := parseFloat(text, 0)
	return avroValue{is: isNumber, number: v}, true
}

// appendInt128 appends the digits of a number of at most 16 bytes in two's complement.
func appendInt128(dst, b []byte) []byte {
	sign := uint64(int64(int8(b[0])) >> 7)
	hi, lo := sign, sign
	for _, c := range b {
		hi, lo = hi<<8|lo>>56, lo<<8|uint64(c)
	}
	if sign != 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	const e19 = 1e19 // the largest power of ten in 64 bits
	var parts [3]uint64
	n := 0
	for hi != 0 {
		q := hi / e19
		lo, parts[n] = bits.Div64(hi%e19, lo, e19)
		hi = q
		n++
	}
	dst = strconv.AppendUint(dst, lo, 10)
	for _, part := range slices.Backward(parts[:n]) {
		dst = append(dst, "0000000000000000000"...)
		for at := len(dst) - 1; part > 0; at-- {
			dst[at] = byte('0' + part%10)
			part /= 10
		}
	}
	return dst
}

// skip passes over a value.
func (d *avroDecoder) skip(t *avroType) bool {
	if t.width != varies {
		_, ok := d.take(t.width)
		return ok
	}
	if d.depth++; d.depth > maxValueDepth {
		d.fault = fmt.Sprintf("more than %d values are nested", maxValueDepth)
		return false
	}
	ok := d.skipVarying(t)
	d.depth--
	return ok
}

func (d *avroDecoder) skipVarying(t *avroType) (ok bool) {
	switch t.kind {
	case avroInt, avroLong:
		_, ok = d.long()
	case avroEnum:
		_, ok = d.index(len(t.symbols), "symbol")
	case avroBytes, avroString:
		_, ok = d.bytes()
	case avroUnion:
		var i int
		if i, ok = d.index(len(t.of), "branch"); ok {
			ok = d.skip(t.of[i])
		}
	case avroRecord:
		for _, part := range t.passed {
			if !d.skip(part) {
				return false
			}
		}
		return true
	case avroArray, avroMap:
		return d.skipBlocks(t)
	}
	return ok
}

// skipBlocks passes over an array or a map.
func (d *avroDecoder) skipBlocks(t *avroType) bool {
	for {
		n, size, ok := d.blockOf()
		switch {
		case !ok:
			return false
		case n == 0:
			return true
		case size >= 0:
			if _, ok = d.take(size); !ok {
				return false
			}
			continue
		}
		item := t.of[0]
		if t.kind == avroArray && item.width == 0 {
			continue
		}
		if t.kind == avroArray && item.width > 0 {
			if n > int64(len(d.data)-d.at)/int64(item.width) {
				d.fault = cutShort
				return false
			}
			d.at += int(n) * item.width
			continue
		}
		for range n { // each has a byte at least, or is nested too deep
			if t.kind == avroMap {
				if _, ok = d.bytes(); !ok {
					return false
				}
			}
			if !d.skip(item) {
				return false
			}
		}
	}
}

// blockOf reads how many items of an array or a map come next, and their size; -1: it is not said.
func (d *avroDecoder) blockOf() (n int64, size int, ok bool) {
	start := d.at
	if n, ok = d.long(); !ok || n >= 0 {
		return n, -1, ok
	}
	if n == math.MinInt64 {
		d.at, d.fault = start, "a number of items is out of range"
		return 0, -1, false
	}
	bytes, ok := d.long()
	if ok && (bytes < 0 || bytes > int64(len(d.data)-d.at)) {
		d.at, d.fault = start, fmt.Sprintf("items of %d bytes", bytes)
		return 0, -1, false
	}
	return -n, int(bytes), ok
}
