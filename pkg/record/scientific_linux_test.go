package record

import (
	"syscall"
	"testing"
)

// TestScientificReadsNothingBehindTheLine puts lines right before memory that must not be read.
func TestScientificReadsNothingBehindTheLine(t *testing.T) {
	page := syscall.Getpagesize()
	memory, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Munmap(memory); err != nil {
			t.Error(err)
		}
	}()
	if err := syscall.Mprotect(memory[page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	csv := newCSV(t, labelFirst)
	line := "1.000000000000000000e+00,-9.728614687919616699e-01,0.05644299999999999,-3,1.5e-3,-7.100000000000000000e-03,-"
	for n := range len(line) + 1 {
		end := memory[page-n : page : page]
		copy(end, line)
		var dst [4]float64
		scientific(dst[:], end)
		var block Block
		_ = csv.Decode(&block, Record{Offset: 1, Value: end}) // a line that was cut may be bad
	}
}
