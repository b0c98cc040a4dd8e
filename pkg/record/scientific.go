package record

import (
	"encoding/binary"
	"math"
)

// scientificSize is the length of a number without sign as %.18e writes it, such as 9.728614687919616699e-01.
const scientificSize = 24

// isScientific reports whether a number of that length may begin at line[i]: it has an e in the right place, or behind a
// sign.
func isScientific(line []byte, i int) bool {
	return len(line)-i >= scientificSize && (line[i+scientificSize-4] == 'e' || line[i+scientificSize-3] == 'e')
}

// maxScientific is the largest exponent that scientific takes. From 14 on a number can lie halfway between two
// neighbours, or be too large.
const maxScientific = 13

// plainScientific reads numbers in exactly the layout of %.18e, in which SUSY and other UCI files come, from the fields
// of line into dst: where every digit stands is known, so nothing has to be looked for. It ends where dst is full, where
// the line ends, or before the first field that is anything else: written in another way or, which is rare, larger than
// maxScientific allows. It returns how many numbers it read and the index of the comma or the end behind the last.
func plainScientific(dst []float64, line []byte) (n, size int) {
	for i := 0; n < len(dst) && i < len(line); i++ {
		sign := uint64(0)
		if line[i] == '-' {
			sign = 1
		}
		i += int(sign)
		if len(line)-i < scientificSize {
			break
		}
		b := (*[scientificSize]byte)(line[i:])
		high, low := binary.LittleEndian.Uint64(b[2:]), binary.LittleEndian.Uint64(b[10:])
		// The eight bytes behind: two digits, e, the exponent's sign and two digits.
		one, d18, d19, e1, e2 := b[0]-'0', b[18]-'0', b[19]-'0', b[22]-'0', b[23]-'0'
		if b[1] != '.' || b[20] != 'e' || !allDigits(high) || !allDigits(low) || max(one, d18, d19, e1, e2) > 9 ||
			(b[21]-'+')&^2 != 0 {
			break
		}
		mantissa := uint64(one)*1e18 + eightDigits(high^eightZeros)*1e10 + eightDigits(low^eightZeros)*100 + uint64(d18)*10 + uint64(d19)
		minus := -int(b[21]-'+') >> 1
		exp := (int(e1)*10 + int(e2)) ^ minus
		i += scientificSize
		if exp -= minus; exp > maxScientific || i < len(line) && line[i] != ',' {
			break
		}
		dst[n] = math.Float64frombits(math.Float64bits(scale(mantissa, exp-18)) | sign<<63)
		n, size = n+1, i
	}
	return n, size
}
