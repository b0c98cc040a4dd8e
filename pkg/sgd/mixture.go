package sgd

import (
	"fmt"
	"slices"
	"strings"
)

// members holds the experts that a mixture can be made of, by name: each is a kind with options.
var members = map[string]string{
	"logistic":    "logistic",
	"newton":      "newton",
	"newton_fast": "newton:q=0.1",
	"diag":        "newton_diag:q=0.0001",
	"diag_fast":   "newton_diag:q=0.001",
	"diag_still":  "newton_diag:v0=0.1",
	"quad":        "newton_diag:features=products,v0=0.01",
	"pwl8":        "newton_diag:features=hats,v0=0.1",
	"mlp":         "mlp",
	"relu64":      "newton:features=relu,v0=0.3",
	"knn":         "knn",
	"forest":      "forest",
}

var (
	mixExperts = []string{"newton", "newton_fast", "diag", "diag_fast", "diag_still"}
	zooExperts = slices.Concat(mixExperts, []string{"quad", "pwl8", "mlp", "relu64", "knn", "forest"})
)

// mixtureOptions reads the options of a mixture: experts, the names of its members with + between.
func mixtureOptions(fallback []string) func(*options) builder {
	return func(o *options) builder {
		scale := o.scaler()
		names := fallback
		if text, given := o.get("experts"); given {
			names = strings.Split(text, "+")
		}
		builders := make([]expertBuilder, 0, len(names))
		for i, name := range names {
			definition, ok := members[name]
			switch {
			case !ok:
				o.fault("option experts: unknown expert %q (there is: %s)", name, list(keys(members)))
			case slices.Contains(names[:i], name):
				o.fault("option experts: %q is there twice", name)
			default:
				builders = append(builders, memberBuilder(definition))
			}
		}
		if len(names) < 2 {
			o.fault("option experts: a mixture has at least 2")
		}
		return func(width int, seed uint64) Model {
			return newPipeline(width, names, func(width int) (scaler, []expert) {
				experts := make([]expert, len(names))
				for i, build := range builders {
					experts[i] = build(width, seed)
				}
				return scale(width), experts
			})
		}
	}
}

// memberBuilder returns what makes an expert by a definition from the table of members.
func memberBuilder(definition string) expertBuilder {
	spec, err := Parse(definition)
	if err != nil {
		panic(fmt.Sprintf("sgd: member %s: %v", definition, err))
	}
	return singles[spec.Kind](&options{given: spec.Options})
}
