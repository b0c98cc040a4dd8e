package record

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// columns say what is what in records that are lists of values: lines of CSV, and JSON arrays. They are immutable.
type columns struct {
	*labels
	zeroOne bool // whether the number 0 means label 0, and 1 label 1

	names    []string  // of all columns, or none
	label    int       // its column, or keyed
	use      []int32   // what a column is for: a number's place in the row from 0, or one of those below
	runs     []int32   // how many columns from one on are numbers whose places follow on each other
	beyond   int32     // what columns behind those are for
	selected []float64 // zeros: the places of the numbers that were asked for
	missing  []uint64  // zeros: the places of the categories
	hashers  []Hasher  // of the categories, by place
	shape    *Shape    // nil: columns without names
}

// maxColumn is the largest column number that may be asked for.
const maxColumn = 1<<20 - 1

// What a column is for, where it is not the place of a number in the row.
const (
	skipped     = -1 - iota
	labelled    // holds the label
	appended    // the row's next number
	categorical // the row's first category; those below are its second, third, and so on
)

// keyed as the label's column means the record's key.
const keyed = -1

// newColumns reads what options say of lists of values. Its error names every option that is wrong.
func newColumns(opts Options) (*columns, error) {
	labels, err := newLabels(opts.Positive)
	errs := []error{err}
	c := &columns{labels: labels, zeroOne: labels.zeroOne(), label: keyed}

	number := map[string]int{} // column by name
	marked := map[int]bool{}   // whether a column's values are categories
	for i, name := range opts.Columns {
		name, mark := strings.CutSuffix(strings.TrimSpace(name), "#")
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
		number[name], marked[i] = i, mark
	}

	switch label := strings.TrimSpace(opts.Label); label {
	case "", "auto":
		c.label = max(0, autoLabel(c.names))
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
		feature, mark := strings.CutSuffix(strings.TrimSpace(feature), "#")
		col, err := column(feature, number)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("features: %w", err))
		case col == c.label:
			errs = append(errs, fmt.Errorf("features: %q is the label", feature))
		case seen[col]:
			errs = append(errs, fmt.Errorf("features: %q is there twice", feature))
		}
		seen[col], marked[col] = true, marked[col] || mark
		features = append(features, col)
		width = max(width, col+1)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.assign(features, marked, width)
	return c, nil
}

// assign settles what the first width columns are for, and those beyond.
func (c *columns) assign(features []int, marked map[int]bool, width int) {
	all := len(features) == 0
	if all && len(c.names) > 0 {
		for col := range c.names {
			if col != c.label {
				features = append(features, col)
			}
		}
	}
	other := int32(skipped)
	c.beyond = skipped // where columns have names, those without are only counted: the row is refused
	if all && len(c.names) == 0 {
		other, c.beyond = appended, appended
	}
	c.use = slices.Repeat([]int32{other}, width)
	if c.label != keyed {
		c.use[c.label] = labelled
	}
	if len(features) > 0 {
		c.shape = &Shape{Origin: "columns"}
	}
	for _, col := range features {
		name := strconv.Itoa(col)
		if len(c.names) > 0 {
			name = c.names[col]
		}
		kind := Numeric
		if marked[col] {
			kind = Categorical
			c.use[col] = int32(categorical - len(c.hashers))
			c.hashers = append(c.hashers, NewHasher(name))
		} else {
			c.use[col] = int32(len(c.selected))
			c.selected = append(c.selected, 0)
		}
		c.shape.Columns = append(c.shape.Columns, Column{Name: name, Kind: kind})
	}
	c.missing = make([]uint64, len(c.hashers))
	c.runs = make([]int32, width)
	for col := width - 1; col >= 0; col-- {
		if c.use[col] < 0 {
			continue
		}
		c.runs[col] = 1
		if col+1 < width && c.use[col+1] == c.use[col]+1 {
			c.runs[col] += c.runs[col+1]
		}
	}
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

// of says what a column is for.
func (c *columns) of(col int) int32 {
	if col < len(c.use) {
		return c.use[col]
	}
	return c.beyond
}

// put takes a number into the row that begins at start, where its column has its place.
func (c *columns) put(dst *Block, start int, use int32, v float64) {
	if use == appended {
		dst.X = append(dst.X, v)
	} else {
		dst.X[start+int(use)] = v
	}
}

// textLabel returns the label that the text of a column means.
func (c *columns) textLabel(col int, text []byte) (label float64, bad *Bad) {
	label, ok := c.text(text)
	if !ok {
		return 0, c.bad(Label, col, text, "is "+c.wanted())
	}
	return label, nil
}

// textNumber returns the number that the text of a column holds; NaN where there is no text.
func (c *columns) textNumber(col int, text []byte) (v float64, bad *Bad) {
	if len(text) == 0 {
		return notANumber, nil
	}
	v, ok := number(text)
	switch {
	case !ok:
		return 0, c.bad(Number, col, text, "is not a number; a # behind its column's name or number would make it a category")
	case v-v != 0:
		return 0, c.bad(NonFinite, col, text, "is not finite")
	}
	return v, nil
}

// check returns an error for rows that miss a column which was asked for, do not fit the names, or have nothing but the
// label.
func (c *columns) check(columns, features int) *Bad {
	switch {
	case len(c.names) > 0 && columns != len(c.names):
		return &Bad{Reason: Arity, Detail: fmt.Sprintf("%d columns where %d have names", columns, len(c.names))}
	case columns < len(c.use):
		return &Bad{Reason: Arity, Detail: fmt.Sprintf("%d columns; column %d is not among them", columns, len(c.use)-1)}
	case features == 0:
		return &Bad{Reason: Arity, Detail: "the label is the only column"}
	}
	return nil
}

// bad returns the error for what was found in a column.
func (c *columns) bad(reason Reason, col int, found []byte, fault string) *Bad {
	if col < len(c.names) {
		return &Bad{Reason: reason, Detail: fmt.Sprintf("column %d (%s): %s %s", col, c.names[col], quoted(found), fault)}
	}
	return &Bad{Reason: reason, Detail: fmt.Sprintf("column %d: %s %s", col, quoted(found), fault)}
}
