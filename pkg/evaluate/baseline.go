package evaluate

// A model is worth something where it beats answers that need no features at all.

// Majority returns the scores of answering, for every row of the window, the share of ones in the window: it always
// predicts the more frequent class (class 1 if both are equally frequent). Its accuracy is that class's share, and its
// log loss the entropy of the labels.
func (w *Window) Majority() Scores {
	share := float64(w.ones()) / float64(w.Len())
	class := 0
	if share >= 0.5 {
		class = 1
	}
	answers := w.answers[:0]
	for _, y := range w.y {
		answers = append(answers, answer{share, int(y), class})
	}
	w.answers = answers
	return score(answers)
}

// LastLabel returns the scores of predicting, for each row of the window but the first, the label of the row before it.
// Its accuracy is the share r of these rows that repeat the label before them. The probability that it answers for
// that label is r, too, also where r is below one half. It is good where labels come in runs.
func (w *Window) LastLabel() Scores {
	answers := w.answers[:0]
	repeats := 0
	for i := 1; i < w.Len(); i++ {
		before, label := int(w.y[w.slot(i-1)]), int(w.y[w.slot(i)])
		if before == label {
			repeats++
		}
		answers = append(answers, answer{label: label, class: before})
	}
	r := float64(repeats) / float64(len(answers))
	for i := range answers {
		answers[i].prob = 1 - r
		if answers[i].class == 1 {
			answers[i].prob = r
		}
	}
	w.answers = answers
	return score(answers)
}
