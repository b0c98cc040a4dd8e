package portable

import "math"

// Log returns the natural logarithm of x, positive and finite, within 1 ulp or so of the true value. Unlike math.Log
// it gives the same bits on every CPU.
//
// With x = 2^k·(1 + f), √½ ≤ 1 + f < √2, and s = f/(2 + f): ln(1 + f) = 2·artanh(s) = 2s + s·r with
// r = 2/3·s² + 2/5·s⁴ + …, where terms from s^22 on are left out (below 2^-58). 2s is f - f²/2 + s·f²/2, whose
// first part carries no rounding error of s. The same arrangement is in FreeBSD's e_log.c.
func Log(x float64) float64 {
	const (
		mantissa = 1<<52 - 1
		sqrtHalf = 0x3fe6a09e00000000 // bits of √½, cut off
	)
	k := 0.0
	if x < 0x1p-1022 {
		x *= 0x1p54
		k = -54
	}
	bits := math.Float64bits(x)
	// Adding 1 - √½ to the bits carries into the exponent exactly when the mantissa is at least that of √½.
	bits += 0x3ff0000000000000 - sqrtHalf
	k += float64(int64(bits>>52) - 1023)
	f := math.Float64frombits(bits&mantissa+sqrtHalf) - 1

	s := f / (2 + f)
	z := float64(s * s)
	r := 2.0/19 + float64(z*(2.0/21))
	r = 2.0/17 + float64(z*r)
	r = 2.0/15 + float64(z*r)
	r = 2.0/13 + float64(z*r)
	r = 2.0/11 + float64(z*r)
	r = 2.0/9 + float64(z*r)
	r = 2.0/7 + float64(z*r)
	r = 2.0/5 + float64(z*r)
	r = 2.0/3 + float64(z*r)
	r = float64(z * r)

	half := float64(0.5 * float64(f*f))
	tail := float64(s*(half+r)) + float64(k*ln2Lo)
	return float64(k*ln2Hi) - (half - tail - f)
}
