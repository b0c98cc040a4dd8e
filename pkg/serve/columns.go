package serve

import (
	"bytes"
	"math"
)

// Column is a feature of a model.
type Column struct {
	Name     string
	Category Category // nil: its values are numbers
}

// Category makes hashes of the values of a column that are categories. They are never 0.
type Category interface {
	Text(value []byte) uint64
	Number(v float64) uint64
}

// Columns are the features of a model, in the order of a row. They are immutable.
type Columns struct {
	all     []Column
	names   []string
	named   bool           // records name them, so that a row may lack any
	at      map[string]int // column by name
	places  []int          // by column: its place among the numbers of a row, or among the hashes
	numbers int
}

// NewColumns returns the features of a model. Named says that records name them, so that what a row does not name is missing.
func NewColumns(all []Column, named bool) *Columns {
	c := &Columns{all: all, named: named, at: make(map[string]int, len(all)), names: make([]string, 0, len(all))}
	for i := range all {
		c.at[all[i].Name] = i
		c.names = append(c.names, all[i].Name)
		if all[i].Category == nil {
			c.places = append(c.places, c.numbers)
			c.numbers++
		} else {
			c.places = append(c.places, i-c.numbers)
		}
	}
	return c
}

// categories returns how many columns hold categories.
func (c *Columns) categories() int { return len(c.all) - c.numbers }

// lacking returns the features that have not been given, where all have to be.
func (c *Columns) lacking(given []bool) (names []string) {
	if c.named {
		return nil
	}
	for i, ok := range given {
		if !ok {
			names = append(names, c.names[i])
		}
	}
	return names
}

// fits returns an error if so many rows are too many, which those that name few of their features need not look like.
func (c *Columns) fits(rows int) error {
	switch {
	case rows > maxRows:
		return tooMuch("%d rows; at most %d are answered at once", rows, maxRows)
	case rows*len(c.all) > maxValues:
		return tooMuch("%d rows of %d features; at most %d values are answered at once", rows, len(c.all), maxValues)
	}
	return nil
}

// Rows are rows to be answered for.
type Rows struct {
	N       int
	X       []float64 // of the columns of numbers, row-major; NaN: missing
	Hashes  []uint64  // of the columns of categories, row-major; 0: missing
	Missing bool      // some number is NaN
}

// add adds rows without any value.
func (r *Rows) add(n int, c *Columns) {
	r.N += n
	for range n * c.numbers {
		r.X = append(r.X, math.NaN())
	}
	r.Hashes = append(r.Hashes, make([]uint64, n*c.categories())...)
}

// set sets the value of a column in a row that was added.
func (r *Rows) set(c *Columns, row, column int, v value) {
	if c.all[column].Category == nil {
		r.X[row*c.numbers+c.places[column]] = v.number
		return
	}
	r.Hashes[row*c.categories()+c.places[column]] = v.hash
}

// value is a number, NaN where it is missing, or the hash of a category, 0 where it is missing.
type value struct {
	number float64
	hash   uint64
}

// read reads a value of the column. Where there is none that fits the cursor stays where it is.
func (c *Column) read(from *cursor) (v value, ok bool) {
	if c.Category == nil {
		if v.number, ok = from.number(); !ok && from.null() {
			v.number, ok = math.NaN(), true
		}
		return v, ok
	}
	switch from.peek() {
	case '"':
		return value{hash: c.hash(from.quoted())}, true
	case 'n':
		return v, from.null()
	}
	number, ok := from.number()
	if ok {
		v.hash = c.Category.Number(number)
	}
	return v, ok
}

// hash returns that of a text; 0 where there is nothing in it but space, as in records.
func (c *Column) hash(text []byte) uint64 {
	if len(bytes.TrimSpace(text)) == 0 {
		return 0
	}
	return c.Category.Text(text)
}

// wanted says what the column's values are.
func (c *Column) wanted() string {
	if c.Category == nil {
		return "a number"
	}
	return "a text or a number"
}
