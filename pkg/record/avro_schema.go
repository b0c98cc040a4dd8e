package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// avroKind is a type of Avro's.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroFixed
	avroEnum
	avroRecord
	avroArray
	avroMap
	avroUnion
	avroKinds
)

var avroKindNames = [avroKinds]string{
	"null", "boolean", "int", "long", "float", "double", "bytes", "string", "fixed", "enum", "record", "array", "map", "union",
}

func (k avroKind) String() string { return avroKindNames[k] }

// avroType is a type of a schema. Records may contain themselves.
type avroType struct {
	kind    avroKind
	logical avroLogical
	scale   int         // of a decimal
	size    int         // bytes of a fixed
	symbols [][]byte    // of an enum
	fields  []avroField // of a record
	passed  []*avroType // what to skip to pass over a record: its fields, those of fixed width together
	of      []*avroType // a union's branches; or what is in an array, or the values of a map

	// width is how many bytes each value has; varies: not all as many.
	width int
}

type avroField struct {
	name string
	typ  *avroType
}

// avroLogical is what a value means, as far as it is no matter of course.
type avroLogical uint8

const (
	noLogical avroLogical = iota
	avroDecimal
	avroUUID
)

const varies = -1

// Bounds of how deep the types of a schema, and the values of types that contain themselves, are nested.
const (
	maxTypeDepth  = 1000
	maxValueDepth = 10_000
)

// parseAvro reads a schema, after those that it refers to.
func parseAvro(def *Definition) (*avroType, error) {
	p := avroParser{named: make(map[string]*avroType)}
	for i, text := range def.References {
		if _, err := p.parse(text); err != nil {
			return nil, fmt.Errorf("reference %d of %d: %w", i+1, len(def.References), err)
		}
	}
	return p.parse(def.Text)
}

// avroParser knows the named types that were defined so far.
type avroParser struct {
	named map[string]*avroType
	depth int
}

func (p *avroParser) parse(text string) (*avroType, error) {
	var schema any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		return nil, err
	}
	t, err := p.typ(schema, "")
	if err != nil {
		return nil, err
	}
	return t, nil
}

// typ reads a type inside of a namespace.
func (p *avroParser) typ(schema any, space string) (*avroType, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxTypeDepth {
		return nil, fmt.Errorf("more than %d types are nested", maxTypeDepth)
	}
	switch s := schema.(type) {
	case string:
		return p.lookUp(s, space)
	case []any:
		return p.union(s, space)
	case map[string]any:
		return p.object(s, space)
	}
	return nil, fmt.Errorf("a type is %T, neither text nor a list nor an object", schema)
}

// primitives are the types without parts, with the size of those that have one.
var primitives = map[string]avroType{
	"null": {kind: avroNull}, "boolean": {kind: avroBoolean, width: 1}, "int": {kind: avroInt, width: varies}, "long": {kind: avroLong, width: varies},
	"float": {kind: avroFloat, width: 4}, "double": {kind: avroDouble, width: 8}, "bytes": {kind: avroBytes, width: varies}, "string": {kind: avroString, width: varies},
}

// lookUp returns the type of a name.
func (p *avroParser) lookUp(name, space string) (*avroType, error) {
	if t, ok := primitives[name]; ok {
		return &t, nil
	}
	if t, ok := p.named[fullName(name, space)]; ok {
		return t, nil
	}
	if t, ok := p.named[name]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("type %q is not known", name)
}

// fullName returns the name of a type with its namespace.
func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

func (p *avroParser) union(branches []any, space string) (*avroType, error) {
	if len(branches) == 0 {
		return nil, errors.New("a union is empty")
	}
	t := &avroType{kind: avroUnion, width: varies}
	for _, b := range branches {
		branch, err := p.typ(b, space)
		if err != nil {
			return nil, err
		}
		if branch.kind == avroUnion {
			return nil, errors.New("a union is in a union")
		}
		t.of = append(t.of, branch)
	}
	return t, nil
}

// object reads a type that is written as a JSON object.
func (p *avroParser) object(s map[string]any, space string) (*avroType, error) {
	kind, ok := s["type"].(string)
	if !ok {
		if s["type"] == nil {
			return nil, errors.New("an object has no type")
		}
		return p.typ(s["type"], space) // {"type": {…}}
	}
	switch kind {
	case "record", "error", "enum", "fixed":
		return p.define(kind, s, space)
	case "array":
		return p.container(avroArray, s["items"], space)
	case "map":
		return p.container(avroMap, s["values"], space)
	}
	t, err := p.lookUp(kind, space)
	if err != nil {
		return nil, err
	}
	if t.kind == avroBytes || t.kind == avroString {
		t.annotate(s)
	}
	return t, nil
}

// annotate reads what a type means. What does not fit is ignored, as Avro has it.
func (t *avroType) annotate(s map[string]any) {
	switch s["logicalType"] {
	case "decimal":
		precision, _ := s["precision"].(float64)
		scale, _ := s["scale"].(float64)
		if (t.kind == avroBytes || t.kind == avroFixed) && precision >= 1 && scale >= 0 && scale <= precision && scale < 1e6 {
			t.logical, t.scale = avroDecimal, int(scale)
		}
	case "uuid":
		if t.kind == avroString || t.kind == avroFixed && t.size == 16 {
			t.logical = avroUUID
		}
	}
}

func (p *avroParser) container(kind avroKind, inside any, space string) (*avroType, error) {
	t, err := p.typ(inside, space)
	if err != nil {
		return nil, fmt.Errorf("in a type %v: %w", kind, err)
	}
	return &avroType{kind: kind, of: []*avroType{t}, width: varies}, nil
}

// define reads the definition of a type with a name.
func (p *avroParser) define(kind string, s map[string]any, space string) (*avroType, error) {
	name, _ := s["name"].(string)
	if name == "" {
		return nil, fmt.Errorf("a type %s has no name", kind)
	}
	if own, ok := s["namespace"].(string); ok {
		space = own
	}
	full := fullName(name, space)
	if dot := strings.LastIndexByte(full, '.'); dot >= 0 {
		space = full[:dot]
	}
	if _, ok := primitives[full]; ok || p.named[full] != nil {
		return nil, fmt.Errorf("type %q is defined twice", full)
	}
	t := &avroType{width: varies}
	p.named[full] = t
	var err error
	switch kind {
	case "enum":
		t.kind = avroEnum
		err = t.enum(s["symbols"])
	case "fixed":
		t.kind = avroFixed
		size, ok := s["size"].(float64)
		if !ok || size < 0 || size != float64(int32(size)) {
			err = fmt.Errorf("a size of %v", s["size"])
		}
		t.size, t.width = int(size), int(size)
		t.annotate(s)
	default:
		t.kind = avroRecord
		err = p.fields(t, s["fields"], space)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", kind, full, err)
	}
	return t, nil
}

func (t *avroType) enum(symbols any) error {
	list, _ := symbols.([]any)
	for _, s := range list {
		symbol, ok := s.(string)
		if !ok {
			return fmt.Errorf("a symbol is %v", s)
		}
		t.symbols = append(t.symbols, []byte(symbol))
	}
	if len(t.symbols) == 0 {
		return errors.New("no symbols")
	}
	return nil
}

// fields reads the fields of a record.
func (p *avroParser) fields(t *avroType, fields any, space string) error {
	list, ok := fields.([]any)
	if !ok {
		return errors.New("no list of fields")
	}
	names := make(map[string]bool, len(list))
	width := 0
	for i, f := range list {
		field, _ := f.(map[string]any)
		name, _ := field["name"].(string)
		switch {
		case name == "" || strings.Contains(name, ".") || '0' <= name[0] && name[0] <= '9':
			return fmt.Errorf("field %d has no name, or %q, which is none", i, name)
		case names[name]:
			return fmt.Errorf("two fields %q", name)
		}
		names[name] = true
		typ, err := p.typ(field["type"], space)
		if err != nil {
			return fmt.Errorf("field %q: %w", name, err)
		}
		t.fields = append(t.fields, avroField{name, typ})
		t.pass(typ)
		if width != varies {
			width += typ.width
			if typ.width == varies || width > 1<<30 {
				width = varies
			}
		}
	}
	t.width = width
	return nil
}

// pass notes that passing over a record takes passing over a field of a type.
func (t *avroType) pass(field *avroType) {
	last := len(t.passed) - 1
	switch {
	case field.width == 0:
	case field.width == varies:
		t.passed = append(t.passed, field)
	case last >= 0 && t.passed[last].width > 0 && t.passed[last].width < 1<<30:
		t.passed[last].width += field.width
	default:
		t.passed = append(t.passed, &avroType{kind: avroFixed, width: field.width})
	}
}
