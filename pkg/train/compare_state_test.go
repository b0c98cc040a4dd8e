package train

import (
	"math"
	"slices"
	"strings"
	"testing"

	"learner/pkg/sgd"
)

// bygone returns a cut of 3,000 records, where newton leads and one of its copies predicts.
func bygone(t *testing.T) (*Cut, Config, sgd.Rows) {
	t.Helper()
	rows := lessons(20, 6000, 3, 1000)
	cfg := Config{Models: names("newton", "logistic", "slow=logistic:rate=0.000001"), Best: true, TwinAge: 1000}
	trainer, _ := teach(t, cfg, rows, 3000, 400, 1)
	c := end(t, trainer)
	if c.Records != 3000 || c.Champion != "newton" || len(trainer.Comparison().Events) == 0 {
		t.Fatalf("%d records, %+v", c.Records, trainer.Comparison())
	}
	return c, cfg, rows
}

// A state of another shape is never taken up: the error names the tensor.
func TestComparisonThatDoesNotFit(t *testing.T) {
	whole, cfg, _ := bygone(t)
	check := func(how, name string, tensors []sgd.Tensor) {
		t.Helper()
		cfg.From = &Cut{Place: whole.Place, Models: whole.Models, Comparison: tensors, Champion: whole.Champion}
		trainer, err := New(configured(cfg))
		if trainer != nil || err == nil {
			t.Fatalf("%s: %s is taken up", how, name)
		}
		parts := []string{name}
		for _, copied := range []string{newestPath, predictsPath} {
			if rest, ok := strings.CutPrefix(name, copied+"/"); ok {
				parts = []string{copied, rest}
			}
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %q does not name %s", how, err, part)
			}
		}
	}
	for i, tensor := range whole.Comparison {
		replaced := func(data any) []sgd.Tensor {
			all := slices.Clone(whole.Comparison)
			all[i].Data = data
			return all
		}
		check("another type", tensor.Name, replaced([]float32{1}))
		if tensor.Name != recentPath("newton") { // without it the champion is new
			check("missing", tensor.Name, slices.Delete(slices.Clone(whole.Comparison), i, i+1))
		}
		switch data := tensor.Data.(type) {
		case []float64:
			check("longer", tensor.Name, replaced(append(slices.Clone(data), 1)))
		case []uint64:
			check("longer", tensor.Name, replaced(append(slices.Clone(data), 1)))
		case []uint8:
			check("longer", tensor.Name, replaced(append(slices.Clone(data), 1)))
		}
	}
	for _, name := range []string{"labels/last", "labels/ones", "labels/repeats", newestPath + atSuffix, predictsPath + atSuffix} {
		all := slices.Clone(whole.Comparison)
		i := slices.IndexFunc(all, func(t sgd.Tensor) bool { return t.Name == name })
		all[i].Data = []uint64{3001}
		check("too large", name, all)
	}
	check("unknown", "other", append(slices.Clone(whole.Comparison), one("other", 1.)))
	check("twice", "changes", append(slices.Clone(whole.Comparison), one("changes", 1.)))
}

// What is configured may change between two runs.
func TestConfigurationChangesAtACut(t *testing.T) {
	whole, same, rows := bygone(t)
	model := func(c *Comparison, name string) ModelComparison {
		t.Helper()
		i := slices.IndexFunc(c.Models, func(m ModelComparison) bool { return m.Name == name })
		if i < 0 {
			t.Fatalf("no model %s in %+v", name, c)
		}
		return c.Models[i]
	}
	begin := func(cfg Config, from *Cut) (*Trainer, *Comparison, *witness) {
		t.Helper()
		seen := newWitness()
		cfg.From, cfg.Observer = from, seen
		trainer, err := New(configured(cfg))
		if err != nil {
			t.Fatal(err)
		}
		if c := trainer.Comparison(); len(seen.compared) != 1 || seen.compared[0] != c || c.Records != from.Records {
			t.Fatalf("%d records at the start, want %d, told %d times", c.Records, from.Records, len(seen.compared))
		}
		return trainer, trainer.Comparison(), seen
	}
	_, before, seen := begin(same, whole)
	if before.Champion != "newton" || before.TwinAge != 1000 || len(seen.events) > 0 {
		t.Fatalf("as it was: %+v", before)
	}

	t.Run("a model joins, one leaves", func(t *testing.T) {
		cfg := same
		cfg.Models = names("fresh=newton_diag", "newton", "logistic")
		trainer, c, seen := begin(cfg, whole)
		if c.Champion != "newton" || len(seen.events) > 0 || c.TwinAge != before.TwinAge {
			t.Errorf("%+v", c)
		}
		if got := model(c, "fresh"); got.Segment != 1 || got.Compared != 0 || got.RecentRecords != 0 {
			t.Errorf("the new one begins with %+v", got)
		}
		if got, want := model(c, "logistic"), model(before, "logistic"); got != want {
			t.Errorf("the old one goes on from %+v, want %+v", got, want)
		}
		teachWith(t, trainer, rows, 6000, 500, 1)
		if got := model(trainer.Comparison(), "fresh"); got.RecentRecords != 3000 || got.Compared == 0 {
			t.Errorf("the new one goes on to %+v", got)
		}
	})
	t.Run("the champion leaves", func(t *testing.T) {
		cfg := same
		cfg.Models = names("logistic", "slow=logistic:rate=0.000001")
		trainer, c, seen := begin(cfg, whole)
		want := Event{Record: 3000, Kind: ChampionChanged, Champion: "logistic", Before: "newton"}
		if c.Champion != "logistic" || c.Changes != 1 || len(seen.events) != 1 || seen.events[0] != want || c.Events[len(c.Events)-1] != want {
			t.Errorf("%+v, told %+v", c, seen.events)
		}
		if c.TwinAge != 0 || trainer.Twin() != nil || model(c, "slow").Compared != 0 || model(c, "slow").Segment < 2 || model(c, "logistic").Segment != 0 {
			t.Errorf("%+v", c)
		}
		teachWith(t, trainer, rows, 6000, 500, 1)
		if c := trainer.Comparison(); c.TwinAge != 1000 || c.Changes != 1 || c.Baselines[2].Records != 1000+1000 {
			t.Errorf("%+v", c)
		}
		if again, c, seen := begin(cfg, end(t, trainer)); again.Twin() == nil || c.Changes != 1 || len(seen.events) > 0 {
			t.Errorf("once more: %+v", c)
		}
	})
	t.Run("all leave but one", func(t *testing.T) {
		cfg := same
		cfg.Models = names("logistic")
		trainer, c, _ := begin(cfg, whole)
		teachWith(t, trainer, rows, 6000, 500, 1)
		if c.Champion != "logistic" || c.Changes != 1 || trainer.Comparison().Changes != 1 || trainer.Comparison().TwinAge != 1000 {
			t.Errorf("%+v", trainer.Comparison())
		}
	})
	t.Run("the first leads again", func(t *testing.T) {
		cfg := same
		cfg.Models, cfg.Best = names("slow=logistic:rate=0.000001", "newton", "logistic"), false
		trainer, c, seen := begin(cfg, whole)
		if c.Champion != "slow" || c.Changes != 1 || len(seen.events) != 1 || trainer.Twin() != nil {
			t.Errorf("%+v", c)
		}
		// The former champion goes on with the comparison of the new one.
		if got, want := model(c, "newton"), model(before, "slow"); got.Segment != want.Segment+1 || got.Compared != 0 {
			t.Errorf("%+v, after %+v", got, want)
		}
		teachWith(t, trainer, rows, 6000, 500, 1)
		if c := trainer.Comparison(); c.Champion != "slow" || model(c, "newton").Low <= 0 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("another age", func(t *testing.T) {
		cfg := same
		cfg.TwinAge = 1750
		trainer, c, _ := begin(cfg, whole)
		if c.TwinAge != before.TwinAge || trainer.Twin() == nil || !math.IsNaN(c.Stability[0]) {
			t.Errorf("%+v", c)
		}
		teachWith(t, trainer, rows, 3500, 500, 1)
		if c := trainer.Comparison(); c.TwinAge != 3500-3000 { // the one from 3,000 predicts, the newest is from 3,500
			t.Errorf("%+v", c)
		}
	})
	t.Run("no copies any more", func(t *testing.T) {
		cfg := same
		cfg.TwinAge = 0
		trainer, c, _ := begin(cfg, whole)
		if c.TwinAge != 0 || trainer.Twin() != nil || c.Stability != nil || c.Baselines[2].Records != before.Baselines[2].Records {
			t.Errorf("%+v", c)
		}
		teachWith(t, trainer, rows, 6000, 500, 1)
		if c := trainer.Comparison(); c.Baselines[2].Records != before.Baselines[2].Records || len(c.Baselines) != 3 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("no comparison yet", func(t *testing.T) {
		bare := &Cut{Place: whole.Place, Models: whole.Models}
		trainer, c, seen := begin(same, bare)
		if c.Champion != "newton" || c.Records != 3000 || len(seen.events)+len(c.Events) > 0 || c.Models[1].Segment != 1 || trainer.Twin() != nil {
			t.Errorf("%+v", c)
		}
		teachWith(t, trainer, rows, 6000, 500, 1)
		if c := trainer.Comparison(); c.Baselines[0].Records != 3000 || c.TwinAge != 1000 {
			t.Errorf("%+v", c)
		}
	})
}

// Before the first record there is a comparison of nothing.
func TestComparisonOfNothing(t *testing.T) {
	trainer, err := New(configured(Config{Models: names("logistic", "newton"), TwinAge: 100}))
	if err != nil {
		t.Fatal(err)
	}
	c := trainer.Comparison()
	if c.Champion != "logistic" || c.Records != 0 || len(c.Models) != 2 || len(c.Baselines) != 3 || len(c.Drift) != 5 ||
		c.Stability != nil || trainer.Twin() != nil || !math.IsNaN(c.Baselines[0].Accuracy) || !math.IsNaN(c.Models[1].Low) {
		t.Errorf("%+v", c)
	}
	scores := c.Drift
	if !math.IsNaN(scores[0].Score) || scores[1].Score != 0 || !math.IsNaN(scores[2].Score) || !math.IsNaN(scores[4].Score) {
		t.Errorf("%+v", scores)
	}
}
