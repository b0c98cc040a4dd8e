package sgd

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// testdata/reference.json was made by testdata/reference.py, an independent program in double precision, which says how.
func TestWeightsAgreeWithAnIndependentProgram(t *testing.T) {
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs map[string][]float64
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	rows := head(susyRows(t), 1000)
	for spec, want := range runs {
		t.Run(spec, func(t *testing.T) {
			agree(t, weightsOf(t, spec, rows), want, 1e-9)
		})
	}
}

// weightsOf returns the weights of a model, the bias first, after it learned rows.
func weightsOf(t *testing.T, spec string, rows *Rows) []float64 {
	t.Helper()
	m := newModel(t, spec, rows.Width, 1)
	progress(m, rows)
	for _, tensor := range m.State() {
		if tensor.Name == "weights" {
			return tensor.Data.([]float64)
		}
	}
	t.Fatal("no weights")
	return nil
}

// agree reports values that differ from those wanted by more than a share of theirs.
func agree(t *testing.T, got, want []float64, share float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	var most float64
	for i := range got {
		if got[i] == want[i] {
			continue
		}
		off := math.Abs(got[i]-want[i]) / math.Abs(want[i])
		most = max(most, off)
		if !(off <= share) {
			t.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	t.Logf("differences of at most %.1g of the value", most)
}

// testdata/peers.json was made by testdata/peers.py, which says how, and where the algorithms differ.
func TestWeightsAgreeWithRiverAndVowpalWabbit(t *testing.T) {
	text, err := os.ReadFile("testdata/peers.json")
	if err != nil {
		t.Fatal(err)
	}
	var peers struct {
		River        map[string][]float64
		VowpalWabbit map[string][]float64 `json:"vowpal_wabbit"`
	}
	if err := json.Unmarshal(text, &peers); err != nil {
		t.Fatal(err)
	}
	rows := head(susyRows(t), 1000)
	for spec, want := range peers.River {
		t.Run("River/"+spec, func(t *testing.T) { agree(t, weightsOf(t, spec, rows), want, 1e-9) })
	}
	for spec, want := range peers.VowpalWabbit { // in single precision
		t.Run("Vowpal Wabbit/"+spec, func(t *testing.T) { agree(t, weightsOf(t, spec, rows), want, 1e-3) })
	}
}

func TestStatsOfLogistic(t *testing.T) {
	m := newModel(t, "logistic:scaler=plain", 1, 1)
	if got, want := m.Stats(), (Stats{LearningRate: 0.5}); got != want {
		t.Errorf("fresh: %+v, want %+v", got, want)
	}
	// The first row has variance 0 and so z = 0: only the bias moves, by 0.5·(1 - ½).
	m.Learn(&Rows{Width: 1, X: []float64{3}, Y: []float64{1}}, make([]float64, 1))
	if got, want := m.Stats(), (Stats{LearningRate: 0.5 / math.Sqrt(2), UpdateNorm: 0.25}); got != want {
		t.Errorf("after one row: %+v, want %+v", got, want)
	}
	// The second has mean 4 and variance 1, so z = 1.
	m.Learn(&Rows{Width: 1, X: []float64{5}, Y: []float64{1}}, make([]float64, 1))
	step := 0.5 / math.Sqrt2 * (1 - 1/(1+math.Exp(-0.25)))
	got, want := m.Stats(), Stats{LearningRate: 0.5 / math.Sqrt(3), WeightNorm: step, UpdateNorm: step * math.Sqrt2}
	if math.Abs(got.WeightNorm-want.WeightNorm) > 1e-15 || math.Abs(got.UpdateNorm-want.UpdateNorm) > 1e-15 ||
		got.LearningRate != want.LearningRate {
		t.Errorf("after two rows: %+v, want %+v", got, want)
	}
}

// A learner whose margin is no log-odds hands on log-odds, and so does its snapshot.
func TestLabelAimedAnswers(t *testing.T) {
	rows := head(susyRows(t), 500)
	for _, loss := range []string{"squared", "modified_huber"} {
		m := newModel(t, "linear:loss="+loss, rows.Width, 1).(*pipeline)
		progress(m, rows)
		e := m.experts[0].(*labelAimed)
		m.reserve(1)
		b := m.prepare(rows, 7, 8, 0)
		margin := dot(0, e.weightsNow(), b.z)
		p := min(max((margin+1)/2, 1e-5), 1-1e-5)
		want := math.Log(p / (1 - p))
		if got := e.freeze().margin(b.row(0), nil, nil); math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Errorf("%s: the snapshot answers %v, want %v", loss, got, want)
		}
		var got [1]float64
		if e.learn(&b, got[:]); math.Abs(got[0]-want) > 1e-12*math.Abs(want) {
			t.Errorf("%s: answer %v, want %v", loss, got[0], want)
		}
	}
}

func BenchmarkPredict(b *testing.B) {
	rows := susyRows(b)
	m := newModel(b, "logistic", rows.Width, 1)
	progress(m, rows)
	snapshot, prob, i := m.Snapshot(), make([]float64, 1), 0
	b.ReportAllocs()
	for b.Loop() {
		snapshot.Predict(prob, rows.Row(i), nil)
		i = (i + 1) % rows.Len()
	}
}
