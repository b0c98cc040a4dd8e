package record

import (
	"math"
	"slices"
	"testing"
)

// TestNumbersAsCategories holds that a number is the category of the text that people write for it.
func TestNumbersAsCategories(t *testing.T) {
	h := NewHasher("id")
	for v, text := range map[float64]string{
		0: "0", 10: "10", -1.5: "-1.5", 1234567: "1234567", 9007199254740993: "9007199254740992", 1e20: "100000000000000000000",
		1e21: "1e+21", 0.000001: "0.000001", 1e-7: "1e-07",
	} {
		if h.Number(v) != h.Text([]byte(text)) {
			t.Errorf("%v is another category than %q", v, text)
		}
	}
	if h.Number(math.Copysign(0, -1)) != h.Number(0) || h.Number(1) == NewHasher("other").Number(1) || h.Text(nil) == h.Missing() {
		t.Error("categories that differ only in their sign, their column, or in that there is none")
	}
}

func TestSlotsKnown(t *testing.T) {
	s, err := NewSlots(8, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := NewHasher("id")
	for i := range 100 {
		s.Add(h.Number(float64(i)))
	}
	if known := s.Known(); len(known) < 50 || !slices.Equal(known, s.Met()) {
		t.Errorf("known %v, met %v", known, s.Met())
	}
	again, err := NewSlots(8, s.Known())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if hash := h.Number(float64(i)); again.Find(hash) != s.Find(hash) {
			t.Errorf("category %d has number %d, and %d again", i, s.Find(hash), again.Find(hash))
		}
	}
}
