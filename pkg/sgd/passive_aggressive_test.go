package sgd

import (
	"math"
	"testing"
)

// After a step that the aggressiveness does not cut short the record's margin is exactly on its side by 1.
func TestPassiveAggressiveStep(t *testing.T) {
	v := []float64{1, 2, -1}
	fresh := func(aggressiveness float64) *passiveAggressive {
		return &passiveAggressive{aggressiveness: aggressiveness, now: make([]float64, 3), next: make([]float64, 3)}
	}
	tests := []struct {
		name                                  string
		aggressiveness, label, c, want, moved float64
	}{
		{"passive to 1", 1, 1, 1, 1, 1 / math.Sqrt(6)},
		{"passive to -1", 1, 0, 1, -1, 1 / math.Sqrt(6)},
		{"cut short", 0.1, 1, 1, 0.6, 0.1 * math.Sqrt(6)},
		{"half as important", 0.1, 0, 0.5, -0.3, 0.05 * math.Sqrt(6)},
		{"not important", 0.1, 0, 0, 0, 0},
		{"too important to be cut short", 0.1, 1, 1e300, 1, 1 / math.Sqrt(6)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := fresh(tt.aggressiveness)
			if got := m.step(v, nil, tt.label, tt.c); got != 0 {
				t.Errorf("margin %v before the first step", got)
			}
			if got := dot(0, m.now, v); math.Abs(got-tt.want) > 1e-15 {
				t.Errorf("margin %v after the step, want %v", got, tt.want)
			}
			if got := m.stats().UpdateNorm; math.Abs(got-tt.moved) > 1e-15 {
				t.Errorf("step of length %v, want %v", got, tt.moved)
			}
		})
	}

	m := fresh(1)
	m.step(v, nil, 1, 1)
	m.step(v, nil, 1, 1) // margin 1: nothing to learn
	if s := m.stats(); s.UpdateNorm > 1e-15 {
		t.Errorf("step of length %v without a loss", s.UpdateNorm)
	}
}

func TestPassiveAggressiveRefusesWhatIsNoNumber(t *testing.T) {
	m := &passiveAggressive{aggressiveness: 1, now: []float64{1, 2}, next: make([]float64, 2)}
	m.step([]float64{1, 1}, nil, 0, math.NaN())
	if s := m.stats(); m.now[0] != 1 || m.now[1] != 2 || s.NonFinite != 1 || s.UpdateNorm != 0 {
		t.Errorf("weights %v, %+v: want them unchanged, and one refused step", m.now, s)
	}
}
