package producer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

// A record batch of magic 2 behind its size, as a produce request carries it; integers are big endian:
//
//	size i32 @0 | base offset i64 @4, length i32 @12, leader epoch i32 @16, magic i8 @20, CRC-32C u32 @21 over all that
//	follows, attributes i16 @25, last offset delta i32 @27, first time i64 @31, max time i64 @39, producer id i64 @47,
//	producer epoch i16 @55, first sequence i32 @57, records i32 @61 | records, compressed as the attributes say
//
// Source: Apache Kafka's documentation, chapter "Message Format".
const (
	sizeLen    = 4
	prefixLen  = sizeLen + 61
	lengthEnd  = sizeLen + 12 // the length counts what follows it
	crcStart   = sizeLen + 17
	attributes = sizeLen + 21
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity says whose batch it is and where in the partition's sequence it stands.
type identity struct {
	id       int64
	epoch    int16
	sequence int32 // of the first record
}

// batch collects records of one partition. The zero value is an empty batch.
type batch struct {
	raw                []byte // room for size and header, then the records
	packed             bytes.Buffer
	count              int32
	firstTime, maxTime int64 // milliseconds since 1970
}

// reset empties the batch and keeps its memory.
func (b *batch) reset() {
	b.raw, b.count = b.raw[:0], 0
}

// add appends a record; time is in milliseconds since 1970.
func (b *batch) add(time int64, key, value []byte, headers ...kafka.Header) {
	body := b.bodySize(time, key, value, headers)
	if b.count == 0 {
		b.raw = append(b.raw, make([]byte, prefixLen)...)
		b.firstTime, b.maxTime = time, time
	}
	b.raw = binary.AppendVarint(b.raw, int64(body))
	b.raw = append(b.raw, 0) // attributes
	b.raw = binary.AppendVarint(b.raw, time-b.firstTime)
	b.raw = binary.AppendVarint(b.raw, int64(b.count))
	b.raw = appendBytes(b.raw, key)
	b.raw = appendBytes(b.raw, value)
	b.raw = binary.AppendVarint(b.raw, int64(len(headers)))
	for _, h := range headers {
		b.raw = append(binary.AppendVarint(b.raw, int64(len(h.Key))), h.Key...)
		b.raw = appendBytes(b.raw, h.Value)
	}
	b.count++
	b.maxTime = max(b.maxTime, time)
}

// sizeWith returns the size of the batch, uncompressed, with one more record.
func (b *batch) sizeWith(time int64, key, value []byte, headers ...kafka.Header) int {
	body := b.bodySize(time, key, value, headers)
	return max(len(b.raw), prefixLen) - sizeLen + varintLen(int64(body)) + body
}

// bodySize returns the size of a record, added next, behind its length.
func (b *batch) bodySize(time int64, key, value []byte, headers []kafka.Header) int {
	delta := time - b.firstTime
	if b.count == 0 {
		delta = 0
	}
	size := 1 + varintLen(delta) + varintLen(int64(b.count)) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for _, h := range headers {
		size += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	return size
}

// seal returns the batch as a produce request carries it, compressed by codec unless that is nil. The result belongs
// to the batch and is valid until the next add.
func (b *batch) seal(codec compress.Codec, from identity) ([]byte, error) {
	set := b.raw
	var compression uint16
	if codec != nil {
		compression = uint16(codec.Code())
		b.packed.Reset()
		b.packed.Write(b.raw[:prefixLen])
		w := codec.NewWriter(&b.packed)
		if _, err := w.Write(b.raw[prefixLen:]); err != nil {
			return nil, fmt.Errorf("compress %d records with %s: %w", b.count, codec.Name(), err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("compress %d records with %s: %w", b.count, codec.Name(), err)
		}
		set = b.packed.Bytes()
	}
	header := set[:0]
	header = binary.BigEndian.AppendUint32(header, uint32(len(set)-sizeLen))
	header = binary.BigEndian.AppendUint64(header, 0) // base offset: the broker's to give
	header = binary.BigEndian.AppendUint32(header, uint32(len(set)-lengthEnd))
	header = binary.BigEndian.AppendUint32(header, 1<<32-1) // leader epoch: the broker's to give
	header = append(header, 2)                              // magic
	header = binary.BigEndian.AppendUint32(header, 0)       // CRC, below
	header = binary.BigEndian.AppendUint16(header, compression)
	header = binary.BigEndian.AppendUint32(header, uint32(b.count-1))
	header = binary.BigEndian.AppendUint64(header, uint64(b.firstTime))
	header = binary.BigEndian.AppendUint64(header, uint64(b.maxTime))
	header = binary.BigEndian.AppendUint64(header, uint64(from.id))
	header = binary.BigEndian.AppendUint16(header, uint16(from.epoch))
	header = binary.BigEndian.AppendUint32(header, uint32(from.sequence))
	binary.BigEndian.AppendUint32(header, uint32(b.count))
	binary.BigEndian.PutUint32(set[crcStart:], crc32.Checksum(set[attributes:], castagnoli))
	return set, nil
}

// nextSequence returns the sequence that follows n records from sequence on: after the largest int32 comes 0.
func nextSequence(sequence, n int32) int32 {
	return int32((uint32(sequence) + uint32(n)) & (1<<31 - 1))
}

// appendBytes appends b behind its length; nil is null.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// bytesLen returns what appendBytes appends.
func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

// varintLen returns the length of n as a zigzag varint.
func varintLen(n int64) int {
	return (bits.Len64(uint64(n<<1)^uint64(n>>63)|1) + 6) / 7
}
