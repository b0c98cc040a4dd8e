package sgd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// kinds holds every kind of model: a function that reads its options and returns what makes a model by them.
var kinds = map[string]func(*options) builder{
	"logistic": logisticOptions,
}

// builder makes a fresh model for rows of the given width. The seed decides everything that is random in it.
type builder func(width int, seed uint64) Model

// Spec says which model to make. Those from [Parse] and [ParseModels] are valid.
type Spec struct {
	Name    string
	Kind    string
	Options map[string]string
}

// New makes a fresh model for rows of width features. It panics if the spec is not valid.
func (s Spec) New(width int, seed uint64) Model {
	build, err := s.builder()
	if err != nil {
		panic("sgd: model of an invalid spec: " + err.Error())
	}
	return build(width, seed)
}

// builder returns what makes the model, or an error that names every fault of kind and options.
func (s Spec) builder() (builder, error) {
	read, ok := kinds[s.Kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind %q (there is: %s)", s.Kind, list(slices.Collect(maps.Keys(kinds))))
	}
	o := options{given: s.Options}
	build := read(&o)
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		if !slices.Contains(o.known, name) {
			o.faults = append(o.faults, fmt.Errorf("unknown option %q of kind %s (there is: %s)", name, s.Kind, list(o.known)))
		}
	}
	return build, errors.Join(o.faults...)
}

// ParseModels reads a list of models separated by semicolons, each as in [Parse], such as
// "logistic;slow=logistic:rate=0.1". Names are unique. The error names every fault.
func ParseModels(models string) ([]Spec, error) {
	var specs []Spec
	var faults []error
	seen := map[string]bool{}
	for i, text := range strings.Split(models, ";") {
		spec, err := Parse(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("model %d: %w", i+1, err))
			continue
		}
		if seen[spec.Name] {
			faults = append(faults, fmt.Errorf("model %d: name %q is taken by a model before it", i+1, spec.Name))
		}
		seen[spec.Name] = true
		specs = append(specs, spec)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return specs, nil
}

// Parse reads one model: name=kind:option=value,option=value. A model without a name is called as its kind, and the
// options with their colon may be left out. Names are made of ASCII letters, digits, and "_.-". Space around any part
// is no part of it. The error names every fault.
func Parse(model string) (Spec, error) {
	if strings.TrimSpace(model) == "" {
		return Spec{}, errors.New("empty (write kind or name=kind:option=value)")
	}
	head, tail, hasOptions := strings.Cut(model, ":")
	var spec Spec
	if name, kind, named := strings.Cut(head, "="); named {
		spec.Name, spec.Kind = strings.TrimSpace(name), strings.TrimSpace(kind)
	} else {
		spec.Kind = strings.TrimSpace(head)
		spec.Name = spec.Kind
	}

	var faults []error
	if !isName(spec.Name) && spec.Name != spec.Kind { // a wrong kind is named as such
		faults = append(faults, fmt.Errorf("name %q (letters, digits, and _.- make a name)", spec.Name))
	}
	if hasOptions {
		spec.Options = map[string]string{}
		for text := range strings.SplitSeq(tail, ",") {
			name, value, ok := strings.Cut(text, "=")
			name, value = strings.TrimSpace(name), strings.TrimSpace(value)
			if _, twice := spec.Options[name]; twice {
				faults = append(faults, fmt.Errorf("option %q is given twice", name))
			}
			if !ok || name == "" {
				faults = append(faults, fmt.Errorf("option %q (write option=value)", strings.TrimSpace(text)))
				continue
			}
			spec.Options[name] = value
		}
	}
	if _, err := spec.builder(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return Spec{}, errors.Join(faults...)
	}
	return spec, nil
}

func isName(name string) bool {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return name != ""
}

// options hands out the options of a model to its kind, which asks for each that it knows, and collects the faults.
type options struct {
	given  map[string]string
	known  []string
	faults []error
}

// positive returns the option name as a number above 0 and not above limit, or fallback if it is not given.
func (o *options) positive(name string, fallback, limit float64) float64 {
	o.known = append(o.known, name)
	text, ok := o.given[name]
	if !ok {
		return fallback
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value > 0 && value <= limit) {
		o.faults = append(o.faults, fmt.Errorf("option %s=%q is no number above 0 and up to %g", name, text, limit))
		return fallback
	}
	return value
}

func list(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }
