package serve

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
)

// The Open Inference Protocol, version 2, over HTTP:
// https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

const (
	inputName = "features" // of the input that takes whole rows
	textType  = "BYTES"    // the datatype of texts
	maxID     = 1 << 10    // bytes, as they come back
)

// tensorInfo describes an input or an output. -1 stands for any number of rows.
type tensorInfo struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    shape  `json:"shape"`
}

// v2Server says what this is.
func (s *Server) v2Server(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{"learner", s.cfg.Version.Version, []string{}})
}

func (s *Server) v2Live(w http.ResponseWriter, _ *http.Request) {
	if err := s.cfg.Alive(); err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Live bool `json:"live"`
	}{true})
}

// v2Ready says whether the service is ready and all models answer.
func (s *Server) v2Ready(w http.ResponseWriter, _ *http.Request) {
	reasons := append([]string{}, s.cfg.Unready()...) // an empty list, never null
	for _, name := range s.cfg.Models.Names() {
		if _, err := s.cfg.Predictor(name); err != nil {
			reasons = append(reasons, fmt.Sprintf("model %s: %v", name, err))
		}
	}
	writeReady(w, reasons)
}

// v2ModelReady says whether a model answers.
func (s *Server) v2ModelReady(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	_, err := s.predictor(name, r.PathValue("version"))
	if err != nil {
		s.refuse(w, name, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{name, true})
}

// v2Model describes a model.
func (s *Server) v2Model(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p, err := s.predictor(name, r.PathValue("version"))
	if err != nil {
		s.refuse(w, name, err)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Name     string       `json:"name"`
		Versions []string     `json:"versions"`
		Platform string       `json:"platform"`
		Inputs   []tensorInfo `json:"inputs"`
		Outputs  []tensorInfo `json:"outputs"`
		Features []string     `json:"features"` // their names, in the order of a row
	}{
		p.Model,
		[]string{p.Version},
		"learner_" + p.Kind,
		p.inputs(),
		[]tensorInfo{{"probabilities", "FP64", shape{-1, 2}}, {"label", "INT64", shape{-1}}},
		p.Columns.names,
	})
}

// inputs describes the inputs of a model: one for all features, or one for each where some are categories.
func (p *Predictor) inputs() []tensorInfo {
	if p.Columns.categories() == 0 {
		return []tensorInfo{{inputName, "FP64", shape{-1, len(p.Columns.all)}}}
	}
	all := make([]tensorInfo, len(p.Columns.all))
	for i, c := range p.Columns.all {
		all[i] = tensorInfo{c.Name, "FP64", shape{-1}}
		if c.Category != nil {
			all[i].Datatype = textType
		}
	}
	return all
}

func (s *Server) v2Infer(w http.ResponseWriter, r *http.Request) {
	s.predict(w, r, r.PathValue("name"), r.PathValue("version"), func(p *Predictor, explain bool) question {
		return &v2Question{p: p, explain: explain}
	})
}

// v2Question is the body of a request of the second protocol.
type v2Question struct {
	ID      string     `json:"id"`
	Inputs  []*v2Input `json:"inputs"`
	Outputs []v2Wanted `json:"outputs"` // none: all that there are

	p       *Predictor
	explain bool
}

type v2Input struct {
	Name     string `json:"name"`
	Shape    shape  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     data   `json:"data"`
}

type v2Wanted struct {
	Name string `json:"name"`
}

type v2Answer struct {
	Model   string     `json:"model_name"`
	Version string     `json:"model_version"`
	ID      string     `json:"id,omitempty"`
	Outputs []v2Output `json:"outputs"`
}

type v2Output struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    shape  `json:"shape"`
	Data     any    `json:"data"`
}

// shape is that of a tensor.
type shape []int

// String returns the shape as JSON.
func (s shape) String() string { return strings.ReplaceAll(fmt.Sprint([]int(s)), " ", ", ") }

// datatype says which numbers a tensor may hold.
type datatype struct {
	least, most float64
	whole       bool
}

// datatypes are those of the protocol whose values are numbers. BOOL holds true and false as well.
var datatypes = map[string]datatype{
	"BOOL":  {0, 1, true},
	"INT8":  {math.MinInt8, math.MaxInt8, true},
	"INT16": {math.MinInt16, math.MaxInt16, true},
	"INT32": {math.MinInt32, math.MaxInt32, true},
	"INT64": {math.MinInt64, math.MaxInt64, true},
	"UINT8": {0, math.MaxUint8, true}, "UINT16": {0, math.MaxUint16, true},
	"UINT32": {0, math.MaxUint32, true}, "UINT64": {0, math.MaxUint64, true},
	"FP16": {-65504, 65504, false},
	"FP32": {-math.MaxFloat32, math.MaxFloat32, false},
	"FP64": {-math.MaxFloat64, math.MaxFloat64, false},
}

func (q *v2Question) rows() (*Rows, error) {
	if len(q.ID) > maxID {
		return nil, bad("id has %d bytes; want at most %d", len(q.ID), maxID)
	}
	for i, o := range q.Outputs {
		if !slices.Contains(q.names(), o.Name) {
			return nil, bad("no output %.100q; there are %s", o.Name, quoted(q.names()))
		}
		if slices.Contains(q.Outputs[:i], o) {
			return nil, bad("output %q is asked for twice", o.Name)
		}
	}
	for i, in := range q.Inputs {
		if in == nil {
			return nil, bad("inputs[%d] is null; want an object", i)
		}
		if err := in.check(); err != nil {
			return nil, bad("input %.100q: %v", in.Name, err)
		}
	}
	switch {
	case len(q.Inputs) == 0:
		return nil, bad("no inputs; want %sone for each feature", q.whole())
	case len(q.Inputs) == 1 && q.Inputs[0].Name == inputName && q.p.Columns.categories() == 0:
		return q.Inputs[0].rows(len(q.p.Columns.all))
	}
	return q.columns()
}

// whole says that one input may hold whole rows, where it may.
func (q *v2Question) whole() string {
	if q.p.Columns.categories() > 0 {
		return ""
	}
	return fmt.Sprintf("one input of the name %q, or ", inputName)
}

// names returns the outputs that there are.
func (q *v2Question) names() []string {
	all := []string{"probabilities", "label"}
	if q.explain {
		all = append(all, "base", "contributions", "features")
	}
	return all
}

// check says what is wrong with an input by itself.
func (in *v2Input) check() error {
	t, ok := datatypes[in.Datatype]
	if !ok && in.Datatype != textType {
		return fmt.Errorf("datatype %.100q; want FP64, FP32, FP16, BOOL, BYTES, or one of INT8 to INT64 and UINT8 to UINT64", in.Datatype)
	}
	if in.Data.err != nil {
		return in.Data.err
	}
	if in.Data.bools && in.Datatype != "BOOL" {
		return fmt.Errorf("data has truth values, which are no %s", in.Datatype)
	}
	for i, v := range in.Data.values {
		switch {
		case v != v:
			if in.Data.isText(i) && in.Datatype != textType {
				return fmt.Errorf("%s is a text; want a number", in.Data.place(i))
			}
		case !ok:
			return fmt.Errorf("%s is a number; want a text", in.Data.place(i))
		case v < t.least || v > t.most || t.whole && v != math.Trunc(v):
			return fmt.Errorf("data has %v, which is no %s", v, in.Datatype)
		}
	}
	switch got := len(in.Data.values); {
	case got == 0:
		return errors.New("no data")
	case len(in.Shape) != 1 && len(in.Shape) != 2:
		return fmt.Errorf("shape has %d dimensions; want 1 or 2", len(in.Shape))
	case in.Data.width > 0 && (len(in.Shape) != 2 || in.Data.width != in.Shape[1]):
		return fmt.Errorf("data has lists of %d values, which do not fit shape %v", in.Data.width, in.Shape)
	case in.Shape.size(got) != got:
		return fmt.Errorf("data has %d values, which do not fit shape %v", got, in.Shape)
	}
	return nil
}

// size returns how many numbers a tensor has; 0: one dimension alone is more than most, or none at all.
func (s shape) size(most int) int {
	size := 1
	for _, d := range s {
		if d < 1 || d > most {
			return 0
		}
		size *= d
	}
	return size
}

// rows returns the rows of an input that holds whole ones: n numbers each.
func (in *v2Input) rows(n int) (*Rows, error) {
	if in.Shape[len(in.Shape)-1] != n && (n != 1 || len(in.Shape) != 1) {
		return nil, bad("input %q has shape %v; want [rows, %d]", in.Name, in.Shape, n)
	}
	if in.Datatype == textType {
		return nil, bad("input %q has datatype %s; the features are numbers", in.Name, in.Datatype)
	}
	return &Rows{N: len(in.Data.values) / n, X: in.Data.values, Missing: in.Data.nulls}, nil
}

// columns returns the rows of a request with an input for each feature.
func (q *v2Question) columns() (*Rows, error) {
	columns := q.p.Columns
	given := make([]bool, len(columns.all))
	n := q.Inputs[0].Shape[0]
	for _, in := range q.Inputs {
		f, ok := columns.at[in.Name]
		switch {
		case !ok:
			return nil, bad("input %.100q is no feature; want %sone for each of the features %s", in.Name, q.whole(), quoted(columns.names))
		case given[f]:
			return nil, bad("input %q is given twice", in.Name)
		case len(in.Data.values) != in.Shape[0]:
			return nil, bad("input %q has shape %v; want [rows] or [rows, 1]", in.Name, in.Shape)
		case in.Shape[0] != n:
			return nil, bad("input %q has %d rows, and %q has %d", in.Name, in.Shape[0], q.Inputs[0].Name, n)
		case in.Datatype == textType && columns.all[f].Category == nil:
			return nil, bad("input %q has datatype %s; the feature is a number", in.Name, in.Datatype)
		}
		given[f] = true
	}
	if lacking := columns.lacking(given); len(lacking) > 0 {
		return nil, bad("no input for %s", quoted(lacking))
	}
	if err := columns.fits(n); err != nil {
		return nil, err
	}
	rows := &Rows{Missing: slices.Contains(given, false)}
	rows.add(n, columns)
	for _, in := range q.Inputs {
		f := columns.at[in.Name]
		rows.Missing = rows.Missing || in.Data.nulls
		for i := range n {
			rows.set(columns, i, f, in.Data.of(&columns.all[f], i))
		}
	}
	return rows, nil
}

func (q *v2Question) answer(prob []float64, e *explanation) any {
	rows, n := len(prob), len(q.p.Columns.all)
	both, labels := make([]float64, 0, 2*rows), make([]int, rows)
	for i, v := range prob {
		both = append(both, 1-v, v)
		labels[i] = classOf(v)
	}
	all := []v2Output{
		{"probabilities", "FP64", shape{rows, 2}, both},
		{"label", "INT64", shape{rows}, labels},
	}
	if e != nil {
		all = append(all,
			v2Output{"base", "FP64", shape{rows}, e.base},
			v2Output{"contributions", "FP64", shape{rows, n}, e.contributions},
			v2Output{"features", "BYTES", shape{n}, q.p.Columns.names})
	}
	a := v2Answer{Model: q.p.Model, Version: q.p.Version, ID: q.ID, Outputs: all}
	if len(q.Outputs) > 0 {
		a.Outputs = nil
		for _, o := range q.Outputs {
			at := slices.IndexFunc(all, func(have v2Output) bool { return have.Name == o.Name })
			a.Outputs = append(a.Outputs, all[at])
		}
	}
	return a
}
