package record

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// MaxColumns is how many named columns a layout has at most. What comes beyond is left out.
const MaxColumns = 4096

// Layout says which columns a model learns from: the places of a row belong to names, whatever the order of a record. It is
// immutable; one that grows is replaced by another, in which the columns that it had keep their places.
type Layout struct {
	Columns []Column // in the order of first appearance; nil: numbers without names
	Width   int      // numbers in a row: the first has place 0
}

// Positional is the layout of rows of that many numbers without names.
func Positional(width int) *Layout { return &Layout{Width: width} }

// NewLayout returns the layout of named columns.
func NewLayout(columns []Column) *Layout { return (&Layout{}).with(columns) }

// Features returns how many columns there are.
func (l *Layout) Features() int {
	if l.Columns != nil {
		return len(l.Columns)
	}
	return l.Width
}

// Absent returns the hash that says that a column has no value. Columns without names are named by their numbers there.
func (l *Layout) Absent(column int) uint64 {
	name := strconv.Itoa(column)
	if l.Columns != nil {
		name = l.Columns[column].Name
	}
	return NewHasher(name).Missing()
}

// with returns the layout with more columns behind those that it has.
func (l *Layout) with(columns []Column) *Layout {
	next := &Layout{Columns: append(append([]Column{}, l.Columns...), columns...), Width: l.Width}
	for _, c := range columns {
		if c.Kind == Numeric {
			next.Width++
		}
	}
	return next
}

// Placer brings rows in the places of a layout. It is for one goroutine.
type Placer struct {
	layout *Layout
	slots  *Slots
	adds   bool     // unknown categories get numbers; else they are left out
	first  []string // columns that come first, in this order, where several are new

	known  map[string]int // columns of the layout
	places []int          // by column of the layout: the number's place; -1: a category
	absent []uint64       // by column, or by place where there are no names: the hash that says it is missing
	plans  map[*Shape]*plan
	last   *plan // of the shape that came last
	lately *Shape

	// Missing counts the rows without a value, by column of the layout, or by place where there are no names.
	Missing []uint64
}

// plan says how rows of a shape are placed.
type plan struct {
	bad  *Bad
	news []Column // that the layout does not have yet

	direct     bool    // the numbers are those of the layout, in its order
	numbers    []int32 // by number of the shape: its column in the layout; -1: left out
	categories []int32 // by category of the shape, likewise
	lacks      []int32 // columns of the layout that the shape lacks
}

// maxPlans bounds how many plans are kept.
const maxPlans = 1 << 12

// NewPlacer returns a placer of rows for a layout. Add says that categories that slots do not know get numbers there. Where
// several columns are new at once, those of first come first.
func NewPlacer(layout *Layout, slots *Slots, add bool, first []string) *Placer {
	p := &Placer{slots: slots, adds: add, first: first}
	p.use(layout)
	return p
}

// Layout returns the layout as it is now.
func (p *Placer) Layout() *Layout { return p.layout }

// use places rows by another layout from now on.
func (p *Placer) use(layout *Layout) {
	p.layout = layout
	p.plans, p.last, p.lately = make(map[*Shape]*plan), nil, nil
	columns := layout.Features()
	p.Missing = append(p.Missing, make([]uint64, columns-len(p.Missing))...)
	p.known, p.places, p.absent = make(map[string]int, columns), make([]int, columns), make([]uint64, columns)
	place := 0
	for i := range columns {
		p.places[i] = -1
		if layout.Columns != nil {
			p.known[layout.Columns[i].Name] = i
		}
		if layout.Columns == nil || layout.Columns[i].Kind == Numeric {
			p.places[i] = place
			place++
		}
		p.absent[i] = layout.Absent(i)
	}
}

// Fits returns why a row of so many numbers and that shape cannot be placed; nil: it can, perhaps after Extend.
func (p *Placer) Fits(shape *Shape, numbers int) *Bad {
	if shape == nil {
		switch {
		case p.layout.Columns != nil:
			return &Bad{Reason: Schema, Detail: "columns without names where the models' columns have names"}
		case numbers != p.layout.Width:
			return &Bad{Reason: Arity, Detail: fmt.Sprintf("%d features where most records have %d", numbers, p.layout.Width)}
		}
		return nil
	}
	return p.plan(shape).bad
}

// Extends reports whether rows of that shape bring columns that the layout does not have yet.
func (p *Placer) Extends(shape *Shape) bool { return shape != nil && len(p.plan(shape).news) > 0 }

// Extend takes the new columns of a shape into the layout, and returns them.
func (p *Placer) Extend(shape *Shape) []Column {
	news := slices.Clone(p.plan(shape).news)
	slices.SortStableFunc(news, func(a, b Column) int { return cmp.Compare(p.rank(a), p.rank(b)) })
	p.use(p.layout.with(news))
	return news
}

// Lacks returns the columns of the layout that a shape lacks.
func (p *Placer) Lacks(shape *Shape) []Column {
	lacks := p.plan(shape).lacks
	columns := make([]Column, len(lacks))
	for j, i := range lacks {
		columns[j] = p.layout.Columns[i]
	}
	return columns
}

// rank returns where among new columns one comes.
func (p *Placer) rank(c Column) int {
	if i := slices.Index(p.first, c.Name); i >= 0 {
		return i
	}
	return len(p.first)
}

// plan returns the plan of a shape.
func (p *Placer) plan(shape *Shape) *plan {
	if shape == p.lately && p.last != nil {
		return p.last
	}
	made, ok := p.plans[shape]
	if !ok {
		if len(p.plans) == maxPlans {
			clear(p.plans)
		}
		made = p.make(shape)
		p.plans[shape] = made
	}
	p.lately, p.last = shape, made
	return made
}

func (p *Placer) make(shape *Shape) *plan {
	made := &plan{}
	if p.layout.Columns == nil {
		made.bad = &Bad{Reason: Schema, Detail: "columns with names where the models' columns have none: LEARNER_COLUMNS would name those"}
		return made
	}
	has := make([]bool, len(p.layout.Columns))
	for _, c := range shape.Columns {
		i, known := p.known[c.Name]
		switch {
		case !known:
			i = -1
			if c.Kind != Null && len(p.layout.Columns)+len(made.news) < MaxColumns {
				made.news = append(made.news, c)
			}
		case c.Kind == Null: // it is missing
			continue
		case c.Kind != p.layout.Columns[i].Kind:
			made.bad = &Bad{Reason: Schema, Detail: fmt.Sprintf("field %q is a %v where it was a %v", c.Name, c.Kind, p.layout.Columns[i].Kind)}
			return made
		default:
			has[i] = true
		}
		switch c.Kind {
		case Numeric:
			made.numbers = append(made.numbers, int32(i))
		case Categorical:
			made.categories = append(made.categories, int32(i))
		}
	}
	made.direct = true
	next := 0
	for _, i := range made.numbers {
		if i < 0 || p.places[i] != next {
			made.direct = false
			break
		}
		next++
	}
	made.direct = made.direct && next == p.layout.Width
	for i, there := range has {
		if !there {
			made.lacks = append(made.lacks, int32(i))
		}
	}
	return made
}

// Place appends a row that fits to x, which is row-major, NaN where a number is missing, and its sparse features to sparse:
// the numbers of its categories' slots, and of those that say that a column has no value. It reports whether any number is
// missing. Complete says that no number in the row is NaN.
func (p *Placer) Place(x []float64, sparse []int32, row Row, complete bool) ([]float64, []int32, bool) {
	at, from := len(x), len(sparse)
	if row.Shape == nil {
		x = append(x, row.X...)
		if complete {
			return x, sparse, false
		}
		missing := false
		for i, v := range row.X {
			if v != v {
				missing, sparse = true, p.without(sparse, from, i)
			}
		}
		return x, sparse, missing
	}
	made := p.plan(row.Shape)
	missing := false
	switch {
	case made.direct && complete:
		x = append(x, row.X...)
	default:
		x = slices.Grow(x, p.layout.Width)[:at+p.layout.Width]
		to := x[at:]
		for _, i := range made.lacks {
			if place := p.places[i]; place >= 0 {
				to[place], missing = notANumber, true
			}
		}
		for j, i := range made.numbers {
			if i < 0 {
				continue
			}
			v := row.X[j]
			to[p.places[i]] = v
			if v != v {
				missing, sparse = true, p.without(sparse, from, int(i))
			}
		}
	}
	for j, i := range made.categories {
		switch hash := row.Hashes[j]; {
		case i < 0:
		case hash == 0:
			sparse = p.without(sparse, from, int(i))
		default:
			sparse = p.with(sparse, from, hash)
		}
	}
	for _, i := range made.lacks {
		sparse = p.without(sparse, from, int(i))
	}
	return x, sparse, missing
}

// without appends that a row lacks column i. The row's sparse features begin at from.
func (p *Placer) without(sparse []int32, from, i int) []int32 {
	p.Missing[i]++
	return p.with(sparse, from, p.absent[i])
}

// with appends the number of a hash's slot, if the row does not have it yet.
func (p *Placer) with(sparse []int32, from int, hash uint64) []int32 {
	var n int32
	if p.adds {
		n = p.slots.Add(hash)
	} else if n = p.slots.Find(hash); n < 0 {
		return sparse
	}
	if slices.Contains(sparse[from:], n) {
		return sparse
	}
	return append(sparse, n)
}
