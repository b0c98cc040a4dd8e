package record

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// maxDigits is how many decimal digits always fit into a uint64.
const maxDigits = 19

// parseFloat reads the decimal number that begins at b[i] and returns it with the index of the byte behind it. The
// result is bit for bit that of [strconv.ParseFloat]: rounded half to even, zero below the smallest denormal, infinite
// above the largest float64. A number is a sign or none, digits with or without a decimal point, and an exponent or
// none; ok is false for anything else, and so for NaN, infinity, and hexadecimal numbers.
func parseFloat(b []byte, i int) (v float64, next int, ok bool) {
	start := i
	sign, i := parseSign(b, i)

	// The digits as a whole number, wrapped around where there are more than maxDigits, and a power of ten.
	var mantissa uint64
	exp := 0
	first := i
	for i < len(b) && isDigit(b[i]) {
		mantissa = mantissa*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - first
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		mantissa, i = appendDigits(mantissa, b, i)
		exp = point - i
		digits += i - point
	}
	if digits == 0 {
		return 0, start, false
	}
	last := i
	if i < len(b) && b[i]|0x20 == 'e' {
		var e int
		if e, i, ok = parseExponent(b, i+1); !ok {
			return 0, start, false
		}
		exp += e
	}

	switch {
	case digits > maxDigits:
		v = parseLong(b[first:i], last-first, exp)
	case mantissa < 1<<53 && -len(exactPowers) < exp && exp < len(exactPowers):
		// Both numbers are exact, so one operation rounds once. William Clinger, How to Read Floating Point Numbers
		// Accurately, PLDI 1990.
		if exp < 0 {
			v = float64(mantissa) / exactPowers[-exp]
		} else {
			v = float64(mantissa) * exactPowers[exp]
		}
	default:
		v = scale(mantissa, exp)
	}
	return math.Float64frombits(math.Float64bits(v) | sign<<63), i, true
}

// parseSign returns 1 for a minus sign at b[i], else 0, and the index behind the sign. Minus takes no branch: signs of
// features are a coin toss, which a processor guesses wrong half the time.
func parseSign(b []byte, i int) (sign uint64, next int) {
	if i == len(b) {
		return 0, i
	}
	if b[i] == '-' {
		sign = 1
	}
	if b[i] == '+' {
		i++
	}
	return sign, i + int(sign)
}

func isDigit(c byte) bool { return c-'0' <= 9 }

// eightZeros is eight digits 0.
const eightZeros = 0x3030303030303030

// appendDigits appends the digits from b[i] on to mantissa, up to eight at a time, and returns the index of the byte
// behind them.
func appendDigits(mantissa uint64, b []byte, i int) (uint64, int) {
	for len(b) >= 8 && i < len(b) {
		w := eightBytes(b, i)
		if leadingDigits(w) < 8 {
			return appendFew(mantissa, w, i)
		}
		mantissa = mantissa*100_000_000 + eightDigits(w^eightZeros)
		i += 8
	}
	for i < len(b) && isDigit(b[i]) {
		mantissa = mantissa*10 + uint64(b[i]-'0')
		i++
	}
	return mantissa, i
}

// appendFew appends the digits that w, the bytes from index i on, begins with, fewer than eight, and returns the index
// behind them. How many there are takes no branch: lengths of numbers are hard to guess.
func appendFew(mantissa, w uint64, i int) (uint64, int) {
	n := leadingDigits(w)
	return mantissa*wholePowers[n] + eightDigits((w^eightZeros)<<(64-8*n)), i + n
}

// eightBytes returns the bytes of b from b[i] on, up to eight, the first being the lowest and zeros standing for those
// beyond the end. b has eight bytes at least.
func eightBytes(b []byte, i int) uint64 {
	if i+8 <= len(b) {
		return binary.LittleEndian.Uint64(b[i:])
	}
	return binary.LittleEndian.Uint64(b[len(b)-8:]) >> (8 * (i + 8 - len(b)))
}

// wholePowers are the powers of ten by which eight digits or fewer shift a number.
var wholePowers = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// leadingDigits returns how many bytes of w are digits before the first that is none, the lowest byte being the first.
func leadingDigits(w uint64) int {
	w ^= eightZeros // digits are 0 to 9 now; the sum's top bits tell them from others, at least up to the first
	return bits.TrailingZeros64(((w+0x7676767676767676)|w)&0x8080808080808080) / 8
}

// allDigits reports whether each byte of w is within 0x30 to 0x39.
func allDigits(w uint64) bool {
	const tops = 0xF0F0F0F0F0F0F0F0
	return (w&tops)|((w+0x0606060606060606)&tops)>>4 == 0x3333333333333333
}

// eightDigits returns the number whose digits are the bytes of w, each 0 to 9, the lowest byte being the first digit:
// neighbours are joined to two, four, and eight digits. Daniel Lemire, Number Parsing at a Gigabyte per Second,
// Software: Practice and Experience 51 (2021).
func eightDigits(w uint64) uint64 {
	const pairs = 0x000000FF000000FF
	w = w*10 + w>>8
	return ((w&pairs)*(100+1_000_000<<32) + (w>>16&pairs)*(1+10_000<<32)) >> 32
}

// parseExponent reads a sign or none and digits from b[i] on. Exponents from 10000 on lose digits, as in strconv.
func parseExponent(b []byte, i int) (e, next int, ok bool) {
	minus := 0
	if i < len(b) && (b[i]-'+')&^2 == 0 { // plus or minus, in one branch
		minus = -int(b[i]-'+') >> 1
		i++
	}
	first := i
	for i < len(b) && isDigit(b[i]) {
		if e < 10000 {
			e = e*10 + int(b[i]-'0')
		}
		i++
	}
	return (e ^ minus) - minus, i, i > first
}

// parseLong returns the number without sign written in text, whose first n bytes are more than maxDigits digits and
// perhaps a point; exp is the power of ten of the last digit.
func parseLong(text []byte, n, exp int) float64 {
	var mantissa uint64
	digits, more := 0, false
	for _, c := range text[:n] {
		switch {
		case c == '.' || digits == 0 && c == '0':
		case digits < maxDigits:
			mantissa = mantissa*10 + uint64(c-'0')
			digits++
		default:
			more = more || c != '0'
			exp++
		}
	}
	v := scale(mantissa, exp)
	if more && scale(mantissa+1, exp) != v {
		// The digits that were left out decide. The text is a number, so the only error is that of the range, where
		// the value is infinite.
		v, _ = strconv.ParseFloat(string(text), 64)
	}
	return v
}

// scale returns w·10^q, correctly rounded, by the method of Michael Eisel and Daniel Lemire: the leading bits of w
// times 128 of the power of ten. 64 would do for most numbers; but float32 values, printed, leave the rounding open half
// the time, and a wrong guess costs more than the product. 128 bits are always enough: Noble Mushtak and Daniel Lemire, Fast Number Parsing Without Fallback, Software: Practice and
// Experience 53 (2023).
func scale(w uint64, q int) float64 {
	if w == 0 || q < minPower {
		return 0
	}
	if q > maxPower {
		return math.Inf(1)
	}
	zeros := bits.LeadingZeros64(w)
	w <<= zeros
	power := &powers[q-minPower]
	hi, lo := bits.Mul64(w, power.hi)
	more, _ := bits.Mul64(w, power.lo)
	lo, carry := bits.Add64(lo, more, 0)
	hi += carry

	// 54 bits: one below the float64's 53, for rounding. 217706/65536 is log2(10), close enough for the floor.
	top := int(hi >> 63)
	shift := top + 9
	m := hi >> (shift & 63)
	exp := (217706*q)>>16 + 63 + top - zeros + 1023
	if exp <= 0 { // a denormal
		if exp < -62 {
			return 0
		}
		m >>= 1 - exp
		return math.Float64frombits((m + m&1) >> 1)
	}
	if lo <= 1 && m&3 == 1 && -4 <= q && q <= 23 && m<<(shift&63) == hi {
		m-- // halfway between two: to the even one
	}
	m = (m + m&1) >> 1
	// The leading one of m is not stored. If rounding carried m to 2^53, the sum carries into the exponent.
	b := uint64(exp)<<52 + (m - 1<<52)
	if b >= 0x7FF<<52 {
		return math.Inf(1)
	}
	return math.Float64frombits(b)
}

// Powers of ten outside of [minPower, maxPower] make any uint64 zero or infinite.
const (
	minPower = -342
	maxPower = 308
)

// powers holds the leading 128 bits of 10^q at q-minPower.
var powers = leadingBits()

// exactPowers are the powers of ten that a float64 holds exactly.
var exactPowers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
	1e21, 1e22,
}

type uint128 struct{ hi, lo uint64 }

// leadingBits makes the table of powers: bits of 5^q, as the factor 2^q is the exponent's matter. They are cut off
// below, but rounded up from 5^-27 to 5^-1: so that a product that is a whole number does not come out just below it.
func leadingBits() *[maxPower - minPower + 1]uint128 {
	var table [maxPower - minPower + 1]uint128
	five, one, power, x := big.NewInt(5), big.NewInt(1), big.NewInt(1), new(big.Int)
	low := new(big.Int).SetUint64(math.MaxUint64)
	half := new(big.Int)
	split := func(x *big.Int) uint128 {
		return uint128{hi: half.Rsh(x, 64).Uint64(), lo: half.And(x, low).Uint64()}
	}
	for q := 0; q <= -minPower; q++ { // power is 5^q
		n := power.BitLen()
		if q <= maxPower {
			if n <= 128 {
				x.Lsh(power, uint(128-n))
			} else {
				x.Rsh(power, uint(n-128))
			}
			table[q-minPower] = split(x)
		}
		if q > 0 {
			x.Quo(x.Lsh(one, uint(n+127)), power)
			if q <= 27 {
				x.Add(x, one)
			}
			table[-q-minPower] = split(x)
		}
		power.Mul(power, five)
	}
	return &table
}
