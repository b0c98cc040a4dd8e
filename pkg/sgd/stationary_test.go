package sgd

import (
	"testing"

	"learner/pkg/susy"
)

// Where nothing changes, a default that forgets too much is no better than plain gradient descent.
func TestStationaryRecords(t *testing.T) {
	measured(t)
	records := 200_000
	if seeds() > 1 {
		records = 2_000_000
	}
	const seed = 1
	specs := []string{"logistic", "mix", "zoo"}
	models, losses := make([]Model, len(specs)), make([]float64, len(specs))
	for i, spec := range specs {
		models[i] = newModel(t, spec, susy.Features, seed)
	}
	generator, prob := susy.NewGenerator(seed), make([]float64, 1000)
	var x [susy.Features]float64
	rows := &Rows{Width: susy.Features}
	for from := 0; from < records; from += 1000 {
		rows.X, rows.Y = rows.X[:0], rows.Y[:0]
		for range 1000 {
			rows.Y = append(rows.Y, float64(generator.Next(&x)))
			rows.X = append(rows.X, x[:]...)
		}
		for i, m := range models {
			m.Learn(rows, prob)
			for k, y := range rows.Y {
				if from >= records/2 {
					losses[i] += LogLoss(prob[k], y)
				}
			}
		}
	}
	half := float64(records - records/2)
	logistic, mix, zoo := losses[0]/half, losses[1]/half, losses[2]/half
	t.Logf("log loss over the second half of %d records (seed %d): logistic %.4f, mix %.4f, zoo %.4f", records, seed, logistic, mix, zoo)
	if mix > logistic-0.001 || zoo > logistic-0.025 {
		t.Errorf("logistic %.4f, mix %.4f, want at least .001 less; zoo %.4f, want at least .025 less", logistic, mix, zoo)
	}
}
