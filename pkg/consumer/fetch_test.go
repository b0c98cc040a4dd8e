package consumer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"learner/pkg/record"
)

// testAnswer returns the body of a fetch answer about one topic.
func testAnswer(throttle int32, code int16, sections ...section) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(throttle))
	out = binary.BigEndian.AppendUint16(out, uint16(code))
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint32(out, 1)
	out = append(out, 0, 1, 't')
	out = binary.BigEndian.AppendUint32(out, uint32(len(sections)))
	for _, s := range sections {
		out = binary.BigEndian.AppendUint32(out, uint32(s.partition))
		var code kafka.Error
		errors.As(s.err, &code)
		out = binary.BigEndian.AppendUint16(out, uint16(code))
		for _, v := range []int64{s.end, s.lastStable, s.logStart} {
			out = binary.BigEndian.AppendUint64(out, uint64(v))
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(s.aborted)))
		for _, a := range s.aborted {
			out = binary.BigEndian.AppendUint64(out, uint64(a.producer))
			out = binary.BigEndian.AppendUint64(out, uint64(a.first))
		}
		out = binary.BigEndian.AppendUint32(out, math.MaxUint32)
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(s.records))), s.records...)
	}
	return out
}

func TestParseAnswer(t *testing.T) {
	want := []section{
		{partition: 3, end: 100, lastStable: 90, logStart: 10, records: []byte("records")},
		{partition: 0, err: kafka.OffsetOutOfRange, end: -1, lastStable: -1, logStart: -1},
		{partition: 5, end: math.MaxInt64, aborted: []abortedTxn{{7, 8}, {9, 10}}, records: []byte{1}},
	}
	parse := func(data []byte) (got []section, throttle time.Duration, err error) {
		throttle, err = parseAnswer(data, func(s section) { got = append(got, s) })
		return got, throttle, err
	}
	same := func(a, b section) bool {
		return a.partition == b.partition && errors.Is(a.err, b.err) && a.end == b.end && a.lastStable == b.lastStable &&
			a.logStart == b.logStart && slices.Equal(a.aborted, b.aborted) && bytes.Equal(a.records, b.records)
	}
	data := testAnswer(250, 0, want...)
	got, throttle, err := parse(data)
	if err != nil || throttle != 250*time.Millisecond || !slices.EqualFunc(got, want, same) {
		t.Errorf("throttle %s, %+v, %v", throttle, got, err)
	}
	for n := range data {
		got, _, err := parse(data[:n:n])
		if !errors.Is(err, errTruncated) || len(got) > len(want) || !slices.EqualFunc(got, want[:len(got)], same) {
			t.Fatalf("cut to %d bytes: %+v, %v", n, got, err)
		}
	}
	if got, throttle, err := parse(testAnswer(7, int16(kafka.BrokerNotAvailable))); !errors.Is(err, kafka.BrokerNotAvailable) ||
		throttle != 7*time.Millisecond || len(got) > 0 {
		t.Errorf("an error for all: %v, %s, %v", got, throttle, err)
	}
	if got, throttle, err := parse(testAnswer(-7, 0)); err != nil || throttle != 0 || len(got) > 0 {
		t.Errorf("a negative throttle time: %v, %s, %v", got, throttle, err)
	}
	// Absent lists are told as -1, and giant ones end with the data.
	for at, want := range map[int]error{10: nil, 17: nil, 17 + 4 + 4 + 2 + 24: nil} {
		nulled := testAnswer(0, 0, section{})
		binary.BigEndian.PutUint32(nulled[at:], math.MaxUint32)
		if _, _, err := parse(nulled); !errors.Is(err, want) {
			t.Errorf("-1 at byte %d: %v", at, err)
		}
		binary.BigEndian.PutUint32(nulled[at:], math.MaxInt32)
		if _, _, err := parse(nulled); !errors.Is(err, errTruncated) {
			t.Errorf("a giant list at byte %d: %v", at, err)
		}
	}
}

// TestFetchRequest holds the request's bytes to those that kafka-go makes of it.
func TestFetchRequest(t *testing.T) {
	r := newRawFetch(7, "client", "topic")
	r.maxBytes, r.maxWait, r.partitions = 8<<20, 250*time.Millisecond, []fetchPartition{{3, 1 << 40, 1 << 20}, {0, 0, 5}}
	var want bytes.Buffer
	err := protocol.WriteRequest(&want, fetchVersion, 42, "client", &fetch.Request{
		ReplicaID: -1, MaxWaitTime: 250, MinBytes: 1, MaxBytes: 8 << 20, IsolationLevel: readCommitted, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: "topic", Partitions: []fetch.RequestPartition{
			{Partition: 3, CurrentLeaderEpoch: -1, FetchOffset: 1 << 40, LogStartOffset: -1, PartitionMaxBytes: 1 << 20},
			{CurrentLeaderEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 5},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.appendRequest(nil, 42); !bytes.Equal(got, want.Bytes()) {
		t.Errorf("request\n%x, want\n%x", got, want.Bytes())
	}
}

// mend makes the checksums in an answer right, and the formats, so that a fuzzer gets behind them.
func mend(frame []byte) {
	_, _ = parseAnswer(frame, func(s section) {
		for data := s.records; len(data) >= batchHeaderSize; {
			length := int64(int32(binary.BigEndian.Uint32(data[8:])))
			if length < batchHeaderSize-12 || length > int64(len(data)-12) {
				return
			}
			data[16] = 2
			seal(data[:12+length])
			data = data[12+length:]
		}
	})
}

// FuzzAnswer takes answers all the way to rows. The bytes of what a broker may send are in the seeds.
func FuzzAnswer(f *testing.F) {
	for codec := range int64(len(codecNames)) {
		f.Add(testAnswer(0, 0,
			section{end: 99, lastStable: 99, records: encodeAll(f, rows(0, 5, codec, 0), rows(9, 12, codec|attrLogAppendTime, 0))},
			section{partition: 1, end: 9, lastStable: 9, records: encodeAll(f, rows(3, 4, codec, 0))}))
	}
	f.Add(testAnswer(0, 0, section{
		aborted: []abortedTxn{{2, 3}, {1, 0}},
		records: encodeAll(f, rows(0, 0, attrTransactional, 1), rows(3, 3, attrTransactional, 2), marker(4, 2, abort),
			rows(5, 5, attrTransactional, 2), marker(6, 1, abort), marker(7, 2, commit)),
	}))
	f.Add(testAnswer(1, 0, section{records: encodeAll(f, testBatch{base: 4, last: 8}, testBatch{base: 9, records: []testRecord{
		{offset: 9}, {offset: 11, key: []byte("1.0"), value: []byte("\"0\",nan"), headers: 2},
	}})}, section{partition: 1, err: kafka.NotLeaderForPartition}))

	starts := map[int32]Position{0: {Offset: 2, Previous: 5, Known: true}, 1: {}}
	shared := newBench(f, nil)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 1<<17 {
			return
		}
		mend(frame)
		b := &bench{
			Reader: new(Client).NewReader(ReaderConfig{Start: starts}), csv: shared.csv, scratch: shared.scratch, frame: shared.frame,
		}
		b.blocks, b.tasks = make(chan *record.Block, 8), make(chan *task, 8)
		next := map[int32]int64{0: 2, 1: 0}
		row := map[int32]int64{0: 1, 1: -1}
		_, _ = parseAnswer(frame, func(s section) {
			p := b.partitions[s.partition]
			if s.err != nil || p == nil {
				return
			}
			used := 0
			for {
				var parsed batch
				size, err := nextBatch(s.records[used:], &parsed)
				if err != nil || size == 0 {
					break
				}
				if used += size; used > len(s.records) || size < batchHeaderSize || parsed.Base < 0 || parsed.Last < parsed.Base {
					t.Fatalf("batch of %d bytes from %d to %d", size, parsed.Base, parsed.Last)
				}
			}
			blocks, _ := b.feed(t, &s)
			for _, block := range blocks {
				last := checkBlock(t, block, next[s.partition], row[s.partition])
				next[s.partition], row[s.partition] = block.Next, last
			}
			if p.next != next[s.partition] || len(blocks) > 0 && (p.end.Log < p.next || p.end.Stable < p.next) {
				t.Fatalf("at %d, blocks end at %d, ends %+v", p.next, next[s.partition], p.end)
			}
		})
	})
}

// checkBlock checks that a block follows one that ended at next with a row at last, and holds together. It returns the
// offset of its last row.
func checkBlock(t *testing.T, b *record.Block, next, last int64) int64 {
	t.Helper()
	if b.Base != next || b.Next <= b.Base || len(b.Batches) == 0 || b.Batches[len(b.Batches)-1].Last != b.Next-1 {
		t.Fatalf("block from %d to %d after %d, batches %+v", b.Base, b.Next, next, b.Batches)
	}
	if n := b.Rows(); len(b.Y) != n || len(b.Time) != n || len(b.Offset) != n || n > 0 && b.End[n-1] != len(b.X) {
		t.Fatalf("%d rows, %d labels, %d times, %d offsets", n, len(b.Y), len(b.Time), len(b.Offset))
	}
	inside := func(o int64) bool {
		i, _ := slices.BinarySearchFunc(b.Batches, o, func(batch record.Batch, o int64) int {
			if batch.Last < o {
				return -1
			}
			return 1
		})
		return o >= b.Base && i < len(b.Batches) && b.Batches[i].Base <= o
	}
	for i, o := range b.Offset {
		if o <= last || !inside(o) {
			t.Fatalf("row at %d after %d, batches %+v", o, last, b.Batches)
		}
		last = o
		for _, x := range b.Row(i).X {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("row at %d: %v", o, b.Row(i).X)
			}
		}
	}
	for i, r := range b.Refused {
		if !inside(r.Offset) && r.Err.Reason != record.Decode || i > 0 && r.Offset < b.Refused[i-1].Offset || r.Err == nil ||
			r.Offset < b.Base || r.Offset >= b.Next {
			t.Fatalf("refusals %+v, batches %+v", b.Refused, b.Batches)
		}
	}
	return last
}
