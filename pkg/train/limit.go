package train

import (
	"fmt"

	"learner/pkg/record"
)

// Limit is how many records may be refused: a share of each window, a run of so many records in the order of the merge, one
// behind the other, counted from where the lineage begins. The zero value is no limit.
type Limit struct {
	Share  float64
	Window uint64
}

// most returns how many records of a window may be refused. Decimal shares are not exact in binary.
func (l Limit) most() uint64 { return uint64(l.Share*float64(l.Window) + 1e-9) }

// TooManyRefusedError says that more records were refused than the limit allows.
type TooManyRefusedError struct {
	Limit     Limit
	Refused   uint64 // in the window
	Of        uint64 // records of the window seen by then
	Partition int32  // of the newest one
	Newest    record.Refusal
}

func (e *TooManyRefusedError) Error() string {
	return fmt.Sprintf("%d of %d records were refused, more than a share of %v in a window of %d; the newest is partition %d, offset %d: %v",
		e.Refused, e.Of, e.Limit.Share, e.Limit.Window, e.Partition, e.Newest.Offset, e.Newest.Err)
}

// refusals counts refused records by windows.
type refusals struct {
	limit  Limit
	all    uint64 // since the start
	window uint64 // number of the newest window
	bad    uint64 // in it
	err    error  // the limit was passed
}

// count counts one behind so many good records of the lineage.
func (c *refusals) count(good uint64, partition int32, r record.Refusal) {
	if c.limit.Window == 0 || c.err != nil {
		return
	}
	at := good + c.all
	c.all++
	if window := at / c.limit.Window; window > c.window {
		c.window, c.bad = window, 0
	}
	if c.bad++; c.bad > c.limit.most() {
		c.err = &TooManyRefusedError{
			Limit: c.limit, Refused: c.bad, Of: at%c.limit.Window + 1, Partition: partition,
			Newest: record.Refusal{Offset: r.Offset, Err: r.Err},
		}
	}
}

// refuse tells of a record that is not learned, behind so many good ones of the lineage. It ends the run where it is one
// too many.
func (o *order) refuse(good uint64, l *lane, r record.Refusal) {
	if o.refusals.err != nil {
		return
	}
	o.see.Refused(l.id, r)
	if o.refusals.count(good, l.id, r); o.refusals.err != nil {
		o.stop()
	}
}

// merged returns how many good records of the lineage were merged.
func (o *order) merged() uint64 { return o.records + uint64(len(o.held)) }

// Err returns why the run ended by itself: a *TooManyRefusedError, or nil. It is asked behind Run.
func (t *Trainer) Err() error { return t.err }
