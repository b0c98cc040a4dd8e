package record

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// avroPlans are the plans by which values of all schemas are read for one selection. Any goroutine may use them.
type avroPlans struct {
	*selection
	schemas Schemas
	labelOf [2]avroLabel // of 0 and 1

	mu   sync.Mutex
	made map[*Definition]*avroPlan
}

// avroLabel is the label that a number means, if it means one.
type avroLabel struct {
	label float64
	ok    bool
}

func newAvroPlans(s *selection, schemas Schemas) *avroPlans {
	p := &avroPlans{selection: s, schemas: schemas, made: make(map[*Definition]*avroPlan)}
	for v := range p.labelOf {
		p.labelOf[v].label, p.labelOf[v].ok = s.number(float64(v))
	}
	return p
}

// plan returns the plan of a schema. The error is that of Schemas.
func (p *avroPlans) plan(id schemaID) (*avroPlan, error) {
	if p.schemas == nil {
		return nil, &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %v: no schema registry is named that would know it", id)}
	}
	def, err := p.schemas.Schema(id.String())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	made, ok := p.made[def]
	if !ok {
		made = compileAvro(p.selection, def)
		p.made[def] = made
	}
	return made, nil
}

// avroPlan says how values of one schema become rows. But for its shapes it is immutable.
type avroPlan struct {
	bad     *Bad // why none can
	steps   []avroStep
	columns []avroColumn
	shape   *Shape // of all rows, where there are no arrays
	origin  string

	mu     sync.Mutex
	shapes map[string]*Shape // by the lengths of the arrays: see shapeByLengths
	named  int               // columns in shapes
}

// avroColumn is a column, or all those of an array.
type avroColumn struct {
	Column
	items *avroItems // nil: one column
}

// avroItems says which items of an array are columns.
type avroItems struct {
	feature, category bool         // those that nobody asked for by their numbers
	asked             map[int]bool // whether an item is a category, by number
}

// use says what an item is for.
func (a *avroItems) use(i int) (feature, category bool) {
	if category, ok := a.asked[i]; ok {
		return true, category
	}
	return a.feature, a.category
}

// avroDo is what a step does.
type avroDo uint8

const (
	skipBytes avroDo = iota
	skipValue
	takeDoubles // which are finite numbers, one after the other
	takeFloats
	takeNumber
	takeCategory
	takeLabel
	takeItems    // of an array
	takeOptional // a record, or null
)

// avroStep reads or skips a piece of a value.
type avroStep struct {
	do    avroDo
	n     int       // bytes, doubles, or floats
	names []string  // of the field, or of one after the other
	typ   *avroType // of the value; of the items of an array
	hash  Hasher    // of a category

	items    *avroItems
	branches int // of the union that an array or an optional record is in; 0: none
	null     int // which of them is null

	below                       []avroStep // of an optional record
	numbers, categories, arrays int        // how many of each are missing where it is null
}

// avroLeaf is a field that is no record, or an optional record, by all its names.
type avroLeaf struct {
	name string
	typ  *avroType
	kind Kind
	is   fieldIs
	of   *avroType // the record or array in a union

	branches, null int
	below          []*avroLeaf // of an optional record
}

type fieldIs uint8

const (
	isOther  fieldIs = iota // nothing to learn from
	isColumn                // a number, a text, or null
	isItems                 // an array of numbers
	isRecord                // an optional one
)

// maxAvroFields bounds the fields of a schema, those of nested records counted wherever they stand.
const maxAvroFields = 1 << 16

// compileAvro makes the plan of a schema.
func compileAvro(s *selection, def *Definition) *avroPlan {
	plan := &avroPlan{origin: "Avro schema " + def.ID, shapes: make(map[string]*Shape)}
	refuse := func(text string, args ...any) *avroPlan {
		plan.bad = &Bad{Reason: Schema, Detail: fmt.Sprintf("schema %s ", def.ID) + fmt.Sprintf(text, args...)}
		return plan
	}
	if def.Type != "AVRO" {
		return refuse("is of type %s, not AVRO", cmp.Or(def.Type, "nothing"))
	}
	root, err := parseAvro(def)
	if err != nil {
		return refuse("cannot be used: %v", err)
	}
	if root.kind != avroRecord {
		return refuse("is a type %v where a record with named fields belongs", root.kind)
	}
	c := avroCompiler{selection: s, plan: plan}
	fields := c.fields(root, "", nil)
	if c.met > maxAvroFields {
		return refuse("has more than %d fields", maxAvroFields)
	}
	if plan.bad = c.findLabel(fields); plan.bad != nil {
		return plan
	}
	plan.steps = c.steps(fields)
	if !slices.ContainsFunc(plan.columns, func(col avroColumn) bool { return col.items != nil || col.Kind != Null }) {
		return refuse("has no field to learn from")
	}
	if !slices.ContainsFunc(plan.columns, func(col avroColumn) bool { return col.items != nil }) {
		plan.shape = plan.makeShape(nil)
	}
	return plan
}

type avroCompiler struct {
	*selection
	plan  *avroPlan
	label *avroLeaf
	met   int // fields
}

// fields returns the fields of a record in the order of its bytes. Records in it are taken apart, but for those that are in
// open, around it.
func (c *avroCompiler) fields(record *avroType, prefix string, open []*avroType) []*avroLeaf {
	open = append(open, record)
	var all []*avroLeaf
	for _, f := range record.fields {
		if c.met++; c.met > maxAvroFields {
			return nil
		}
		made := &avroLeaf{name: prefix + f.name, typ: f.typ}
		var ok bool
		if made.kind, ok = f.typ.column(); ok {
			made.is = isColumn
			all = append(all, made)
			continue
		}
		made.of, made.branches, made.null = f.typ.alone()
		switch {
		case made.of.kind == avroRecord && !slices.Contains(open, made.of):
			below := c.fields(made.of, made.name+".", open)
			if made.branches == 0 {
				all = append(all, below...)
				continue
			}
			made.is, made.below = isRecord, below
		case made.of.kind == avroArray:
			if kind, ok := made.of.of[0].column(); ok && kind == Numeric {
				made.is = isItems
			}
		}
		all = append(all, made)
	}
	return all
}

// column returns the kind of column that values of a type are; not ok: none.
func (t *avroType) column() (kind Kind, ok bool) {
	switch t.kind {
	case avroNull:
		return Null, true
	case avroBoolean, avroInt, avroLong, avroFloat, avroDouble:
		return Numeric, true
	case avroString, avroEnum:
		return Categorical, true
	case avroBytes, avroFixed:
		switch t.logical {
		case avroDecimal:
			return Numeric, true
		case avroUUID:
			return Categorical, true
		}
	case avroUnion:
		nulls := 0
		for _, branch := range t.of {
			switch k, is := branch.column(); {
			case is && k == Null:
				nulls++
			case is && (!ok || k == Categorical):
				kind, ok = k, true
			}
		}
		if nulls == len(t.of) {
			return Null, true
		}
		return kind, ok
	}
	return 0, false
}

// alone returns the only type besides null of a union, how many branches that has, and which is null; or -1: none. What is no
// union is alone.
func (t *avroType) alone() (only *avroType, branches, null int) {
	if t.kind != avroUnion {
		return t, 0, -1
	}
	null = -1
	for i, branch := range t.of {
		switch {
		case branch.kind == avroNull:
			null = i
		case only != nil:
			return t, 0, -1
		default:
			only = branch
		}
	}
	return only, len(t.of), null
}

// findLabel finds the field that is the label.
func (c *avroCompiler) findLabel(fields []*avroLeaf) *Bad {
	if c.keyed {
		return nil
	}
	var columns []*avroLeaf
	var names []string
	var other *avroLeaf
	var collect func(fields []*avroLeaf)
	collect = func(fields []*avroLeaf) {
		for _, f := range fields {
			switch {
			case f.is == isColumn:
				columns, names = append(columns, f), append(names, f.name)
			case f.name == c.selection.label:
				other = f
			}
			collect(f.below)
		}
	}
	collect(fields)
	i := c.labelAmong(names)
	switch {
	case i >= 0:
		c.label = columns[i]
		return nil
	case other != nil:
		return &Bad{Reason: Label, Detail: fmt.Sprintf("field %q is of type %v, which is no label", other.name, other.of.kind)}
	}
	return c.noLabel()
}

// steps returns how fields are read, and notes their columns.
func (c *avroCompiler) steps(fields []*avroLeaf) []avroStep {
	var steps []avroStep
	for _, f := range fields {
		step := avroStep{do: skipValue, n: 1, names: []string{f.name}, typ: f.typ}
		feature, category := c.use(f.name)
		switch {
		case f == c.label:
			step.do = takeLabel
		case f.is == isRecord:
			step = c.optional(f)
		case f.is == isItems:
			if items := c.items(f.name, feature, category); items != nil {
				step.do, step.items, step.typ, step.branches, step.null = takeItems, items, f.of.of[0], f.branches, f.null
				c.column(f.name, Null, items)
			}
		case f.is == isColumn && feature:
			step.do = skipValue
			kind := f.kind
			switch {
			case kind == Null:
			case kind == Categorical || category:
				kind, step.do, step.hash = Categorical, takeCategory, NewHasher(f.name)
			case f.typ.kind == avroDouble:
				step.do = takeDoubles
			case f.typ.kind == avroFloat:
				step.do = takeFloats
			default:
				step.do = takeNumber
			}
			c.column(f.name, kind, nil)
		}
		if step.do == skipValue && step.typ.width != varies {
			step.do, step.n = skipBytes, step.typ.width
		}
		steps = appendStep(steps, step)
	}
	return steps
}

// appendStep appends a step, or makes the last one longer by it.
func appendStep(steps []avroStep, step avroStep) []avroStep {
	if step.do == skipBytes && step.n == 0 {
		return steps
	}
	if n := len(steps); n > 0 && steps[n-1].do == step.do {
		switch last := &steps[n-1]; step.do {
		case skipBytes:
			if last.n <= 1<<30 {
				last.n += step.n
				return steps
			}
		case takeDoubles, takeFloats:
			last.n++
			last.names = append(last.names, step.names...)
			return steps
		}
	}
	return append(steps, step)
}

func (c *avroCompiler) column(name string, kind Kind, items *avroItems) {
	c.plan.columns = append(c.plan.columns, avroColumn{Column{name, kind}, items})
}

// optional returns the step of an optional record.
func (c *avroCompiler) optional(f *avroLeaf) avroStep {
	first := len(c.plan.columns)
	step := avroStep{do: takeOptional, names: []string{f.name}, typ: f.typ, branches: f.branches, null: f.null, below: c.steps(f.below)}
	if len(c.plan.columns) == first && (c.label == nil || !strings.HasPrefix(c.label.name, f.name+".")) {
		return avroStep{do: skipValue, names: step.names, typ: f.typ}
	}
	for _, col := range c.plan.columns[first:] {
		switch {
		case col.items != nil:
			step.arrays++
		case col.Kind == Numeric:
			step.numbers++
		case col.Kind == Categorical:
			step.categories++
		}
	}
	return step
}

// items says which items of an array are features; nil: none.
func (c *avroCompiler) items(name string, feature, category bool) *avroItems {
	items := &avroItems{feature: feature, category: category}
	for asked, category := range c.features {
		number, below := strings.CutPrefix(asked, name+".")
		if i, err := strconv.Atoi(number); below && err == nil && strconv.Itoa(i) == number && i >= 0 {
			if items.asked == nil {
				items.asked = make(map[int]bool)
			}
			items.asked[i] = category
		}
	}
	if !feature && items.asked == nil {
		return nil
	}
	return items
}

// maxShapeColumns bounds the columns in all the shapes that a plan keeps.
const maxShapeColumns = 1 << 18

// shapeOf returns the shape of rows whose arrays have those lengths. The key stands for them: see shapeByLengths.
func (p *avroPlan) shapeOf(lengths []int, key []byte) *Shape {
	p.mu.Lock()
	defer p.mu.Unlock()
	if shape := p.shapes[string(key)]; shape != nil {
		return shape
	}
	shape := p.makeShape(lengths)
	if p.named += len(shape.Columns) + 1; p.named > maxShapeColumns {
		clear(p.shapes)
		p.named = len(shape.Columns) + 1
	}
	p.shapes[string(key)] = shape
	return shape
}

func (p *avroPlan) makeShape(lengths []int) *Shape {
	shape := &Shape{Columns: make([]Column, 0, len(p.columns)), Origin: p.origin}
	for _, col := range p.columns {
		if col.items == nil {
			shape.Columns = append(shape.Columns, col.Column)
			continue
		}
		for i := range lengths[0] {
			switch feature, category := col.items.use(i); {
			case category:
				shape.Columns = append(shape.Columns, Column{itemName(col.Name, i), Categorical})
			case feature:
				shape.Columns = append(shape.Columns, Column{itemName(col.Name, i), Numeric})
			}
		}
		lengths = lengths[1:]
	}
	return shape
}

func itemName(name string, i int) string { return name + "." + strconv.Itoa(i) }
