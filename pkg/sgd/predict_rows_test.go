package sgd

import "testing"

// each hides that a predictor can answer for many rows at once.
type each struct{ Predictor }

func TestRowsAreAnsweredAsOneByOne(t *testing.T) {
	eachVariant(t, func(t *testing.T, spec string) {
		rows := hard(t, 1300)
		m := newModel(t, spec, rows.Width, 3)
		before := 0
		for _, learned := range []int{0, 1, 60, 900} { // without units, with the first moments, and with later ones
			m.Learn(between(rows, before, learned), make([]float64, learned))
			before = learned
			p := m.Snapshot()
			for _, n := range []int{0, 1, 3, 130, 1300} {
				got, want := make([]float64, n), make([]float64, n)
				PredictRows(p, got, rows.X[:n*rows.Width], nil, nil)
				PredictRows(each{p}, want, rows.X[:n*rows.Width], nil, nil)
				if !sameBits(got, want) {
					t.Fatalf("%d rows after %d are answered otherwise than one by one", n, learned)
				}
			}
		}
	})
}

// Memory is taken for a run, if none is at hand, and not for its rows.
func TestAnsweringManyRowsDoesNotAllocate(t *testing.T) {
	rows := hard(t, 500)
	m := newModel(t, "mix", rows.Width, 3)
	m.Learn(rows, make([]float64, 500))
	p, prob := m.Snapshot(), make([]float64, 500)
	if n := testing.AllocsPerRun(100, func() { PredictRows(p, prob, rows.X, nil, nil) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPredictRows answers for 128 rows of 18 features, one by one and at once.
func BenchmarkPredictRows(b *testing.B) {
	rows := susyRows(b)
	for _, spec := range []string{"logistic", "newton", "mix"} {
		m := newModel(b, spec, rows.Width, 1)
		progress(m, head(rows, 5000))
		p, x, prob := m.Snapshot(), head(rows, 128).X, make([]float64, 128)
		for _, way := range []struct {
			name string
			Predictor
		}{{"one_by_one", each{p}}, {"at_once", p}} {
			b.Run(spec+"/"+way.name, func(b *testing.B) {
				for b.Loop() {
					PredictRows(way.Predictor, prob, x, nil, nil)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(prob)), "ns/row")
			})
		}
	}
}
