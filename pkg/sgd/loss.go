package sgd

// loss is what a learner makes small, as a function of the margin (w·z + bias) and the label, 0 or 1.
type loss interface {
	// value returns the loss.
	value(margin, label float64) float64
	// step returns the probability of class 1 that the margin stands for, and the derivative of the loss by the margin.
	step(margin, label float64) (prob, gradient float64)
}

// losses holds every loss, by name.
var losses = map[string]loss{
	"log": logLoss{},
}

// logLoss is -ln of the probability of the true class, in nats. Margins are limited to ±30.
type logLoss struct{}

func (logLoss) value(margin, label float64) float64 {
	m := limit(margin)
	if label == 1 {
		m = -m
	}
	// ln(1 + e^m), written so that e^m does not swallow the 1.
	if m > 0 {
		return m + ln(1+exp(-m))
	}
	return ln(1 + exp(m))
}

func (logLoss) step(margin, label float64) (prob, gradient float64) {
	prob = sigmoid(margin)
	return prob, prob - label
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
	return -ln(p)
}
