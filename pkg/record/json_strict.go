package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonField is a value of a record that can be a column. Its value is a json.Number, a bool, a string, or nil.
type jsonField struct {
	name  string
	value any
	role  jsonRole
	event int
}

// jsonStep is one step of the path that a record takes through the tree.
type jsonStep struct {
	key   string
	event int
	field int // -1: it is none
}

// jsonRecord is an object as strict reads it.
type jsonRecord struct {
	*json.Decoder
	fields []jsonField
	steps  []jsonStep
	names  map[string]bool // of all fields, those included that are no columns
}

// strict decodes any JSON value by the standard library, with the same result as usual wherever that has one. Of several faults text
// that is not UTF-8 comes first, then what is no JSON, then the key, then names that are there twice, and then the first from the
// left; that there is no label comes last.
func (d *jsonDecoder) strict(dst *Block, key, b []byte) (shape *Shape, label float64, bad *Bad) {
	if !utf8.Valid(b) {
		return nil, 0, notUTF8JSON(b)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(b, &whole); err != nil {
		return nil, 0, notJSON(err)
	}
	if jsonDeeper(b) {
		return nil, 0, &Bad{Reason: Decode, Detail: fmt.Sprintf("objects and arrays are more than %d deep", jsonDepth)}
	}
	whole = bytes.Trim(whole, " \t\r\n")
	switch {
	case whole[0] == '[' && d.lists == nil:
		return nil, 0, d.noLists
	case whole[0] != '[' && whole[0] != '{':
		return nil, 0, &Bad{Reason: Decode, Detail: quoted(whole) + " is neither a JSON object nor an array"}
	}
	if d.keyed {
		if label, bad = keyLabel(key, d.labels); bad != nil {
			return nil, 0, bad
		}
	}
	tokens := json.NewDecoder(bytes.NewReader(b))
	tokens.UseNumber()
	_, _ = tokens.Token() // that it is JSON was seen above
	if whole[0] == '[' {
		label, bad = d.strictArray(dst, tokens, label)
		return d.lists.shape, label, bad
	}
	r := &jsonRecord{Decoder: tokens, names: make(map[string]bool)}
	if bad = r.object(""); bad != nil {
		return nil, 0, bad
	}
	return d.strictRow(dst, r, label)
}

// object reads an object from behind its brace. Its fields' names begin with prefix.
func (r *jsonRecord) object(prefix string) *Bad {
	for r.More() {
		token, _ := r.Token()
		key := token.(string)
		name := prefix + key
		if bad := r.add(name); bad != nil {
			return bad
		}
		token, _ = r.Token()
		switch token {
		case json.Delim('{'):
			r.steps = append(r.steps, jsonStep{key, jsonObject, -1})
			if bad := r.object(name + "."); bad != nil {
				return bad
			}
		case json.Delim('['):
			if bad := r.array(key, name); bad != nil {
				return bad
			}
		default:
			r.steps = append(r.steps, jsonStep{key, jsonNumber, len(r.fields)})
			r.fields = append(r.fields, jsonField{name: name, value: token})
		}
	}
	_, _ = r.Token()
	r.steps = append(r.steps, jsonStep{event: jsonClose, field: -1})
	return nil
}

// array reads an array from behind its bracket.
func (r *jsonRecord) array(key, name string) *Bad {
	var items []any
	numbers := true
	for depth := 1; depth > 0; {
		token, _ := r.Token()
		switch token := token.(type) {
		case json.Delim:
			if token == '[' || token == '{' {
				depth++
				numbers = false
			} else {
				depth--
			}
		case json.Number, nil:
			items = append(items, token)
		default:
			numbers = false
		}
	}
	if !numbers || len(items) == 0 {
		r.steps = append(r.steps, jsonStep{key, jsonPassed, -1})
		return nil
	}
	r.steps = append(r.steps, jsonStep{key, jsonList, -1})
	for i, item := range items {
		name := name + "." + strconv.Itoa(i)
		if bad := r.add(name); bad != nil {
			return bad
		}
		r.steps = append(r.steps, jsonStep{"", jsonNumber, len(r.fields)})
		r.fields = append(r.fields, jsonField{name: name, value: item})
	}
	r.steps = append(r.steps, jsonStep{event: jsonClose, field: -1})
	return nil
}

// add notes a field's name.
func (r *jsonRecord) add(name string) *Bad {
	if r.names[name] {
		return &Bad{Reason: Decode, Detail: fmt.Sprintf("field %s is there twice", quoted([]byte(name)))}
	}
	r.names[name] = true
	return nil
}

// strictRow appends the row of an object to dst. Where the key is the label, that is label.
func (d *jsonDecoder) strictRow(dst *Block, r *jsonRecord, keyLabel float64) (shape *Shape, label float64, bad *Bad) {
	names := make([]string, len(r.fields))
	for i := range r.fields {
		names[i] = r.fields[i].name
	}
	label = keyLabel
	labelAt := d.labelAmong(names)
	var columns []Column
	for i := range r.fields {
		f := &r.fields[i]
		if i == labelAt {
			f.role = jsonLabel
			if label, bad = d.strictLabel(f); bad != nil {
				return nil, 0, bad
			}
			continue
		}
		feature, category := d.use(f.name)
		switch {
		case !feature:
			continue
		case category:
			f.role = jsonCategory
		default:
			f.role = jsonFeature
		}
		kind, bad := d.strictValue(dst, f)
		if bad != nil {
			return nil, 0, bad
		}
		columns = append(columns, Column{Name: f.name, Kind: kind})
	}
	switch {
	case labelAt < 0 && !d.keyed:
		return nil, 0, d.noLabel()
	case len(columns) == 0:
		return nil, 0, &Bad{Reason: Arity, Detail: "no field is a feature"}
	}
	shape = d.shapeOf(columns)
	d.grow(r, shape)
	return shape, label, nil
}

// strictLabel returns the label that a field holds.
func (d *jsonDecoder) strictLabel(f *jsonField) (label float64, bad *Bad) {
	label, found, ok := anyLabel(d.labels, f.value)
	if !ok {
		return 0, f.bad(Label, found, "is "+d.wanted())
	}
	return label, nil
}

// anyLabel returns the label that a value means, and the value as it was found.
func anyLabel(l *labels, value any) (label float64, found string, ok bool) {
	switch v := value.(type) {
	case json.Number:
		number, _, _ := parseFloat([]byte(v), 0)
		label, ok = l.number(number)
		return label, string(v), ok && math.Abs(number) <= math.MaxFloat64
	case bool:
		label, ok = l.boolean(v)
		return label, strconv.FormatBool(v), ok
	case string:
		label, ok = l.text(bytes.TrimSpace([]byte(v)))
		return label, v, ok
	}
	return 0, "null", false
}

// strictValue appends the value of a feature to dst.
func (d *jsonDecoder) strictValue(dst *Block, f *jsonField) (Kind, *Bad) {
	var number float64
	switch v := f.value.(type) {
	case nil:
		f.event = jsonNull
		return Null, nil
	case bool:
		if v {
			number = 1
		}
	case json.Number:
		if number, _, _ = parseFloat([]byte(v), 0); math.Abs(number) > math.MaxFloat64 {
			return 0, f.bad(NonFinite, string(v), "is not finite")
		}
	case string:
		trimmed := bytes.TrimSpace([]byte(v))
		_, asked := d.features[f.name]
		switch {
		case len(trimmed) == 0:
			f.event = jsonNull
			return Null, nil
		case f.role == jsonCategory || !wholeNumber(trimmed):
			f.event = jsonText
			dst.Hashes = append(dst.Hashes, NewHasher(f.name).Text([]byte(v)))
			return Categorical, nil
		case !asked:
			return 0, f.bad(Number, v, "is a number in quotes: in LEARNER_FEATURES the field's name would make it a number, and with a # behind it a category")
		}
		if number, _, _ = parseFloat(trimmed, 0); math.Abs(number) > math.MaxFloat64 {
			return 0, f.bad(NonFinite, v, "is not finite")
		}
	}
	if f.role == jsonCategory {
		f.event = jsonText
		dst.Hashes = append(dst.Hashes, NewHasher(f.name).Number(number))
		return Categorical, nil
	}
	f.event = jsonNumber
	dst.X = append(dst.X, number)
	return Numeric, nil
}

// bad returns the error for what was found in a field.
func (f *jsonField) bad(reason Reason, found, fault string) *Bad {
	return &Bad{Reason: reason, Detail: fmt.Sprintf("field %s: %s %s", quoted([]byte(f.name)), quoted([]byte(found)), fault)}
}

// strictArray appends the row of an array to dst, read from behind its bracket. Where the key is the label, that is label.
func (d *jsonDecoder) strictArray(dst *Block, tokens *json.Decoder, keyLabel float64) (label float64, bad *Bad) {
	c := d.lists
	label = keyLabel
	start, hashes := len(dst.X), len(dst.Hashes)
	dst.X = append(dst.X, c.selected...)
	dst.Hashes = append(dst.Hashes, c.missing...)
	col := 0
	for ; tokens.More(); col++ {
		var whole json.RawMessage
		_ = tokens.Decode(&whole)
		whole = bytes.TrimSpace(whole)
		use := c.of(col)
		if use == skipped {
			continue
		}
		if whole[0] == '[' || whole[0] == '{' {
			reason := Number
			if use == labelled {
				reason = Label
			}
			return 0, c.bad(reason, col, whole, "is not a number")
		}
		item := json.NewDecoder(bytes.NewReader(whole))
		item.UseNumber()
		value, _ := item.Token()
		if use == labelled {
			var ok bool
			var found string
			if label, found, ok = anyLabel(d.labels, value); !ok {
				return 0, c.bad(Label, col, []byte(found), "is "+c.wanted())
			}
			continue
		}
		v, text := notANumber, false
		switch value := value.(type) {
		case bool:
			v = 0
			if value {
				v = 1
			}
		case json.Number:
			if v, _, _ = parseFloat([]byte(value), 0); math.Abs(v) > math.MaxFloat64 {
				return 0, c.bad(NonFinite, col, whole, "is not finite")
			}
		case string:
			trimmed := bytes.TrimSpace([]byte(value))
			if use <= categorical {
				text = true
				if len(trimmed) > 0 {
					place := int(categorical - use)
					dst.Hashes[hashes+place] = c.hashers[place].Text([]byte(value))
				}
			} else if v, bad = c.textNumber(col, trimmed); bad != nil {
				return 0, bad
			}
		}
		switch {
		case text || use <= categorical && v != v:
		case use <= categorical:
			place := int(categorical - use)
			dst.Hashes[hashes+place] = c.hashers[place].Number(v)
		default:
			dst.Missing = dst.Missing || v != v
			c.put(dst, start, use, v)
		}
	}
	return label, c.check(col, len(dst.X)-start+len(c.missing))
}

// shapeOf returns the shape of columns.
func (d *jsonDecoder) shapeOf(columns []Column) *Shape {
	var key []byte
	for _, c := range columns {
		key = append(strconv.AppendInt(key, int64(len(c.Name)), 10), byte('a'+c.Kind))
		key = append(key, c.Name...)
	}
	shape := d.shapes[string(key)]
	if shape == nil {
		shape = &Shape{Columns: columns, Origin: "JSON"}
		if size := 2*len(key) + 64*len(columns) + 256; size <= d.room {
			d.room -= size
			d.shapes[string(key)] = shape
		}
	}
	return shape
}

// grow makes the path of a record in the tree, as far as there is room: then usual knows the way.
func (d *jsonDecoder) grow(r *jsonRecord, shape *Shape) {
	n := d.root
	for _, step := range r.steps {
		if step.event == jsonClose {
			if n.depth == 1 {
				n.shape = shape
				return
			}
			// What a list or an object ends in lies a level higher, in an object.
			if n = d.branch(&n.closed, n.depth-1, false); n == nil {
				return
			}
			continue
		}
		event, depth, list := step.event, n.depth, n.list
		var f *jsonField
		switch {
		case step.field >= 0:
			f = &r.fields[step.field]
			event = f.event
		case event == jsonObject:
			depth++
		case event == jsonList:
			depth, list = depth+1, true
		}
		e := d.edge(n, step.key, f)
		if e == nil {
			return
		}
		if n = d.branch(&e.next[event], depth, list); n == nil {
			return
		}
	}
}

// jsonNodeSize is about what a node and an edge to it take, without the key.
const jsonNodeSize = 256

// branch returns the node at a place of the tree, a new one where there is none; nil: there is no room.
func (d *jsonDecoder) branch(at **jsonNode, depth int32, list bool) *jsonNode {
	if *at == nil && d.room >= jsonNodeSize {
		d.room -= jsonNodeSize
		*at = &jsonNode{depth: depth, list: list}
	}
	return *at
}

// edge returns the edge of a key from a node, a new one where there is none; nil: there can be none. f is its field, or nil: it is
// that of an object or of an array.
func (d *jsonDecoder) edge(n *jsonNode, key string, f *jsonField) *jsonEdge {
	e := n.likely
	if e != nil && e.key != key {
		e = n.others[key]
	}
	if e != nil {
		// What is no label in one record may be that of another.
		switch {
		case f == nil || e.role == f.role && e.hasher != 0:
			return e
		case e.hasher == 0:
			d.name(e, f)
			return e
		}
		return nil
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' }) || d.room < jsonNodeSize+4*len(key) {
		return nil
	}
	d.room -= jsonNodeSize + 4*len(key)
	e = &jsonEdge{key: key, whole: `"` + key + `":`}
	if f != nil {
		d.name(e, f)
	}
	if n.likely != nil {
		if n.others == nil {
			n.others = map[string]*jsonEdge{n.likely.key: n.likely}
		}
		n.others[key] = e
	}
	n.likely = e
	return e
}

// name says what the edge of a field is for.
func (d *jsonDecoder) name(e *jsonEdge, f *jsonField) {
	e.role, e.hasher = f.role, NewHasher(f.name)
	_, e.asked = d.features[f.name]
}

// jsonDeeper reports whether valid JSON is deeper than jsonDepth.
func jsonDeeper(b []byte) bool {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i, _ = skipText(b, i+1)
			i--
		case '{', '[':
			if depth++; depth > jsonDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// notJSON returns the error for text that is no JSON.
func notJSON(err error) *Bad {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &Bad{Reason: Decode, Detail: fmt.Sprintf("byte %d: %v", syntax.Offset, syntax)}
	}
	return &Bad{Reason: Decode, Detail: err.Error()}
}

// notUTF8JSON returns the error for JSON that is not UTF-8.
func notUTF8JSON(b []byte) *Bad {
	i := 0
	for i < len(b) {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return &Bad{Reason: UTF8, Detail: fmt.Sprintf("byte %d is not UTF-8: %s", i, quoted(b[i:]))}
}
