package sgd

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// eachOptimizer runs a test for every loss with every optimiser, as the specs of models have them.
func eachOptimizer(t *testing.T, test func(t *testing.T, spec string)) {
	for _, loss := range keys(losses) {
		for _, optimizer := range keys(optimizers) {
			spec := fmt.Sprintf("linear:loss=%s,optimizer=%s", loss, optimizer)
			t.Run(spec, func(t *testing.T) { test(t, spec) })
		}
	}
}

func TestOptionsOfLinearLearnersThatAreWrong(t *testing.T) {
	tests := []struct{ spec, want string }{
		{"logistic:optimizer=sdg", `option optimizer="sdg" is none of adagrad, adam, coin, ftrl, sgd`},
		{"logistic:loss=hinge", `unknown option "loss"`},
		{"linear:loss=huber", `option loss="huber" is none of hinge, logistic, modified_huber, squared`},
		{"logistic:rate=0", `option rate="0" is no number above 0 and up to 1e+06`},
		{"logistic:optimizer=adam,rate=1e7", `option rate="1e7" is no number above 0 and up to 1e+06`},
		{"logistic:l1=-1", `option l1="-1" is no number from 0 to 1e+06`},
		{"logistic:l2=NaN", `option l2="NaN" is no number from 0 to 1e+06`},
		{"linear:optimizer=coin,rate=0.1", "option rate: the optimizer coin has none"},
		{"pa:c=0", `option c="0" is no number above 0 and up to 1e+06`},
		{"pa:rate=1", `unknown option "rate" of kind pa (there is: c, features, scaler)`},
	}
	for _, tt := range tests {
		if _, err := Parse(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %s", tt.spec, err, tt.want)
		}
	}
}

func TestLinearLearnersLearn(t *testing.T) {
	rows := susyRows(t)
	eachOptimizer(t, func(t *testing.T, spec string) {
		accuracy, loss := progress(newModel(t, spec, rows.Width, 1), rows)
		t.Logf("%.4f / %.4f", accuracy, loss)
		if accuracy < 0.73 || loss > 0.56 {
			t.Errorf("accuracy %.4f and log loss %.4f, want at least .73 and at most .56", accuracy, loss)
		}
	})
}

func TestWideRowsDoNotMakeStepsSwing(t *testing.T) {
	measured(t)
	const width, seed = 800, 1
	r := newRandom(seed, "wide")
	rows := &Rows{Width: width}
	for range 2000 {
		y := float64(r.below(2))
		for range width {
			rows.X = append(rows.X, r.normal()+float64(0.2*y))
		}
		rows.Y = append(rows.Y, y)
	}
	eachOptimizer(t, func(t *testing.T, spec string) {
		m := newModel(t, spec, width, 1)
		accuracy, _ := progress(m, rows)
		if accuracy < 0.85 || m.Stats().NonFinite > 0 {
			t.Errorf("accuracy %.4f, want at least .85; %d steps refused (seed %d)", accuracy, m.Stats().NonFinite, seed)
		}
	})
}

func TestTheLargestRateKeepsWeightsFinite(t *testing.T) {
	rows := head(susyRows(t), 2000)
	eachOptimizer(t, func(t *testing.T, spec string) {
		if !strings.HasSuffix(spec, "coin") {
			spec += ",rate=1e6"
		}
		m := newModel(t, spec, rows.Width, 1)
		for i := range rows.Len() {
			var prob [1]float64
			m.Learn(between(rows, i, i+1), prob[:])
			if !(prob[0] > 0 && prob[0] < 1) {
				t.Fatalf("row %d: answer %v is no probability", i, prob[0])
			}
		}
		for _, tensor := range m.State() {
			if values, ok := tensor.Data.([]float64); ok && slices.ContainsFunc(values, func(v float64) bool { return !finite(v) }) {
				t.Errorf("%s holds a value that is not finite", tensor.Name)
			}
		}
		refused := m.Stats().NonFinite
		if diverges := strings.Contains(spec, "squared,optimizer=sgd"); diverges != (refused > 0) || refused == uint64(rows.Len()) {
			t.Errorf("%d of %d steps refused", refused, rows.Len())
		}
	})
}

func TestARefusedStepChangesNothing(t *testing.T) {
	rows := head(susyRows(t), 300)
	eachOptimizer(t, func(t *testing.T, spec string) {
		m := newModel(t, spec, rows.Width, 1).(*pipeline)
		progress(m, rows)
		e, ok := m.experts[0].(*linear)
		if !ok {
			e = m.experts[0].(*labelAimed).linear
		}
		before := e.state()
		v := slices.Repeat([]float64{1}, rows.Width+1)
		for i, c := range []float64{math.Inf(1), math.NaN(), 1e300} {
			e.step(v, nil, 0, c)
			stats := e.stats()
			if stats.NonFinite != uint64(i+1) || stats.UpdateNorm != 0 {
				t.Errorf("importance %v: %+v, want %d refused steps and an update of 0", c, stats, i+1)
			}
		}
		for i, tensor := range e.state() {
			if tensor.Name != "nonfinite" && !reflect.DeepEqual(tensor, before[i]) {
				t.Errorf("%s changed", tensor.Name)
			}
		}
	})
}

func TestStateOutOfRangeIsRefused(t *testing.T) {
	for _, spec := range []string{"logistic", "logistic:optimizer=ftrl", "pa"} {
		m := newModel(t, spec, 2, 1)
		for _, wrong := range []float64{math.NaN(), math.Inf(-1), 1e200} {
			state := m.State()
			for _, tensor := range state {
				if tensor.Name == "weights" {
					tensor.Data.([]float64)[1] = wrong
				}
			}
			if err := newModel(t, spec, 2, 1).Restore(state); err == nil || !strings.Contains(err.Error(), "weights") {
				t.Errorf("%s with a weight of %v: error %v", spec, wrong, err)
			}
		}
	}
}

// An l1 that is large enough keeps the weights of columns that tell nothing at 0, and never the bias.
func TestL1MakesWeightsZero(t *testing.T) {
	const seed = 3
	r := newRandom(seed, "l1")
	rows := &Rows{Width: 10}
	for range 3000 {
		y := 0.0
		if r.uniform() < 0.7 {
			y = 1
		}
		for i := range rows.Width {
			x := r.normal()
			if i == 0 {
				x += float64(2 * y)
			}
			rows.X = append(rows.X, x)
		}
		rows.Y = append(rows.Y, y)
	}
	for _, optimizer := range keys(optimizers) {
		t.Run(optimizer, func(t *testing.T) {
			l1 := "0.3"
			if optimizer == "ftrl" {
				l1 = "150"
			}
			w := weightsOf(t, "logistic:optimizer="+optimizer+",l1="+l1, rows)
			zeros := 0
			for _, v := range w[2:] {
				if v == 0 {
					zeros++
				}
			}
			if zeros < 3 || w[0] == 0 || w[1] == 0 {
				t.Errorf("weights %v: want at least 3 at 0, but not the first two (seed %d)", w, seed)
			}
			w = weightsOf(t, "logistic:optimizer="+optimizer, rows)
			if slices.Contains(w, 0) {
				t.Errorf("weights %v without l1: want none at 0 (seed %d)", w, seed)
			}
		})
	}
}

func TestL2MakesWeightsSmall(t *testing.T) {
	rows := head(susyRows(t), 3000)
	for _, optimizer := range keys(optimizers) {
		free := weightsOf(t, "logistic:optimizer="+optimizer, rows)
		l2 := "1"
		if optimizer == "ftrl" {
			l2 = "1000"
		}
		bound := weightsOf(t, "logistic:optimizer="+optimizer+",l2="+l2, rows)
		if got, most := norm(bound[1:]), norm(free[1:])/2; !(got < most) {
			t.Errorf("%s: weights of norm %v with l2, want below %v", optimizer, got, most)
		}
	}
}

func TestARowOfImportance2IsLikeTwoRows(t *testing.T) {
	all := susyRows(t)
	once := head(all, 5000)
	twice := &Rows{Width: all.Width}
	for i := range once.Len() {
		for range 2 {
			twice.X = append(twice.X, once.Row(i)...)
			twice.Y = append(twice.Y, once.Y[i])
		}
	}
	// The scaler counts rows, so both have the same: one that was there before.
	learned := func(spec string, rows *Rows, c float64) []float64 {
		m := newModel(t, spec, all.Width, 1).(*pipeline)
		for from := 0; from < rows.Len(); from++ {
			one := between(rows, from, from+1)
			m.reserve(1)
			b := m.prepare(one, 0, 1, 0)
			for i := range b.z[1:] {
				b.z[1+i] = one.X[i] / 2
			}
			b.c = []float64{c}
			m.experts[0].learn(&b, make([]float64, 1))
		}
		for _, tensor := range m.experts[0].state() {
			if tensor.Name == "weights" {
				return tensor.Data.([]float64)
			}
		}
		return nil
	}
	for _, optimizer := range keys(optimizers) {
		spec := "logistic:optimizer=" + optimizer
		two, one := learned(spec, twice, 1), learned(spec, once, 2)
		distance := func(v []float64) float64 { return math.Sqrt(squaredDistance(v, two)) / norm(two) }
		near, far := distance(one), distance(learned(spec, once, 1))
		most := 0.05
		if optimizer == "coin" {
			most = 0.2 // its first bets are high, and last
		}
		if near > most {
			t.Errorf("%s: importance 2 is %.3f from two rows, importance 1 is %.3f", optimizer, near, far)
		}
	}
}

func TestEveryOptimizerGoesOnAfterARestart(t *testing.T) {
	rows := head(susyRows(t), 700)
	eachOptimizer(t, func(t *testing.T, spec string) {
		spec += ",l1=0.01,l2=0.01,features=hats"
		whole, m := newModel(t, spec, rows.Width, 1), newModel(t, spec, rows.Width, 1)
		progress(whole, rows)
		from := 0
		for _, to := range []int{1, 64, 300, rows.Len()} {
			progress(m, between(rows, from, to))
			restored := newModel(t, spec, rows.Width, 1)
			if err := restored.Restore(m.State()); err != nil {
				t.Fatal(err)
			}
			m, from = restored, to
		}
		if !reflect.DeepEqual(m.State(), whole.State()) {
			t.Error("another state than without restarts")
		}
	})
}

// Knots move; the weights of hats, and what an optimiser keeps for them, move along.
func TestOptimizersFollowMovingFeatures(t *testing.T) {
	rows := susyRows(t)
	for _, spec := range []string{"logistic:optimizer=ftrl", "logistic:optimizer=coin", "logistic:optimizer=adagrad"} {
		_, plain := progress(newModel(t, spec, rows.Width, 1), rows)
		if _, hats := progress(newModel(t, spec+",features=hats", rows.Width, 1), rows); !(hats < plain-0.005) {
			t.Errorf("%s: log loss %.4f with hats, %.4f without", spec, hats, plain)
		}
	}
}
