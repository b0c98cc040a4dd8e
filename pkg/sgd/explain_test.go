package sgd

import (
	"fmt"
	"math"
	"testing"
)

// TestExplain holds contributions and effects of a linear model to its weights, and base and contributions to its answer.
func TestExplain(t *testing.T) {
	for _, scaler := range []string{"robust", "plain"} {
		t.Run(scaler, func(t *testing.T) {
			const width = 4
			m := explained(t, "logistic:scaler="+scaler)
			p := m.Snapshot()
			weights := m.(*pipeline).experts[0].(*linear).weightsNow()
			effects := make([]float64, width)
			Effects(p, effects)
			x := []float64{120, -0.2, 3e-9, 1}
			contributions := make([]float64, width)
			sum := Explain(p, contributions, x, nil)
			z := make([]float64, 1+width)
			m.(*pipeline).scaler.apply(row{make([]float64, width), z}, x)
			for i := range width {
				near(t, fmt.Sprintf("effect of feature %d", i), effects[i], weights[1+i])
				near(t, fmt.Sprintf("contribution of feature %d", i), contributions[i], weights[1+i]*z[1+i])
				sum += contributions[i]
			}
			near(t, "base and contributions", sum, logOdds(p, x, nil))
		})
	}
}

// TestExplainAllKinds has every kind answer for rows of any kind of value, a constant column among them, which does nothing.
func TestExplainAllKinds(t *testing.T) {
	for _, kind := range Kinds() {
		p := explained(t, kind).Snapshot()
		effects, contributions := make([]float64, 4), make([]float64, 4)
		Effects(p, effects)
		base := Explain(p, contributions, []float64{80, 0.3, -2e-9, 7}, nil)
		for i, v := range append(append(effects, contributions...), base) {
			if !finite(v) {
				t.Errorf("%s: number %d is %v", kind, i, v)
			}
		}
		if effects[3] != 0 {
			t.Errorf("%s: a constant column has effect %v", kind, effects[3])
		}
		if effects[0] <= 0 || contributions[0] >= 0 {
			t.Errorf("%s: the feature that decides has effect %v, and below its mean contribution %v", kind, effects[0], contributions[0])
		}
	}
}

// explained returns a model that has learned that the first of four columns decides; the last is constant.
func explained(t *testing.T, spec string) Model {
	t.Helper()
	specs, err := ParseModels(spec)
	if err != nil {
		t.Fatal(err)
	}
	r := newRandom(11, "explain")
	rows := Rows{Width: 4}
	for range 3000 {
		a := r.normal()
		rows.X = append(rows.X, 100+10*a, r.normal(), 1e-9*r.normal(), 7)
		y := 0.0
		if a+0.5*r.normal() > 0 {
			y = 1
		}
		rows.Y = append(rows.Y, y)
	}
	m := specs[0].New(4, 1)
	m.Learn(&rows, make([]float64, rows.Len()))
	return m
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}
