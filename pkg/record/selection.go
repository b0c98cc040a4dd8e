package record

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// autoLabels are the names of a field that is the label where nobody says which: the first that a record has.
var autoLabels = []string{"label", "signal", "target", "class", "y"}

// selection says what the named fields of a record are for. It is immutable.
type selection struct {
	*labels
	keyed    bool            // the record's key is the label
	label    string          // name of the field; empty: one of autoLabels, if there is no key
	features map[string]bool // whether a field's values are categories, also numbers, by name; nil: all fields are features
}

// newSelection reads what options say of named fields.
func newSelection(opts Options) (*selection, error) {
	labels, err := newLabels(opts.Positive)
	errs := []error{err}
	s := &selection{labels: labels}
	switch label := strings.TrimSpace(opts.Label); label {
	case "", "auto":
	case "key":
		s.keyed = true
	default:
		s.label = label
	}
	for _, name := range opts.Features {
		name, marked := strings.CutSuffix(strings.TrimSpace(name), "#")
		if s.features == nil {
			s.features = make(map[string]bool)
		}
		_, twice := s.features[name]
		switch {
		case name == "":
			errs = append(errs, errors.New("features: one has no name"))
		case twice:
			errs = append(errs, fmt.Errorf("features: %q is there twice", name))
		case name == s.label:
			errs = append(errs, fmt.Errorf("features: %q is the label", name))
		}
		s.features[name] = marked
	}
	return s, errors.Join(errs...)
}

// use says what a field is for: whether it is a feature, and whether its values are categories in any case. A name that was
// asked for stands for all fields below it, too.
func (s *selection) use(name string) (feature, category bool) {
	if s.features == nil {
		return true, false
	}
	for {
		if category, ok := s.features[name]; ok {
			return true, category
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return false, false
		}
		name = name[:dot]
	}
}

// labelAmong returns which of the names of a record's fields is the label's; -1: none.
func (s *selection) labelAmong(names []string) int {
	if s.keyed {
		return -1
	}
	if s.label != "" {
		return slices.Index(names, s.label)
	}
	return autoLabel(names)
}

// autoLabel returns which of the names is the label's where nobody says which; -1: none.
func autoLabel(names []string) int {
	for _, label := range autoLabels {
		if i := slices.IndexFunc(names, func(name string) bool { return strings.EqualFold(name, label) }); i >= 0 {
			return i
		}
	}
	return -1
}

// noLabel is the error of a record without the field that holds the label.
func (s *selection) noLabel() *Bad {
	if s.label != "" {
		return &Bad{Reason: Label, Detail: "no field " + strconv.Quote(s.label)}
	}
	return &Bad{Reason: Label, Detail: "no field " + strings.Join(autoLabels, ", ") + "; LEARNER_LABEL would name another"}
}
