package sgd

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// singles holds the kinds of model that are a single expert: a function that reads the options and returns what makes one.
var singles = map[string]func(*options) expertBuilder{
	"forest":      forestOptions,
	"knn":         knnOptions,
	"linear":      linearOptions,
	"logistic":    logisticOptions,
	"mlp":         mlpOptions,
	"newton":      newtonOptions,
	"newton_diag": newtonDiagOptions,
	"pa":          passiveAggressiveOptions,
}

// mixtures holds the kinds of model that are several experts and a mixer, and their members.
var mixtures = map[string][]string{
	"mix": mixExperts,
	"zoo": zooExperts,
}

// kind returns the function that reads the options of a kind and returns what makes a model; nil: there is no such kind.
func kind(name string) func(*options) builder {
	if read, ok := singles[name]; ok {
		return single(read)
	}
	if experts, ok := mixtures[name]; ok {
		return mixtureOptions(experts)
	}
	return nil
}

// Kinds returns the names of all kinds of model.
func Kinds() []string { return slices.Sorted(slices.Values(append(keys(singles), keys(mixtures)...))) }

// builder makes a fresh model for rows of the given width. The seed decides everything that is random in it.
type builder func(width int, seed uint64) Model

// expertBuilder is builder for an expert.
type expertBuilder func(width int, seed uint64) expert

// single is a kind of model that is one expert.
func single(read func(*options) expertBuilder) func(*options) builder {
	return func(o *options) builder {
		scale := o.scaler()
		build := read(o)
		return func(width int, seed uint64) Model {
			return newPipeline(width, []string{""}, func(width int) (scaler, []expert) {
				return scale(width), []expert{build(width, seed)}
			})
		}
	}
}

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
	read := kind(s.Kind)
	if read == nil {
		return nil, fmt.Errorf("unknown kind %q (there is: %s)", s.Kind, list(Kinds()))
	}
	o := options{given: s.Options}
	build := read(&o)
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		if !slices.Contains(o.known, name) {
			o.fault("unknown option %q of kind %s (there is: %s)", name, s.Kind, list(o.known))
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
	return o.number(name, fallback, fmt.Sprintf("above 0 and up to %g", limit), func(v float64) bool { return v > 0 && v <= limit })
}

// atLeast0 returns the option name as a number from 0 to limit, or fallback if it is not given.
func (o *options) atLeast0(name string, fallback, limit float64) float64 {
	return o.number(name, fallback, fmt.Sprintf("from 0 to %g", limit), func(v float64) bool { return v >= 0 && v <= limit })
}

func (o *options) number(name string, fallback float64, want string, valid func(float64) bool) float64 {
	text, ok := o.get(name)
	if !ok {
		return fallback
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !valid(value) {
		o.fault("option %s=%q is no number %s", name, text, want)
		return fallback
	}
	return value
}

// whole returns the option name as a whole number from 1 to limit, or fallback if it is not given.
func (o *options) whole(name string, fallback, limit int) int {
	text, ok := o.get(name)
	if !ok {
		return fallback
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < 1 || value > limit {
		o.fault("option %s=%q is no whole number from 1 to %d", name, text, limit)
		return fallback
	}
	return value
}

// choice returns the option name, which is one of choices, or fallback if it is not given.
func (o *options) choice(name, fallback string, choices []string) string {
	text, ok := o.get(name)
	if !ok {
		return fallback
	}
	if !slices.Contains(choices, text) {
		o.fault("option %s=%q is none of %s", name, text, list(choices))
		return fallback
	}
	return text
}

// scaler returns what makes the scaler that the option scaler names.
func (o *options) scaler() func(width int) scaler {
	return scalers[o.choice("scaler", "robust", keys(scalers))]
}

// get returns the option name as it was given.
func (o *options) get(name string) (text string, given bool) {
	o.known = append(o.known, name)
	text, given = o.given[name]
	return text, given
}

func (o *options) fault(format string, args ...any) {
	o.faults = append(o.faults, fmt.Errorf(format, args...))
}

// features returns what makes the features that the option features names. A kind whose learner is a rebaser names the
// features that need one, and that it can take therefore, in moving.
func (o *options) features(moving ...string) func(width int, seed uint64) features {
	name := o.choice("features", "row", keys(featureMakers))
	if slices.Contains(movingFeatures, name) && !slices.Contains(moving, name) {
		o.fault("option features=%q: these features change with the stream, which this kind of learner cannot follow", name)
	}
	return featureMakers[name]
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

func list(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), ", ") }
