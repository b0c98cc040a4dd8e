package sgd

import (
	"math"
	"testing"
)

func TestGradientsAgreeWithFiniteDifferences(t *testing.T) {
	const seed, h = 1, 1e-5
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			r := newRandom(seed, name)
			for range 4000 {
				margin := float64(20 * (float64(2*r.uniform()) - 1))
				label := float64(r.below(2))
				if math.Abs(math.Abs(margin)-1) < h {
					continue // a kink
				}
				want := (loss.value(margin+h, label) - loss.value(margin-h, label)) / (2 * h)
				if got := loss.gradient(margin, label); math.Abs(got-want) > 1e-8*(1+math.Abs(want)) {
					t.Fatalf("margin %v, label %v: gradient %v, finite differences say %v (seed %d)", margin, label, got, want, seed)
				}
			}
		})
	}
}

// A first step of plain gradient descent is the gradient by each weight, times the rate.
func TestGradientByEachWeight(t *testing.T) {
	const seed, width, h = 2, 7, 1e-5
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			r := newRandom(seed, name)
			w, v := make([]float64, width), make([]float64, width)
			for i := range w {
				w[i], v[i] = r.normal(), r.normal()
			}
			for _, label := range []float64{0, 1} {
				m := newGradientStep(width, loss, sgd{rate: 1})
				copy(m.now.weights, w)
				m.step(v, nil, label, 1)
				for i := range w {
					kept := w[i]
					w[i] = kept + h
					up := loss.value(dot(0, w, v), label)
					w[i] = kept - h
					down := loss.value(dot(0, w, v), label)
					w[i] = kept
					if got, want := w[i]-m.now.weights[i], (up-down)/(2*h); math.Abs(got-want) > 1e-8*(1+math.Abs(want)) {
						t.Errorf("label %v, weight %d: step %v, finite differences say %v (seed %d)", label, i, got, want, seed)
					}
				}
			}
		})
	}
}

func TestLosses(t *testing.T) {
	tests := []struct {
		loss                          string
		margin, label, want, gradient float64
	}{
		{"hinge", 0.25, 1, 0.75, -1},
		{"hinge", 0.25, 0, 1.25, 1},
		{"hinge", 1, 1, 0, -1}, // at the kink
		{"hinge", 2, 1, 0, 0},
		{"squared", 0.5, 1, 0.125, -0.5},
		{"squared", 0.5, 0, 1.125, 1.5},
		{"squared", 3, 1, 2, 2},
		{"modified_huber", 0.5, 1, 0.25, -1},
		{"modified_huber", 0.5, 0, 2.25, 3},
		{"modified_huber", -1, 1, 4, -4},
		{"modified_huber", -2, 1, 8, -4},
		{"modified_huber", 2, 0, 8, 4},
		{"modified_huber", 2, 1, 0, 0},
		{"logistic", 0, 1, math.Ln2, -0.5},
		{"logistic", 0, 0, math.Ln2, 0.5},
	}
	for _, tt := range tests {
		loss := losses[tt.loss]
		if got := loss.value(tt.margin, tt.label); math.Abs(got-tt.want) > 1e-15 {
			t.Errorf("%s of margin %v, label %v is %v, want %v", tt.loss, tt.margin, tt.label, got, tt.want)
		}
		if got := loss.gradient(tt.margin, tt.label); got != tt.gradient {
			t.Errorf("%s of margin %v, label %v has the derivative %v, want %v", tt.loss, tt.margin, tt.label, got, tt.gradient)
		}
	}
}

func TestLogLossOfMargins(t *testing.T) {
	for margin := -29.0; margin <= 29; margin += 0.25 {
		for _, label := range []float64{0, 1} {
			signed := margin
			if label == 1 {
				signed = -margin
			}
			want := math.Log1p(math.Exp(-math.Abs(signed))) + max(signed, 0)
			if got := (logLoss{}).value(margin, label); math.Abs(got-want) > 1e-14*(1+want) {
				t.Errorf("margin %v, label %v: loss %v, want %v", margin, label, got, want)
			}
		}
	}
}

func TestLabelOdds(t *testing.T) {
	most := math.Log((1 - 1e-5) / 1e-5)
	tests := []struct{ margin, want float64 }{
		{0, 0},
		{0.5, math.Log(3)},
		{-0.5, -math.Log(3)},
		{1, most},
		{1e300, most},
		{-7, -most},
		{math.NaN(), 0},
	}
	for _, tt := range tests {
		if got := labelOdds(tt.margin); !(math.Abs(got-tt.want) <= 1e-10) {
			t.Errorf("margin %v: log-odds %v, want %v", tt.margin, got, tt.want)
		}
	}
}

func TestLogLoss(t *testing.T) {
	tests := []struct{ prob, label, want float64 }{
		{0.5, 0, math.Ln2},
		{0.5, 1, math.Ln2},
		{0.9, 1, 0.10536051565782628},
		{0.9, 0, 2.302585092994046},
		{0, 1, 13.815510557964274},
		{1, 0, 13.815510557964274},
		{1e-7, 1, 13.815510557964274},
		{1, 1, 1.0000005000003333e-06},
		{0, 0, 1.0000005000003333e-06},
	}
	for _, tt := range tests {
		if got := LogLoss(tt.prob, tt.label); math.Abs(got-tt.want) > 1e-9*tt.want {
			t.Errorf("LogLoss(%v, %v) = %v, want %v", tt.prob, tt.label, got, tt.want)
		}
	}
}

func BenchmarkLogLoss(b *testing.B) {
	probs, i := make([]float64, 1024), 0
	for i := range probs {
		probs[i] = float64(i) / 1024
	}
	var sum float64
	for b.Loop() {
		sum += LogLoss(probs[i], float64(i%2))
		i = (i + 1) % len(probs)
	}
	_ = sum
}
