package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// defaultPositive are the values that mean label 1 where nothing else is said.
const defaultPositive = "true|1|1.0|yes"

// opposites holds words that mean 1, and those that mean 0 with them.
var opposites = map[string]string{
	"true": "false", "t": "f", "1": "0", "1.0": "0.0", "yes": "no", "y": "n", "on": "off",
}

// labels says which values mean which label. Capitals count for nothing.
type labels struct {
	positive, negative []string
	// Whether what is neither is 0: the positive values are words of the user's own, without opposites.
	open bool
}

// newLabels reads values that mean 1, with | between.
func newLabels(positive string) (*labels, error) {
	if positive == "" {
		positive = defaultPositive
	}
	l := &labels{}
	var errs []error
	for word := range strings.SplitSeq(strings.ToLower(positive), "|") {
		word = strings.TrimSpace(word)
		switch opposite, ok := opposites[word]; {
		case word == "":
			errs = append(errs, errors.New("positive: a value is empty"))
		case slices.Contains(l.positive, word):
			errs = append(errs, fmt.Errorf("positive: %q is there twice", word))
		case ok:
			l.negative = append(l.negative, opposite)
		default:
			l.open = true
		}
		l.positive = append(l.positive, word)
	}
	return l, errors.Join(errs...)
}

// number returns the label that a number means.
func (l *labels) number(v float64) (label float64, ok bool) {
	switch {
	case v != v:
		return 0, false
	case means(l.positive, v):
		return 1, true
	case l.open || means(l.negative, v):
		return 0, true
	}
	return 0, false
}

// zeroOne reports whether the number 0 means label 0, and 1 label 1.
func (l *labels) zeroOne() bool {
	zero, zeroOK := l.number(0)
	one, oneOK := l.number(1)
	return zeroOK && oneOK && zero == 0 && one == 1
}

// means reports whether one of words is that number.
func means(words []string, v float64) bool {
	for _, word := range words {
		if w, next, ok := parseFloat([]byte(word), 0); ok && next == len(word) && w == v {
			return true
		}
	}
	return false
}

// text returns the label that a text without blanks around it means.
func (l *labels) text(text []byte) (label float64, ok bool) {
	is := func(word string) bool { return len(word) == len(text) && strings.EqualFold(word, string(text)) }
	switch {
	case len(text) == 0:
		return 0, false
	case slices.ContainsFunc(l.positive, is):
		return 1, true
	case slices.ContainsFunc(l.negative, is):
		return 0, true
	}
	if v, ok := number(text); ok {
		return l.number(v)
	}
	return 0, l.open
}

// boolean returns the label that a boolean means.
func (l *labels) boolean(v bool) (label float64, ok bool) {
	if v {
		return l.text([]byte("true"))
	}
	return l.text([]byte("false"))
}

// wanted says what a label has to be, for people.
func (l *labels) wanted() string {
	if l.open {
		return "no value"
	}
	return fmt.Sprintf("neither %s nor %s", strings.Join(l.positive, ", "), strings.Join(l.negative, ", "))
}
