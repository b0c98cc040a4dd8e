package susy

import "math"

// massT2 returns MT2 for two massless leptons with transverse momenta pT1 and pT2 in the directions n1 and n2 (of
// length 1), missing transverse momentum m, and massless invisible particles:
//
//	MT2² = min over q1 + q2 = m of max(f1(q1), f2(q2)), fi(q) = 2 pTi (|q| - ni·q).
//
// The minimum is found by its dual. For weights A = λ pT1 and B = (1-λ) pT2 the smallest A (|q1| - n1·q1) +
// B (|q2| - n2·q2) is the largest m·(v - B n2) over vectors v with |v| ≤ B and |v + A n1 - B n2| ≤ A. When the
// best λ gives more than zero, both bounds are met, so v is the mirror image of B n2 at the line along A n1 - B n2.
// With t = A/B, c = n1·n2 and m = a n1 + b n2 this leaves one number to choose:
//
//	MT2² = max over t > 0 of 4 pT1 pT2 N(t)/D(t),
//	N(t) = -(1-c²) t (b t + a), D(t) = (pT2 t + pT1) ((t-c)² + 1-c²).
//
// N/D has a single stationary point where it is positive, found by Newton's method kept between bounds. MT2 is zero
// when m lies between the leptons (a ≥ 0 and b ≥ 0).
func massT2(pT1, pT2 float64, n1, n2, m vec) float64 {
	c, s := n1.dot(n2), n1.cross(n2)
	if c > 0 && math.Abs(s) < 1e-7 { // parallel leptons: the limit of the formula for s to 0
		return math.Sqrt(2 * pT1 * pT2 / (pT1 + pT2) * math.Max(0, m.length()-m.dot(n1)))
	}
	// N(t) = t (lead t + rest). The leptons may change places (t becomes 1/t), so that |rest| ≤ |lead|.
	lead, rest := -s*n1.cross(m), s*n2.cross(m)
	if lead <= 0 && rest <= 0 {
		return 0
	}
	if math.Abs(rest) > math.Abs(lead) {
		lead, rest = rest, lead
		pT1, pT2 = pT2, pT1
	}
	zero := -rest / lead // N(t) = lead t (t - zero) is positive right of zero for lead > 0, else left of it
	lo, hi := math.Max(0, zero), math.Inf(1)
	t := lo + 1
	if lead < 0 {
		lo, hi, t = 0, zero, zero/2
	}
	for range 100 { // six steps are usual
		linear, quadratic := pT2*t+pT1, (t-c)*(t-c)+s*s
		n, d := t*(t-zero), linear*quadratic
		dSlope := pT2*quadratic + 2*linear*(t-c)
		slope := (2*t-zero)*d - n*dSlope        // of N/D, times D²/lead
		curve := 2*d - n*(4*pT2*(t-c)+2*linear) // of slope
		if (slope > 0) == (lead > 0) {
			lo = t
		} else {
			hi = t
		}
		step := slope / curve
		next := t - step
		if math.Abs(step) <= 1e-10*t {
			break
		}
		if !(next > lo && next < hi) {
			next = (lo + hi) / 2
			if math.IsInf(hi, 1) {
				next = 2 * t
			}
		}
		t = next
	}
	n := lead * t * (t - zero)
	d := (pT2*t + pT1) * ((t-c)*(t-c) + s*s)
	return math.Sqrt(math.Max(0, 4*pT1*pT2*n/d))
}
