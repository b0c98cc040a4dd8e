package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"learner/pkg/record"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// learnedSnapshot returns a snapshot of a model that has learned that the label is the second feature, and not the third.
func learnedSnapshot(t *testing.T, width int) *train.Snapshot {
	t.Helper()
	specs, err := sgd.ParseModels("logistic")
	if err != nil {
		t.Fatal(err)
	}
	m := specs[0].New(width, 1)
	rows := sgd.Rows{Width: width, X: make([]float64, 400*width), Y: make([]float64, 400)}
	for i := range rows.Y {
		up := float64(i % 2)
		rows.Y[i] = up
		x := rows.Row(i)
		x[0], x[1], x[2] = float64(i%3), up, 1-up
	}
	m.Learn(&rows, make([]float64, 400))
	return &train.Snapshot{Model: "logistic", Features: width, Layout: record.Positional(width), Predictor: m.Snapshot()}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)
	cfg.Columns = []string{"label", "noise", "up", "down", "still"}
	s := learnedSnapshot(t, 4)
	var c effectCache
	first := c.of(s, cfg, nil, nil)
	if len(first) != 4 || first[0].Feature == "noise" || first[3].Feature != "still" {
		t.Fatalf("%v", first)
	}
	for i, e := range first {
		if i > 0 && math.Abs(float64(e.LogOdds)) > math.Abs(float64(first[i-1].LogOdds)) {
			t.Errorf("%v is not in order", first)
		}
		if e.Feature == "up" && e.LogOdds < 0.5 || e.Feature == "down" && e.LogOdds > -0.5 {
			t.Errorf("effect of %s is %v", e.Feature, e.LogOdds)
		}
	}

	// Another snapshot is looked at when some seconds have passed, and one of other rows at once.
	if again := c.of(learnedSnapshot(t, 4), cfg, nil, nil); &again[0] != &first[0] {
		t.Error("computed anew at once")
	}
	c.models["logistic"].next = time.Now()
	if again := c.of(learnedSnapshot(t, 4), cfg, nil, nil); &again[0] == &first[0] {
		t.Error("not computed anew")
	}
	if wider := c.of(learnedSnapshot(t, 5), cfg, nil, nil); len(wider) != 5 || wider[4].Feature != "still" && wider[4].Feature != "5" {
		t.Errorf("wider rows: %v", wider)
	}
	if none := effectsOf(learnedSnapshot(t, maxEffects+1), cfg, nil, nil); none != nil {
		t.Errorf("%d effects", len(none))
	}
	if none := effectsOf(&train.Snapshot{Model: "logistic"}, cfg, nil, nil); none != nil {
		t.Errorf("before the first record: %v", none)
	}
}

func TestEffectsOfMissingValues(t *testing.T) {
	t.Parallel()
	s, slots := mixedSnapshot(t, "logistic")
	var features []string
	for _, e := range effectsOf(s, defaults(t), slots, []uint64{0, 1, 500}) {
		features = append(features, e.Feature)
		if e.Feature == "user.score missing" && e.LogOdds < 0.5 {
			t.Errorf("without a score: %v", e.LogOdds)
		}
	}
	slices.Sort(features)
	if want := []string{"age", "city missing", "user.score", "user.score missing"}; !slices.Equal(features, want) {
		t.Errorf("effects of %q, want %q", features, want)
	}
}
