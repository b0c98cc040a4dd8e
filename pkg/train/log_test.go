package train

import (
	"fmt"
	"math"
	"slices"

	"learner/pkg/record"
)

// entry is one record of a test log: a row, or refused where bad is set.
type entry struct {
	offset, time int64
	shape        *record.Shape
	x            []float64
	hashes       []uint64
	y            float64
	bad          *record.Bad
}

// testLog is one partition's log [first, end). Offsets without an entry are empty: markers, aborted, compacted, or lost.
type testLog struct {
	id         int32
	first, end int64
	entries    []entry    // by offset
	lost       [][2]int64 // runs [from, to) that were gone when asked for
}

// place is where a record stands.
type place struct {
	partition int32
	offset    int64
}

// mixed scrambles its arguments into one number (SplitMix64's finaliser).
func mixed(a, b, c int64) uint64 {
	z := uint64(a)*0x9e3779b97f4a7c15 + uint64(b)*0xbf58476d1ce4e5b9 + uint64(c)*0x94d049bb133111eb
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// row returns a row that tells its place in its first two features; width is at least 2.
func row(id int32, offset, time int64, width int) entry {
	e := entry{offset: offset, time: time, x: make([]float64, width), y: float64(mixed(int64(id), offset, 0) & 1)}
	e.x[0], e.x[1] = float64(id), float64(offset)
	for j := 2; j < width; j++ {
		e.x[j] = float64(mixed(int64(id), offset, int64(j))>>40)/(1<<23) - 1 + e.y/4
	}
	return e
}

// bad returns a refused record.
func bad(offset int64) entry {
	return entry{offset: offset, bad: &record.Bad{Reason: record.Number, Detail: "test"}}
}

// steadyLog returns a log of n rows without gaps, stamped base, base+step, ….
func steadyLog(id int32, n int, base, step int64, width int) *testLog {
	l := &testLog{id: id, end: int64(n)}
	for k := range int64(n) {
		l.entries = append(l.entries, row(id, k, base+k*step, width))
	}
	return l
}

// block returns the block of offsets [from, to) of the log.
func (l *testLog) block(from, to int64) *record.Block {
	b := &record.Block{Partition: l.id, Base: from, Next: to}
	fill(b, l)
	return b
}

// fill decodes what belongs in a block.
func fill(b *record.Block, l *testLog) {
	for _, e := range l.entries {
		switch {
		case e.offset < b.Base || e.offset >= b.Next:
		case e.bad != nil:
			b.Refused = append(b.Refused, record.Refusal{Offset: e.offset, Err: e.bad, Raw: rawText(l.id, e.offset)})
			b.Bytes += 7
		default:
			b.X, b.Hashes = append(b.X, e.x...), append(b.Hashes, e.hashes...)
			b.Missing = b.Missing || slices.ContainsFunc(e.x, math.IsNaN)
			b.EndRow(&record.Record{Offset: e.offset, Time: e.time}, e.shape, e.y)
			b.Raw = append(b.Raw, rawText(l.id, e.offset)...)
			b.RawEnd = append(b.RawEnd, len(b.Raw))
			b.Bytes += 100
		}
	}
	b.Batches = append(b.Batches, record.Batch{Base: b.Base, Last: b.Next - 1})
}

// rawText is what is kept of a record.
func rawText(id int32, offset int64) []byte { return fmt.Appendf(nil, "record %d of %d", offset, id) }

// poison makes whatever still reads a released block fail or differ.
func poison(b *record.Block) {
	for i := range b.X {
		b.X[i] = math.NaN()
	}
	clear(b.Hashes)
	clear(b.Raw)
	*b = record.Block{Partition: -1, Base: -1, Next: -1}
}

// isLost reports whether [from, to) is a lost run.
func (l *testLog) isLost(from, to int64) bool { return slices.Contains(l.lost, [2]int64{from, to}) }

// pieces cuts the log at the given offsets, and around lost runs.
func (l *testLog) pieces(cuts []int64) [][2]int64 {
	at := append([]int64{l.first, l.end}, cuts...)
	for _, run := range l.lost {
		at = slices.DeleteFunc(at, func(o int64) bool { return run[0] < o && o < run[1] })
		at = append(at, run[0], run[1])
	}
	slices.Sort(at)
	at = slices.Compact(at)
	var all [][2]int64
	for i := 1; i < len(at); i++ {
		all = append(all, [2]int64{at[i-1], at[i]})
	}
	return all
}
