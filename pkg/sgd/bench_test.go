package sgd

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkCost reports what a record costs each kind of model (predict, scale, and learn SUSY rows of 18 features, on one
// core): in nanoseconds, and as a ratio to the kind newton. The kinds take turns, so that a change of the machine's speed
// meets all of them; figures are medians over the rounds.
func BenchmarkCost(b *testing.B) {
	specs := append(Kinds(), "newton:q=0.1")
	rows := susyRows(b)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	took := make(map[string][]float64, len(specs))
	models := make(map[string]Model, len(specs))
	for _, spec := range specs {
		models[spec] = newModel(b, spec, rows.Width, 1)
		progress(models[spec], rows) // a grown forest, a full window
	}
	prob, from := make([]float64, 1000), 0
	for b.Loop() {
		part := between(rows, from, from+1000)
		from = (from + 1000) % rows.Len()
		for _, spec := range specs {
			start := time.Now()
			models[spec].Learn(part, prob)
			took[spec] = append(took[spec], float64(time.Since(start).Nanoseconds())/1000)
		}
	}
	b.ReportMetric(0, "ns/op")
	base := median(took["newton"])
	slices.SortFunc(specs, func(x, y string) int { return cmp.Compare(median(took[x]), median(took[y])) })
	for _, spec := range specs {
		unit := strings.NewReplacer(":", "_", "=", "").Replace(spec)
		b.ReportMetric(median(took[spec]), unit+"-ns/record")
		b.ReportMetric(median(took[spec])/base, unit+"-ratio")
	}
}

// BenchmarkCores reports by how much faster a mixture learns batches of 1,024 records on all cores than on one.
func BenchmarkCores(b *testing.B) {
	for _, spec := range []string{"mix", "zoo"} {
		b.Run(fmt.Sprintf("%s/cores=%d", spec, runtime.NumCPU()), func(b *testing.B) {
			rows := susyRows(b)
			m := newModel(b, spec, rows.Width, 1).(*pipeline)
			progress(m, rows)
			prob, from, team := make([]float64, 1024), 0, m.team
			var one, all []float64
			learn := func() float64 { // a run of batches, as a stream brings them
				start := time.Now()
				for range 20 {
					m.Learn(between(rows, from, from+1024), prob)
					from = (from + 1024) % (rows.Len() - 1024)
				}
				return float64(time.Since(start))
			}
			for b.Loop() {
				m.team = nil
				one = append(one, learn())
				m.team = team
				all = append(all, learn())
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(one)/median(all), "speed-up")
		})
	}
}

// perRecord reports what a record costs, with so many done in each iteration of the loop.
func perRecord(b *testing.B, records int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

// BenchmarkLearn measures kinds of model on SUSY rows, on one core.
func BenchmarkLearn(b *testing.B) {
	rows, prob := susyRows(b), make([]float64, 1000)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, spec := range []string{"logistic", "logistic:scaler=plain", "newton", "newton_diag", "pa", "mix"} {
		b.Run(spec, func(b *testing.B) {
			m, from := newModel(b, spec, rows.Width, 1), 0
			progress(m, rows)
			for b.Loop() {
				m.Learn(between(rows, from, from+len(prob)), prob)
				from = (from + len(prob)) % rows.Len()
			}
			perRecord(b, len(prob))
		})
	}
}

// BenchmarkScale measures the scalers alone.
func BenchmarkScale(b *testing.B) {
	rows := susyRows(b)
	for _, name := range keys(scalers) {
		b.Run(name, func(b *testing.B) {
			s, to := scalers[name](rows.Width), row{make([]float64, rows.Width), make([]float64, rows.Width+1)}
			scale := func() {
				for i := range rows.Len() {
					s.advance(to, rows.Row(i), false)
				}
			}
			scale()
			for b.Loop() {
				scale()
			}
			perRecord(b, rows.Len())
		})
	}
}

// BenchmarkStep measures the experts alone, on scaled rows.
func BenchmarkStep(b *testing.B) {
	rows := head(susyRows(b), 1000)
	scaled := newModel(b, "logistic", rows.Width, 1).(*pipeline)
	scaled.reserve(rows.Len())
	block, margin := scaled.prepare(rows, 0, rows.Len(), 0), make([]float64, rows.Len())
	for _, kind := range keys(singles) {
		b.Run(kind, func(b *testing.B) {
			e := newModel(b, kind, rows.Width, 1).(*pipeline).experts[0]
			e.learn(&block, margin)
			for b.Loop() {
				e.learn(&block, margin)
			}
			perRecord(b, rows.Len())
		})
	}
}

// BenchmarkSweep measures newton's pass over the covariance.
func BenchmarkSweep(b *testing.B) {
	for _, width := range []int{19, 65} {
		for _, q := range []float64{0, 0.1} {
			b.Run(fmt.Sprintf("width=%d/q=%g", width, q), func(b *testing.B) {
				m := newNewton(width, 1, q)
				z := slices.Repeat([]float64{0.5}, width)
				for b.Loop() {
					m.update(z)
				}
				perRecord(b, 1)
			})
		}
	}
}

// BenchmarkMixer measures the mixer of the kind mix alone.
func BenchmarkMixer(b *testing.B) {
	rows := head(susyRows(b), 1000)
	m, prob := newModel(b, "mix", rows.Width, 1).(*pipeline), make([]float64, rows.Len())
	m.reserve(rows.Len())
	block := m.prepare(rows, 0, rows.Len(), 0)
	for i, e := range m.experts {
		e.learn(&block, m.margins[i])
	}
	for b.Loop() {
		m.answer(&block, 0, prob)
	}
	perRecord(b, rows.Len())
}

// BenchmarkWide reports what a value of rows of 784 columns costs, as a ratio to one of rows of 65 columns. Widths take turns.
func BenchmarkWide(b *testing.B) {
	widths := []int{65, 784}
	for _, spec := range []string{"logistic", "mix"} {
		b.Run(spec, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			models, runs := make([]Model, len(widths)), make([]*Rows, len(widths))
			took, prob := make([][]float64, len(widths)), make([]float64, 1100)
			for i, width := range widths {
				random := newRandom(1, "rows")
				runs[i] = &Rows{Width: width, X: make([]float64, len(prob)*width), Y: make([]float64, len(prob))}
				for j := range runs[i].X {
					runs[i].X[j] = 2*random.uniform() - 1
				}
				for j := range prob {
					if runs[i].Row(j)[0] > 0 {
						runs[i].Y[j] = 1
					}
				}
				models[i] = newModel(b, spec, width, 1)
				models[i].Learn(runs[i], prob)
			}
			for b.Loop() {
				for i, m := range models {
					start := time.Now()
					m.Learn(runs[i], prob)
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(len(prob)*widths[i]))
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, width := range widths {
				b.ReportMetric(median(took[i]), fmt.Sprintf("width%d-ns/value", width))
			}
			b.ReportMetric(median(took[1])/median(took[0]), "wide-ratio")
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
