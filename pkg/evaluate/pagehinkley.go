package evaluate

import "fmt"

// PageHinkley reports when the mean of a sequence has risen.
//
// It sums up by how much each value exceeds the mean so far by more than delta, and reports when this sum stands more
// than lambda above its lowest point. Nothing is faded out: with the usual factor of .9999 a million stationary losses
// give some hundred reports. Page, Biometrika 41 (1954); in the form of Gama, Žliobaitė, Bifet, Pechenizkiy, Bouchachia,
// ACM Computing Surveys 46 (2014).
type PageHinkley struct {
	delta, lambda float64

	records float64 // since the start or the last report
	mean    float64 // of their values
	sum     float64 // of value - mean - delta, each with the mean of its time
	lowest  float64 // that the sum has been, 0 at the start
}

// NewPageHinkley returns a detector of rises by more than delta, in the unit of the values. Lambda, in that unit times
// records, trades delay for false reports: a rise by d is reported after some lambda/(d - delta) records.
func NewPageHinkley(delta, lambda float64) *PageHinkley {
	return &PageHinkley{delta: delta, lambda: lambda}
}

// Add takes the next value, which is finite, and says whether the mean has risen. It never reports a fall. After a
// report it starts anew with the next value.
func (p *PageHinkley) Add(x float64) bool {
	p.records++
	p.mean += (x - p.mean) / p.records
	p.sum += x - p.mean - p.delta
	p.lowest = min(p.lowest, p.sum)
	if p.Score() <= p.lambda {
		return false
	}
	p.Restart()
	return true
}

// AddRun is Add for each of a run of values in turn, up to the first that is reported. It returns how many it took, and
// whether the last of them was reported.
func (p *PageHinkley) AddRun(x []float64) (n int, rose bool) {
	records, mean, sum, lowest := p.records, p.mean, p.sum, p.lowest
	for i, xi := range x {
		records++
		mean += (xi - mean) / records
		sum += xi - mean - p.delta
		if sum < lowest {
			lowest = sum
		}
		if !(sum-lowest <= p.lambda) {
			p.Restart()
			return i + 1, true
		}
	}
	p.records, p.mean, p.sum, p.lowest = records, mean, sum, lowest
	return len(x), false
}

// Score returns how far the sum stands above its lowest point: above lambda it is reported. It is 0 after a report.
func (p *PageHinkley) Score() float64 { return p.sum - p.lowest }

// Restart forgets all values.
func (p *PageHinkley) Restart() { *p = *NewPageHinkley(p.delta, p.lambda) }

// State returns what Restore needs to go on at the same point: 4 numbers.
func (p *PageHinkley) State() []float64 { return []float64{p.records, p.mean, p.sum, p.lowest} }

// Restore takes over the state of a detector with the same delta and lambda.
func (p *PageHinkley) Restore(state []float64) error {
	if len(state) != 4 {
		return fmt.Errorf("restore page-hinkley detector: state of %d numbers, want 4", len(state))
	}
	p.records, p.mean, p.sum, p.lowest = state[0], state[1], state[2], state[3]
	return nil
}
