package evaluate

import (
	"fmt"
	"math"

	"learner/internal/portable"
)

// LossCap is the most that a record's log loss counts in a comparison, in nats.
const LossCap = 5

const (
	// sequenceScale is c: how far a difference can lie from the mean of those before it.
	sequenceScale = 4 * LossCap / 2
	// sequenceVariance is the sum of squared deviations at which the bounds are tightest. Differences of two good models
	// have a variance of .02 to .1, so this is some 10,000 to 50,000 records, where a champion may first be replaced; at
	// a tenth and at ten times as many the bounds are within 15 % of the tightest.
	sequenceVariance = 1000
)

// Sequence is a confidence sequence on the mean difference of two losses: an interval after every record, of which with
// probability 1 - alpha all contain the mean of the differences to be expected so far. So it may be looked at after
// each record, and acted on as soon as it excludes 0. Differences need not be independent, nor equally distributed.
//
// It is the empirical Bernstein sequence of Choe and Ramdas, Comparing sequential forecasters, Operations Research 2023
// (theorem 2): with v the sum of the squares of x - (mean of the differences before x), the sum s of n differences is
// within u(v) of its expectation, for all n. u is where the gamma-exponential mixture m(s, v) of Howard, Ramdas,
// McAuliffe, Sekhon, Annals of Statistics 49 (2021), proposition 9, reaches 2/alpha: alpha/2 for each side.
type Sequence struct {
	alpha float64

	records  float64
	sum      float64 // s
	variance float64 // v

	limit float64 // ln(2/alpha)
	shape float64 // rho/c²
	start float64 // what makes m(0, 0) = 1
}

// NewSequence returns a confidence sequence of no records, for an error probability of alpha in (0, 1).
func NewSequence(alpha float64) *Sequence {
	s := &Sequence{alpha: alpha, limit: portable.Log(2 / alpha)}
	// rho for bounds that are tightest at sequenceVariance, as in section 3.5 of Howard et al. for the normal mixture.
	l := 2 * (s.limit - math.Ln2)
	rho := sequenceVariance / (l + portable.Log(1+l))
	s.shape = rho / (sequenceScale * sequenceScale)
	s.start = float64(s.shape*portable.Log(s.shape)) - portable.Lgamma(s.shape) - portable.Log(portable.GammaP(s.shape, s.shape))
	return s
}

// Add takes the difference of the losses of the next record, each of them capped at LossCap: a number in
// [-LossCap, LossCap], to which others are limited.
func (s *Sequence) Add(difference float64) {
	difference = max(-LossCap, min(difference, LossCap))
	deviation := difference - s.sum/max(s.records, 1)
	s.variance += float64(deviation * deviation)
	s.sum += difference
	s.records++
}

// AddRun is Add for each of a run of differences in turn.
func (s *Sequence) AddRun(differences []float64) {
	records, sum, variance := s.records, s.sum, s.variance
	for _, d := range differences {
		if d > LossCap {
			d = LossCap
		} else if d < -LossCap {
			d = -LossCap
		}
		deviation := d - sum/max(records, 1)
		variance += float64(deviation * deviation)
		sum += d
		records++
	}
	s.records, s.sum, s.variance = records, sum, variance
}

// logMixture returns ln m(sum, variance), which rises with the sum ≥ 0.
//
// The mixture is the integral over u in (0, 1] of e^((1 - u)·s/c + v/c²·(ln u + 1 - u)) with weights in proportion
// to u^(rho/c² - 1)·e^(-u·rho/c²), which is a gamma function.
func (s *Sequence) logMixture(sum float64) float64 {
	exponent := (sum + s.variance/sequenceScale) / sequenceScale
	a, x := s.shape+s.variance/(sequenceScale*sequenceScale), s.shape+exponent
	return s.start + portable.Lgamma(a) + portable.Log(portable.GammaP(a, x)) - float64(a*portable.Log(x)) + exponent
}

// Decided returns the sign of the mean difference, -1 or +1, if the sequence excludes that it is 0, or else 0. It takes
// a few nanoseconds as long as the answer is clearly 0, and below a microsecond otherwise.
func (s *Sequence) Decided() int {
	sum := math.Abs(s.sum)
	// m(s, v) is at most e^(s²/2v), the highest value that is mixed, even with c = 0.
	if float64(sum*sum) <= 2*s.variance*s.limit || !(s.logMixture(sum) > s.limit) {
		return 0
	}
	if s.sum > 0 {
		return 1
	}
	return -1
}

// Bounds returns the interval of the mean difference. It searches for it, which takes some 20 µs: for display.
func (s *Sequence) Bounds() (low, high float64) {
	if s.records == 0 {
		return -LossCap, LossCap
	}
	// m is below the limit at inside, and not below at outside.
	inside := math.Sqrt(2 * s.variance * s.limit)
	outside := inside + sequenceScale
	for s.logMixture(outside) < s.limit {
		outside *= 2
	}
	for outside-inside > float64(1e-9*outside) {
		middle := (inside + outside) / 2
		if s.logMixture(middle) < s.limit {
			inside = middle
		} else {
			outside = middle
		}
	}
	mean, radius := s.sum/s.records, outside/s.records
	return max(-LossCap, mean-radius), min(mean+radius, LossCap)
}

// Records returns how many differences were added.
func (s *Sequence) Records() int { return int(s.records) }

// Mean returns the mean difference, NaN without records.
func (s *Sequence) Mean() float64 { return s.sum / s.records }

// sequenceState is the length of a sequence's state.
const sequenceState = 4

// State returns what Restore needs to go on at the same point: 4 numbers.
func (s *Sequence) State() []float64 { return []float64{s.alpha, s.records, s.sum, s.variance} }

// Restore takes over a state, alpha with it. After an error the sequence is as it was.
func (s *Sequence) Restore(state []float64) error {
	if len(state) != sequenceState {
		return fmt.Errorf("restore confidence sequence: state of %d numbers, want %d", len(state), sequenceState)
	}
	if !(state[0] > 0 && state[0] < 1) {
		return fmt.Errorf("restore confidence sequence: alpha %v", state[0])
	}
	*s = *NewSequence(state[0])
	s.records, s.sum, s.variance = state[1], state[2], state[3]
	return nil
}
