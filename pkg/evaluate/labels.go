package evaluate

// Labels counts labels as they come, for the answers that need no features: each is given before its label is known.
type Labels struct {
	Records uint64
	Ones    uint64
	Repeats uint64 // records whose label is that of the record before
	Last    uint64 // the label that came last
}

// Add counts a label, 0 or 1.
func (l *Labels) Add(y float64) {
	label := uint64(0)
	if y == 1 {
		label = 1
	}
	l.Ones += label
	if l.Records > 0 && label == l.Last {
		l.Repeats++
	}
	l.Records++
	l.Last = label
}

// Majority returns the probability of class 1 by the share of ones so far, with one of each class added, and the class that
// it predicts: the more frequent one.
func (l *Labels) Majority() (prob, class float64) {
	prob = (float64(l.Ones) + 1) / (float64(l.Records) + 2)
	if prob >= 0.5 {
		class = 1
	}
	return prob, class
}

// LastLabel returns the probability of class 1 by the last label, and the share of repeats so far, with one repeat and one
// change added. The class that it predicts is the last label, also where labels seldom repeat.
func (l *Labels) LastLabel() (prob, class float64) {
	if l.Records == 0 {
		return 0.5, 1
	}
	prob = (float64(l.Repeats) + 1) / (float64(l.Records-1) + 2)
	if l.Last == 0 {
		return 1 - prob, 0
	}
	return prob, 1
}
