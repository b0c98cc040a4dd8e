package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// What one request for predictions may take. Large ones take turns, so that four times some 60 MiB are in use at most.
const (
	maxBody      = 8 << 20
	maxValues    = 1 << 20 // in a body, and rows × features
	maxObjects   = 1 << 17 // in a body
	maxRows      = 1 << 16
	maxExplained = 10_000      // rows × features: explaining a row takes a prediction for each feature
	smallBody    = 64 << 10    // up to here a request takes no turn
	maxLarge     = 4           // large requests being answered at a time
	largeWait    = time.Second // for a turn
)

// Predictor is what answers for a model: a snapshot, which never changes.
type Predictor struct {
	Model   string   // its name
	Kind    string   // such as mix
	Version string   // of the snapshot
	Columns *Columns // of a row
	// Predict stores the probability of class 1 for each of the rows in dst.
	Predict func(dst []float64, rows *Rows)
	// Explain stores in dst by how much each feature of a row raises the log-odds of the answer, and returns the log-odds of a
	// usual row.
	Explain func(dst []float64, rows *Rows, row int) (base float64)
}

// ErrNoModel says that there is no model of that name.
var ErrNoModel = errors.New("no such model")

// predictions are the routes of predictions and of what tells about them, by the pattern of the path.
func (s *Server) predictions() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/openapi.yaml":    readOnly(openAPI),
		"/v2":              readOnly(s.v2Server),
		"/v2/health/live":  readOnly(s.v2Live),
		"/v2/health/ready": readOnly(s.v2Ready),

		"/v2/models/{name}":                          readOnly(s.v2Model),
		"/v2/models/{name}/ready":                    readOnly(s.v2ModelReady),
		"/v2/models/{name}/infer":                    only(s.v2Infer, http.MethodPost),
		"/v2/models/{name}/versions/{version}":       readOnly(s.v2Model),
		"/v2/models/{name}/versions/{version}/ready": readOnly(s.v2ModelReady),
		"/v2/models/{name}/versions/{version}/infer": only(s.v2Infer, http.MethodPost),

		"/v1/models/{name}": only(s.v1Predict, http.MethodPost), // {name} is {name}:predict
	}
}

// problem is an error that is the client's to mend, or to wait out.
type problem struct {
	code int
	text string
}

func (p problem) Error() string { return p.text }

// bad returns the error for a request that is wrong.
func bad(format string, args ...any) error {
	return problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// tooMuch returns the error for a request that asks for too much at once.
func tooMuch(format string, args ...any) error {
	return problem{http.StatusRequestEntityTooLarge, fmt.Sprintf(format, args...)}
}

// question is the body of a request for predictions, in one of the protocols.
type question interface {
	// rows returns the features of all rows.
	rows() (*Rows, error)
	// answer returns the body of the answer. e is nil where nothing is to be explained.
	answer(prob []float64, e *explanation) any
}

// newQuestion returns an empty question to p, which the body of a request is read into.
type newQuestion func(p *Predictor, explain bool) question

// explanation is what the features do to the answers.
type explanation struct {
	base          []float64 // for each row
	contributions []float64 // row-major
}

// predict answers a request for predictions, all of it by one snapshot.
func (s *Server) predict(w http.ResponseWriter, r *http.Request, model, version string, newQuestion newQuestion) {
	explain, err := explaining(r)
	if err != nil {
		s.refuse(w, model, err)
		return
	}
	leave, err := s.enter(r, explain)
	if err != nil {
		s.refuse(w, model, err)
		return
	}
	defer leave()
	answer, err := s.answer(w, r, model, version, newQuestion, explain)
	if err != nil {
		s.refuse(w, model, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// answer returns the body of the answer to a request for predictions.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, model, version string, newQuestion newQuestion, explain bool) (any, error) {
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	p, err := s.predictor(model, version)
	if err != nil {
		return nil, err
	}
	q := newQuestion(&p, explain)
	if err := decode(body, q); err != nil {
		return nil, err
	}
	rows, err := q.rows()
	if err != nil {
		return nil, err
	}
	return s.ask(r.Context(), &p, q, rows, explain)
}

// explaining says whether the answers are to be explained.
func explaining(r *http.Request) (bool, error) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	values, given := r.URL.Query()["explain"]
	if !given {
		return false, nil
	}
	explain, err := strconv.ParseBool(values[0])
	if err != nil {
		return false, bad("explain is %q; want true or false", values[0])
	}
	return explain, nil
}

// enter waits for a turn if the request is a large one. leave ends it.
func (s *Server) enter(r *http.Request, explain bool) (leave func(), err error) {
	if !explain && r.ContentLength >= 0 && r.ContentLength <= smallBody {
		return func() {}, nil
	}
	select {
	case s.large <- struct{}{}:
		return func() { <-s.large }, nil
	case <-time.After(largeWait):
	case <-r.Context().Done():
	}
	return nil, problem{http.StatusServiceUnavailable, "too many large requests are being answered; try again"}
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, problem{http.StatusUnsupportedMediaType, fmt.Sprintf("the body is encoded as %q; want it as it is", encoding)}
	}
	if r.Header.Get("Inference-Header-Content-Length") != "" {
		return nil, bad("tensors in binary are not read here; want all data in JSON")
	}
	if r.ContentLength > maxBody {
		return nil, tooMuch("the body has %d bytes; at most %d are read", r.ContentLength, maxBody)
	}
	body := bytes.NewBuffer(make([]byte, 0, max(r.ContentLength, 0)+bytes.MinRead))
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, tooMuch("the body has more than %d bytes", maxBody)
	}
	if err != nil {
		return nil, bad("read the body: %v", err)
	}
	if bytes.Count(body.Bytes(), []byte{','}) > maxValues {
		return nil, tooMuch("the body has more than %d values", maxValues)
	}
	if bytes.Count(body.Bytes(), []byte{'{'}) > maxObjects {
		return nil, tooMuch("the body has more than %d objects", maxObjects)
	}
	return body.Bytes(), nil
}

// predictor returns what answers for a model, if it is of that version. An empty version stands for any.
func (s *Server) predictor(model, version string) (Predictor, error) {
	p, err := s.cfg.Predictor(model)
	if err == nil && version != "" && version != p.Version {
		err = problem{http.StatusNotFound, fmt.Sprintf("model %q has no version %q: only the newest is kept, which is %q now", p.Model, version, p.Version)}
	}
	return p, err
}

// ask has p answer to a question's rows.
func (s *Server) ask(ctx context.Context, p *Predictor, q question, rows *Rows, explain bool) (any, error) {
	n := len(p.Columns.all)
	if err := p.Columns.fits(rows.N); err != nil {
		return nil, err
	}
	if explain && rows.N*n > maxExplained {
		return nil, tooMuch("%d rows of %d features; at most %d values are explained at once", rows.N, n, maxExplained)
	}
	prob := make([]float64, rows.N)
	p.Predict(prob, rows)
	ones := 0
	for _, v := range prob {
		ones += classOf(v)
	}
	s.cfg.Observer.Predicted(p.Model, rows.N-ones, ones)
	if !explain {
		return q.answer(prob, nil), nil
	}
	e := &explanation{make([]float64, rows.N), make([]float64, rows.N*n)}
	for i := range rows.N {
		if ctx.Err() != nil {
			return nil, problem{http.StatusServiceUnavailable, "the request was given up"}
		}
		e.base[i] = p.Explain(e.contributions[i*n:(i+1)*n], rows, i)
	}
	return q.answer(prob, e), nil
}

// classOf returns the class that a probability of class 1 speaks for, as in the models' scores.
func classOf(prob float64) int {
	if prob >= 0.5 {
		return 1
	}
	return 0
}

// decode reads a JSON object. The error says where it is not one, or not the one that is wanted.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		hint := ""
		if at := wrong.Offset - 1; at >= 0 && at < int64(len(body)) && (body[at] == 'N' || body[at] == 'I') {
			hint = " (JSON has no NaN and no Infinity)"
		}
		return bad("the body is no JSON: byte %d: %v%s", wrong.Offset, wrong, hint)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := wrong.Field
		if what == "" {
			what = "the body"
		}
		return bad("%s is of JSON type %s, at byte %d; want %s", what, wrong.Value, wrong.Offset, wanted(wrong.Type.Kind()))
	}
	if err != nil {
		return bad("read the body: %v", err)
	}
	return nil
}

// wanted says which JSON fits a kind of value.
func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	case reflect.Int:
		return "a whole number"
	default:
		return "a text"
	}
}

// refuse answers with an error.
func (s *Server) refuse(w http.ResponseWriter, model string, err error) {
	p, known := errors.AsType[problem](err)
	switch {
	case known && p.code != http.StatusServiceUnavailable:
		writeError(w, p.code, p.text)
	case known:
		w.Header().Set("Retry-After", "1")
		writeError(w, p.code, p.text)
	case errors.Is(err, ErrNoState):
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("predictions of model %q: %v", model, err))
	case errors.Is(err, ErrNoModel):
		writeJSON(w, http.StatusNotFound, failure{Error: fmt.Sprintf("no model %q", model), Models: s.cfg.Models.Names()})
	default:
		s.cfg.Log.Error("predictions of a model", zap.String("model", model), zap.Error(err))
		writeError(w, http.StatusInternalServerError, fmt.Sprintf("predictions of model %q: %v", model, err))
	}
}

// quoted lists names for an error: not all, if there are many.
func quoted(names []string) string {
	const most = 10
	var b strings.Builder
	for i, name := range names {
		if i == most {
			fmt.Fprintf(&b, ", and %d more", len(names)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(name))
	}
	return b.String()
}
