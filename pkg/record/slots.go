package record

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

// Bounds of the number of bits of a hash that count.
const (
	MinHashBits     = 8
	MaxHashBits     = 24
	DefaultHashBits = 18
)

// Slots numbers the categories of a stream by their hashes, from 0 on in the order of their first appearance. There are
// 2^bits slots and no more: categories whose hashes begin with the same bits share a slot, and its number.
//
// One goroutine adds; any other may look up meanwhile.
type Slots struct {
	shift  uint
	number []atomic.Int32 // by slot: 1 + its number; 0: none yet
	met    []int64        // slots by number: the adding goroutine's
	count  atomic.Int32   // of met
}

// NewSlots returns slots of which those that met holds have numbers, as Met told them.
func NewSlots(bits int, met []int64) (*Slots, error) {
	s := &Slots{shift: uint(64 - bits), number: make([]atomic.Int32, 1<<bits)}
	for _, slot := range met {
		if slot < 0 || slot >= int64(len(s.number)) || s.number[slot].Load() != 0 {
			return nil, fmt.Errorf("slot %d of a table of 2^%d is out of range, or there twice", slot, bits)
		}
		s.add(slot)
	}
	return s, nil
}

// Add returns the number of a hash's slot, a new one where it has none.
func (s *Slots) Add(hash uint64) int32 {
	slot := int64(hash >> s.shift)
	if n := s.number[slot].Load(); n > 0 {
		return n - 1
	}
	return s.add(slot)
}

func (s *Slots) add(slot int64) int32 {
	s.met = append(s.met, slot)
	n := int32(len(s.met))
	s.number[slot].Store(n)
	s.count.Store(n)
	return n - 1
}

// Find returns the number of a hash's slot; -1 where it has none.
func (s *Slots) Find(hash uint64) int32 { return s.number[hash>>s.shift].Load() - 1 }

// Met returns all slots that have a number, in order; not to be changed. It is for the goroutine that adds.
func (s *Slots) Met() []int64 { return slices.Clip(s.met) }

// Known returns what Met does, for any goroutine.
func (s *Slots) Known() []int64 {
	known := make([]int64, s.count.Load())
	for slot := range s.number {
		if n := int(s.number[slot].Load()); n > 0 && n <= len(known) {
			known[n-1] = int64(slot)
		}
	}
	return known
}

// Occupancy says how full a table of slots is.
type Occupancy struct {
	Slots int // in all
	Used  int // by a category or several
	// Categories is an estimate of how many there were: of n slots that hashes fall on evenly, n·(1 - exp(-c/n)) are used by
	// c categories (linear counting: Whang, Vander-Zanden, Taylor, ACM Transactions on Database Systems 15, 1990). Infinite
	// where all slots are used.
	Categories float64
}

// Occupancy returns how full the table is.
func (s *Slots) Occupancy() Occupancy {
	n, used := float64(len(s.number)), float64(s.count.Load())
	return Occupancy{Slots: len(s.number), Used: int(used), Categories: max(used, -n*math.Log1p(-used/n))}
}
