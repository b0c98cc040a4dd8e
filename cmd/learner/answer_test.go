package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"learner/pkg/checkpoint"
	"learner/pkg/sgd"
)

// answered is what the service answers to a request for predictions, in either protocol.
type answered struct {
	Error        string
	Version      string `json:"model_version"`
	Model        string `json:"model_name"`
	Predictions  []float64
	Explanations []struct {
		Base          float64
		Contributions map[string]float64
	}
	Outputs []struct{ Data []float64 }
}

// ask posts a request for predictions.
func (r *running) ask(path, body string) (code int, got answered) {
	r.t.Helper()
	response, err := http.Post(r.url+path, "application/json", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		r.t.Fatalf("%v in %s", err, text)
	}
	return response.StatusCode, got
}

// restored returns what answers with the state of a model that the service gives out.
func (r *running) restored(spec *sgd.Spec, features int) sgd.Predictor {
	r.t.Helper()
	_, state := r.get("/api/models/" + spec.Name + "/state")
	tensors, _, err := checkpoint.ReadSafetensors(state)
	if err != nil {
		r.t.Fatal(err)
	}
	tensors = slices.DeleteFunc(tensors, func(t sgd.Tensor) bool { return strings.HasPrefix(t.Name, "progressive/") }) // scores
	model := spec.New(features, 1)
	if err := model.Restore(tensors); err != nil {
		r.t.Fatal(err)
	}
	return model.Snapshot()
}

// TestPredictionsOverHTTP holds that holder and standby answer with the bits of the very models that they give out, and say
// of which version they are.
func TestPredictionsOverHTTP(t *testing.T) {
	const models = "mix;plain=logistic"
	onEveryCluster(t, func(t *testing.T, c *testCluster) {
		c.create(t, 2, nil)
		lines := susyLines(t)
		columns := make([]string, 19)
		for i := range columns {
			columns[i] = "column " + strconv.Itoa(i)
		}
		c = c.kept(t, "topic")
		env := []string{"LEARNER_MODELS=" + models, "LEARNER_COLUMNS=" + strings.Join(columns, ",")}
		specs, err := sgd.ParseModels(models)
		if err != nil {
			t.Fatal(err)
		}
		rows := parsed(t, lines[3000:3100])
		var body []string
		var x []float64
		for _, row := range rows {
			text, _ := json.Marshal(row[1:])
			body = append(body, string(text))
			x = append(x, row[1:]...)
		}
		v1 := `{"instances":[` + strings.Join(body, ",") + `]}`
		v2 := `{"inputs":[{"name":"features","datatype":"FP64","shape":[100,18],"data":[` + strings.Join(body, ",") + `]}]}`

		holder := startService(t, c, env...)
		holder.holdsNothing()
		c.write(t, lines[:3000])
		holder.learns(3000)
		standby := startService(t, c, env...)
		standby.standsBy()
		standby.eventually("follows", func() bool { return standby.records() == 3000 })
		for _, r := range []*running{holder, standby} {
			role := r.status().Role
			version := r.status().Lineage + ".3000"
			for i := range specs {
				spec := &specs[i]
				want := make([]float64, len(rows))
				p := r.restored(spec, 18)
				sgd.PredictRows(p, want, x, nil, nil)
				if slices.Min(want) == slices.Max(want) {
					t.Fatalf("%s has learned nothing", spec.Name)
				}
				code, got := r.ask("/v1/models/"+spec.Name+":predict?explain=true", v1)
				if code != 200 || got.Version != version || got.Model != spec.Name || !slices.Equal(got.Predictions, want) {
					t.Errorf("%s of a %s: %d %s, version %q, want %q and the bits of its state", spec.Name, role, code, got.Error, got.Version, version)
				}
				contributions := make([]float64, 18)
				for i, e := range got.Explanations {
					base := sgd.Explain(p, contributions, rows[i][1:], nil)
					sum := base
					for f, v := range contributions {
						if got := e.Contributions["column "+strconv.Itoa(f+1)]; got != v {
							t.Fatalf("%s of a %s, row %d: feature %d contributes %v, want %v", spec.Name, role, i, f, got, v)
						}
						sum += v
					}
					if e.Base != base || len(e.Contributions) != 18 {
						t.Errorf("%s of a %s, row %d: base %v, want %v", spec.Name, role, i, e.Base, base)
					}
					if logit := math.Log(want[i] / (1 - want[i])); spec.Kind == "logistic" && math.Abs(sum-logit) > 1e-9 {
						t.Errorf("row %d: base and contributions add up to %v, log-odds are %v", i, sum, logit)
					}
				}
				code, got = r.ask("/v2/models/"+spec.Name+"/versions/"+version+"/infer", v2)
				for i, prob := range want {
					if code != 200 || got.Outputs[0].Data[2*i+1] != prob {
						t.Fatalf("%s of a %s, version 2: %d %s %v", spec.Name, role, code, got.Error, got.Outputs)
					}
				}
			}
			if _, got := r.ask("/v1/models/champion:predict", v1); got.Model != "mix" {
				t.Errorf("the champion is %q: %s", got.Model, got.Error)
			}
			if code, got := r.ask("/v1/models/none:predict", v1); code != 404 || got.Error != `no model "none"` {
				t.Errorf("no model: %d %s", code, got.Error)
			}
			if code, got := r.ask("/v1/models/mix:predict", `{"instances":[{"column 0":1}]}`); code != 400 ||
				!strings.HasPrefix(got.Error, `instances[0] has "column 0", which is no feature; the features are "column 1"`) {
				t.Errorf("the label for a feature: %d %s", code, got.Error)
			}
			lacking := make([]float64, 18)
			for i := range lacking {
				lacking[i] = math.NaN()
			}
			lacking[1] = 1.5
			want := make([]float64, 1)
			sgd.PredictRows(r.restored(&specs[1], 18), want, lacking, nil, nil)
			if code, got := r.ask("/v1/models/plain:predict", `{"instances":[[null,1.5`+strings.Repeat(",null", 16)+`]]}`); code != 200 || !slices.Equal(got.Predictions, want) {
				t.Errorf("a row of one feature: %d %s %v, want %v", code, got.Error, got.Predictions, want)
			}
			if got := sum(r.metrics(), "learner_predictions_total", `model="plain"`); got != 201 {
				t.Errorf("a %s counts %v predictions, want 201", role, got)
			}
			if got := sum(r.metrics(), "learner_columns", `kind="number"`); got != 18 {
				t.Errorf("a %s has %v columns of numbers, want 18", role, got)
			}
			if st := r.status(); len(st.Columns) != 18 || st.Columns[0] != (columnStatus{"column 1", "number", 0}) || st.Categories.Used != 0 {
				t.Errorf("a %s shows columns %v and categories %v", role, st.Columns, st.Categories)
			}
		}

		c.write(t, lines[3000:3100])
		holder.learns(3100)
		code, got := holder.ask("/v2/models/mix/versions/"+holder.status().Lineage+".3000/infer", v2)
		if want := fmt.Sprintf(`model "mix" has no version "%[1]s.3000": only the newest is kept, which is "%[1]s.3100" now`, holder.status().Lineage); code != 404 || got.Error != want {
			t.Errorf("a version that was learned on: %d %s, want %s", code, got.Error, want)
		}
	})
}

// holdsNothing waits until the process is the holder, and finds that its models answer nothing yet.
func (r *running) holdsNothing() {
	r.t.Helper()
	r.ready()
	code, got := r.ask("/v1/models/champion:predict", `{"instances":[[1]]}`)
	if code != 503 || got.Error != `predictions of model "champion": the model has no state yet` {
		r.t.Errorf("a model that has learned nothing: %d %s", code, got.Error)
	}
}
