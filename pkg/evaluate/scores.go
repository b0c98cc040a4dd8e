package evaluate

import (
	"cmp"
	"math"
	"slices"
)

// Predictor answers for one row: it stores in dst[0] the probability, in [0, 1], that the row x, which has sparse features
// as well, has the label 1.
type Predictor interface {
	Predict(dst, x []float64, sparse []int32)
}

// rowsPredictor is a Predictor that answers for many rows at once, as it would for each: for row i of x, which is row-major,
// it stores the answer in dst[i]. The row's sparse features end at sparseEnd[i] in sparse; nil: no row has any.
type rowsPredictor interface {
	PredictRows(dst, x []float64, sparse []int32, sparseEnd []int)
}

// Scores says how good the answers for a number of rows are. A score that these rows do not define is NaN; without
// rows, that is each of them.
type Scores struct {
	Records int // rows that the scores are of

	Accuracy float64 // share of rows whose class was predicted; a probability of 0.5 or more predicts class 1
	LogLoss  float64 // mean -ln of the probability of the true class, in nats, probabilities limited to [1e-6, 1 - 1e-6]
	Brier    float64 // mean squared difference of probability and label: 0 is perfect, 0.25 is always answering 0.5

	// AUC is the probability that a row of class 1 got a higher answer than a row of class 0, equal answers counting
	// one half: the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982). NaN if a class has no rows.
	AUC float64

	// CalibrationError is the expected calibration error (Naeini, Cooper, Hauskrecht, AAAI 2015): the mean over the
	// rows of the difference between predicted mean and observed share in the row's bin.
	CalibrationError float64
	// Calibration holds ten bins of equal width: bin i has the answers in [i/10, (i+1)/10), the last one also 1.
	Calibration [10]Bin

	Confusion [2][2]int  // rows by actual and then predicted class
	Precision [2]float64 // share of the rows predicted as the class that are of it; NaN if none was predicted
	Recall    [2]float64 // share of the rows of the class that were predicted as it; NaN if it has no rows
}

// Bin is a range of probabilities in a calibration curve.
type Bin struct {
	Records   int
	Predicted float64 // mean answer; NaN without rows
	Observed  float64 // share of rows whose label is 1; NaN without rows
}

// answer is what was answered for a row, and what is true.
type answer struct {
	prob  float64 // that the label is 1
	label int
	class int // predicted
}

// Score asks p for each row of the window and returns how good the answers are.
func (w *Window) Score(p Predictor) Scores {
	w.predict(p)
	answers := w.answers[:0]
	for i := range w.y {
		slot := w.slot(i)
		class := 0
		if w.probs[slot] >= 0.5 {
			class = 1
		}
		answers = append(answers, answer{w.probs[slot], int(w.y[slot]), class})
	}
	w.answers = answers
	return score(answers)
}

// predict asks p for the row in each slot.
func (w *Window) predict(p Predictor) {
	w.probs = slices.Grow(w.probs[:0], w.Len())[:w.Len()]
	if p, ok := p.(rowsPredictor); ok {
		sparse, ends := w.flatSparse()
		p.PredictRows(w.probs, w.x, sparse, ends)
		return
	}
	for slot := range w.probs {
		p.Predict(w.probs[slot:slot+1], w.row(slot), w.sparseRow(slot))
	}
}

// score returns the scores of the answers, which it sorts.
func score(answers []answer) Scores {
	s := Scores{Records: len(answers)}
	var logLoss, brier float64
	var predicted, observed [10]float64
	for _, a := range answers {
		s.Confusion[a.label][a.class]++
		p := min(max(a.prob, 1e-6), 1-1e-6)
		if a.label == 0 {
			p = 1 - p
		}
		logLoss -= math.Log(p)
		d := a.prob - float64(a.label)
		brier += d * d

		bin := min(max(int(a.prob*10), 0), 9)
		s.Calibration[bin].Records++
		predicted[bin] += a.prob
		observed[bin] += float64(a.label)
	}

	n := float64(s.Records)
	s.Accuracy = float64(s.Confusion[0][0]+s.Confusion[1][1]) / n
	s.LogLoss = logLoss / n
	s.Brier = brier / n
	s.AUC = auc(answers)
	for i := range s.Calibration {
		bin := &s.Calibration[i]
		bin.Predicted = predicted[i] / float64(bin.Records)
		bin.Observed = observed[i] / float64(bin.Records)
		s.CalibrationError += math.Abs(predicted[i] - observed[i])
	}
	s.CalibrationError /= n
	for class := range 2 {
		right := float64(s.Confusion[class][class])
		s.Precision[class] = right / float64(s.Confusion[0][class]+s.Confusion[1][class])
		s.Recall[class] = right / float64(s.Confusion[class][0]+s.Confusion[class][1])
	}
	return s
}

// auc returns the area under the ROC curve, exact but for one division. It sorts the answers.
func auc(answers []answer) float64 {
	slices.SortFunc(answers, func(a, b answer) int { return cmp.Compare(a.prob, b.prob) })
	var below, ones uint64 // rows of class 0, and of class 1, with lower answers
	var twice uint64       // twice the number of pairs in which class 1 got the higher answer
	for i := 0; i < len(answers); {
		var tied [2]uint64
		for p := answers[i].prob; i < len(answers) && cmp.Compare(answers[i].prob, p) == 0; i++ {
			tied[answers[i].label]++
		}
		twice += tied[1] * (2*below + tied[0])
		below += tied[0]
		ones += tied[1]
	}
	return float64(twice) / 2 / (float64(below) * float64(ones))
}

// AUC returns the area under the ROC curve, as in [Scores], of the probabilities that were answered for rows with the
// labels y, 0 or 1. It takes further memory while it runs, 24 bytes a row.
func AUC(prob, y []float64) float64 {
	answers := make([]answer, len(prob))
	for i, p := range prob {
		answers[i] = answer{prob: p, label: int(y[i])}
	}
	return auc(answers)
}
