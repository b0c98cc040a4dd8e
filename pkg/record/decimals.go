package record

import "math"

// decimals is parseFloat for the fields of line, one after another into dst, as long as they are short: a sign or none,
// one digit, a point, and 1 to 18 digits. It ends where dst is full, where the line ends, or before the first field that
// is anything else. It returns how many numbers it read and the index of the comma or the end behind the last.
func decimals(dst []float64, line []byte) (n, size int) {
	for i := 0; n < len(dst); i++ {
		if len(line)-i < 8 {
			break
		}
		sign := uint64(0)
		if line[i] == '-' {
			sign = 1
		}
		i += int(sign)
		mantissa := uint64(line[i] - '0')
		if mantissa > 9 || line[i+1] != '.' {
			break
		}
		i += 2
		point := i
		if w := eightBytes(line, i); leadingDigits(w) < 8 {
			mantissa, i = appendFew(mantissa, w, i)
		} else {
			mantissa, i = appendDigits(mantissa*100_000_000+eightDigits(w^eightZeros), line, i+8)
		}
		digits := i - point
		if digits-1 >= maxDigits-1 || i < len(line) && line[i] != ',' {
			break
		}
		var v float64
		if mantissa < 1<<53 {
			v = float64(mantissa) / exactPowers[digits]
		} else {
			v = scale(mantissa, -digits)
		}
		dst[n] = math.Float64frombits(math.Float64bits(v) | sign<<63)
		if n, size = n+1, i; i == len(line) {
			break
		}
	}
	return n, size
}
