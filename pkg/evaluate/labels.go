package evaluate

import "math"

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

// Answers are what was answered to a run of records.
type Answers struct {
	Prob    []float64 // of class 1
	Correct []uint8   // 1 where the class was predicted, else 0
}

// AddRun stores what Majority and LastLabel say before each of a run of labels, 0 or 1, and counts it. It has no branches
// that would depend on a label, which nobody can foresee.
func (l *Labels) AddRun(y []float64, majority, last Answers) {
	if l.Records == 0 && len(y) > 0 {
		l.first(y[0], majority, last)
		y, majority, last = y[1:], majority.behind(1), last.behind(1)
	}
	n := len(y)
	majority, last = Answers{majority.Prob[:n], majority.Correct[:n]}, Answers{last.Prob[:n], last.Correct[:n]}
	records, ones, repeats, before := float64(l.Records), float64(l.Ones), float64(l.Repeats), float64(l.Last)
	for i, label := range y {
		p := (ones + 1) / (records + 2)
		majority.Prob[i] = p
		majority.Correct[i] = bit((p >= 0.5) == (label == 1))
		p = (repeats + 1) / (records + 1)
		last.Prob[i] = either(before, p, 1-p)
		repeated := bit(before == label)
		last.Correct[i] = repeated
		records++
		ones += label
		repeats += float64(repeated)
		before = label
	}
	l.Records, l.Ones, l.Repeats, l.Last = uint64(records), uint64(ones), uint64(repeats), uint64(before)
}

// first is AddRun for the first label of all.
func (l *Labels) first(label float64, majority, last Answers) {
	p, class := l.Majority()
	majority.Prob[0], majority.Correct[0] = p, bit(class == label)
	p, class = l.LastLabel()
	last.Prob[0], last.Correct[0] = p, bit(class == label)
	l.Add(label)
}

// behind returns the answers but for the first n.
func (a Answers) behind(n int) Answers { return Answers{a.Prob[n:], a.Correct[n:]} }

// bit returns 1 for yes, 0 for no.
func bit(yes bool) uint8 {
	if yes {
		return 1
	}
	return 0
}

// either returns one where the label is 1, and zero where it is 0.
func either(label, one, zero float64) float64 {
	keep := uint64(-int64(label)) // all bits, or none
	return math.Float64frombits(math.Float64bits(one)&keep | math.Float64bits(zero)&^keep)
}
