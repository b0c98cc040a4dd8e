package record

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// headersOf returns headers as they stand in the log, from keys and values by turns. A nil value is null.
func headersOf(parts ...[]byte) []byte {
	dst := binary.AppendVarint(nil, int64(len(parts)/2))
	for _, part := range parts {
		if part == nil {
			dst = binary.AppendVarint(dst, -1)
			continue
		}
		dst = append(binary.AppendVarint(dst, int64(len(part))), part...)
	}
	return dst
}

func TestFrames(t *testing.T) {
	guid := []byte{0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0, 1, 2, 3, 4, 5, 6, 7}
	key, other := []byte(schemaHeader), []byte("trace")
	long := bytes.Repeat([]byte("x"), 300)
	for _, tt := range []struct {
		name    string
		headers []byte
		value   []byte
		id      string // empty: not framed
		payload string
		bad     string
	}{
		{name: "number in front", headers: []byte{0}, value: []byte("\x00\x00\x01\x00\x02abc"), id: "65538", payload: "abc"},
		{name: "no headers at all", value: []byte("\x00\x00\x00\x00\x07"), id: "7"},
		{name: "CSV", headers: []byte{0}, value: []byte("1,2"), payload: "1,2"},
		{name: "empty", headers: []byte{0}, value: []byte{}},
		{name: "other headers", headers: headersOf(other, long, []byte{}, nil), value: []byte("1,2"), payload: "1,2"},
		{name: "number in a header", headers: headersOf(other, nil, key, []byte{0, 0, 0, 0, 9}), value: []byte("abc"), id: "9", payload: "abc"},
		{name: "header before prefix", headers: headersOf(key, []byte{0, 0, 0, 0, 9}), value: []byte("\x00\x00\x00\x00\x07a"), id: "9", payload: "\x00\x00\x00\x00\x07a"},
		{name: "the last header counts", headers: headersOf(key, []byte{3}, key, []byte{0, 0, 0, 0, 9}), value: []byte("a"), id: "9", payload: "a"},
		{name: "GUID", headers: headersOf(other, long, key, append([]byte{1}, guid...)), value: []byte("a"), id: "fedcba98-7654-3210-0001-020304050607", payload: "a"},
		{name: "largest number", value: []byte("\x00\x7f\xff\xff\xff"), id: "2147483647"},

		{name: "negative number", value: []byte("\x00\xff\xff\xff\xff"), bad: "schema id -1 is negative"},
		{name: "half a number", value: []byte("\x00\x00\x01"), bad: "of 4 bytes, of which 2"},
		{name: "null header", headers: headersOf(key, nil), value: []byte("a"), bad: schemaHeader},
		{name: "empty header", headers: headersOf(key, []byte{}), value: []byte("a"), bad: schemaHeader},
		{name: "short GUID", headers: headersOf(key, append([]byte{1}, guid[1:]...)), value: []byte("a"), bad: "neither 00 and 4 bytes"},
		{name: "long number", headers: headersOf(key, []byte{0, 0, 0, 0, 9, 9}), value: []byte("a"), bad: "neither 00 and 4 bytes"},
		{name: "other magic", headers: headersOf(key, []byte{2, 0, 0, 0, 9}), value: []byte("a"), bad: "02 00 00 00 09"},
		{name: "negative number in a header", headers: headersOf(key, []byte{0, 0x80, 0, 0, 0}), value: []byte("a"), bad: "-2147483648 is negative"},
		{name: "fewer headers than announced", headers: []byte{4, 2, 'a', 2, 'b'}, value: []byte("a"), bad: "headers: byte 5"},
		{name: "negative number of headers", headers: []byte{3, 2}, value: []byte("a"), bad: "headers: byte 1: their number is negative"},
		{name: "endless number", headers: slices.Repeat([]byte{0xff}, 20), value: []byte("a"), bad: "more than 64 bits"},
		{name: "key beyond the end", headers: []byte{2, 8, 'a'}, value: []byte("a"), bad: "beyond the end"},
		{name: "value of negative length", headers: []byte{2, 2, 'a', 3}, value: []byte("a"), bad: "negative"},
		{name: "null key", headers: []byte{2, 1, 0}, value: []byte("a"), bad: "negative"},
	} {
		rec := Record{Headers: tt.headers, Value: tt.value}
		id, payload, framed, bad := frameOf(&rec)
		switch {
		case tt.bad != "":
			if bad == nil || bad.Reason != Decode || !strings.Contains(bad.Detail, tt.bad) || framed {
				t.Errorf("%s: %v, framed %v", tt.name, bad, framed)
			}
		case bad != nil || framed != (tt.id != "") || string(payload) != tt.payload || framed && id.String() != tt.id:
			t.Errorf("%s: %v, %q, framed %v, %v", tt.name, id, payload, framed, bad)
		}
	}
	rec := Record{Headers: headersOf(other, long, key, append([]byte{1}, guid...)), Value: []byte("a")}
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = frameOf(&rec) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
