package susy

import "math"

// Scaling of the measured columns: physical = scale · file + shift. Fitted on real rows of the file, in which only
// the differences of angles and of pseudorapidities show.
const (
	pT2Scale  = 0.5940825
	metScale  = 1.1165484
	eta1Scale = 1.1891837
	eta1Shift = 0.0010374
	eta2Scale = 1.2138686
	phi1Scale = 1.8109095
	phi2Scale = 1.8112945
	phi2Shift = -0.0003921
	phiMScale = 1.8118620
	phiMShift = -0.0122497
)

// Scaling of the derived columns: file = scale · physical + shift. Fitted as above; cos_theta_r1 is not scaled.
const (
	metRelScale  = 1.3444317
	axialScale   = 0.8999391
	axialShift   = 0.3164037
	mRScale      = 0.5231352
	mTR2Scale    = 1.0649395
	ratioRScale  = 1.8064559
	mT2Scale     = 2.3498114
	sRScale      = 0.2625338
	mDeltaRScale = 1.7476853
	dPhiRBScale  = 0.5066404
)

// vec is a vector in the plane across the beam.
type vec struct{ x, y float64 }

// polar returns the vector of length r in direction phi.
func polar(r, phi float64) vec {
	sin, cos := math.Sincos(phi)
	return vec{r * cos, r * sin}
}

func (a vec) add(b vec) vec       { return vec{a.x + b.x, a.y + b.y} }
func (a vec) scale(f float64) vec { return vec{f * a.x, f * a.y} }
func (a vec) dot(b vec) float64   { return a.x*b.x + a.y*b.y }
func (a vec) cross(b vec) float64 { return a.x*b.y - a.y*b.x }
func (a vec) length() float64     { return math.Sqrt(a.dot(a)) }
func (a vec) angle(b vec) float64 { return math.Atan2(math.Abs(a.cross(b)), a.dot(b)) }

// HighLevel sets the ten derived columns of x (8 to 17) from the eight measured ones (0 to 7), all in file values.
//
// Leptons are taken as massless. Against the file the values agree to about 1e-5, but for MET_rel, which in the
// file also looks at jets that it does not hold: about 15 % of its rows have a smaller value there. Both
// lepton momenta must be positive, and the leptons' directions neither the same nor exactly opposite; else values
// may be NaN.
//
// Razor variables M_R, M_TR_2, R: Rogan, arXiv 1006.2727. Super-razor variables S_R, M_Delta_R, dPhi_r_b,
// cos_theta_r1: Buckley, Lykken, Rogan, Spiropulu, arXiv 1310.4827. MT2: Lester, Summers, hep-ph/9906349.
func HighLevel(x *[Features]float64) {
	pT1 := x[lepton1PT]
	pT2 := pT2Scale * x[lepton2PT]
	met := metScale * x[missing]
	n1 := polar(1, phi1Scale*x[lepton1Phi])
	n2 := polar(1, phi2Scale*x[lepton2Phi]+phi2Shift)
	m := polar(met, phiMScale*x[missingPhi]+phiMShift)
	l1, l2 := n1.scale(pT1), n2.scale(pT2)
	l := l1.add(l2)
	lm := l.dot(m)

	// MET_rel is the part of the MET across the nearest lepton, or all of it when no lepton is on its side.
	nearest := n1
	if n2.dot(m) > n1.dot(m) {
		nearest = n2
	}
	rel := met
	if nearest.dot(m) > 0 {
		rel = math.Abs(nearest.cross(m))
	}

	// In the frame in which the pair has no momentum along the beam (z), the lepton energies are e1 and e2, their
	// momenta along the beam pz and -pz, and the pair's energy is M_R. All follow from the gap in pseudorapidity.
	gap := (eta1Scale*x[lepton1Eta] + eta1Shift) - eta2Scale*x[lepton2Eta]
	cosh := pT1 * pT2 * math.Cosh(gap)
	mass := math.Sqrt(pT1*pT1 + pT2*pT2 + 2*cosh)
	e1 := (pT1*pT1 + cosh) / mass
	e2 := (pT2*pT2 + cosh) / mass
	pz := pT1 * pT2 * math.Sinh(gap) / mass

	mTR := math.Sqrt(math.Max(0, met*(pT1+pT2)-lm) / 2)

	// The R frame moves with the whole system, whose momentum is p and whose mass is estimated as shat, where the
	// invisible part is as heavy as the lepton pair.
	p := l.add(m)
	pairMass2 := math.Max(0, mass*mass-l.dot(l))
	energy := mass + math.Sqrt(pairMass2+met*met)
	shat := math.Sqrt(energy*energy - p.dot(p))

	// Boost the leptons there: their momenta get this multiple of p.
	boost := func(n vec, e float64) vec {
		return n.add(p.scale((n.dot(p)/(energy+shat) - e) / shat))
	}
	b1, b2 := boost(l1, e1), boost(l2, e2)
	eb1 := (energy*e1 - l1.dot(p)) / shat
	eb2 := (energy*e2 - l2.dot(p)) / shat

	// Half the difference of their momenta, over half the sum of their energies, is the velocity beta that takes
	// each of them on to the frame of its own parent.
	sum := eb1 + eb2
	bx, by, bz := (b1.x-b2.x)/sum, (b1.y-b2.y)/sum, 2*pz/sum
	beta2 := bx*bx + by*by + bz*bz
	beta := math.Sqrt(beta2)
	along := b1.x*bx + b1.y*by + pz*bz // lepton 1 along beta, times beta

	x[missingRel] = metRelScale * rel
	x[axialMissing] = axialScale*lm/l.length() + axialShift
	x[mR] = mRScale * mass
	x[mTR2] = mTR2Scale * mTR
	x[ratioR] = ratioRScale * mTR / mass
	x[mT2] = mT2Scale * massT2(pT1, pT2, n1, n2, m)
	x[sR] = sRScale * shat
	x[mDeltaR] = mDeltaRScale * shat / 2 * math.Sqrt(math.Max(0, 1-beta2))
	x[dPhiRB] = dPhiRBScale * b1.add(b2).angle(p)
	x[cosThetaR1] = math.Abs(along-beta2*eb1) / (beta * (eb1 - along))
}
