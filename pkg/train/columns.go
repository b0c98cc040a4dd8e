package train

import (
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"learner/pkg/record"
)

// columns is what the order stage knows of the columns of rows.
type columns struct {
	slots    *record.Slots
	ranked   []string       // of several new columns these come first
	layout   *record.Layout // nil: not settled
	placer   *record.Placer // of it
	origins  []string       // of shapes met, in order
	notFound []string       // schemas of which it was decided that nobody knows them, in order

	lately *record.Shape // that meet saw last
}

// newColumns returns the columns of a place; nil: of a fresh lineage.
func newColumns(cfg *Config) (*columns, error) {
	c := &columns{ranked: cfg.First}
	bits := cfg.HashBits
	if bits == 0 {
		bits = record.DefaultHashBits
	}
	var met []int64
	if from := cfg.From; from != nil {
		met = from.Slots
	}
	var err error
	if c.slots, err = record.NewSlots(bits, met); err != nil {
		return nil, fmt.Errorf("restore the categories: %w", err)
	}
	if from := cfg.From; from != nil {
		c.origins, c.notFound = slices.Clone(from.Origins), slices.Clone(from.NotFound)
		if layout := from.layout(); layout != nil {
			c.use(layout)
			copy(c.placer.Missing, from.Missing)
		}
	}
	return c, nil
}

// layout returns the layout of a place; nil: it is not settled.
func (p *Place) layout() *record.Layout {
	switch {
	case p.Columns != nil:
		return record.NewLayout(p.Columns)
	case p.Features > 0:
		return record.Positional(p.Features)
	}
	return nil
}

func (c *columns) use(layout *record.Layout) {
	c.layout, c.placer = layout, record.NewPlacer(layout, c.slots, true, c.ranked)
}

// settle settles the layout by the first rows.
func (c *columns) settle(rows []heldRow) {
	first := make([]record.Row, len(rows))
	for i, h := range rows {
		first[i] = h.Row
	}
	c.placer = record.Settle(first, c.slots, c.ranked)
	c.layout = c.placer.Layout()
	for _, row := range first {
		if row.Shape != nil && c.placer.Fits(row.Shape, len(row.X)) == nil && c.unmet(row.Shape) {
			c.origins = append(c.origins, row.Shape.Origin)
		}
	}
}

// unmet reports whether no shape of its origin was met before.
func (c *columns) unmet(shape *record.Shape) bool {
	return shape.Origin != "" && !slices.Contains(c.origins, shape.Origin)
}

// missing returns how many rows had no value, by column; nil where the layout is not settled.
func (c *columns) missing() []uint64 {
	if c.placer == nil {
		return nil
	}
	return c.placer.Missing
}

// note takes down that a record was refused.
func (c *columns) note(bad *record.Bad) {
	if bad.Reason == record.SchemaNotFound && !slices.Contains(c.notFound, bad.Schema) {
		c.notFound = append(c.notFound, bad.Schema)
	}
}

// unfit returns why the lane's head, a row of b, cannot be learned; nil: it can, or the layout is not settled.
func (o *order) unfit(l *lane, b *record.Block) *record.Bad {
	for l.run < len(b.Shapes) && b.Shapes[l.run].From <= l.row {
		l.shape = b.Shapes[l.run].Shape
		l.run++
	}
	numbers := b.End[l.row] - l.x
	if o.layout == nil || l.shape == nil && o.layout.Columns == nil && numbers == o.layout.Width {
		return nil
	}
	return o.placer.Fits(l.shape, numbers)
}

// head returns the lane's head, a row of b.
func (l *lane) head(b *record.Block) record.Row {
	row := record.Row{Shape: l.shape, X: b.X[l.x:b.End[l.row]]}
	if l.row < len(b.HashEnd) {
		row.Hashes = b.Hashes[l.hash:b.HashEnd[l.row]]
	}
	return row
}

// pass goes past the lane's head, a row of b.
func (l *lane) pass(b *record.Block) {
	l.x, l.next = b.End[l.row], b.Offset[l.row]+1
	if l.row < len(b.HashEnd) {
		l.hash = b.HashEnd[l.row]
	}
	l.row++
}

// meet takes a shape that fits into account before its row is added: columns that are new extend the layout, and a shape of
// another origin is an event. It reports whether the layout has grown.
func (o *order) meet(shape *record.Shape) bool {
	if shape == o.lately {
		return false
	}
	o.lately = shape
	extends, first := o.placer.Extends(shape), o.unmet(shape)
	if !extends && !first {
		return false
	}
	o.flush() // a cut that it takes is one before the shape: nothing may have changed yet
	if first {
		o.origins = append(o.origins, shape.Origin)
	}
	e := Event{Kind: SchemaMet, Schema: shape.Origin, Lacks: columnNames(o.placer.Lacks(shape))}
	if extends {
		e.Added = columnNames(o.placer.Extend(shape))
		o.layout = o.placer.Layout()
	}
	o.batch.events = append(o.batch.events, e)
	o.log.Info("columns changed", zap.String("schema", e.Schema), zap.String("added", e.Added), zap.String("missing", e.Lacks),
		zap.Uint64("record", o.records))
	return extends
}

// columnNames returns the names of columns, shortened where there are many.
func columnNames(columns []record.Column) string {
	const most = 20
	var all []string
	for i, c := range columns {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(columns)-most))
			break
		}
		all = append(all, c.Name)
	}
	return strings.Join(all, ", ")
}
