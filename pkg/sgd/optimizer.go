package sgd

import (
	"math"

	"learner/internal/portable"
)

// optimizer says how a linear learner moves. Its value never changes: all that does is in a memory.
//
// l1 and l2 are the penalty l1·Σ|w_i| + l2/2·Σw_i² of each record (of all together for ftrl), the first weight, which is
// the bias, left out. Where a step has a length η_i, the penalty is applied after it, in closed form: w_i goes η_i·l1 towards 0
// and stops there, then w_i ← w_i/(1 + η_i·l2) (Duchi, Singer, Efficient online and batch learning using forward
// backward splitting, JMLR 10, 2009). So l1 makes weights that are exactly 0.
//
// A record of importance c counts as c of its kind: gradient, sums, penalty, and time all grow by c times theirs.
type optimizer interface {
	// sums names what is kept for each weight; all of it begins at 0.
	sums() []string
	// step writes the weights and sums of next from those of now, for a record of vector v, with g the derivative of the
	// loss by the margin. next.t and now.t are there already. It reports whether it was so small a step that next is in
	// range for certain; otherwise the caller has to look at each value.
	step(next, now *memory, v []float64, g, c float64) (small bool)
	// learningRate returns the rate of record t, counting from 1; 0: there is none.
	learningRate(t float64) float64
}

// optimizers holds every optimiser, by name: the rate that it has where none is given (of coin: the wealth that it begins
// with, as it has no rate), for vectors of up to [ordinary] values and a loss that is not steep; and what makes it.
var optimizers = map[string]struct {
	rate float64
	make func(rate float64, p penalty) optimizer
}{
	"adagrad": {0.2, func(rate float64, p penalty) optimizer { return adagrad{rate, p} }},
	"adam":    {0.01, func(rate float64, p penalty) optimizer { return adam{rate, p} }},
	"coin":    {1, func(wealth float64, p penalty) optimizer { return coin{wealth, p} }},
	"ftrl":    {0.5, func(rate float64, p penalty) optimizer { return ftrl{rate, p} }},
	"sgd":     {0.5, func(rate float64, p penalty) optimizer { return sgd{rate, p} }},
}

const (
	maxRate  = 1e6
	ordinary = 20
)

// optimizer reads the options optimizer, rate, l1, and l2, and returns what makes an optimiser for vectors of a width.
func (o *options) optimizer(steep bool) func(width int) optimizer {
	name := o.choice("optimizer", "sgd", keys(optimizers))
	kind := optimizers[name]
	_, given := o.given["rate"]
	rate := o.positive("rate", 1, maxRate)
	if given && name == "coin" {
		o.fault("option rate: the optimizer coin has none")
	}
	p := penalty{l1: o.atLeast0("l1", 0, maxRate), l2: o.atLeast0("l2", 0, maxRate)}
	return func(width int) optimizer {
		if given {
			return kind.make(rate, p)
		}
		return kind.make(ordinaryRate(kind.rate, width, steep), p)
	}
}

// ordinaryRate returns the rate for vectors of a width, from that of up to [ordinary] values. A step of length η moves the
// margin by η·|v|² times the gradient, and |v|² grows with the width: a steep loss, whose gradient grows with the margin,
// would swing wider with each step.
func ordinaryRate(rate float64, width int, steep bool) float64 {
	share := min(1, ordinary/float64(width))
	if steep {
		return rate / 5 * share
	}
	return rate * math.Sqrt(share)
}

// penalty is what a record costs for weights that are not 0.
type penalty struct{ l1, l2 float64 }

func (p penalty) none() bool { return p.l1 == 0 && p.l2 == 0 }

// shrink applies the penalty to a weight after a step of length eta.
func (p penalty) shrink(w, eta float64) float64 {
	return soften(w, float64(eta*p.l1)) / (1 + float64(eta*p.l2))
}

// soften brings v nearer to 0 by at most by.
func soften(v, by float64) float64 {
	switch {
	case v > by:
		return v - by
	case v < -by:
		return v + by
	}
	return 0
}

// sgd is stochastic gradient descent, w ← w - η·g·v with η = rate/√t (Zinkevich, Online convex programming and
// generalized infinitesimal gradient ascent, ICML 2003).
type sgd struct {
	rate float64
	penalty
}

func (o sgd) sums() []string { return nil }

func (o sgd) learningRate(t float64) float64 { return o.rate / math.Sqrt(t) }

func (o sgd) step(next, now *memory, v []float64, g, c float64) bool {
	eta := float64(c * o.learningRate(next.t))
	step := float64(eta * g)
	small := math.Abs(step) <= smallStep && next.t <= maxState
	to := next.weights[:len(v)]
	descend(to, now.weights[:len(v)], v, step)
	if o.none() {
		return small
	}
	for i := 1; i < len(to); i++ {
		to[i] = o.shrink(to[i], eta)
	}
	return small
}

// plainDescend stores w - step·v in to. All have the same length.
func plainDescend(to, w, v []float64, step float64) {
	for i, vi := range v {
		to[i] = w[i] - float64(step*vi)
	}
}

// adagrad is AdaGrad in its diagonal form, with G_i the sum of (g·v_i)² (Duchi, Hazan, Singer, JMLR 12, 2011):
//
//	η_i = rate/√(G_i + 1e-8), w_i ← w_i - η_i·g·v_i
type adagrad struct {
	rate float64
	penalty
}

func (o adagrad) sums() []string { return []string{"squares"} }

func (o adagrad) learningRate(float64) float64 { return o.rate }

func (o adagrad) step(next, now *memory, v []float64, g, c float64) bool {
	w, to := now.weights[:len(v)], next.weights[:len(v)]
	squares, toSquares := now.sums[0][:len(v)], next.sums[0][:len(v)]
	for i, vi := range v {
		gi := float64(g * vi)
		s := squares[i] + float64(c*float64(gi*gi))
		toSquares[i] = s
		to[i] = w[i] - float64(o.eta(s, c)*gi)
	}
	if o.none() {
		return false
	}
	for i := 1; i < len(to); i++ {
		to[i] = o.shrink(to[i], o.eta(toSquares[i], c))
	}
	return false
}

func (o adagrad) eta(squares, c float64) float64 {
	return float64(c*o.rate) / math.Sqrt(squares+1e-8)
}

// adam is Adam, with running means m of g·v_i and s of (g·v_i)², in the form that corrects both by one factor (Kingma, Ba,
// ICLR 2015, end of section 2):
//
//	m_i ← β1·m_i + (1-β1)·g·v_i, s_i ← β2·s_i + (1-β2)·(g·v_i)², β1 = .9, β2 = .999
//	η_i = rate·√(1-β2^t)/(1-β1^t)/(√s_i + 1e-8), w_i ← w_i - η_i·m_i
//
// A record of importance c enters the means as c equal ones in a row would: β^c stands for β.
type adam struct {
	rate float64
	penalty
}

const beta1, beta2 = 0.9, 0.999

var logBeta1, logBeta2 = portable.Log(beta1), portable.Log(beta2)

func (o adam) sums() []string { return []string{"mean", "square"} }

func (o adam) learningRate(float64) float64 { return o.rate }

func (o adam) step(next, now *memory, v []float64, g, c float64) bool {
	keep1, keep2 := beta1, beta2
	if c != 1 {
		keep1, keep2 = portable.Exp(c*logBeta1), portable.Exp(c*logBeta2)
	}
	add1, add2 := 1-keep1, 1-keep2
	rate := float64(c*o.rate) * math.Sqrt(1-portable.Exp(next.t*logBeta2)) / (1 - portable.Exp(next.t*logBeta1))
	w, to := now.weights[:len(v)], next.weights[:len(v)]
	mean, toMean := now.sums[0][:len(v)], next.sums[0][:len(v)]
	square, toSquare := now.sums[1][:len(v)], next.sums[1][:len(v)]
	for i, vi := range v {
		gi := float64(g * vi)
		toMean[i] = float64(keep1*mean[i]) + float64(add1*gi)
		toSquare[i] = float64(keep2*square[i]) + float64(add2*float64(gi*gi))
		to[i] = w[i] - float64(rate/(math.Sqrt(toSquare[i])+1e-8)*toMean[i])
	}
	if o.none() {
		return false
	}
	for i := 1; i < len(to); i++ {
		to[i] = o.shrink(to[i], rate/(math.Sqrt(toSquare[i])+1e-8))
	}
	return false
}

// ftrl is FTRL-Proximal, with n_i the sum of (g·v_i)² (McMahan et al., Ad click prediction: a view from the trenches,
// KDD 2013, algorithm 1; its α is rate and its β is 1):
//
//	σ = (√(n_i + (g·v_i)²) - √n_i)/rate, z_i ← z_i + g·v_i - σ·w_i, n_i ← n_i + (g·v_i)²
//	w_i = -(z_i - sign(z_i)·l1)/((β + √n_i)/rate + l2), and 0 where |z_i| ≤ l1
type ftrl struct {
	rate float64
	penalty
}

const ftrlBeta = 1

func (o ftrl) sums() []string { return []string{"z", "squares"} }

func (o ftrl) learningRate(float64) float64 { return o.rate }

func (o ftrl) step(next, now *memory, v []float64, g, c float64) bool {
	w, to := now.weights[:len(v)], next.weights[:len(v)]
	z, toZ := now.sums[0][:len(v)], next.sums[0][:len(v)]
	squares, toSquares := now.sums[1][:len(v)], next.sums[1][:len(v)]
	for i, vi := range v {
		gi := float64(g * vi)
		s := squares[i] + float64(c*float64(gi*gi))
		toSquares[i] = s
		root := math.Sqrt(s)
		sigma := (root - math.Sqrt(squares[i])) / o.rate
		toZ[i] = z[i] + float64(c*gi) - float64(sigma*w[i])
		to[i] = -toZ[i] / ((ftrlBeta + root) / o.rate)
	}
	if o.none() {
		return false
	}
	for i := 1; i < len(to); i++ {
		to[i] = -soften(toZ[i], o.l1) / ((ftrlBeta+math.Sqrt(toSquares[i]))/o.rate + o.l2)
	}
	return false
}

// coin bets on each weight with the wealth that its bets so far have won, and so needs no rate (Orabona, Pal, Coin betting
// and parameter-free online learning, NIPS 2016). The gradients' bound and number, which the bettor of Krichevsky and
// Trofimov is told, are replaced by the largest of them so far, L_i, and Σ|g_i|, G_i (Orabona, Tommasi, Training deep
// networks without learning rates through coin betting, NIPS 2017):
//
//	g_i = g·v_i + l2·w_i, L_i ← max(L_i, |g_i|), G_i ← G_i + |g_i|, R_i ← max(0, R_i - g_i·w_i), θ_i ← θ_i - g_i
//	w_i = θ_i/(L_i + G_i)·(ε + R_i/L_i)
//
// ε is the wealth of each weight in the beginning; 1 there. For l1, θ_i goes t·l1 towards 0 before it makes w_i (dual
// averaging, Xiao, JMLR 11, 2010).
type coin struct {
	wealth float64 // ε
	penalty
}

func (o coin) sums() []string { return []string{"theta", "largest", "absolute", "reward"} }

func (o coin) learningRate(float64) float64 { return 0 }

func (o coin) step(next, now *memory, v []float64, g, c float64) bool {
	w, to := now.weights[:len(v)], next.weights[:len(v)]
	theta, largest, absolute, reward := now.sums[0], now.sums[1], now.sums[2], now.sums[3]
	toTheta, toLargest, toAbsolute, toReward := next.sums[0], next.sums[1], next.sums[2], next.sums[3]
	var l1, l2 float64 // the bias has none
	for i, vi := range v {
		gi := float64(g*vi) + float64(l2*w[i])
		size := math.Abs(gi)
		toLargest[i] = max(largest[i], size)
		toAbsolute[i] = absolute[i] + float64(c*size)
		toReward[i] = max(0, reward[i]-float64(c*float64(gi*w[i])))
		toTheta[i] = theta[i] - float64(c*gi)
		to[i] = 0
		if toLargest[i] > 0 {
			bet := soften(toTheta[i], l1) / (toLargest[i] + toAbsolute[i])
			to[i] = float64(bet * (o.wealth + toReward[i]/toLargest[i]))
		}
		l1, l2 = float64(next.t*o.l1), o.l2
	}
	return false
}
