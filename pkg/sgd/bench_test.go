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
			m := newModel(b, spec, rows.Width, 1)
			progress(m, rows)
			prob, from := make([]float64, 1024), 0
			var one, all []float64
			for b.Loop() {
				part := between(rows, from, from+1024)
				from = (from + 1024) % (rows.Len() - 1024)
				before := runtime.GOMAXPROCS(1)
				start := time.Now()
				m.Learn(part, prob)
				one = append(one, float64(time.Since(start)))
				runtime.GOMAXPROCS(before)
				start = time.Now()
				m.Learn(part, prob)
				all = append(all, float64(time.Since(start)))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(one)/median(all), "speed-up")
		})
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
