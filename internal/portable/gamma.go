package portable

import "math"

// stirling returns how much ln Γ(x), x ≥ 10, exceeds (x - ½)·ln x - x + ½·ln 2π: the asymptotic series up to x^-13,
// which is off by less than 3e-17.
func stirling(x float64) float64 {
	y := 1 / float64(x*x)
	s := -691.0/360360 + float64(y*(1.0/156))
	s = 1.0/1188 + float64(y*s)
	s = -1.0/1680 + float64(y*s)
	s = 1.0/1260 + float64(y*s)
	s = -1.0/360 + float64(y*s)
	s = 1.0/12 + float64(y*s)
	return s / x
}

// Lgamma returns ln Γ(x) of a positive and finite x, within 1e-14 of the true value or 1e-15 of its size, whichever is
// more. Unlike math.Lgamma it gives the same bits on every CPU.
//
// Below 10 it uses Γ(x) = Γ(x + n)/(x·(x + 1)·…·(x + n - 1)).
func Lgamma(x float64) float64 {
	const halfLn2Pi = 0.91893853320467274178
	product := 1.0
	for x < 10 {
		product *= x
		x++
	}
	return float64((x-0.5)*Log(x)) - x + halfLn2Pi + stirling(x) - Log(product)
}

// GammaP returns the regularised lower incomplete gamma function P(a, x) = ∫ t^(a-1)·e^-t dt/Γ(a) from 0 to x, for
// a > 0 and x ≥ 0, both finite: the probability that a variable with the gamma distribution of shape a is below x. It
// is within a relative 1e-12 of the true value for a up to 10,000, and takes time in proportion to √a.
//
// Below a + 1 it is the series of DLMF 8.11.4, above 1 minus the continued fraction of DLMF 8.9.2, evaluated by Lentz's
// method (Thompson, Barnett, Journal of Computational Physics 64, 1986).
func GammaP(a, x float64) float64 {
	const epsilon = 0x1p-53
	if x == 0 {
		return 0
	}
	if x < a+1 {
		term := 1 / a
		sum := term
		for k := a + 1; term > float64(epsilon*sum); k++ {
			term *= x / k
			sum += term
		}
		return gammaTerm(a, x) * sum
	}
	// h is 1/(b0 + n1/(b1 + n2/(b2 + …))) with b = x + 1 - a + 2k and n = k·(a - k), cut off further and further behind;
	// c and 1/d are the ratios of its successive numerators and denominators. Neither is ever below k + 1, as x ≥ a + 1.
	b := x + 1 - a
	c := math.Inf(1)
	d := 1 / b
	h := d
	for k, change := 1.0, 2.0; math.Abs(change-1) > 2*epsilon; k++ {
		n := float64(k * (a - k))
		b += 2
		d = 1 / (b + float64(n*d))
		c = b + n/c
		change = float64(c * d)
		h *= change
	}
	return 1 - float64(gammaTerm(a, x)*h)
}

// gammaTerm returns x^a·e^-x/Γ(a).
func gammaTerm(a, x float64) float64 {
	if a < 10 {
		return Exp(float64(a*Log(x)) - x - Lgamma(a))
	}
	// With x = a(1 + d) the large parts of the three terms cancel.
	d := (x - a) / a
	return math.Sqrt(a/(2*math.Pi)) * Exp(float64(a*(Log(x/a)-d))-stirling(a))
}
