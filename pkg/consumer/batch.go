package consumer

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"learner/internal/varint"
	"learner/pkg/record"
)

// Layout of a record batch, version 2 (KIP-98), all numbers big endian:
//
//	base offset i64 @0, length i32 @8 (of what follows), leader epoch i32 @12, magic i8 @16, CRC-32C u32 @17 (of what
//	follows), attributes i16 @21, last offset delta i32 @23, first timestamp i64 @27, max timestamp i64 @35,
//	producer id i64 @43, producer epoch i16 @51, base sequence i32 @53, record count i32 @57, records @61
const batchHeaderSize = 61

// Attributes of a batch.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// unknownTime is the stamp of a batch that was not seen.
const unknownTime = math.MinInt64

// errCorrupt comes when bytes from a broker contradict themselves or their checksum. The bytes are asked for again.
var errCorrupt = errors.New("corrupt record batch")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is one batch of a frame. Its records point into the frame.
type batch struct {
	record.Batch
	attributes int16
	firstTime  int64 // milliseconds
	producer   int64
	count      int32
	records    []byte // as on the wire: compressed when the attributes say so
	previous   int64  // stamp of the batch before, microseconds, or unknownTime
	skip       bool   // holds nothing for a reader: control records or an aborted transaction
}

// nextBatch parses and checks the batch at the start of data, and returns how many bytes it takes. It returns 0 when
// data ends inside the batch, which is legal at the end of an answer: brokers cut at a byte limit.
func nextBatch(data []byte, b *batch) (size int, err error) {
	if len(data) <= 16 {
		return 0, nil
	}
	if magic := data[16]; magic != 2 {
		return 0, fmt.Errorf("record batch in format %d at offset %d: only format 2 (Kafka 0.11 and later) is read",
			magic, binary.BigEndian.Uint64(data))
	}
	length := int(int32(binary.BigEndian.Uint32(data[8:])))
	if length < batchHeaderSize-12 {
		return 0, fmt.Errorf("%w: length %d", errCorrupt, length)
	}
	if length > len(data)-12 {
		return 0, nil
	}
	size = 12 + length
	if got, want := crc32.Checksum(data[21:size], castagnoli), binary.BigEndian.Uint32(data[17:]); got != want {
		return 0, fmt.Errorf("%w at offset %d: CRC-32C is %08x, header says %08x",
			errCorrupt, binary.BigEndian.Uint64(data), got, want)
	}
	base := int64(binary.BigEndian.Uint64(data))
	delta := int32(binary.BigEndian.Uint32(data[23:]))
	if count := int32(binary.BigEndian.Uint32(data[57:])); count < 0 {
		return 0, fmt.Errorf("%w: %d records", errCorrupt, count)
	}
	if base < 0 || delta < 0 || base > math.MaxInt64-int64(delta)-1 {
		return 0, fmt.Errorf("%w: offsets %d + %d", errCorrupt, base, delta)
	}
	*b = batch{
		Batch: record.Batch{
			Base:        base,
			Last:        base + int64(delta),
			Time:        microseconds(int64(binary.BigEndian.Uint64(data[35:]))),
			LeaderEpoch: int32(binary.BigEndian.Uint32(data[12:])),
		},
		attributes: int16(binary.BigEndian.Uint16(data[21:])),
		firstTime:  int64(binary.BigEndian.Uint64(data[27:])),
		producer:   int64(binary.BigEndian.Uint64(data[43:])),
		count:      int32(binary.BigEndian.Uint32(data[57:])),
		records:    data[batchHeaderSize:size],
	}
	return size, nil
}

// microseconds converts Kafka's milliseconds, keeping absurd values so far in range that differences do not overflow.
func microseconds(ms int64) int64 {
	const limit = math.MaxInt64 / 2000
	return min(max(ms, -limit), limit) * 1000
}

// isAbort reports whether a control batch holds an abort marker. Control batches are never compressed and hold one
// record whose key is version i16, type i16 (0: abort, 1: commit).
func (b *batch) isAbort() bool {
	w := walker{data: b.records}
	var r wireRecord
	return w.next(&r) && len(r.key) >= 4 && binary.BigEndian.Uint16(r.key[2:]) == 0
}

// Limits of the interpolation of append times, in microseconds.
const maxAppendGap = 10_000_000

// appendTime returns the time that a record of a LogAppendTime batch counts as, in microseconds. All records of such a
// batch carry the stamp of their arrival; spread between the batch before and this one they do not come in a row.
func (b *batch) appendTime(offset int64) int64 {
	gap := int64(maxAppendGap)
	if b.previous != unknownTime {
		gap = min(max(b.Time-b.previous, 0), maxAppendGap)
	}
	// Offsets of a batch fit in 31 bits and the gap in 24: the product does not overflow.
	return b.Time - gap*(b.Last-offset)/(b.Last-b.Base+1)
}

// wireRecord is one record of a batch; what it holds points into the batch.
type wireRecord struct {
	timeDelta, offsetDelta int64
	key, value             []byte
	headers                []byte // as record.Record has them
	raw                    []byte // all of it from the key on
}

// walker goes over the uncompressed records of a batch.
type walker struct {
	data []byte
	bad  bool
}

// next reads one record. It returns false at the end of data and, with bad set, where data is no record.
func (w *walker) next(r *wireRecord) bool {
	if len(w.data) == 0 || w.bad {
		return false
	}
	length, rest, whole := number(w.data)
	if !whole || length < 1 || length > int64(len(rest)) {
		w.bad = true
		return false
	}
	body := rest[:length]
	w.data = rest[length:]
	body = body[1:] // attributes: none are defined
	var ok [4]bool
	r.timeDelta, body, ok[0] = number(body)
	r.offsetDelta, body, ok[1] = number(body)
	r.raw = body
	r.key, body, ok[2] = bytesField(body)
	r.value, r.headers, ok[3] = bytesField(body)
	w.bad = ok != [4]bool{true, true, true, true}
	return !w.bad
}

// number reads a number in zigzag encoding.
func number(b []byte) (v int64, rest []byte, ok bool) {
	v, n := varint.Read(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// bytesField reads a length and as many bytes; a length of -1 is null.
func bytesField(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := number(b)
	if !ok || n > int64(len(b)) || n < -1 {
		return nil, nil, false
	}
	if n == -1 {
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}

// decode appends the rows of b with offsets from first on to dst. scratch decompresses. A batch whose checksum holds
// but whose content does not is refused from the damage on, with one refusal at the first offset that is in doubt:
// asking again would bring the same bytes. Keep says that what a record holds is kept beside its row, or its refusal. A
// *record.Pending ends it in the middle: dst is of no use then.
func (b *batch) decode(dst *record.Block, first int64, dec record.Decoder, scratch *decompressor, keep bool) *record.Pending {
	dst.Batches = append(dst.Batches, b.Batch)
	if b.skip || b.count == 0 || dec == nil {
		return nil
	}
	data, err := scratch.decompress(int(b.attributes&attrCodec), b.records)
	dst.Bytes += len(data)
	if err != nil {
		refuse(dst, max(first, b.Base), fmt.Sprintf("batch %d to %d: %v", b.Base, b.Last, err))
		return nil
	}
	w := walker{data: data}
	var r wireRecord
	rows := min(int(b.count), len(data)/minRecordSize)
	reserve(dst, rows, len(data))
	seen, expected := int32(0), b.Base
	for seen < b.count && w.next(&r) {
		offset := b.Base + r.offsetDelta
		if offset < expected || offset > b.Last {
			w.bad = true
			break
		}
		seen, expected = seen+1, offset+1
		if offset < first {
			continue
		}
		rec := record.Record{Offset: offset, Key: r.key, Value: r.value, Headers: r.headers}
		if b.attributes&attrLogAppendTime != 0 {
			rec.Time = b.appendTime(offset)
		} else {
			rec.Time = microseconds(b.firstTime + r.timeDelta)
		}
		refusal, pending := decodeOne(dst, dec, rec)
		switch {
		case pending != nil:
			return pending
		case refusal != nil && keep:
			refusal.Raw = slices.Clone(r.raw)
			fallthrough
		case refusal != nil:
			dst.Refused = append(dst.Refused, *refusal)
		case keep && dst.Rows() > len(dst.RawEnd):
			dst.Raw = append(dst.Raw, r.raw...)
			dst.RawEnd = append(dst.RawEnd, len(dst.Raw))
		}
		if seen == 1 {
			reserve(dst, rows-1, len(data)) // now the width of rows is known
		}
	}
	if w.bad || seen < b.count {
		refuse(dst, min(max(first, expected), b.Last),
			fmt.Sprintf("batch %d to %d: record %d of %d is damaged", b.Base, b.Last, seen+1, b.count))
	} else if len(w.data) > 0 {
		refuse(dst, min(max(first, expected), b.Last),
			fmt.Sprintf("batch %d to %d: %d bytes behind its %d records", b.Base, b.Last, len(w.data), b.count))
	}
	return nil
}

// decodeOne hands a record to a decoder. It returns nothing where it became a row, or is none.
func decodeOne(dst *record.Block, dec record.Decoder, rec record.Record) (*record.Refusal, *record.Pending) {
	err := dec.Decode(dst, rec)
	if err == nil {
		return nil, nil
	}
	if pending, ok := errors.AsType[*record.Pending](err); ok {
		return nil, pending
	}
	bad, ok := errors.AsType[*record.Bad](err)
	if !ok {
		bad = &record.Bad{Reason: record.Decode, Detail: err.Error()}
	}
	return &record.Refusal{Offset: rec.Offset, Err: bad}, nil
}

// Original is a record as it was written.
type Original struct {
	Key, Value []byte
	Headers    []Header
}

// Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// ParseOriginal reads what a reader kept of a record: see record.Refusal. It shares memory with raw. Headers that are damaged
// are left out.
func ParseOriginal(raw []byte) Original {
	var o Original
	o.Key, raw, _ = bytesField(raw)
	o.Value, raw, _ = bytesField(raw)
	n, raw, _ := number(raw)
	for range n {
		key, rest, keyOK := bytesField(raw)
		value, rest, valueOK := bytesField(rest)
		if !keyOK || !valueOK {
			break
		}
		o.Headers, raw = append(o.Headers, Header{string(key), value}), rest
	}
	return o
}

// minRecordSize is the size of a record without key, value, and headers.
const minRecordSize = 7

// reserve makes room in dst for so many rows, as wide as those that it has, out of a batch of so many bytes. What a
// batch says of itself may be far off; room is made for no more than it can hold.
func reserve(dst *record.Block, rows, bytes int) {
	dst.End, dst.Y = slices.Grow(dst.End, rows), slices.Grow(dst.Y, rows)
	dst.Time, dst.Offset = slices.Grow(dst.Time, rows), slices.Grow(dst.Offset, rows)
	if n := dst.Rows(); n > 0 {
		dst.X = slices.Grow(dst.X, min(len(dst.X)/n*rows, bytes/2))
	}
}

// refuse records damage of a batch at offset.
func refuse(dst *record.Block, offset int64, detail string) {
	dst.Refused = append(dst.Refused, record.Refusal{
		Offset: offset, Err: &record.Bad{Reason: record.Decode, Detail: detail},
	})
}

// aborted tells which batches belong to aborted transactions, as a fetch answer lists them: each with its producer
// and first offset (KIP-98). Batches are shown to it in offset order.
type aborted struct {
	pending []abortedTxn // by first offset
	active  map[int64]struct{}
}

type abortedTxn struct{ producer, first int64 }

// newAborted takes over a list from a fetch answer. Brokers list transactions in the order of their ends.
func newAborted(list []abortedTxn) aborted {
	slices.SortFunc(list, func(a, b abortedTxn) int { return cmp.Compare(a.first, b.first) })
	return aborted{pending: list}
}

// covers reports whether b belongs to an aborted transaction, and learns from its markers.
func (a *aborted) covers(b *batch) bool {
	for len(a.pending) > 0 && a.pending[0].first <= b.Last {
		if a.active == nil {
			a.active = make(map[int64]struct{})
		}
		a.active[a.pending[0].producer] = struct{}{}
		a.pending = a.pending[1:]
	}
	if b.attributes&attrTransactional == 0 {
		return false
	}
	if b.attributes&attrControl != 0 {
		if b.isAbort() {
			delete(a.active, b.producer)
		}
		return false
	}
	_, ok := a.active[b.producer]
	return ok
}
