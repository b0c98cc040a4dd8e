package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// v1Predict answers /v1/models/{name}:predict. No pattern of net/http ends in the middle of an element of a path.
func (s *Server) v1Predict(w http.ResponseWriter, r *http.Request) {
	model, ok := strings.CutSuffix(r.PathValue("name"), ":predict")
	if !ok {
		writeError(w, http.StatusNotFound, "no such path; predictions are at /v1/models/{name}:predict")
		return
	}
	s.predict(w, r, model, "", func(p *Predictor, _ bool) question { return &v1Question{p: p, Instances: instances{p: p}} })
}

// v1Question is the body of a request of the first protocol.
type v1Question struct {
	Instances instances `json:"instances"`

	p *Predictor
}

type v1Answer struct {
	Predictions  []float64       `json:"predictions"` // probabilities of class 1
	Explanations []v1Explanation `json:"explanations,omitempty"`
	Model        string          `json:"model_name"`
	Version      string          `json:"model_version"`
}

type v1Explanation struct {
	Base          float64       `json:"base"`
	Contributions contributions `json:"contributions"`
}

func (q *v1Question) rows() ([]float64, error) {
	if q.Instances.err != nil {
		return nil, bad("%v", q.Instances.err)
	}
	if len(q.Instances.x) == 0 {
		return nil, bad("no instances; want a list of rows: lists of %d numbers, or objects with a number for each feature", len(q.p.Features))
	}
	return q.Instances.x, nil
}

func (q *v1Question) answer(prob []float64, e *explanation) any {
	a := v1Answer{Predictions: prob, Model: q.p.Model, Version: q.p.Version}
	if e != nil {
		n := len(q.p.Features)
		for i, base := range e.base {
			a.Explanations = append(a.Explanations, v1Explanation{base, contributions{q.p.Features, e.contributions[i*n : (i+1)*n]}})
		}
	}
	return a
}

// instances are the rows of a request: each a list of numbers, an object with a number for each feature, or just a number
// where the model has one feature.
type instances struct {
	x   []float64
	err error

	p     *Predictor
	at    map[string]int // positions of features; nil: not needed so far
	given []bool         // features that the object in hand has given
}

// UnmarshalJSON implements [json.Unmarshaler].
func (in *instances) UnmarshalJSON(text []byte) error {
	in.x = room(text)
	in.err = in.read(&cursor{text: text})
	return nil
}

func (in *instances) read(c *cursor) error {
	if c.peek() != '[' {
		return fmt.Errorf("instances is %s; want a list of rows", c.what())
	}
	for i := range c.list() {
		var err error
		switch c.peek() {
		case '[':
			err = in.list(c, i)
		case '{':
			err = in.object(c, i)
		default:
			err = in.number(c, i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *instances) list(c *cursor, i int) error {
	before := len(in.x)
	for j := range c.list() {
		v, ok := c.number()
		if !ok {
			return fmt.Errorf("instances[%d][%d] is %s; want a number", i, j, c.what())
		}
		in.x = append(in.x, v)
	}
	if got := len(in.x) - before; got != len(in.p.Features) {
		return fmt.Errorf("instances[%d] has %d numbers; model %q takes %d", i, got, in.p.Model, len(in.p.Features))
	}
	return nil
}

func (in *instances) object(c *cursor, i int) error {
	if in.at == nil {
		in.at, in.given = in.p.positions(), make([]bool, len(in.p.Features))
	}
	clear(in.given)
	before := len(in.x)
	in.x = append(in.x, make([]float64, len(in.p.Features))...)
	for range c.object() {
		key := c.key()
		at, ok := in.at[string(key)]
		if !ok {
			return fmt.Errorf("instances[%d] has %.100q, which is no feature; the features are %s", i, key, quoted(in.p.Features))
		}
		if in.given[at] {
			return fmt.Errorf("instances[%d] has %q twice", i, key)
		}
		in.given[at] = true
		if in.x[before+at], ok = c.number(); !ok {
			return fmt.Errorf("instances[%d][%q] is %s; want a number", i, key, c.what())
		}
	}
	if missing := in.p.missing(in.given); len(missing) > 0 {
		return fmt.Errorf("instances[%d] lacks %s", i, quoted(missing))
	}
	return nil
}

func (in *instances) number(c *cursor, i int) error {
	if len(in.p.Features) == 1 {
		if v, ok := c.number(); ok {
			in.x = append(in.x, v)
			return nil
		}
	}
	return fmt.Errorf("instances[%d] is %s; want a list of %d numbers, or an object", i, c.what(), len(in.p.Features))
}

// contributions are what the features of a row contribute, by name, in the order of a row.
type contributions struct {
	features []string
	values   []float64
}

// MarshalJSON implements [json.Marshaler].
func (c contributions) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, name := range c.features {
		if i > 0 {
			text = append(text, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(c.values[i])
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, key...), ':'), value...)
	}
	return append(text, '}'), nil
}
