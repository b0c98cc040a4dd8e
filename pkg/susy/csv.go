package susy

import (
	"math"
	"math/bits"
	"strconv"
)

// precision is the number of decimals printed, as in the UCI file.
const precision = 18

// powers5 holds the powers of 5 that fit in 64 bits.
var powers5 = func() (p [28]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = 5 * p[i-1]
	}
	return p
}()

// AppendCSV appends an event to dst as a line of the UCI file, without the newline: the label and the 18 values,
// each rounded to float32 and printed as C does with %.18e.
func AppendCSV(dst []byte, label int, x *[Features]float64) []byte {
	dst = appendFloat32(dst, float32(label))
	for _, v := range x {
		dst = append(dst, ',')
		dst = appendFloat32(dst, float32(v))
	}
	return dst
}

// appendFloat32 is strconv.AppendFloat(dst, float64(v), 'e', 18, 64), whose path for more than 18 digits is slow,
// made fast for magnitudes from 1e-9 to 1e18.
func appendFloat32(dst []byte, v float32) []byte {
	size := math.Abs(float64(v))
	if !(size >= 1e-9 && size < 1e18) {
		return strconv.AppendFloat(dst, float64(v), 'e', precision, 64)
	}
	if v < 0 {
		dst = append(dst, '-')
	}
	// size = mantissa · 2^exp2 exactly, with a mantissa of 24 bits, and 10^exp10 is the power of ten not above it.
	fraction, exp2 := math.Frexp(size)
	exp10 := ((exp2 - 1) * 1233) >> 12 // log10(2) = 1233/4096 nearly: right, or one too low
	if size >= math.Pow10(exp10+1) {
		exp10++
	}
	digits := scale(uint64(fraction*(1<<24)), exp2-24, precision-exp10)

	var buf [precision + 2]byte // one digit, the point, 18 digits
	for i := len(buf) - 1; i > 1; i-- {
		buf[i] = byte('0' + digits%10)
		digits /= 10
	}
	buf[1] = '.'
	buf[0] = byte('0' + digits)
	dst = append(dst, buf[:]...)
	sign := byte('+')
	if exp10 < 0 {
		sign, exp10 = '-', -exp10
	}
	return append(dst, 'e', sign, byte('0'+exp10/10), byte('0'+exp10%10))
}

// scale returns mantissa · 2^exp2 · 10^power rounded to an integer, half to even. The mantissa has at most 24 bits,
// power is from 0 to 27, and the result must be below 2^64.
func scale(mantissa uint64, exp2, power int) uint64 {
	hi, lo := bits.Mul64(mantissa, powers5[power])
	shift := exp2 + power
	if shift >= 0 {
		return lo << shift
	}
	drop := uint(-shift) // below 64, as the result has 19 digits
	n := hi<<(64-drop) | lo>>drop
	rest, half := lo&(1<<drop-1), uint64(1)<<(drop-1)
	if rest > half || (rest == half && n&1 == 1) {
		n++
	}
	return n
}
