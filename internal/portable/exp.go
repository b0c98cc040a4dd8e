// Package portable has the functions of package math that give other bits on other CPUs, in a form that gives the same
// bits on all: math.Exp and math.Log pick fused multiply-add where the CPU has it.
package portable

import "math"

// ln 2 in two parts: k*ln2Hi is exact for |k| < 2^20, as ln2Hi ends in 21 zero bits.
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
)

// Exp returns e^x within 1 ulp of the true value for x ≥ -708, and 0 for any x below: it knows no subnormal numbers.
// Unlike math.Exp it gives the same bits on every CPU.
//
// With k = round(x/ln 2) and r = x - k·ln 2, |r| ≤ 0.35, it is 2^k·(1 + r + r²·q(r)), where q is the Taylor series up
// to r^13/13!; the first term left out is below 2^-57.
func Exp(x float64) float64 {
	switch {
	case x < -708:
		return 0
	case x > 710:
		return math.Inf(1)
	case math.IsNaN(x):
		return x
	}
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	hi := x - float64(k*ln2Hi)
	lo := float64(k * ln2Lo)
	r := hi - lo
	r2 := float64(r * r)
	r4 := float64(r2 * r2)

	// Pairs of terms, then pairs of pairs: a shorter chain of operations than Horner's.
	q23 := 1.0/2 + float64(r*(1.0/6))
	q45 := 1.0/24 + float64(r*(1.0/120))
	q67 := 1.0/720 + float64(r*(1.0/5040))
	q89 := 1.0/40320 + float64(r*(1.0/362880))
	q1011 := 1.0/3628800 + float64(r*(1.0/39916800))
	q1213 := 1.0/479001600 + float64(r*(1.0/6227020800))
	low := q23 + float64(r2*q45)
	middle := q67 + float64(r2*q89)
	high := q1011 + float64(r2*q1213)
	q := low + float64(r4*(middle+float64(r4*high)))

	y := 1 - (lo - float64(r2*q) - hi)
	if k < 1024 {
		return y * math.Float64frombits(uint64(int64(k)+1023)<<52)
	}
	return 2 * y * 0x1p1023 // 2^k is out of range, where the result may not be
}
