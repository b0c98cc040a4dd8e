package onnx

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"learner/internal/python"
	"learner/pkg/sgd"
)

// variants returns every kind of model, and what options make of them that has another formula.
func variants() []string {
	return append(sgd.Kinds(),
		"logistic:scaler=plain", "newton:features=relu", "newton_diag:features=products", "pa:features=hats", "mlp:hidden=8x5x3",
		"linear:loss=squared", "linear:loss=modified_huber", "knn:k=3,window=100", "forest:trees=1", "forest:scaler=plain",
		"mix:scaler=plain", "mix:experts=newton+quad+pwl8+relu64+mlp+logistic",
	)
}

// The seeds of the rows that are learned, and of those that are asked for.
const learning, asking = 1, 2

// stream makes rows whose label tells something of them. Columns are of two sizes; the third is constant at first, the fourth is
// the first once more, and some values are wild. To be learned, the sixth is constant throughout, and the seventh has the most
// different values first. The columns after that are of the same kinds again.
func stream(seed uint64, width, n int) *sgd.Rows {
	r := rand.New(rand.NewPCG(seed, uint64(width)))
	rows := &sgd.Rows{Width: width}
	for at := range n {
		y := float64(r.IntN(2))
		x := make([]float64, width)
		for i := range x {
			x[i] = r.NormFloat64() + y*float64(i%3)
			switch {
			case i%7 == 1:
				x[i] = 1e5 + 1e-3*x[i]
			case i%7 == 2 && at < 100*i:
				x[i] = 3
			case i%7 == 4:
				x[i] = math.Round(x[i])
			case i%7 == 5:
				x[i] = -math.MaxFloat64
			case i%7 == 6 && at > 1:
				x[i] *= 1e-6
			}
			if r.Float64() < 0.002 && (seed == asking || i%7 < 5) {
				x[i] = []float64{1e6, -1e6, 1e200, math.MaxFloat64, -math.MaxFloat64, 5e-324}[r.IntN(6)]
			}
			if i%7 == 3 {
				x[i] = x[0]
			}
		}
		rows.X, rows.Y = append(rows.X, x...), append(rows.Y, y)
	}
	return rows
}

// rough leaves values of the rows out, and gives them sparse features that tell something of the label, numbers up to most.
func rough(rows *sgd.Rows, most int) {
	r := rand.New(rand.NewPCG(learning, uint64(most)))
	rows.Missing = true
	for i, y := range rows.Y {
		for column := range rows.Width {
			if r.Float64() < 0.1 {
				rows.X[i*rows.Width+column] = math.NaN()
			}
		}
		if feature := 2*r.IntN(most/2) + int(y); r.Float64() < 0.8 {
			rows.Sparse = append(rows.Sparse, int32(feature))
		}
		rows.Sparse = append(rows.Sparse, int32(most))
		rows.SparseEnd = append(rows.SparseEnd, len(rows.Sparse))
	}
}

// matrix returns the rows' sparse features as the model's second input.
func matrix(rows *sgd.Rows, features int) []float64 {
	all := make([]float64, rows.Len()*features)
	for i := range rows.Len() {
		for _, feature := range rows.SparseRow(i) {
			if int(feature) < features {
				all[i*features+int(feature)] = 1
			}
		}
	}
	return all
}

// learned is a model that has learned some rows.
type learned struct {
	name string
	sgd.Predictor
	width int
}

func learn(tb testing.TB, spec string, width, n int) learned {
	tb.Helper()
	s, err := sgd.Parse(spec)
	if err != nil {
		tb.Fatal(err)
	}
	m, rows := s.New(width, 3), stream(learning, width, n)
	m.Learn(rows, make([]float64, n))
	return learned{fmt.Sprintf("%s of %d columns after %d rows", spec, width, n), m.Snapshot(), width}
}

// learnRough has a model learn rough rows, of which the second half is wider.
func learnRough(tb testing.TB, spec string, width, n int) learned {
	tb.Helper()
	s, err := sgd.Parse(spec)
	if err != nil {
		tb.Fatal(err)
	}
	m := s.New(width-1, 3)
	for _, w := range []int{width - 1, width} {
		m.Grow(w)
		rows := stream(learning, w, n/2)
		rough(rows, 8)
		m.Learn(rows, make([]float64, n))
	}
	return learned{fmt.Sprintf("%s of %d columns after %d rough rows", spec, width, n), m.Snapshot(), width}
}

func (l *learned) formula(tb testing.TB) *sgd.Formula {
	tb.Helper()
	f, err := sgd.Describe(l.Predictor)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func (l *learned) marshal(tb testing.TB) []byte {
	tb.Helper()
	f := l.formula(tb)
	file, err := Marshal(f, &About{Name: l.name, Doc: "A model.", Version: "1.2.3", Metadata: map[string]string{"model": l.name, "café": "1"}})
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

// TestONNXRuntime holds that ONNX Runtime answers as the models do, whatever they have learned and are asked.
func TestONNXRuntime(t *testing.T) {
	python.Need(t, "numpy", "onnx", "onnxruntime")
	dir := t.TempDir()
	models := map[string]learned{}
	asked := map[int]*sgd.Rows{}
	for _, size := range []struct{ width, learned int }{{1, 40}, {4, 0}, {4, 40}, {4, 2000}, {18, 40}, {18, 2000}, {70, 2000}} {
		rows := stream(asking, size.width, 500)
		for i := range rows.Y {
			if i%2 == 1 && size.width > 3 { // what was the same column twice is no more
				rows.X[i*size.width+3]++
			}
		}
		asked[size.width] = rows
		x, err := binary.Append(nil, binary.LittleEndian, rows.X)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range variants() {
			name, l := fmt.Sprintf("%03d", len(models)), learn(t, spec, size.width, size.learned)
			models[name] = l
			for suffix, data := range map[string][]byte{".onnx": l.marshal(t), ".rows": x} {
				if err := os.WriteFile(filepath.Join(dir, name+suffix), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	answers := ask(t, dir)
	worst := 0.0
	for name, l := range models {
		worst = max(worst, compare(t, &l, answers[name], asked[l.width]))
	}
	t.Logf("%d models, largest difference %.2g", len(models), worst)
}

// answers is what answer.py says of a model.
type answers struct {
	Probabilities []float64
	Labels        []int
	Metadata      map[string]string
}

func ask(tb testing.TB, dir string) (all map[string]answers) {
	tb.Helper()
	if err := json.Unmarshal(python.Run(tb, "testdata/answer.py", dir), &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

// compare holds answers to those of the model, and returns the largest difference.
func compare(tb testing.TB, l *learned, got answers, rows *sgd.Rows) (worst float64) {
	tb.Helper()
	if len(got.Probabilities) != rows.Len() || len(got.Labels) != rows.Len() || got.Metadata["model"] != l.name {
		tb.Fatalf("%s: %d answers, %d labels, metadata %v", l.name, len(got.Probabilities), len(got.Labels), got.Metadata)
	}
	for i, p := range got.Probabilities {
		var want [1]float64
		l.Predict(want[:], rows.Row(i), rows.SparseRow(i))
		difference := math.Abs(p - want[0])
		worst = max(worst, difference)
		if !(difference <= 1e-9) {
			tb.Errorf("%s: %v for row %d, %v with %v, want %v", l.name, p, i, rows.Row(i), rows.SparseRow(i), want[0])
			break
		}
		if (got.Labels[i] == 1) != (p >= 0.5) {
			tb.Errorf("%s: label %d at probability %v", l.name, got.Labels[i], p)
		}
	}
	return worst
}

// TestONNXRuntimeOnRoughRows holds the same for missing values, sparse features, those that a model has not met among them, and
// models that grew.
func TestONNXRuntimeOnRoughRows(t *testing.T) {
	python.Need(t, "numpy", "onnx", "onnxruntime")
	dir := t.TempDir()
	models := map[string]learned{}
	asked := map[int]*sgd.Rows{}
	for _, size := range []struct{ width, learned int }{{4, 40}, {18, 2000}, {65, 2000}} {
		rows := stream(asking, size.width, 500)
		rough(rows, 10)
		asked[size.width] = rows
		for _, spec := range variants() {
			name, l := fmt.Sprintf("%03d", len(models)), learnRough(t, spec, size.width, size.learned)
			models[name] = l
			write := func(suffix string, data any) {
				file, err := binary.Append(nil, binary.LittleEndian, data)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name+suffix), file, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(".onnx", l.marshal(t))
			write(".rows", rows.X)
			if features := l.formula(t).Sparse; features > 0 {
				write(".sparse", matrix(rows, features))
			}
		}
	}
	answers := ask(t, dir)
	worst := 0.0
	for name, l := range models {
		worst = max(worst, compare(t, &l, answers[name], asked[l.width]))
	}
	t.Logf("%d models, largest difference %.2g", len(models), worst)
}

// TestSparseInput holds that models which know sparse features, and no others, have an input for them.
func TestSparseInput(t *testing.T) {
	for spec, want := range map[string]string{
		"logistic": "[features 11 [N 4] sparse 11 [N 9]]", "zoo": "[features 11 [N 4] sparse 11 [N 9]]", "forest": "[features 11 [N 4]]",
	} {
		l := learnRough(t, spec, 4, 200)
		var inputs []string
		for _, in := range parse(t, l.marshal(t)).messages(t, 7)[0].messages(t, 11) {
			inputs = append(inputs, in.texts(1)[0], typeOf(t, in))
		}
		if got := fmt.Sprint(inputs); got != want {
			t.Errorf("%s: inputs %s, want %s", spec, got, want)
		}
	}
}

// message holds the fields of a protobuf message, by number, in order.
type message map[protowire.Number][]any

// parse reads a message: varints as int, and all else as bytes.
func parse(tb testing.TB, data []byte) message {
	tb.Helper()
	m := message{}
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			tb.Fatal(protowire.ParseError(n))
		}
		data = data[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(data)
			if n < 0 {
				tb.Fatal(protowire.ParseError(n))
			}
			m[number], data = append(m[number], int(v)), data[n:]
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(data)
			if n < 0 {
				tb.Fatal(protowire.ParseError(n))
			}
			m[number], data = append(m[number], v), data[n:]
		default:
			tb.Fatalf("field %d of wire type %d", number, kind)
		}
	}
	return m
}

// messages returns the messages of a field.
func (m message) messages(tb testing.TB, field protowire.Number) []message {
	tb.Helper()
	all := make([]message, len(m[field]))
	for i, v := range m[field] {
		all[i] = parse(tb, v.([]byte))
	}
	return all
}

// texts returns the strings of a field.
func (m message) texts(field protowire.Number) []string {
	all := make([]string, len(m[field]))
	for i, v := range m[field] {
		all[i] = string(v.([]byte))
	}
	return all
}

// TestFile holds that a file has the parts that the format asks for, and that nothing in its graph is used before it is there.
func TestFile(t *testing.T) {
	for _, spec := range variants() {
		l := learn(t, spec, 4, 1000)
		file := l.marshal(t)
		if !bytes.Equal(file, l.marshal(t)) {
			t.Errorf("%s: other bytes when written again", spec)
		}
		m := parse(t, file)
		if got := fmt.Sprint(m[1], m.texts(2), m.texts(3), m.texts(6)); got != "[8] [learner] [1.2.3] [A model.]" {
			t.Errorf("%s: version, producer, text: %s", spec, got)
		}
		if opsets := m.messages(t, 8); len(opsets) != 1 || fmt.Sprint(opsets[0]) != "map[2:[17]]" {
			t.Errorf("%s: operator sets %v", spec, opsets)
		}
		metadata := map[string]string{}
		for _, entry := range m.messages(t, 14) {
			metadata[entry.texts(1)[0]] = entry.texts(2)[0]
		}
		if want := map[string]string{"model": l.name, "café": "1"}; !maps.Equal(metadata, want) {
			t.Errorf("%s: metadata %v, want %v", spec, metadata, want)
		}

		g := m.messages(t, 7)[0]
		known := map[string]bool{}
		for _, in := range g.messages(t, 11) {
			known[in.texts(1)[0]] = true
			if got, want := typeOf(t, in), "11 [N 4]"; got != want {
				t.Errorf("%s: input of type %s, want %s", spec, got, want)
			}
		}
		if len(known) != 1 || !known["features"] {
			t.Errorf("%s: inputs %v", spec, known)
		}
		sizes := map[any]int{1: 4, 7: 8, 11: 8}
		for _, tensor := range g.messages(t, 5) {
			name, bytes := tensor.texts(8)[0], sizes[tensor[2][0]]
			for _, n := range tensor[1] {
				bytes *= n.(int)
			}
			if got := len(tensor.texts(9)[0]); got != bytes || known[name] {
				t.Errorf("%s: constant %s has %d bytes, want %d; name taken: %v", spec, name, got, bytes, known[name])
			}
			known[name] = true
		}
		for _, node := range g.messages(t, 1) {
			for _, in := range node.texts(1) {
				if !known[in] {
					t.Errorf("%s: %v uses %s before it is there", spec, node.texts(4), in)
				}
			}
			for _, out := range node.texts(2) {
				if known[out] {
					t.Errorf("%s: %v makes %s, which is there", spec, node.texts(4), out)
				}
				known[out] = true
			}
		}
		var outputs []string
		for _, out := range g.messages(t, 12) {
			outputs = append(outputs, fmt.Sprint(out.texts(1), typeOf(t, out), known[out.texts(1)[0]]))
		}
		if got, want := fmt.Sprint(outputs), "[[probabilities]11 [N 2]true [label]7 [N]true]"; got != want {
			t.Errorf("%s: outputs %s, want %s", spec, got, want)
		}
	}
}

// typeOf returns element type and shape of a ValueInfoProto.
func typeOf(tb testing.TB, value message) string {
	tb.Helper()
	tensor := value.messages(tb, 2)[0].messages(tb, 1)[0]
	var shape []any
	for _, dim := range tensor.messages(tb, 2)[0].messages(tb, 1) {
		if name := dim.texts(2); len(name) > 0 {
			shape = append(shape, name[0])
		} else {
			shape = append(shape, dim[1][0])
		}
	}
	return fmt.Sprint(tensor[1][0], " ", shape)
}

// foreign is a predictor that sgd knows nothing of.
type foreign struct{ sgd.Predictor }

func TestWhatHasNoONNXForm(t *testing.T) {
	if _, err := sgd.Describe(foreign{}); err == nil || !strings.Contains(err.Error(), "onnx.foreign has no formula") {
		t.Errorf("formula of a foreign model: error %v", err)
	}
	for _, c := range []struct {
		step sgd.Step
		want string
	}{
		{sgd.Step{Op: "twist"}, `step 0 of model odd as ONNX: unknown operation "twist"`},
		{sgd.Step{Op: sgd.OpConstant, Value: sgd.Tensor{Data: []uint64{1}}}, "constant of type []uint64"},
	} {
		_, err := Marshal(&sgd.Formula{Width: 1, Steps: []sgd.Step{c.step}}, &About{Name: "odd"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
