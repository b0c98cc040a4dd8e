package serve

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
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

func (q *v1Question) rows() (*Rows, error) {
	if q.Instances.err != nil {
		return nil, q.Instances.err
	}
	if q.Instances.rows.N == 0 {
		return nil, bad("no instances; want a list of rows: lists of %d values, or objects with a value for each feature", len(q.p.Columns.all))
	}
	return &q.Instances.rows, nil
}

func (q *v1Question) answer(prob []float64, e *explanation) any {
	a := v1Answer{Predictions: prob, Model: q.p.Model, Version: q.p.Version}
	if e != nil {
		names := q.p.Columns.names
		n := len(names)
		for i, base := range e.base {
			a.Explanations = append(a.Explanations, v1Explanation{base, contributions{names, e.contributions[i*n : (i+1)*n]}})
		}
	}
	return a
}

// instances are the rows of a request: each a list of values, an object with a value for each feature, or just a value where
// the model has one feature. Null stands for a missing value.
type instances struct {
	rows Rows
	err  error

	p     *Predictor
	given []bool // features that the object in hand has given
}

// UnmarshalJSON implements [json.Unmarshaler].
func (in *instances) UnmarshalJSON(text []byte) error {
	in.rows = Rows{}
	if in.p.Columns.numbers > 0 {
		in.rows.X = room(text)
	}
	in.err = in.read(&cursor{text: text})
	return nil
}

func (in *instances) read(c *cursor) error {
	if c.peek() != '[' {
		return bad("instances is %s; want a list of rows", c.what())
	}
	for i := range c.list() {
		var err error
		switch c.peek() {
		case '[':
			err = in.list(c, i)
		case '{':
			err = in.object(c, i)
		default:
			err = in.bare(c, i)
		}
		if err != nil {
			return err
		}
		in.rows.N++
	}
	return nil
}

func (in *instances) list(c *cursor, i int) error {
	columns, got := in.p.Columns.all, 0
	for j := range c.list() {
		column := &surplus
		if j < len(columns) {
			column = &columns[j]
		}
		v, ok := column.read(c)
		if !ok {
			return bad("instances[%d][%d] is %s; want %s", i, j, c.what(), column.wanted())
		}
		in.append(column, v)
		got++
	}
	if got != len(columns) {
		return bad("instances[%d] has %d values; model %q takes %d", i, got, in.p.Model, len(columns))
	}
	return nil
}

// surplus is a column that the model does not have.
var surplus = Column{}

// append appends the next value of the row in hand.
func (in *instances) append(column *Column, v value) {
	if column.Category != nil {
		in.rows.Hashes = append(in.rows.Hashes, v.hash)
		return
	}
	in.rows.Missing = in.rows.Missing || v.number != v.number
	in.rows.X = append(in.rows.X, v.number)
}

func (in *instances) object(c *cursor, i int) error {
	columns := in.p.Columns
	if err := columns.fits(in.rows.N + 1); err != nil {
		return err
	}
	if in.given == nil {
		in.given = make([]bool, len(columns.all))
	}
	clear(in.given)
	x := len(in.rows.X)
	in.rows.add(1, columns)
	in.rows.N-- // read counts
	if err := in.fields(c, i, nil); err != nil {
		return err
	}
	if lacking := columns.lacking(in.given); len(lacking) > 0 {
		return bad("instances[%d] lacks %s", i, quoted(lacking))
	}
	in.rows.Missing = in.rows.Missing || slices.ContainsFunc(in.rows.X[x:], math.IsNaN)
	return nil
}

// maxPath bounds the names of fields in objects within objects.
const maxPath = 4 << 10

// fields reads an object. The fields of one within it have its name, a dot, and their own.
func (in *instances) fields(c *cursor, i int, within []byte) error {
	for range c.object() {
		if err := in.field(c, i, dotted(within, c.key())); err != nil {
			return err
		}
	}
	return nil
}

// items reads a list within an object: each item is called by the list's name, a dot, and its number.
func (in *instances) items(c *cursor, i int, within []byte) error {
	for j := range c.list() {
		if err := in.field(c, i, dotted(within, strconv.AppendInt(nil, int64(j), 10))); err != nil {
			return err
		}
	}
	return nil
}

// dotted returns the name of a field within another one; nil stands for none.
func dotted(within, name []byte) []byte {
	if within == nil {
		return name
	}
	return slices.Concat(within, []byte{'.'}, name)
}

// field reads the value of a field.
func (in *instances) field(c *cursor, i int, name []byte) error {
	columns := in.p.Columns
	at, ok := columns.at[string(name)]
	switch {
	case !ok && c.peek() == '{' && len(name) <= maxPath:
		return in.fields(c, i, name)
	case !ok && c.peek() == '[' && len(name) <= maxPath:
		return in.items(c, i, name)
	case !ok:
		return bad("instances[%d] has %.100q, which is no feature; the features are %s", i, name, quoted(columns.names))
	case in.given[at]:
		return bad("instances[%d] has %q twice", i, name)
	}
	in.given[at] = true
	column := &columns.all[at]
	v, ok := column.read(c)
	if !ok {
		return bad("instances[%d][%q] is %s; want %s", i, name, c.what(), column.wanted())
	}
	in.rows.set(columns, in.rows.N, at, v)
	return nil
}

func (in *instances) bare(c *cursor, i int) error {
	columns := in.p.Columns.all
	if len(columns) == 1 {
		if v, ok := columns[0].read(c); ok {
			in.append(&columns[0], v)
			return nil
		}
	}
	return bad("instances[%d] is %s; want a list of %d values, or an object", i, c.what(), len(columns))
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
