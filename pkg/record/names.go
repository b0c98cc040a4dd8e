package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CSVOptions say which column of a CSV value is what.
type CSVOptions struct {
	// Label says where the label is: "auto" or nothing for column 0; "key" for the record's key, so that all columns
	// of the value are free for features; or a column, by number or name.
	Label string

	// Columns are the names of all columns of the value, in order. Without them columns have numbers only.
	Columns []string

	// Features are the columns to learn from, by number or name, in the order that a row gives them. If there are
	// none, these are all columns but the label's, and all of them have to be numbers.
	Features []string
}

// maxColumn is the largest column number that may be asked for.
const maxColumn = 1<<20 - 1

// What a column is for, where it is not the place of a feature in the row.
const (
	skipped  = -1 - iota
	labelled // holds the label
	appended // the row's next feature
)

// NewCSV returns a decoder of CSV records. Its error names every value in opts that is wrong.
func NewCSV(opts CSVOptions) (*CSV, error) {
	c := &CSV{label: keyed}
	var errs []error
	number := map[string]int{} // column by name
	for i, name := range opts.Columns {
		name = strings.TrimSpace(name)
		c.names = append(c.names, name)
		if before, ok := number[name]; ok {
			errs = append(errs, fmt.Errorf("columns: column %d and %d both have the name %q", before, i, name))
		}
		if name == "" {
			errs = append(errs, fmt.Errorf("columns: column %d has no name", i))
			continue
		}
		if _, err := strconv.Atoi(name); err == nil {
			errs = append(errs, fmt.Errorf("columns: the name %q would be read as a column number", name))
		}
		number[name] = i
	}

	switch label := strings.TrimSpace(opts.Label); label {
	case "", "auto":
		c.label = 0
	case "key":
	default:
		col, err := column(label, number)
		if err != nil {
			errs = append(errs, fmt.Errorf("label: %w", err))
			break
		}
		c.label = col
	}
	if len(c.names) == 1 && c.label == 0 {
		errs = append(errs, fmt.Errorf("columns: the only one, %q, is the label, which leaves no feature", c.names[0]))
	}

	features := make([]int, 0, len(opts.Features))
	width := max(len(c.names), c.label+1)
	seen := map[int]bool{}
	for _, feature := range opts.Features {
		feature = strings.TrimSpace(feature)
		col, err := column(feature, number)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("features: %w", err))
		case col == c.label:
			errs = append(errs, fmt.Errorf("features: %q is the label", feature))
		case seen[col]:
			errs = append(errs, fmt.Errorf("features: %q is there twice", feature))
		}
		seen[col] = true
		features = append(features, col)
		width = max(width, col+1)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	c.assign(features, width)
	return c, nil
}

// assign settles what the first width columns are for, and those beyond.
func (c *CSV) assign(features []int, width int) {
	other := int32(appended)
	if len(features) > 0 {
		other = skipped
	}
	c.beyond = other
	if len(c.names) > 0 {
		c.beyond = skipped // they are only counted: the row is refused
	}
	c.use = make([]int32, width)
	for col := range c.use {
		c.use[col] = other
	}
	for place, col := range features {
		c.use[col] = int32(place)
	}
	if c.label != keyed {
		c.use[c.label] = labelled
	}
	c.selected = make([]float64, len(features))
}

// column returns the number of the column that ref means: a column number, or a name in number.
func column(ref string, number map[string]int) (int, error) {
	if col, ok := number[ref]; ok {
		return col, nil
	}
	col, err := strconv.Atoi(ref)
	switch {
	case err != nil && errors.Is(err, strconv.ErrSyntax) && len(number) == 0:
		return 0, fmt.Errorf("%q is not a column number, and the columns have no names", ref)
	case err != nil && errors.Is(err, strconv.ErrSyntax):
		return 0, fmt.Errorf("no column has the name %q", ref)
	case err != nil || col < 0 || col > maxColumn:
		return 0, fmt.Errorf("column %s is not within 0 to %d", ref, maxColumn)
	case len(number) > 0 && col >= len(number):
		return 0, fmt.Errorf("column %d is not within the %d columns named", col, len(number))
	}
	return col, nil
}
