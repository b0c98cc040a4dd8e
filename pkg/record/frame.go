package record

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
)

// schemaHeader is the record header that names the schema of the value.
const schemaHeader = "__value_schema_id"

// What a schema id begins with: in a header either, in front of a value only the number.
const (
	numberFollows = 0
	guidFollows   = 1
)

// prefixSize is how long a schema id in front of a value is.
const prefixSize = 5

// schemaID is what a record says of its schema: a number, or a GUID.
type schemaID struct {
	number uint32
	guid   [16]byte
	global bool // it is the GUID
}

// String returns the id as a registry knows it.
func (id schemaID) String() string {
	if !id.global {
		return strconv.FormatUint(uint64(id.number), 10)
	}
	return string(appendGUID(nil, id.guid[:]))
}

// appendGUID appends 16 bytes in the usual form of a GUID.
func appendGUID(dst, guid []byte) []byte {
	start := 0
	for i, end := range [...]int{4, 6, 8, 10, 16} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, guid[start:end])
		start = end
	}
	return dst
}

// frameOf finds the schema id of a record that was written with a schema registry, and the value without it: the id is in a
// header, or else in front of the value. A value may be neither framed nor bad.
func frameOf(rec *Record) (id schemaID, payload []byte, framed bool, bad *Bad) {
	if len(rec.Headers) > 1 {
		value, found, bad := findHeader(rec.Headers, schemaHeader)
		if bad != nil {
			return id, nil, false, bad
		}
		if found {
			id, bad = headerID(value)
			return id, rec.Value, bad == nil, bad
		}
	}
	v := rec.Value
	if len(v) == 0 || v[0] != numberFollows {
		return id, v, false, nil
	}
	if len(v) < prefixSize {
		return id, nil, false, &Bad{Reason: Decode, Detail: fmt.Sprintf("byte 0 announces a schema id of 4 bytes, of which %d are there", len(v)-1)}
	}
	id.number = binary.BigEndian.Uint32(v[1:])
	if bad := id.check(); bad != nil {
		return id, nil, false, bad
	}
	return id, v[prefixSize:], true, nil
}

// headerID reads the value of the schema header.
func headerID(value []byte) (id schemaID, bad *Bad) {
	switch {
	case len(value) == prefixSize && value[0] == numberFollows:
		id.number = binary.BigEndian.Uint32(value[1:])
		return id, id.check()
	case len(value) == 17 && value[0] == guidFollows:
		id.global = true
		copy(id.guid[:], value[1:])
		return id, nil
	}
	return id, &Bad{Reason: Decode, Detail: fmt.Sprintf("header %s: % x is neither 00 and 4 bytes of a number nor 01 and 16 bytes of a GUID",
		schemaHeader, value[:min(len(value), 20)])}
}

// check refuses numbers that no registry gives.
func (id schemaID) check() *Bad {
	if int32(id.number) < 0 {
		return &Bad{Reason: Decode, Detail: fmt.Sprintf("schema id %d is negative", int32(id.number))}
	}
	return nil
}

// findHeader returns the value of the last header of that name.
func findHeader(headers []byte, name string) (value []byte, found bool, bad *Bad) {
	c := cursor{data: headers}
	n, ok := c.long()
	if n < 0 {
		ok, c.fault = false, "their number is negative"
	}
	for range n {
		var key, v []byte
		if key, ok = c.bytes(); !ok {
			break
		}
		if v, ok = c.nullable(); !ok {
			break
		}
		if string(key) == name {
			value, found = v, true
		}
	}
	if !ok {
		return nil, false, &Bad{Reason: Decode, Detail: fmt.Sprintf("headers: byte %d: %s", c.at, c.fault)}
	}
	return value, found, nil
}
