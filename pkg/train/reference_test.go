package train

import (
	"cmp"
	"math/big"
	"slices"
)

// span is one partition's part of a range: [start, end), and end before any drawing back.
type span struct{ start, settled, end int64 }

// outcome is what becomes of logs and ranges.
type outcome struct {
	learned []place
	entries []entry // of learned
	refused []place
	borders []int // how many were learned when each range ended
	width   int
}

// reference merges by the rules as they are written, by sorting and scanning, without a thought for speed.
func reference(logs []*testLog, ranges []map[int32]span, mode Mode) outcome {
	type head struct {
		id   int32
		span span
		e    entry
	}
	var out outcome
	var held []head
	last := int32(-1)

	accept := func(h head) {
		if len(h.e.x) != out.width {
			out.refused = append(out.refused, place{h.id, h.e.offset})
			return
		}
		out.learned = append(out.learned, place{h.id, h.e.offset})
		out.entries = append(out.entries, h.e)
	}
	settle := func() {
		best := 0
		for _, h := range held {
			n := 0
			for _, other := range held {
				if len(other.e.x) == len(h.e.x) {
					n++
				}
			}
			if n > best {
				best, out.width = n, len(h.e.x)
			}
		}
		for _, h := range held {
			accept(h)
		}
		held = nil
	}

	for _, rng := range ranges {
		left := map[int32][]entry{}
		for _, l := range logs {
			s, ok := rng[l.id]
			if !ok {
				continue
			}
			for _, e := range l.entries {
				switch {
				case e.offset < s.start || e.offset >= s.end:
				case e.bad != nil:
					out.refused = append(out.refused, place{l.id, e.offset})
				default:
					left[l.id] = append(left[l.id], e)
				}
			}
		}
		for {
			var heads []head
			for id, entries := range left {
				for len(entries) > 0 && out.width > 0 && len(entries[0].x) != out.width {
					out.refused = append(out.refused, place{id, entries[0].offset})
					entries = entries[1:]
				}
				left[id] = entries
				if len(entries) > 0 {
					heads = append(heads, head{id, rng[id], entries[0]})
				}
			}
			if len(heads) == 0 {
				break
			}
			slices.SortFunc(heads, func(a, b head) int {
				if mode == ByProgress {
					return cmp.Or(come(a.span, a.e.offset).Cmp(come(b.span, b.e.offset)), cmp.Compare(a.id, b.id))
				}
				return cmp.Or(cmp.Compare(a.e.time, b.e.time), cmp.Compare(behindTurn(a.id, last), behindTurn(b.id, last)))
			})
			h := heads[0]
			last = h.id
			left[h.id] = left[h.id][1:]
			if out.width > 0 {
				accept(h)
				continue
			}
			held = append(held, h)
			if len(held) == 100 {
				settle()
			}
		}
		if len(held) > 0 {
			settle()
		}
		out.borders = append(out.borders, len(out.learned))
	}
	return out
}

// come returns how far offset is in its range.
func come(s span, offset int64) *big.Rat { return big.NewRat(offset-s.start+1, s.settled-s.start) }

// behindTurn returns how many numbers id comes after last, going round.
func behindTurn(id, last int32) int64 {
	n := int64(id) - int64(last)
	if n <= 0 {
		n += 1 << 32
	}
	return n
}

// rangesOf returns the ranges that were told of, in order, each as it was told last.
func rangesOf(told []Progress) []map[int32]span {
	var all []map[int32]span
	for _, p := range told {
		if len(p.Partitions) == 0 {
			continue
		}
		rng := map[int32]span{}
		for _, l := range p.Partitions {
			rng[l.Partition] = span{l.Start, l.Settled, l.End}
		}
		if n := len(all); n > 0 && sameRange(all[n-1], rng) {
			all[n-1] = rng
		} else {
			all = append(all, rng)
		}
	}
	return all
}

// sameRange reports whether a and b are the same range but for ends drawn back.
func sameRange(a, b map[int32]span) bool {
	if len(a) != len(b) {
		return false
	}
	for id, s := range a {
		if o, ok := b[id]; !ok || o.start != s.start || o.settled != s.settled {
			return false
		}
	}
	return true
}
