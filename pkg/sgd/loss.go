package sgd

import "learner/internal/portable"

// loss is what a linear learner makes small, as a function of the margin f = w·v and the label, 0 or 1. The formulas have
// y = 2·label - 1, that is -1 or +1, and are those of scikit-learn's SGDClassifier.
type loss interface {
	// value returns the loss.
	value(margin, label float64) float64
	// gradient returns the derivative of the loss by the margin.
	gradient(margin, label float64) float64
	// aimsAtLabel reports whether the margin that makes the loss of a stream smallest is a probability's place between -1
	// and +1, so that it is turned to log-odds by [labelOdds]; otherwise the margin counts as log-odds.
	aimsAtLabel() bool
}

// losses holds every loss, by name.
var losses = map[string]loss{
	"hinge":          hingeLoss{},
	"logistic":       logLoss{},
	"modified_huber": modifiedHuberLoss{},
	"squared":        squaredLoss{},
}

// logLoss is ln(1 + e^(-y·f)), -ln of the probability of the true class, in nats. Margins are limited to ±30.
type logLoss struct{}

func (logLoss) value(margin, label float64) float64 {
	m := limit(margin)
	if label == 1 {
		m = -m
	}
	// portable.Log(1 + e^m), written so that e^m does not swallow the 1.
	if m > 0 {
		return m + portable.Log(1+portable.Exp(-m))
	}
	return portable.Log(1 + portable.Exp(m))
}

func (logLoss) gradient(margin, label float64) float64 { return sigmoid(margin) - label }
func (logLoss) aimsAtLabel() bool                      { return false }

// hingeLoss is max(0, 1 - y·f). Where y·f is 1, its derivative is taken to be -y.
type hingeLoss struct{}

func (hingeLoss) value(margin, label float64) float64 { return max(0, 1-float64(sign(label)*margin)) }

func (hingeLoss) gradient(margin, label float64) float64 {
	y := sign(label)
	if float64(y*margin) <= 1 {
		return -y
	}
	return 0
}

func (hingeLoss) aimsAtLabel() bool { return false }

// squaredLoss is ½·(f - y)². Other libraries (River, Vowpal Wabbit) leave out the ½.
type squaredLoss struct{}

func (squaredLoss) value(margin, label float64) float64 {
	d := margin - sign(label)
	return float64(0.5 * float64(d*d))
}

func (squaredLoss) gradient(margin, label float64) float64 { return margin - sign(label) }
func (squaredLoss) aimsAtLabel() bool                      { return true }

// modifiedHuberLoss is max(0, 1 - y·f)² where y·f is at least -1, and -4·y·f elsewhere (Zhang, ICML 2004).
type modifiedHuberLoss struct{}

func (modifiedHuberLoss) value(margin, label float64) float64 {
	m := float64(sign(label) * margin)
	if m < -1 {
		return -4 * m
	}
	short := max(0, 1-m)
	return float64(short * short)
}

func (modifiedHuberLoss) gradient(margin, label float64) float64 {
	y := sign(label)
	m := float64(y * margin)
	if m < -1 {
		return -4 * y
	}
	return float64(-2 * y * max(0, 1-m))
}

func (modifiedHuberLoss) aimsAtLabel() bool { return true }

// sign returns -1 for label 0 and +1 for label 1.
func sign(label float64) float64 { return float64(2*label) - 1 }

// labelOdds returns ln(p/(1-p)) with p = (f + 1)/2 limited to [1e-5, 1 - 1e-5], f the margin.
func labelOdds(margin float64) float64 {
	const most = 1 - 1e-5
	p := min(max(float64(0.5*limit(margin))+0.5, 1-most), most)
	return portable.Log(p / (1 - p))
}

// The range that LogLoss limits a probability to.
const (
	minProb = 1e-6
	maxProb = 1 - 1e-6
)

// LogLoss returns the loss, in nats, of answering prob, a number in [0, 1], for a record whose label is 0 or 1: -ln of
// the probability of the true class, with prob limited to [1e-6, 1 - 1e-6]. The same bits on every CPU: progressive
// scores, which are sums of it, are part of checkpoints.
func LogLoss(prob, label float64) float64 {
	p := prob
	if p < minProb {
		p = minProb
	} else if p > maxProb {
		p = maxProb
	}
	if label == 0 {
		p = 1 - p
	}
	return -portable.Log(p)
}
