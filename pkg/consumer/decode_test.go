package consumer

import (
	"context"
	"slices"
	"testing"
	"time"

	"learner/pkg/record"
	"learner/pkg/susy"
)

// susyBatch is a batch of 1000 rows of SUSY data in CSV.
func susyBatch(tb testing.TB, codec int) *batch {
	tb.Helper()
	events := susy.NewGenerator(1)
	var x [susy.Features]float64
	wire := testBatch{attributes: int16(codec), producer: -1}
	for i := range int64(1000) {
		label := events.Next(&x)
		wire.records = append(wire.records, testRecord{offset: i, value: susy.AppendCSV(nil, label, &x)})
	}
	var b batch
	if size, err := nextBatch(wire.encode(tb), &b); size == 0 || err != nil {
		tb.Fatal(size, err)
	}
	return &b
}

// TestRoomOfABlock fills a block that was given its memory in few pieces beyond its room, and checks that no piece runs
// into another.
func TestRoomOfABlock(t *testing.T) {
	var b record.Block
	blockSize{rows: 16, values: 64, batches: 2}.makeRoom(&b)
	if cap(b.End) < 16 || cap(b.X) < 64 || cap(b.Batches) < 2 {
		t.Fatalf("room for %d rows, %d values, %d batches", cap(b.End), cap(b.X), cap(b.Batches))
	}
	const rows = 100
	for i := range rows {
		b.X = append(b.X, float64(i), float64(-i))
		b.EndRow(&record.Record{Offset: int64(i), Time: int64(1000 + i)}, nil, float64(i%2))
	}
	for i := range rows {
		if !slices.Equal(b.Row(i).X, []float64{float64(i), float64(-i)}) || b.Y[i] != float64(i%2) || b.Offset[i] != int64(i) ||
			b.Time[i] != int64(1000+i) || b.End[i] != 2*i+2 {
			t.Fatalf("row %d: %v, label %v, offset %d, time %d, end %d", i, b.Row(i).X, b.Y[i], b.Offset[i], b.Time[i], b.End[i])
		}
	}
}

func TestBlockSizes(t *testing.T) {
	var s blockSize
	if got := s.wireBytes(); got != blockBytes {
		t.Errorf("nothing known: %d bytes on the wire, want %d", got, blockBytes)
	}
	s.meet(blockSize{rows: 80, values: 800, batches: 8, bytes: 4000, wire: 1000})
	s.meet(blockSize{rows: 8, values: 80, batches: 8, bytes: 400, wire: 100})
	if want := (blockSize{rows: 70, values: 700, batches: 8, bytes: 400, wire: 100}); s != want {
		t.Errorf("after a small block: %+v, want %+v", s, want)
	}
	if got := s.wireBytes(); got != blockBytes/4 {
		t.Errorf("packed four to one: %d bytes on the wire, want %d", got, blockBytes/4)
	}
}

// TestDeadlinesShareAContext checks that no request has less time than it needs, that most need no new context, and
// that a context is done when it is not needed any more.
func TestDeadlinesShareAContext(t *testing.T) {
	var l deadline
	first := l.after(t.Context(), time.Hour)
	if l.after(t.Context(), time.Hour) != first {
		t.Error("a second request of the same length has a context of its own")
	}
	second := l.after(t.Context(), 2*time.Hour)
	if end, ok := second.Deadline(); !ok || time.Until(end) < 2*time.Hour-time.Minute || first.Err() == nil {
		t.Errorf("a longer request has %v, %v; the context before: %v", time.Until(end), ok, first.Err())
	}
	parent, cancel := context.WithCancel(t.Context())
	l.close()
	third := l.after(parent, time.Hour)
	if cancel(); second.Err() == nil || third.Err() == nil {
		t.Errorf("not done: closed %v, with a parent that ended %v", second.Err(), third.Err())
	}
	l.close()
}

// BenchmarkWalk goes over the records of a batch, 1000 in one operation.
func BenchmarkWalk(b *testing.B) {
	data := susyBatch(b, codecNone).records
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w, n := walker{data: data}, 0
		for r := (wireRecord{}); w.next(&r); {
			n++
		}
		if n != 1000 || w.bad {
			b.Fatal(n, w.bad)
		}
	}
}

// BenchmarkDecompress unpacks a batch of 1000 records in one operation.
func BenchmarkDecompress(b *testing.B) {
	size := int64(len(susyBatch(b, codecNone).records))
	for codec, name := range codecNames[1:] {
		batch := susyBatch(b, codec+1)
		d := newDecompressor(maxBatchBytes)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.decompress(codec+1, batch.records); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode turns a batch of 1000 records into rows in one operation.
func BenchmarkDecode(b *testing.B) {
	for codec, name := range codecNames {
		batch := susyBatch(b, codec)
		d := newDecompressor(maxBatchBytes)
		csv := csvDecoder(b)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var block record.Block
			for b.Loop() {
				block.Reset()
				if pending := batch.decode(&block, 0, csv, d, false); pending != nil || block.Rows() != 1000 {
					b.Fatal(block.Rows())
				}
			}
		})
	}
}
