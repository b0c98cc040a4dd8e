package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"learner/internal/broker"
	"learner/internal/python"
	"learner/pkg/checkpoint"
	"learner/pkg/producer"
	"learner/pkg/sgd"
)

// TestFormats holds that the command and the service give the same models in every format, and that a checkpoint's ONNX file
// answers in Python as the README says.
func TestFormats(t *testing.T) {
	c, _ := embedded(t, broker.Options{})
	c.env = c.with("LEARNER_MODELS=mix;slow=logistic:rate=0.1", "LEARNER_COLUMNS=label,"+strings.Join(columns(18), ","))
	for _, topic := range []string{c.train, c.test} {
		if _, err := producer.EnsureTopic(t.Context(), c.client(t), topic, 2, -1, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.write(t, susyLines(t)[:2000])
	s := startService(t, c)
	s.learns(2000)
	paths := []string{"mix/state?format=onnx", "slow/state?format=onnx", "slow/state?format=json", "slow/state"}
	files := s.files(paths)
	standby := startService(t, c)
	for path, file := range standby.files(paths) {
		if !bytes.Equal(file, files[path]) {
			t.Errorf("%s: %d bytes from the standby, %d from the holder", path, len(file), len(files[path]))
		}
	}
	for _, r := range []*running{standby, s} {
		if code := r.stop(); code != exitClean {
			t.Fatalf("exit code %d", code)
		}
	}

	dir := t.TempDir()
	exported := func(want string, args ...string) []byte {
		t.Helper()
		got := runIn(t, dir, c.env, append([]string{"export"}, args...)...)
		if got.code != exitClean || !strings.Contains(got.stdout, want) {
			t.Fatalf("export %v: %+v, want %q", args, got, want)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("export %v: files %q (%v)", args, names, err)
		}
		data, err := os.ReadFile(names[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(names[0]); err != nil {
			t.Fatal(err)
		}
		return data
	}
	whole, err := checkpoint.Decode(exported("checkpoint "))
	if err != nil {
		t.Fatal(err)
	}
	file := fmt.Sprintf("group-%d", whole.ID.Sequence)
	mix := exported(file+".onnx", "-format", "onnx")
	if !bytes.Equal(mix, files["mix/state?format=onnx"]) {
		t.Errorf("the champion as ONNX has %d bytes from the command, %d from the service", len(mix), len(files["mix/state?format=onnx"]))
	}
	slow := exported("model slow of checkpoint "+whole.ID.String(), "-format", "onnx", "-model", "slow")
	if !bytes.Equal(slow, files["slow/state?format=onnx"]) {
		t.Error("slow as ONNX differs between the command and the service")
	}

	// As JSON, there are the same tensors as in safetensors.
	var document struct {
		Lineage  string
		Features []string
		Records  uint64
		Next     map[int32]int64 `json:"next_offsets"`
		Settings checkpoint.Settings
		Tensors  map[string]struct{ Values any }
	}
	if err := json.Unmarshal(files["slow/state?format=json"], &document); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintln(document.Lineage, document.Features[17], document.Records, document.Next, document.Settings)
	if want := fmt.Sprintln(whole.ID.Lineage, "c18", 2000, map[int]int{0: 1000, 1: 1000}, "{map[rate:0.1] 1}"); got != want {
		t.Errorf("as JSON: %s, want %s", got, want)
	}
	tensors, _, err := checkpoint.ReadSafetensors(files["slow/state"])
	if err != nil || len(tensors) != len(document.Tensors) {
		t.Errorf("%d tensors in safetensors (%v), %d in JSON", len(tensors), err, len(document.Tensors))
	}
	for _, tensor := range tensors {
		if got := fmt.Sprint(document.Tensors[tensor.Name].Values); tensor.Name == "weights" && got != fmt.Sprint(tensor.Data) {
			t.Errorf("weights %s, want %v", got, tensor.Data)
		}
	}
	all := exported(file+".json", "-format", "json")
	var models struct {
		ID     string
		Models []struct {
			Name     string
			Settings *checkpoint.Settings
			Tensors  map[string]any
		}
	}
	if err := json.Unmarshal(all, &models); err != nil {
		t.Fatal(err)
	}
	if m := models.Models; models.ID != whole.ID.String() || len(m) != 2 || m[1].Name != "slow" || m[1].Settings.Options["rate"] != "0.1" ||
		len(m[1].Tensors) != len(tensors) {
		t.Errorf("checkpoint as JSON: %.300s", all)
	}

	for _, refused := range []struct{ models, args, want string }{
		{"mix", "-format onnx -model slow", `model "slow" is none of LEARNER_MODELS=mix`},
		{"slow=logistic", "-format onnx", `model "mix" is none of LEARNER_MODELS=slow=logistic`},
		{"mix;slow=logistic:rate=0.2", "-format onnx -model slow", "model slow has other options"},
		{"mix;new=logistic", "-format onnx -model new", "has no model new"},
	} {
		got := runIn(t, dir, c.with("LEARNER_MODELS="+refused.models), append([]string{"export"}, strings.Fields(refused.args)...)...)
		if got.code != exitFailure || !strings.Contains(got.stderr, refused.want) {
			t.Errorf("%s with %s: %+v, want %q", refused.args, refused.models, got, refused.want)
		}
	}

	example := readmeExample(t, "onnx")
	_, name, _ := strings.Cut(example, `InferenceSession("`)
	name, _, _ = strings.Cut(name, `"`)
	python.Need(t, "numpy", "onnxruntime")
	if err := os.WriteFile(filepath.Join(dir, name), mix, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "python3", "-c", example)
	command.Dir = dir
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := answers(t, c.config(t), whole, "mix", make([]float64, 18), 18)[0]
	for _, want := range []string{"'lineage': '" + whole.ID.Lineage, "'records': '2000'", `"c18"`, fmt.Sprintf("[%.6f", p)} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the README's example prints %s, want %s in it", out, want)
		}
	}
}

// files returns what paths of models answer with once 2000 records are learned, by path.
func (r *running) files(paths []string) map[string][]byte {
	r.t.Helper()
	all := map[string][]byte{}
	for _, path := range paths {
		r.eventually("answers with "+path, func() bool {
			response, err := http.Head(r.url + "/api/models/" + path)
			if err != nil {
				r.t.Fatal(err)
			}
			_ = response.Body.Close()
			return response.Header.Get("X-Learner-Records") == "2000"
		})
		_, all[path] = r.get("/api/models/" + path)
	}
	return all
}

// columns returns names of so many columns.
func columns(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("c", i+1)
	}
	return names
}

// readmeExample returns the program between the README's lines <!-- name --> and <!-- /name -->.
func readmeExample(t *testing.T, name string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, opened := strings.Cut(string(readme), "<!-- "+name+" -->\n")
	text, _, closed := strings.Cut(rest, "<!-- /"+name+" -->\n")
	if !opened || !closed {
		t.Fatalf("README.md has no example %s", name)
	}
	return strings.ReplaceAll(text, "\n    ", "\n")
}

// answers returns what a model of a checkpoint answers for rows.
func answers(t *testing.T, cfg *Config, c *checkpoint.Checkpoint, model string, x []float64, width int) []float64 {
	t.Helper()
	specs, err := sgd.ParseModels(cfg.Models)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(specs, func(s sgd.Spec) bool { return s.Name == model })
	snapshot, _, err := cfg.snapshotOf(c, specs[i])
	if err != nil {
		t.Fatal(err)
	}
	prob := make([]float64, len(x)/width)
	sgd.PredictRows(snapshot.Predictor, prob, x, nil, nil)
	return prob
}

// TestNumPy holds that the tensors of a checkpoint are all that it takes to answer, in another program, as the models do.
func TestNumPy(t *testing.T) {
	t.Parallel()
	python.Need(t, "numpy", "safetensors")
	const width, learned, asked = 8, 3000, 300
	cfg := &Config{Models: "mix;logistic", Seed: 1, TwinAge: 1000}
	specs, err := sgd.ParseModels(cfg.Models)
	if err != nil {
		t.Fatal(err)
	}
	config := cfg.compatibility(specs)
	c := example(checkpoint.ID{Lineage: "a", Sequence: 1, Writer: "b"})
	c.Features, c.ConfigRows, c.Comparison, c.Champion, c.Models = width, config.Rows, nil, "mix", nil
	rows := hardRows(width, learned)
	for i, spec := range specs {
		m := spec.New(width, cfg.Seed)
		m.Learn(rows, make([]float64, learned))
		scores := []sgd.Tensor{
			{Name: "progressive/records", Shape: []int{}, Data: []uint64{learned}},
			{Name: "progressive/correct", Shape: []int{}, Data: []uint64{0}},
			{Name: "progressive/loss", Shape: []int{}, Data: []float64{0}},
		}
		c.Models = append(c.Models, checkpoint.Model{
			Name: spec.Name, Kind: spec.Kind, ConfigHash: config.Models[i].Hash, Records: learned, Tensors: append(m.State(), scores...),
		})
	}
	file := filepath.Join(t.TempDir(), "c.safetensors")
	if err := os.WriteFile(file, encoded(t, c), 0o600); err != nil {
		t.Fatal(err)
	}
	x := hardRows(width, learned+asked).X[learned*width:]
	var csv strings.Builder
	for row := range slices.Chunk(x, width) {
		csv.WriteString(strings.Trim(strings.ReplaceAll(fmt.Sprint(row), " ", ","), "[]") + "\n")
	}
	for _, spec := range specs {
		want := answers(t, cfg, c, spec.Name, x, width)
		command := exec.CommandContext(t.Context(), "python3", "testdata/predict.py", file, spec.Name)
		command.Stdin = strings.NewReader(csv.String())
		out, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		lines := strings.Fields(string(out))
		if len(lines) != asked {
			t.Fatalf("%s: %d answers to %d rows: %.300s", spec.Name, len(lines), asked, out)
		}
		for i, line := range lines {
			if got, err := strconv.ParseFloat(line, 64); err != nil || !(math.Abs(got-want[i]) <= 1e-9) {
				t.Errorf("%s, row %d: NumPy answers %s, want %v", spec.Name, i, line, want[i])
			}
		}
	}
}

// hardRows returns rows of one stream with columns of any size: the third is constant until row 2500, the fourth is the first
// once more, the fifth is constant, and some values are wild.
func hardRows(width, n int) *sgd.Rows {
	r := rand.New(rand.NewPCG(5, 5))
	rows := &sgd.Rows{Width: width}
	for at := range n {
		y := float64(r.IntN(2))
		x := make([]float64, width)
		for i := range x {
			x[i] = math.Pow(10, float64(3*i-6)) * (r.NormFloat64() + 0.5*y)
			if r.Float64() < 0.01 {
				x[i] *= []float64{1e5, 1e200, -1e5}[r.IntN(3)]
			}
		}
		if at < 2500 {
			x[2] = 3
		}
		x[3], x[4] = x[0], -7
		rows.X, rows.Y = append(rows.X, x...), append(rows.Y, y)
	}
	return rows
}
