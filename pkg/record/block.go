package record

import (
	"math"
	"slices"
	"time"
)

// Block is a run of one partition's log, decoded: the rows, the records refused, and the batches passed. It stands
// for all offsets in [Base, Next), those included that compaction, markers, and aborted transactions left empty.
//
// Rows may differ in width and shape: which columns count is decided downstream, in learning order.
type Block struct {
	Partition  int32
	Base, Next int64

	X       []float64  // numbers of all rows, row after row; NaN: the value is missing
	End     []int      // End[i] is where row i ends in X
	Hashes  []uint64   // of the categories of all rows, in the order of their columns; 0: the value is missing
	HashEnd []int      // likewise; no row from len(HashEnd) on has categories
	Shapes  []ShapeRun // of rows, in order; rows before the first have no shape
	Missing bool       // whether there may be NaN in X
	Y       []float64  // label of each row: 0 or 1
	Time    []int64    // microseconds since 1970
	Offset  []int64    // increasing
	Raw     []byte     // of all rows, where the reader was asked to keep it: see Refusal
	RawEnd  []int

	Refused []Refusal // by offset
	Batches []Batch   // every batch in the run, of any kind, by offset

	Lost  int64 // offsets of the run that the log no longer had when they were asked for
	Bytes int   // size of the records, uncompressed

	// Ready receives one value when the block is decoded: blocks are handed on in log order while workers still
	// fill them. A nil Ready means that the block is complete.
	Ready chan struct{}
}

// ShapeRun says that the rows of a block from one on, up to the next run, have a shape, or none.
type ShapeRun struct {
	From  int
	Shape *Shape
}

// Refusal is a record that is no row.
type Refusal struct {
	Offset int64
	Err    *Bad
	Raw    []byte // its key, value, and headers as they stand in the log; nil where they were not kept, or are damaged
}

// Batch is one batch of the log. Offsets in [Base, Last] belong to it whether or not records are left.
type Batch struct {
	Base, Last  int64
	Time        int64 // the newest timestamp in it, microseconds since 1970
	LeaderEpoch int32
}

// Rows returns the number of rows.
func (b *Block) Rows() int { return len(b.End) }

// Row is a row of a block. It is valid as long as the block.
type Row struct {
	Shape  *Shape    // nil: numbers without names
	X      []float64 // the numbers, in the order of their columns
	Hashes []uint64  // of the categories, likewise
}

// Row returns row i.
func (b *Block) Row(i int) Row {
	run, found := slices.BinarySearchFunc(b.Shapes, i, func(r ShapeRun, i int) int { return r.From - i })
	if !found {
		run--
	}
	row := Row{X: part(b.X, b.End, i)}
	if run >= 0 {
		row.Shape = b.Shapes[run].Shape
	}
	if i < len(b.HashEnd) {
		row.Hashes = part(b.Hashes, b.HashEnd, i)
	}
	return row
}

// RawRow returns what was kept of the record of row i; nil: nothing.
func (b *Block) RawRow(i int) []byte {
	if len(b.RawEnd) == 0 {
		return nil
	}
	return part(b.Raw, b.RawEnd, i)
}

// part returns part i of all, of which each ends where end says.
func part[T any](all []T, end []int, i int) []T {
	start := 0
	if i > 0 {
		start = end[i-1]
	}
	return all[start:end[i]:end[i]]
}

// EndRow closes the row of a shape whose numbers were appended to X, and whose hashes to Hashes, since the last call.
func (b *Block) EndRow(rec *Record, shape *Shape, label float64) {
	if shape != b.lastShape() {
		b.Shapes = append(b.Shapes, ShapeRun{len(b.End), shape})
	}
	if len(b.Hashes) > 0 {
		for len(b.HashEnd) < len(b.End) {
			b.HashEnd = append(b.HashEnd, 0)
		}
		b.HashEnd = append(b.HashEnd, len(b.Hashes))
	}
	b.End = append(b.End, len(b.X))
	b.Y = append(b.Y, label)
	b.Time = append(b.Time, rec.Time)
	b.Offset = append(b.Offset, rec.Offset)
}

// lastShape returns the shape of the newest row.
func (b *Block) lastShape() *Shape {
	if n := len(b.Shapes); n > 0 {
		return b.Shapes[n-1].Shape
	}
	return nil
}

// AppendMissing appends a number that is missing to X.
func (b *Block) AppendMissing() {
	b.X, b.Missing = append(b.X, notANumber), true
}

var notANumber = math.NaN()

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	b.Empty()
	b.Partition, b.Base, b.Next, b.Lost = 0, 0, 0, 0
}

// Empty takes out what was decoded, so that it can be decoded anew: which part of the log the block stands for remains, as
// others may have looked at it.
func (b *Block) Empty() {
	b.X, b.End, b.Hashes, b.HashEnd, b.Shapes = b.X[:0], b.End[:0], b.Hashes[:0], b.HashEnd[:0], b.Shapes[:0]
	b.Y, b.Time, b.Offset, b.Raw, b.RawEnd = b.Y[:0], b.Time[:0], b.Offset[:0], b.Raw[:0], b.RawEnd[:0]
	b.Refused, b.Batches, b.Missing, b.Bytes = b.Refused[:0], b.Batches[:0], false, 0
}

// End says which part of one partition's log is there to be read.
type End struct {
	First  int64     // where reading it began
	Stable int64     // last stable offset: everything below it is decided and can be read
	Log    int64     // high watermark: at least Stable, more where a transaction is open
	Told   time.Time // when a broker said so; zero: none has yet
}
