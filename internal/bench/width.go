package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"learner/pkg/sgd"
)

const (
	widthRounds = 9
	widthValues = 1 << 16 // of a batch; narrow rows make more of them
	widthSpan   = 60 * time.Millisecond
)

// widthColumns are the widths that are compared.
var widthColumns = []int{65, 784}

// widths measures what a value costs in narrow and in wide rows.
func (b *bench) widths(ctx context.Context) error {
	r, err := spawn(ctx, &job{Stage: "width"})
	if err != nil {
		return err
	}
	b.say("\ncost per value, ns, at %d and %d columns:", widthColumns[0], widthColumns[1])
	for _, kind := range []string{"logistic", "mix"} {
		narrow, wide := r.Figures[widthName(kind, widthColumns[0])], r.Figures[widthName(kind, widthColumns[1])]
		b.say(" %s %.2f and %.2f;", kind, narrow, wide)
		b.most(fmt.Sprintf("%s: cost per value at %d columns ÷ at %d", kind, widthColumns[1], widthColumns[0]), wide/narrow, 1.2, "%.2f")
	}
	b.say(" median of %d\n", widthRounds)
	return nil
}

// width measures what a value of a row costs a model when rows are narrow and when they are wide: Figures has nanoseconds
// by model and number of columns. Widths take turns.
func width(_ context.Context, _ *job, r *result) error {
	r.Figures = map[string]float64{}
	for _, kind := range []string{"logistic", "mix"} {
		spec, err := sgd.Parse(kind)
		if err != nil {
			return err
		}
		took := make([][]float64, len(widthColumns))
		learn := make([]func(), len(widthColumns))
		for i, columns := range widthColumns {
			batch := noise(widthValues/columns, columns)
			model := spec.New(columns, 1)
			prob := make([]float64, batch.Len()*model.Outputs())
			learn[i] = func() { model.Learn(batch, prob) }
			learn[i]()
		}
		for range widthRounds {
			for i, columns := range widthColumns {
				start, n := time.Now(), 0
				for time.Since(start) < widthSpan {
					learn[i]()
					n += widthValues / columns * columns
				}
				took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/float64(n))
			}
		}
		for i, columns := range widthColumns {
			r.Figures[widthName(kind, columns)] = median(took[i])
		}
	}
	return nil
}

func widthName(kind string, columns int) string {
	return fmt.Sprintf("%s at %d columns", kind, columns)
}

// noise returns rows of normal values whose label depends on the first.
func noise(n, columns int) *sgd.Rows {
	random := rand.New(rand.NewPCG(1, 1))
	b := &sgd.Rows{Width: columns, X: make([]float64, n*columns), Y: make([]float64, n)}
	for i := range b.X {
		b.X[i] = random.NormFloat64()
	}
	for i := range b.Y {
		if b.X[i*columns]+random.NormFloat64() > 0 {
			b.Y[i] = 1
		}
	}
	return b
}
