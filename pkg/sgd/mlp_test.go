package sgd

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// newTestMLP makes the expert of a spec such as "hidden=4x3,batch=2", without its scaler.
func newTestMLP(tb testing.TB, text string, width int, seed uint64) *mlp {
	tb.Helper()
	spec, err := Parse("mlp:" + text)
	if err != nil {
		tb.Fatal(err)
	}
	return mlpOptions(&options{given: spec.Options})(width, seed).(*mlp)
}

func TestMLPGradientAgreesWithFiniteDifferences(t *testing.T) {
	const width, rows, seed = 5, 4, 11
	for _, hidden := range []string{"3", "9", "7x6", "6x4x5", "5x5x5x5"} {
		t.Run(hidden, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			m := newTestMLP(t, fmt.Sprintf("hidden=%s,batch=%d", hidden, rows+1), width, seed)
			var z [rows][]float64
			var y, c [rows]float64
			for i := range rows {
				z[i] = []float64{1, 0} // a value of 0 among them
				for len(z[i]) < 1+width {
					z[i] = append(z[i], r.NormFloat64())
				}
				y[i], c[i] = float64(i%2), 0.5+r.Float64()
				m.step(z[i], y[i], c[i])
			}
			loss := func() (sum float64) {
				for i := range rows {
					margin := m.forward(z[i], m.values)
					sum += c[i] * (math.Log1p(math.Exp(margin)) - y[i]*margin)
				}
				return sum
			}
			moving := 0
			for i, w := range m.weights {
				const h = 1e-6
				m.weights[i] = w + h
				up := loss()
				m.weights[i] = w - h
				down := loss()
				m.weights[i] = w
				want := (up - down) / (2 * h)
				if math.Abs(m.gradient[i]-want) > 1e-8 {
					t.Errorf("weight %d: derivative %g, finite difference %g (seed %d)", i, m.gradient[i], want, seed)
				}
				if want != 0 {
					moving++
				}
			}
			t.Logf("%d of %d derivatives are not 0", moving, len(m.weights))
			if moving < len(m.weights)/4 {
				t.Errorf("only %d of %d derivatives are not 0", moving, len(m.weights))
			}
		})
	}
}

// TestMLPAgreesWithReference compares with testdata/mlp_reference.json, made by the program beside it from the formulas.
func TestMLPAgreesWithReference(t *testing.T) {
	text, err := os.ReadFile("testdata/mlp_reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs []struct {
		Hidden, Optimizer string
		Rate              float64
		Batch             int
		Weighted          bool
		Margins           []float64 // of every tenth row
		Weights           []float64 // at equal steps
		Norm              float64
	}
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	rows := head(susyRows(t), 300)
	for _, run := range runs {
		spec := fmt.Sprintf("hidden=%s,optimizer=%s,rate=%g,batch=%d", run.Hidden, run.Optimizer, run.Rate, run.Batch)
		t.Run(spec, func(t *testing.T) {
			m := newTestMLP(t, spec, rows.Width, 7)
			near := func(what string, got, want float64) {
				t.Helper()
				if !(math.Abs(got-want) <= 1e-9*max(math.Abs(want), 1e-3)) {
					t.Errorf("%s is %.15g, want %.15g", what, got, want)
				}
			}
			for i, y := range rows.Y {
				c := 1.0
				if run.Weighted {
					c = float64(i%4) / 2
				}
				margin := m.step(append([]float64{1}, rows.Row(i)...), y, c)
				if i%10 == 0 {
					near(fmt.Sprintf("margin of row %d", i), margin, run.Margins[i/10])
				}
			}
			each := max(1, len(m.weights)/100)
			for i, want := range run.Weights {
				near(fmt.Sprintf("weight %d", i*each), m.weights[i*each], want)
			}
			near("norm", norm(m.weights), run.Norm)
		})
	}
}

func TestMLPStepAtOnceIsTheOptimisersStep(t *testing.T) {
	rows := head(susyRows(t), 1000)
	for _, hidden := range []string{"32x16", "6", "5x7x3"} {
		fast, plain := newTestMLP(t, "hidden="+hidden, rows.Width, 3), newTestMLP(t, "hidden="+hidden, rows.Width, 3)
		plain.gradient = make([]float64, len(plain.weights)) // sends it the long way
		for i, y := range rows.Y {
			z := append([]float64{1}, rows.Row(i)...)
			if a, b := fast.step(z, y, 1), plain.step(z, y, 1); a != b {
				t.Fatalf("hidden=%s: log-odds of row %d are %g, the plain way gives %g", hidden, i, a, b)
			}
		}
		if !reflect.DeepEqual(fast.state(), plain.state()) {
			t.Errorf("hidden=%s: the plain way leads to another state", hidden)
		}
	}
}

func TestMLPBatchesCountTheModelsOwnRecords(t *testing.T) {
	rows := head(susyRows(t), 1000)
	for _, spec := range []string{"mlp:batch=64", "mlp:batch=64,optimizer=adam"} {
		whole := newModel(t, spec, rows.Width, 1)
		whole.Learn(rows, make([]float64, rows.Len()))
		want := whole.State()
		for _, chunk := range []int{1, 7, 63, 64, 65, 500} {
			m := newModel(t, spec, rows.Width, 1)
			for from := 0; from < rows.Len(); from += chunk {
				m.Learn(between(rows, from, min(from+chunk, rows.Len())), make([]float64, chunk))
			}
			if !reflect.DeepEqual(m.State(), want) {
				t.Errorf("%s: %d rows at a time lead to another state than all at once", spec, chunk)
			}
		}
	}
}

func TestMLPMovesOnlyAtTheEndOfABatch(t *testing.T) {
	rows := head(susyRows(t), 20)
	m := newTestMLP(t, "batch=5", rows.Width, 1)
	for i, y := range rows.Y {
		before := slices.Clone(m.weights)
		m.step(append([]float64{1}, rows.Row(i)...), y, 1)
		if moved := !slices.Equal(before, m.weights); moved != (i%5 == 4) {
			t.Errorf("row %d: the weights moved: %t", i, moved)
		}
	}
}

func TestMLPRestoresAHalfFullBatch(t *testing.T) {
	rows := head(susyRows(t), 300)
	for _, optimizer := range []string{"adagrad", "adam"} {
		spec := "mlp:batch=64,optimizer=" + optimizer
		whole := newModel(t, spec, rows.Width, 1)
		whole.Learn(rows, make([]float64, rows.Len()))

		first, second := newModel(t, spec, rows.Width, 1), newModel(t, spec, rows.Width, 2)
		first.Learn(head(rows, 101), make([]float64, 101))
		state := first.State()
		if held := tensorOf(t, state, "batch/rows").Data.([]uint64)[0]; held != 101-64 {
			t.Fatalf("%s: the batch in hand holds %d rows, want %d", spec, held, 101-64)
		}
		if err := second.Restore(state); err != nil {
			t.Fatal(err)
		}
		second.Learn(between(rows, 101, 300), make([]float64, 199))
		if !reflect.DeepEqual(second.State(), whole.State()) {
			t.Errorf("%s: a restart in the middle of a batch leads to another state", spec)
		}
	}
}

// tensorOf returns the tensor of a state by its name.
func tensorOf(tb testing.TB, state []Tensor, name string) Tensor {
	tb.Helper()
	i := slices.IndexFunc(state, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		tb.Fatalf("no tensor %s", name)
	}
	return state[i]
}

func TestMLPRefusesABatchThatIsNone(t *testing.T) {
	for want, damage := range map[string]func(state []Tensor){
		"batch/rows holds 8":         func(s []Tensor) { tensorOf(t, s, "batch/rows").Data.([]uint64)[0] = 8 },
		"batch/importance holds -1":  func(s []Tensor) { tensorOf(t, s, "batch/importance").Data.([]float64)[0] = -1 },
		"batch/importance holds NaN": func(s []Tensor) { tensorOf(t, s, "batch/importance").Data.([]float64)[0] = math.NaN() },
	} {
		m := newModel(t, "mlp:batch=8", 3, 1)
		state := m.State()
		damage(state)
		if err := m.Restore(state); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestMLPThatRanAwayChangesNothing(t *testing.T) {
	for _, options := range []string{"hidden=4x4", "hidden=4x4,batch=2", "hidden=4x4,optimizer=adam"} {
		for _, size := range []float64{1e100, 1e200, math.MaxFloat64} {
			m := newTestMLP(t, options, 2, 1)
			for i := range m.weights {
				m.weights[i] = size
			}
			before := m.state()
			for i := range 4 {
				if margin := m.step([]float64{1, 3, -2}, float64(i%2), 1); !(math.Abs(margin) <= 30) {
					t.Errorf("%s: weights of %g answer %g", options, size, margin)
				}
			}
			if m.refused == 0 {
				t.Errorf("%s: weights of %g: no step was refused", options, size)
			}
			for _, tensor := range m.state() {
				values, _ := tensor.Data.([]float64)
				if slices.ContainsFunc(values, func(v float64) bool { return !finite(v) }) {
					t.Errorf("%s: weights of %g: %s is no longer finite", options, size, tensor.Name)
				}
			}
			if m.refused == 4 {
				tensorOf(t, before, "nonfinite").Data.([]uint64)[0] = 4
				if !reflect.DeepEqual(m.state(), before) {
					t.Errorf("%s: weights of %g: a refused step changed the state", options, size)
				}
			}
		}
	}
}

func TestMLPOfImportance0ChangesNothing(t *testing.T) {
	for _, options := range []string{"hidden=4", "hidden=4,batch=3", "hidden=4,optimizer=adam"} {
		m := newTestMLP(t, options, 2, 1)
		m.step([]float64{1, 1, -2}, 1, 1)
		before := m.state()
		m.step([]float64{1, 3, -2}, 1, 0)
		if !reflect.DeepEqual(m.state(), before) {
			t.Errorf("%s: a row of importance 0 changed the state", options)
		}
	}
}

func TestMLPOfAnyDepthLearns(t *testing.T) {
	measured(t)
	rows := susyRows(t)
	tests := []struct {
		options string
		rows    int
		least   float64 // accuracy
	}{
		{"hidden=128x256x128", 1500, 0.70},
		{"hidden=128x256x128,optimizer=adam,batch=64", 1500, 0.62},
		{"hidden=24", 5000, 0.74},
		{"hidden=16x8x8x8", 5000, 0.74},
		{"optimizer=adam", 5000, 0.74},
		{"batch=16", 5000, 0.74},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			m := newModel(t, "mlp:"+tt.options, rows.Width, 1)
			accuracy, loss := progress(m, head(rows, tt.rows))
			t.Logf("%.4f / %.4f", accuracy, loss)
			if accuracy < tt.least {
				t.Errorf("accuracy %.4f over %d rows, want at least %g", accuracy, tt.rows, tt.least)
			}
			if s := m.Stats(); s.NonFinite != 0 || !(s.WeightNorm > 1) || s.LearningRate == 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestMLPOptionsNameEveryFault(t *testing.T) {
	for give, want := range map[string]string{
		"hidden=":                         `option hidden=""`,
		"hidden=32x":                      `option hidden="32x" is no list of whole numbers from 1 to 4096`,
		"hidden=0":                        `option hidden="0"`,
		"hidden=8x-1":                     `option hidden="8x-1"`,
		"hidden=4097":                     `option hidden="4097"`,
		"hidden=4096x4096x2":              `option hidden="4096x4096x2" asks for 16785408 weights between the layers`,
		"hidden=0,batch=0":                `option batch="0"`,
		"optimizer=sgd":                   `option optimizer="sgd" is none of adagrad, adam`,
		"rate=-1":                         `option rate="-1"`,
		"optimizer=adam,rate=x,hidden=3y": `option rate="x"`,
	} {
		if _, err := Parse("mlp:" + give); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v does not say %s", give, err, want)
		}
	}
}

// TestMLPAtRestStaysFast lets Adam's means fade on gradients of 0, as those of a unit that never fires do.
func TestMLPAtRestStaysFast(t *testing.T) {
	m := newTestMLP(t, "hidden=4,optimizer=adam", 2, 1)
	o := m.optimizer.(*mlpAdam)
	o.step(m.weights, slices.Repeat([]float64{1}, len(m.weights)), 1)
	for range 8000 {
		o.step(m.weights, make([]float64, len(m.weights)), 1)
		for _, v := range o.mean {
			if v != 0 && v < 0x1p-1022 {
				t.Fatalf("a mean came to %g", v)
			}
		}
	}
	if o.mean[0] != 0 {
		t.Errorf("a mean is %g after 8,000 gradients of 0", o.mean[0])
	}
}
