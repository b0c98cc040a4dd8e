package record

import "time"

// Block is a run of one partition's log, decoded: the rows, the records refused, and the batches passed. It stands
// for all offsets in [Base, Next), those included that compaction, markers, and aborted transactions left empty.
//
// Rows may differ in width: which width is right is decided downstream, in learning order.
type Block struct {
	Partition  int32
	Base, Next int64

	X      []float64 // features of all rows, row after row
	End    []int     // End[i] is where row i ends in X
	Y      []float64 // label of each row: 0 or 1
	Time   []int64   // microseconds since 1970
	Offset []int64   // increasing

	Refused []Refusal // by offset
	Batches []Batch   // every batch in the run, of any kind, by offset

	Lost  int64 // offsets of the run that the log no longer had when they were asked for
	Bytes int   // size of the records, uncompressed

	// Ready receives one value when the block is decoded: blocks are handed on in log order while workers still
	// fill them. A nil Ready means that the block is complete.
	Ready chan struct{}
}

// Refusal is a record that is no row.
type Refusal struct {
	Offset int64
	Err    *Bad
}

// Batch is one batch of the log. Offsets in [Base, Last] belong to it whether or not records are left.
type Batch struct {
	Base, Last  int64
	Time        int64 // the newest timestamp in it, microseconds since 1970
	LeaderEpoch int32
}

// Rows returns the number of rows.
func (b *Block) Rows() int { return len(b.End) }

// Row returns the features of row i.
func (b *Block) Row(i int) []float64 {
	start := 0
	if i > 0 {
		start = b.End[i-1]
	}
	return b.X[start:b.End[i]:b.End[i]]
}

// EndRow closes the row whose features were appended to X since the last call.
func (b *Block) EndRow(rec *Record, label float64) {
	b.End = append(b.End, len(b.X))
	b.Y = append(b.Y, label)
	b.Time = append(b.Time, rec.Time)
	b.Offset = append(b.Offset, rec.Offset)
}

// Reset empties the block and keeps its memory.
func (b *Block) Reset() {
	*b = Block{
		X: b.X[:0], End: b.End[:0], Y: b.Y[:0], Time: b.Time[:0], Offset: b.Offset[:0],
		Refused: b.Refused[:0], Batches: b.Batches[:0], Ready: b.Ready,
	}
}

// End says which part of one partition's log is there to be read.
type End struct {
	First  int64     // where reading it began
	Stable int64     // last stable offset: everything below it is decided and can be read
	Log    int64     // high watermark: at least Stable, more where a transaction is open
	Told   time.Time // when a broker said so; zero: none has yet
}
