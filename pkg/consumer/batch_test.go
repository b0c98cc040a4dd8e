package consumer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"learner/pkg/record"
)

// testBatch is a batch to be written, as brokers store it.
type testBatch struct {
	base       int64
	last       int64 // 0: the offset of the last record
	attributes int16
	firstTime  int64 // milliseconds
	maxTime    int64 // 0: of the newest record
	producer   int64
	count      int32 // 0: the number of records
	records    []testRecord
	behind     []byte // put behind the records, inside the compressed part
}

type testRecord struct {
	offset, time int64 // milliseconds
	key, value   []byte
	headers      int
}

// encode returns the batch's bytes.
func (b testBatch) encode(tb testing.TB) []byte {
	tb.Helper()
	var records []byte
	last, newest := b.base, b.firstTime
	for _, r := range b.records {
		body := []byte{0}
		body = binary.AppendVarint(body, r.time-b.firstTime)
		body = binary.AppendVarint(body, r.offset-b.base)
		for _, field := range [][]byte{r.key, r.value} {
			if field == nil {
				body = binary.AppendVarint(body, -1)
				continue
			}
			body = append(binary.AppendVarint(body, int64(len(field))), field...)
		}
		body = binary.AppendVarint(body, int64(r.headers))
		for range r.headers {
			body = append(append(binary.AppendVarint(body, 1), 'h'), binary.AppendVarint(nil, -1)...)
		}
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
		last, newest = r.offset, max(newest, r.time)
	}
	records = compress(tb, int(b.attributes&attrCodec), append(records, b.behind...))
	count := b.count
	if count == 0 {
		count = int32(len(b.records))
	}
	if b.last == 0 {
		b.last = last
	}
	if b.maxTime == 0 {
		b.maxTime = newest
	}
	out := binary.BigEndian.AppendUint64(nil, uint64(b.base))
	out = binary.BigEndian.AppendUint32(out, uint32(batchHeaderSize-12+len(records)))
	out = append(out, 0, 0, 0, 7, 2, 0, 0, 0, 0) // leader epoch, format, room for the checksum
	out = binary.BigEndian.AppendUint16(out, uint16(b.attributes))
	out = binary.BigEndian.AppendUint32(out, uint32(b.last-b.base))
	out = binary.BigEndian.AppendUint64(out, uint64(b.firstTime))
	out = binary.BigEndian.AppendUint64(out, uint64(b.maxTime))
	out = binary.BigEndian.AppendUint64(out, uint64(b.producer))
	out = append(out, 0, 0, 0xff, 0xff, 0xff, 0xff) // producer epoch, sequence
	out = binary.BigEndian.AppendUint32(out, uint32(count))
	out = append(out, records...)
	seal(out)
	return out
}

// seal writes the checksum of a batch.
func seal(b []byte) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
}

// rows returns a batch with a row for each offset from base to last, whose only feature is the offset.
func rows(base, last int64, attributes, producer int64) testBatch {
	b := testBatch{base: base, last: last, attributes: int16(attributes), firstTime: 1000 + base, producer: producer}
	for o := base; o <= last; o++ {
		b.records = append(b.records, row(o))
	}
	return b
}

func row(offset int64) testRecord {
	return testRecord{offset: offset, time: 1000 + offset, value: fmt.Appendf(nil, "1,%d", offset)}
}

// marker returns the end of a transaction.
func marker(offset, producer int64, kind byte) testBatch {
	return testBatch{
		base: offset, attributes: attrTransactional | attrControl, producer: producer, firstTime: 1000 + offset,
		records: []testRecord{{offset: offset, time: 1000 + offset, key: []byte{0, 0, 0, kind}, value: make([]byte, 6)}},
	}
}

// Kinds of markers.
const (
	abort  = 0
	commit = 1
)

func encodeAll(tb testing.TB, batches ...testBatch) []byte {
	tb.Helper()
	var all []byte
	for _, b := range batches {
		all = append(all, b.encode(tb)...)
	}
	return all
}

func csvDecoder(tb testing.TB) *record.CSV {
	tb.Helper()
	csv, err := record.NewCSV(record.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return csv
}

// bench is a reader without a broker, fed with sections by hand.
type bench struct {
	*Reader
	csv     *record.CSV
	scratch *decompressor
	frame   *frame
}

func newBench(tb testing.TB, start map[int32]Position) *bench {
	tb.Helper()
	b := &bench{
		Reader:  new(Client).NewReader(ReaderConfig{Topic: "t", Start: start, Logger: zap.NewNop()}),
		csv:     csvDecoder(tb),
		scratch: newDecompressor(8 << 20),
		frame:   &frame{home: make(chan *frame, 1)},
	}
	b.blocks, b.tasks = make(chan *record.Block, 1<<10), make(chan *task, 1<<10)
	return b
}

// feed passes a section on and returns the decoded blocks.
func (b *bench) feed(tb testing.TB, s *section) ([]*record.Block, error) {
	tb.Helper()
	b.frame.tasks.Store(1)
	err := b.batches(tb.Context(), b.partitions[s.partition], s, b.frame)
	var blocks []*record.Block
	for len(b.tasks) > 0 {
		t := <-b.tasks
		_ = b.decode(t, b.csv, b.scratch)
		block := <-b.blocks
		if block != t.block {
			tb.Fatal("blocks and tasks come in different orders")
		}
		<-block.Ready
		blocks = append(blocks, block)
	}
	b.frame.release()
	<-b.frame.home
	return blocks, err
}

// read feeds records to a fresh reader of one partition.
func read(tb testing.TB, start Position, records []byte, aborted ...abortedTxn) ([]*record.Block, error) {
	tb.Helper()
	return newBench(tb, map[int32]Position{0: start}).feed(tb, &section{records: records, aborted: aborted})
}

// fresh feeds records from offset 0 on, as if nothing had been read before.
func (b *bench) fresh(tb testing.TB, records []byte) ([]*record.Block, error) {
	tb.Helper()
	b.partitions[0] = newPartition(0, Position{})
	b.freeBlocks = nil
	return b.feed(tb, &section{records: records})
}

// offsets lists the offsets of all rows, each of which must hold its own offset.
func offsets(tb testing.TB, blocks []*record.Block) []int64 {
	tb.Helper()
	var all []int64
	for _, b := range blocks {
		for i, o := range b.Offset {
			if x := b.Row(i).X; len(x) != 1 || x[0] != float64(o) {
				tb.Errorf("row at offset %d is %v", o, x)
			}
			all = append(all, o)
		}
	}
	return all
}

func through(first, last int64) []int64 {
	var all []int64
	for o := first; o <= last; o++ {
		all = append(all, o)
	}
	return all
}

func TestDecodeReadsAllThereIsInARecord(t *testing.T) {
	for codec, name := range codecNames {
		data := testBatch{
			base: 40, last: 49, attributes: int16(codec), firstTime: 5000, records: []testRecord{
				{offset: 40, time: 5000, value: []byte("1,2.5,3")},
				{offset: 42, time: 4990, key: []byte("0.0"), value: []byte("0,-1e3"), headers: 3},
				{offset: 43, time: 6000, key: []byte{}, value: []byte{}},
				{offset: 44, time: 6000},
				{offset: 47, time: -1, value: bytes.Repeat([]byte("1,7\n"), 1)},
			},
		}.encode(t)
		blocks, err := read(t, Position{Offset: 40}, data)
		if err != nil || len(blocks) != 1 {
			t.Fatal(name, err)
		}
		b := blocks[0]
		if !slices.Equal(b.X, []float64{2.5, 3, -1e3, 7}) || !slices.Equal(b.End, []int{2, 3, 4}) ||
			!slices.Equal(b.Y, []float64{1, 0, 1}) || !slices.Equal(b.Offset, []int64{40, 42, 47}) ||
			!slices.Equal(b.Time, []int64{5_000_000, 4_990_000, -1000}) {
			t.Errorf("%s: rows %+v", name, b)
		}
		if len(b.Refused) != 2 || b.Refused[0].Offset != 43 || b.Refused[0].Err.Reason != record.Empty ||
			b.Refused[1].Offset != 44 || b.Refused[1].Err.Reason != record.Tombstone {
			t.Errorf("%s: refused %+v", name, b.Refused)
		}
		if b.Base != 40 || b.Next != 50 || b.Lost != 0 || b.Bytes < 60 || b.Bytes > 120 ||
			!slices.Equal(b.Batches, []record.Batch{{Base: 40, Last: 49, Time: 6_000_000, LeaderEpoch: 7}}) {
			t.Errorf("%s: %d to %d, %d bytes, batches %+v", name, b.Base, b.Next, b.Bytes, b.Batches)
		}
	}
}

// TestGaps has what compaction leaves: missing records, batches without any, and offsets without a batch.
func TestGaps(t *testing.T) {
	sparse := rows(10, 19, 0, 0)
	sparse.records = slices.Concat(sparse.records[3:4], sparse.records[6:8])
	empty := testBatch{base: 20, last: 29, firstTime: 5, maxTime: 2000}
	emptyCompressed := testBatch{base: 60, last: 69, firstTime: 5, maxTime: 2000, attributes: codecZstd}
	data := encodeAll(t, sparse, empty, rows(45, 46, codecLZ4, 0), emptyCompressed)
	for _, test := range []struct {
		start int64
		want  []int64
		base  int64 // of the first batch shown
	}{
		{0, []int64{13, 16, 17, 45, 46}, 10},
		{13, []int64{13, 16, 17, 45, 46}, 10},
		{14, []int64{16, 17, 45, 46}, 10},
		{18, []int64{45, 46}, 10},
		{20, []int64{45, 46}, 20},
		{44, []int64{45, 46}, 45},
		{46, []int64{46}, 45},
		{47, nil, 60},
		{69, nil, 60},
	} {
		blocks, err := read(t, Position{Offset: test.start}, data)
		if err != nil || len(blocks) != 1 {
			t.Fatalf("from %d: %d blocks, %v", test.start, len(blocks), err)
		}
		b := blocks[0]
		if got := offsets(t, blocks); !slices.Equal(got, test.want) || len(b.Refused) > 0 {
			t.Errorf("from %d: rows %v, want %v; refused %v", test.start, got, test.want, b.Refused)
		}
		if b.Base != test.start || b.Next != 70 || b.Batches[0].Base != test.base || b.Batches[len(b.Batches)-1].Last != 69 {
			t.Errorf("from %d: block from %d to %d, batches %+v", test.start, b.Base, b.Next, b.Batches)
		}
	}
	if blocks, err := read(t, Position{Offset: 70}, data); !errors.Is(err, errCorrupt) || len(blocks) > 0 {
		t.Errorf("from 70: %d blocks, %v: an answer that brings nothing must not pass for progress", len(blocks), err)
	}
}

func TestTransactions(t *testing.T) {
	const txn = attrTransactional
	for _, test := range []struct {
		name    string
		give    []testBatch
		start   int64
		aborted []abortedTxn
		want    []int64
	}{
		{"a committed one is delivered", []testBatch{
			rows(0, 4, txn, 1), marker(5, 1, commit), rows(6, 7, 0, 0),
		}, 0, nil, []int64{0, 1, 2, 3, 4, 6, 7}},
		{"an aborted one is not", []testBatch{
			rows(0, 4, txn, 1), rows(5, 6, 0, 0), rows(7, 8, txn, 1), marker(9, 1, abort), rows(10, 10, txn, 1),
		}, 0, []abortedTxn{{1, 0}}, []int64{5, 6, 10}},
		{"producers interleave", []testBatch{
			rows(0, 0, txn, 1), rows(1, 1, txn, 2), rows(2, 2, txn, 3), rows(3, 3, txn, 1), marker(4, 1, abort),
			rows(5, 5, txn, 2), marker(6, 2, commit), rows(7, 7, txn, 3), rows(8, 8, txn, 1), marker(9, 3, abort),
			rows(10, 10, txn, 3), marker(11, 1, commit), marker(12, 3, abort),
		}, 0, []abortedTxn{{1, 0}, {3, 2}, {3, 10}}, []int64{1, 5, 8}},
		{"brokers list the one first that ends first", []testBatch{
			rows(0, 0, txn, 1), rows(1, 1, txn, 2), marker(2, 2, abort), rows(3, 3, txn, 1), marker(4, 1, abort),
		}, 0, []abortedTxn{{2, 1}, {1, 0}}, nil},
		{"reading begins inside", []testBatch{
			rows(10, 12, txn, 1), marker(13, 1, abort), rows(14, 14, txn, 1),
		}, 11, []abortedTxn{{1, 0}}, []int64{14}},
		{"the marker's batch was emptied", []testBatch{
			rows(0, 0, 0, 0), {base: 1, last: 1, attributes: txn | attrControl, producer: 1}, rows(2, 2, 0, 0),
		}, 0, nil, []int64{0, 2}},
		{"plain batches of a producer with an aborted transaction", []testBatch{
			rows(0, 0, txn, 1), rows(1, 1, 0, 1), marker(2, 1, abort),
		}, 0, []abortedTxn{{1, 0}}, []int64{1}},
	} {
		blocks, err := read(t, Position{Offset: test.start}, encodeAll(t, test.give...), test.aborted...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := offsets(t, blocks); !slices.Equal(got, test.want) {
			t.Errorf("%s: rows %v, want %v", test.name, got, test.want)
		}
		last := test.give[len(test.give)-1].last
		if last = max(last, test.give[len(test.give)-1].base); blocks[len(blocks)-1].Next != last+1 {
			t.Errorf("%s: ends at %d, want %d", test.name, blocks[len(blocks)-1].Next, last+1)
		}
	}
}

func TestLogAppendTime(t *testing.T) {
	batch := func(base, last, stamp int64) testBatch {
		b := rows(base, last, attrLogAppendTime, 0)
		b.maxTime = stamp
		return b
	}
	for _, test := range []struct {
		name  string
		start Position
		give  []testBatch
		want  []int64 // microseconds
	}{
		{
			"nothing known before",
			Position{},
			[]testBatch{batch(0, 3, 20_000)},
			[]int64{12_500_000, 15_000_000, 17_500_000, 20_000_000},
		},
		{
			"known before",
			Position{Previous: 19_993_000, Known: true},
			[]testBatch{batch(0, 2, 20_000)},
			[]int64{20_000_000 - 7000*2/3, 20_000_000 - 7000/3, 20_000_000},
		},
		{
			"equal stamps",
			Position{Previous: 20_000_000, Known: true},
			[]testBatch{batch(0, 1, 20_000)},
			[]int64{20_000_000, 20_000_000},
		},
		{
			"a stamp before the last one",
			Position{Previous: 20_000_001, Known: true},
			[]testBatch{batch(0, 1, 20_000)},
			[]int64{20_000_000, 20_000_000},
		},
		{
			"a long pause",
			Position{Previous: 1, Known: true},
			[]testBatch{batch(0, 1, 20_000)},
			[]int64{15_000_000, 20_000_000},
		},
		{"a chain, one of them empty, one a marker", Position{Previous: 0, Known: true}, []testBatch{
			batch(0, 1, 1000), {base: 2, last: 5, firstTime: 1, maxTime: 1100}, marker(6, 1, commit), batch(7, 8, 1200),
		}, []int64{500_000, 1_000_000, 1_200_000 - (1_200_000-1_006_000)/2, 1_200_000}},
		{"gaps count", Position{Previous: 0, Known: true}, []testBatch{{
			base: 10, last: 19, attributes: attrLogAppendTime, maxTime: 1000, records: []testRecord{row(12), row(17)},
		}}, []int64{1_000_000 - 700_000, 1_000_000 - 200_000}},
		{
			"a start inside a batch",
			Position{Offset: 2, Previous: 0, Known: true},
			[]testBatch{batch(0, 3, 1000)},
			[]int64{750_000, 1_000_000},
		},
		{
			"absurd stamps",
			Position{Previous: microseconds(math.MinInt64), Known: true},
			[]testBatch{batch(0, 1, math.MaxInt64)},
			[]int64{math.MaxInt64/2000*1000 - 5_000_000, math.MaxInt64 / 2000 * 1000},
		},
		{
			"the other way round",
			Position{Previous: microseconds(math.MaxInt64), Known: true},
			[]testBatch{batch(0, 1, math.MinInt64)},
			[]int64{-math.MaxInt64 / 2000 * 1000, -math.MaxInt64 / 2000 * 1000},
		},
	} {
		blocks, err := read(t, test.start, encodeAll(t, test.give...))
		if err != nil || len(blocks) != 1 {
			t.Fatalf("%s: %v", test.name, err)
		}
		if !slices.Equal(blocks[0].Time, test.want) {
			t.Errorf("%s: times %v, want %v", test.name, blocks[0].Time, test.want)
		}
	}
}

// TestAppendTimesAcrossAnswers checks that how batches are cut into answers and blocks changes no time.
func TestAppendTimesAcrossAnswers(t *testing.T) {
	var batches []testBatch
	for i := range int64(20) {
		b := rows(3*i, 3*i+2, attrLogAppendTime, 0)
		b.maxTime = 1000 + i*i*7
		batches = append(batches, b)
	}
	times := func(blocks []*record.Block) (all []int64) {
		for _, b := range blocks {
			all = append(all, b.Time...)
		}
		return all
	}
	whole, err := read(t, Position{}, encodeAll(t, batches...))
	if err != nil {
		t.Fatal(err)
	}
	single := newBench(t, map[int32]Position{0: {}})
	var parts []*record.Block
	for i := range batches {
		// The answer begins with the batch before: it was read already and is passed over.
		blocks, err := single.feed(t, &section{records: encodeAll(t, batches[max(i-1, 0):i+1]...)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, blocks...)
	}
	if a, b := times(whole), times(parts); len(a) != 60 || !slices.Equal(a, b) {
		t.Errorf("times depend on the answers' sizes:\n%v\n%v", a, b)
	}
}

// TestDamageInsideAValidBatch has batches whose checksum holds and whose content does not. What comes before the
// damage is read, the damage is one refusal at a definite offset, and the next batch is read again.
func TestDamageInsideAValidBatch(t *testing.T) {
	good := rows(10, 14, 0, 0)
	edit := func(change func(*testBatch)) testBatch {
		b := good
		b.records = slices.Clone(b.records)
		change(&b)
		return b
	}
	cutOff := good.encode(t)
	cutOff = cutOff[:len(cutOff)-3]
	binary.BigEndian.PutUint32(cutOff[8:], uint32(len(cutOff)-12))
	seal(cutOff)
	longest := good.encode(t)
	copy(longest[batchHeaderSize:], binary.AppendVarint(nil, math.MaxInt64))
	seal(longest)
	for _, test := range []struct {
		name  string
		give  []byte
		start int64
		want  []int64
		at    int64 // of the refusal
		text  string
	}{
		{"more records than are there", edit(func(b *testBatch) { b.count = 6 }).encode(t), 0, through(10, 14), 14, "record 6 of 6"},
		{"a giant count", edit(func(b *testBatch) { b.count = math.MaxInt32 }).encode(t), 0, through(10, 14), 14, "of 2147483647"},
		{"fewer records than are there", edit(func(b *testBatch) { b.count = 3 }).encode(t), 0, through(10, 12), 13, "behind its 3"},
		{"bytes behind the records", edit(func(b *testBatch) { b.behind = []byte{0, 0} }).encode(t), 0, through(10, 14), 14, "2 bytes behind"},
		{"an offset twice", edit(func(b *testBatch) { b.records[2].offset = 11 }).encode(t), 0, []int64{10, 11}, 12, "record 3 of 5"},
		{"an offset below the batch", edit(func(b *testBatch) { b.records[0].offset = 9 }).encode(t), 0, nil, 10, "record 1 of 5"},
		{"an offset beyond the batch", edit(func(b *testBatch) { b.records[4].offset = 15 }).encode(t), 0, through(10, 13), 14, "record 5 of 5"},
		{"a giant offset", edit(func(b *testBatch) { b.records[1].offset = math.MinInt64 }).encode(t), 0, []int64{10}, 11, "record 2 of 5"},
		{"a record that ends early", cutOff, 0, through(10, 13), 14, "record 5 of 5"},
		{"a giant record", longest, 0, nil, 10, "record 1 of 5"},
		{"a start behind the damage", edit(func(b *testBatch) { b.records[1].offset = 10 }).encode(t), 13, nil, 13, "record 2 of 5"},
		{"an unknown codec", edit(func(b *testBatch) { b.attributes = codecNone }).encode(t), 0, nil, 10, "codec 7"},
		{"no gzip", edit(func(b *testBatch) { b.attributes = codecNone }).encode(t), 12, nil, 12, "gzip"},
	} {
		switch test.text {
		case "codec 7":
			test.give[22] = 7
			seal(test.give)
		case "gzip":
			test.give[22] = codecGzip
			seal(test.give)
		}
		blocks, err := read(t, Position{Offset: test.start}, append(test.give, rows(15, 16, 0, 0).encode(t)...))
		if err != nil || len(blocks) != 1 {
			t.Fatalf("%s: %d blocks, %v", test.name, len(blocks), err)
		}
		refused := blocks[0].Refused
		if len(refused) != 1 || refused[0].Offset != test.at || refused[0].Err.Reason != record.Decode ||
			!strings.Contains(refused[0].Err.Detail, "batch 10 to 14") || !strings.Contains(refused[0].Err.Detail, test.text) {
			t.Errorf("%s: refused %+v, want one at %d with %q", test.name, refused, test.at, test.text)
		}
		if got, want := offsets(t, blocks), append(slices.Clone(test.want), 15, 16); !slices.Equal(got, want) {
			t.Errorf("%s: rows %v, want %v", test.name, got, want)
		}
	}
}

// TestImpossibleHeaders has headers that no broker sends. Their checksum holds.
func TestImpossibleHeaders(t *testing.T) {
	put32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v); seal(b) }
	}
	put64 := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint64(b[at:], v); seal(b) }
	}
	for name, change := range map[string]func([]byte){
		"negative count":       put32(57, 0x80000000),
		"negative last offset": put32(23, 0xffffffff),
		"negative base":        put64(0, 1<<63),
		"base at the border":   put64(0, math.MaxInt64),
		"length below header":  put32(8, 48),
		"negative length":      put32(8, 0xffffffff),
		"giant length":         put32(8, math.MaxInt32),
	} {
		bad := rows(3, 5, 0, 0).encode(t)
		change(bad)
		// Behind a good batch the giant length looks like an answer that was cut, and the rest is asked for again.
		for _, before := range [][]byte{nil, rows(0, 2, 0, 0).encode(t)} {
			blocks, err := read(t, Position{}, slices.Concat(before, bad))
			if cut := name == "giant length" && before != nil; errors.Is(err, errCorrupt) == cut {
				t.Errorf("%s: error %v", name, err)
			}
			if got := offsets(t, blocks); len(got) != len(through(0, 2)) && before != nil || len(got) > 3 {
				t.Errorf("%s: rows %v", name, got)
			}
		}
	}
	old := rows(0, 1, 0, 0).encode(t)
	old[16] = 1
	for _, data := range [][]byte{old, old[:26]} {
		if _, err := read(t, Position{}, data); err == nil || !strings.Contains(err.Error(), "format 1") {
			t.Errorf("a batch in the format before: %v", err)
		}
	}
	if _, err := read(t, Position{}, encodeAll(t, rows(4, 6, 0, 0), rows(6, 8, 0, 0))); !errors.Is(err, errCorrupt) {
		t.Errorf("batches that overlap: %v", err)
	}
}

// TestTruncation cuts an answer after every byte: whole batches are read, the rest is left for the next answer.
func TestTruncation(t *testing.T) {
	for _, codec := range []int64{codecNone, codecGzip} {
		reader, name := newBench(t, nil), codecNames[codec]
		var data []byte
		var ends []int
		for i := range int64(3) {
			data = append(data, rows(10*i, 10*i+4, codec, 0).encode(t)...)
			ends = append(ends, len(data))
		}
		for n := range len(data) + 1 {
			whole := 0
			for whole < len(ends) && ends[whole] <= n {
				whole++
			}
			blocks, err := reader.fresh(t, data[:n:n])
			if bad := n > 0 && whole == 0; errors.Is(err, errCorrupt) != bad || !bad && err != nil {
				t.Fatalf("%s cut to %d bytes: %v", name, n, err)
			}
			if got := offsets(t, blocks); len(got) != 5*whole {
				t.Fatalf("%s cut to %d bytes: rows %v, want %d", name, n, got, 5*whole)
			}
		}
	}
}

// TestFlippedBits flips every bit of the second of three batches. The checksum covers all from the attributes on; the
// length, the format, and the checksum itself cannot change without it failing either. Nothing covers the base offset,
// so a batch may move, and then only to where it does not lie over another.
func TestFlippedBits(t *testing.T) {
	for _, codec := range []int64{codecNone, codecSnappy} {
		first, second, third := rows(0, 4, codec, 0), rows(10, 14, codec, 0), rows(20, 24, codec, 0)
		reader, name := newBench(t, nil), codecNames[codec]
		head, middle, tail := first.encode(t), second.encode(t), third.encode(t)
		for bit := range 8 * len(middle) {
			bad := bytes.Clone(middle)
			bad[bit/8] ^= 1 << (bit % 8)
			blocks, err := reader.fresh(t, slices.Concat(head, bad, tail))
			switch at := bit / 8; {
			case at < 8: // base offset
				var got []float64
				previous := int64(-1)
				for _, b := range blocks {
					got = append(got, b.X...)
					for _, o := range b.Offset {
						if o <= previous || o >= b.Next {
							t.Fatalf("%s, bit %d: offset %d after %d", name, bit, o, previous)
						}
						previous = o
					}
				}
				if want := []float64{0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24}; !slices.Equal(got, want[:len(got)]) {
					t.Fatalf("%s, bit %d: rows %v", name, bit, got)
				}
				if err == nil && len(got) != 15 {
					t.Fatalf("%s, bit %d: %d rows and no error", name, bit, len(got))
				}
			case at >= 12 && at < 16: // leader epoch
				if got := offsets(t, blocks); err != nil || len(got) != 15 {
					t.Fatalf("%s, bit %d: rows %v, %v", name, bit, got, err)
				}
			default:
				cut := at >= 8 && at < 12 && err == nil // the length may say that the batch goes on beyond the answer
				if got := offsets(t, blocks); !slices.Equal(got, through(0, 4)) || err == nil && !cut {
					t.Fatalf("%s, bit %d: rows %v, %v", name, bit, got, err)
				}
			}
		}
	}
}

// TestBlocksAreAPrefixWhenTheContextEnds checks that after a block was dropped no later one of the partition follows.
func TestBlocksAreAPrefixWhenTheContextEnds(t *testing.T) {
	var data []byte
	for i := range int64(8) {
		b := rows(i, i, 0, 0)
		b.records[0].headers = blockBytes / 3
		data = append(data, b.encode(t)...)
	}
	b := newBench(t, map[int32]Position{0: {}})
	b.frame.tasks.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		p := newPartition(0, Position{})
		if err := b.batches(ctx, p, &section{records: data}, b.frame); err == nil && p.next != 8 {
			t.Fatalf("stopped at %d without an error", p.next)
		}
		next := int64(0)
		for len(b.blocks) > 0 {
			block := <-b.blocks
			<-b.tasks
			if block.Base != next {
				t.Fatalf("a block from %d follows one to %d", block.Base, next)
			}
			next = block.Next
		}
	}
}

// TestPartitionsKeepTheirOwnPlace feeds two partitions in turn and compares with what was written.
func TestPartitionsKeepTheirOwnPlace(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	b := newBench(t, map[int32]Position{0: {}, 1: {Offset: 100}})
	next := map[int32]int64{0: 0, 1: 100}
	got, want := map[int32][]int64{}, map[int32][]int64{}
	for range 100 {
		p := random.Int32N(2)
		var give []testBatch
		for range 1 + random.IntN(3) {
			base := next[p] + random.Int64N(3)
			last := base + random.Int64N(5)
			give = append(give, rows(base, last, random.Int64N(5), 0))
			want[p] = append(want[p], through(base, last)...)
			next[p] = last + 1
		}
		blocks, err := b.feed(t, &section{partition: p, records: encodeAll(t, give...)})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		got[p] = append(got[p], offsets(t, blocks)...)
		for _, block := range blocks {
			if block.Partition != p {
				t.Fatalf("seed %d: block of partition %d, want %d", seed, block.Partition, p)
			}
			b.Release(block)
		}
	}
	for p := range want {
		if !slices.Equal(got[p], want[p]) {
			t.Errorf("seed %d: partition %d: %d rows, want %d", seed, p, len(got[p]), len(want[p]))
		}
		if q := b.partitions[p].queued; q != 0 {
			t.Errorf("seed %d: partition %d: %d bytes are charged after all was released", seed, p, q)
		}
	}
}

// TestDecodeAllocatesNothing decodes into memory that was used before.
func TestDecodeAllocatesNothing(t *testing.T) {
	for codec, name := range codecNames {
		var b batch
		if size, err := nextBatch(rows(0, 499, int64(codec), 0).encode(t), &b); size == 0 || err != nil {
			t.Fatal(name, err)
		}
		block, csv, scratch := &record.Block{}, csvDecoder(t), newDecompressor(8<<20)
		// A codec may allocate a little for each batch.
		if n := testing.AllocsPerRun(20, func() { block.Reset(); _ = b.decode(block, 0, csv, scratch, false) }); n > 4 {
			t.Errorf("%s: %v allocations for 500 records", name, n)
		}
		if block.Rows() != 500 {
			t.Errorf("%s: %d rows", name, block.Rows())
		}
	}
}

// TestRoomIsMadeOnlyForWhatABatchCanHold has a wide first row and many short ones behind it.
func TestRoomIsMadeOnlyForWhatABatchCanHold(t *testing.T) {
	wide := testRecord{value: bytes.Repeat([]byte("1,"), 20_000)}
	wide.value = wide.value[:len(wide.value)-1]
	give := testBatch{records: []testRecord{wide}, count: math.MaxInt32}
	for o := range int64(20_000) {
		give.records = append(give.records, row(o+1))
	}
	before := allocated()
	blocks, err := read(t, Position{}, give.encode(t))
	if used := allocated() - before; used > 100<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
	if err != nil || blocks[0].Rows() != 20_001 {
		t.Errorf("%d rows, %v", blocks[0].Rows(), err)
	}
}
