package sgd

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseModels(t *testing.T) {
	tests := []struct {
		name, give string
		want       []Spec
	}{
		{"a bare kind names itself", "logistic", []Spec{{Name: "logistic", Kind: "logistic"}}},
		{
			"a bare kind with an option", "logistic:rate=0.1",
			[]Spec{{Name: "logistic", Kind: "logistic", Options: map[string]string{"rate": "0.1"}}},
		},
		{
			"two models", "logistic;svm-2.0_b=logistic:rate=1e-1",
			[]Spec{
				{Name: "logistic", Kind: "logistic"},
				{Name: "svm-2.0_b", Kind: "logistic", Options: map[string]string{"rate": "1e-1"}},
			},
		},
		{
			"space around the parts", " a = logistic : rate = 2 ;\n logistic ",
			[]Spec{{Name: "a", Kind: "logistic", Options: map[string]string{"rate": "2"}}, {Name: "logistic", Kind: "logistic"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseModels(tt.give)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			for _, spec := range got {
				if n := spec.New(3, 1).Outputs(); n != 1 {
					t.Errorf("%s answers with %d numbers, want 1", spec.Name, n)
				}
			}
		})
	}
}

func TestParseModelsNamesEveryFault(t *testing.T) {
	tests := []struct {
		name, give string
		want       []string
	}{
		{"nothing", "", []string{"model 1: empty"}},
		{"an empty model", "logistic;", []string{"model 2: empty"}},
		{"an unknown kind", "tree", []string{`unknown kind "tree" (there is: forest, knn, linear, logistic, `}},
		{"a kind left out", "a=", []string{`unknown kind ""`}},
		{"an unknown option", "logistic:ratte=1", []string{`unknown option "ratte" of kind logistic (there is: features, l1, l2, optimizer, rate, scaler)`}},
		{"text where a number belongs", "logistic:rate=fast", []string{`option rate="fast" is no number above 0 and up to 1e+06`}},
		{"a number that is not finite", "logistic:rate=inf", []string{`option rate="inf"`}},
		{"a rate out of all reason", "logistic:rate=1e7", []string{`option rate="1e7"`}},
		{"not a number", "logistic:rate=nan", []string{`option rate="nan"`}},
		{"a rate of zero", "logistic:rate=0", []string{`option rate="0"`}},
		{"a value left out", "logistic:rate=", []string{`option rate=""`}},
		{"a colon without options", "logistic:", []string{`option "" (write option=value)`}},
		{"an option without value", "logistic:rate", []string{`option "rate" (write option=value)`}},
		{"an option given twice", "logistic:rate=1,rate=2", []string{`option "rate" is given twice`}},
		{"a choice there is not", "logistic:optimizer=sdg", []string{`option optimizer="sdg" is none of adagrad, adam, `}},
		{"an expert there is not", "mix:experts=newton+nwton", []string{`unknown expert "nwton" (there is: diag, `}},
		{"an expert twice", "mix:experts=newton+newton", []string{`"newton" is there twice`}},
		{"a mixture of one", "mix:experts=newton", []string{"a mixture has at least 2"}},
		{"features that a kind cannot learn from", "newton:features=hats", []string{"option features="}},
		{"a name that cannot be one", "a/b=logistic", []string{`name "a/b"`}},
		{"an empty name", "=logistic", []string{`name ""`}},
		{"a name used twice", "a=logistic;a=logistic:rate=1", []string{`model 2: name "a" is taken`}},
		{
			"many at once", "a b=logistic:rate=x,size=3;tree",
			[]string{`name "a b"`, `option rate="x"`, `unknown option "size"`, `model 2: unknown kind "tree"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseModels(tt.give)
			if err == nil {
				t.Fatalf("no error but %+v", got)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestSpecNewPanicsOnAnInvalidSpec(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Spec{Name: "a", Kind: "tree"}.New(1, 1)
}
