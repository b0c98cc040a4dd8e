package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"learner/pkg/metrics"
	"learner/pkg/train"
)

// TestFeatureName holds that a feature is called what LEARNER_FEATURES would call it: what is learned from it is what that
// column holds.
func TestFeatureName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  []string
		want []string
	}{
		{"label first", nil, []string{"1", "2", "3"}},
		{"label in the middle", []string{"LEARNER_LABEL=1"}, []string{"0", "2", "3"}},
		{"label in the key", []string{"LEARNER_LABEL=key"}, []string{"0", "1", "2"}},
		{"some columns", []string{"LEARNER_FEATURES=4, 2"}, []string{"4", "2"}},
		{"names", []string{"LEARNER_COLUMNS=y,a, b"}, []string{"a", "b"}},
		{"names, and the label last", []string{"LEARNER_COLUMNS=a,b,y", "LEARNER_LABEL=y"}, []string{"a", "b"}},
		{"some names", []string{"LEARNER_COLUMNS=y,a,b,c", "LEARNER_FEATURES=c,1"}, []string{"c", "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, err := loadConfig(tt.env, t.TempDir(), offline)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range tt.want {
				if got := cfg.featureName(i); got != want {
					t.Errorf("feature %d is called %q, want %q", i, got, want)
				}
			}
		})
	}
}

// comparisonExample has a champion that took the lead, a challenger, and a twin that has not answered yet.
func comparisonExample() *train.Comparison {
	nan := math.NaN()
	return &train.Comparison{
		Champion: "b", Records: 50_000, Changes: 2,
		Models: []train.ModelComparison{
			{
				Name: "a", RecentRecords: 9950, RecentAccuracy: .75, RecentLoss: .5,
				Segment: 3, Compared: 2000, Difference: -.25, Low: -.5, High: .125,
			},
			{Name: "b", RecentRecords: 9950, RecentAccuracy: .8, RecentLoss: .4, Difference: nan, Low: nan, High: nan},
		},
		Baselines: []train.BaselineScores{
			{Name: train.Majority, Records: 50_000, Accuracy: .5, Loss: .69, RecentRecords: 9950, RecentAccuracy: .55, RecentLoss: .68},
			{Name: train.FrozenTwin, Accuracy: nan, Loss: nan, RecentAccuracy: nan, RecentLoss: nan},
		},
		Drift: []train.Detector{
			{Detector: train.ADWIN, Signal: train.SignalChampion, Score: .5, Reports: 1},
			{Detector: train.PSI, Signal: train.SignalFeatures, Score: nan},
		},
		Stability: []float64{.125, nan},
		TwinAge:   1000,
		Events: []train.Event{
			{Record: 20_000, Kind: train.ChampionChanged, Champion: "a", Before: "b"},
			{Record: 30_000, Kind: train.ChampionChanged, Champion: "b", Before: "a"},
			{Record: 40_000, Kind: train.DriftReported, Detector: train.ADWIN, Signal: train.SignalChampion, Score: .5},
			{Record: 45_000, Kind: train.DriftReported, Detector: train.PSI, Signal: train.SignalFeatures, Score: .25, Feature: 1},
		},
	}
}

func TestStatusOfComparison(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)
	shown := func(c *train.Comparison) string {
		st := status{Models: []modelStatus{{Name: "a"}, {Name: "b"}}}
		st.compare(c, cfg, nil)
		text, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	c := comparisonExample()
	text := shown(c)
	for _, want := range []string{
		`"champion":{"name":"b","since_record":30000,"changes":2}`, `"twin_age_records":1000`,
		`"name":"a","kind":"","champion":false`, `"name":"b","kind":"","champion":true`,
		`"recent_records":9950,"recent_accuracy":0.75,"recent_loss":0.5,` +
			`"comparison":{"segment":3,"records":2000,"difference":-0.25,"low":-0.5,"high":0.125}`,
		`"recent_accuracy":0.8,"recent_loss":0.4,"comparison":null`,
		`{"name":"majority","records":50000,"progressive_accuracy":0.5,"progressive_loss":0.69,"recent_records":9950,"recent_accuracy":0.55,"recent_loss":0.68}`,
		`{"name":"frozen_twin","records":0,"progressive_accuracy":null,`,
		`{"detector":"adwin","signal":"champion","score":0.5,"reports":1}`, `{"detector":"psi","signal":"features","score":null,"reports":0}`,
		`"stability":[{"feature":"1","population_stability_index":0.125},{"feature":"2","population_stability_index":null}]`,
		`{"record":30000,"kind":"champion","champion":"b","before":"a"}`,
		`{"record":45000,"kind":"drift","detector":"psi","signal":"features","score":0.25,"feature":"2"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}

	// A change that is no longer among the events, and no change at all.
	c.Events = c.Events[2:]
	if text = shown(c); !strings.Contains(text, `"since_record":null`) {
		t.Errorf("events without a change: %s", text)
	}
	c.Changes = 0
	if text = shown(c); !strings.Contains(text, `"since_record":0`) {
		t.Errorf("no change: %s", text)
	}
}

func TestMetricsOfComparison(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	log := &safeBuffer{}
	cfg := defaults(t)
	cfg.LogFormat, cfg.Columns = "json", []string{"y", "energy", "angle"}
	s := &service{cfg: cfg, metrics: metrics.New(registry, metrics.Config{Models: []string{"a", "b"}}), log: newLogger(cfg, logLevel(cfg), log)}
	o := newObserver(s)
	c := comparisonExample()
	o.Compared(c)
	for _, e := range c.Events {
		o.Happened(e)
	}
	got := gathered(t, registry)
	for series, want := range map[string]float64{
		`learner_champion{model="a"}`:                                           0,
		`learner_champion{model="b"}`:                                           1,
		`learner_model_recent_records{model="a"}`:                               9950,
		`learner_model_recent_loss{model="b"}`:                                  .4,
		`learner_comparison_records{model="a"}`:                                 2000,
		`learner_comparison_records{model="b"}`:                                 math.NaN(),
		`learner_comparison_low{model="a"}`:                                     -.5,
		`learner_champion_changes_total`:                                        2,
		`learner_baseline_recent_accuracy_ratio{baseline="majority"}`:           .55,
		`learner_baseline_accuracy_ratio{baseline="frozen_twin"}`:               math.NaN(),
		`learner_twin_age_records`:                                              1000,
		`learner_drift_score{detector="adwin",signal="champion"}`:               .5,
		`learner_drift_detected_total{detector="adwin",signal="champion"}`:      1,
		`learner_drift_detected_total{detector="psi",signal="features"}`:        1,
		`learner_drift_detected_total{detector="page_hinkley",signal="excess"}`: 0,
		`learner_feature_population_stability_index{feature="energy"}`:          .125,
		`learner_feature_population_stability_index{feature="angle"}`:           math.NaN(),
	} {
		value, ok := got[series]
		if !ok || value != want && !(math.IsNaN(value) && math.IsNaN(want)) {
			t.Errorf("%s is %v (%v), want %v", series, value, ok, want)
		}
	}
	c.TwinAge = 0 // a change of champion has dropped it
	o.Compared(c)
	if n := gathered(t, registry)["learner_twin_age_records"]; !math.IsNaN(n) {
		t.Errorf("age of a twin that was dropped: %v", n)
	}

	lines := slices.Collect(strings.Lines(log.String()))
	if len(lines) != 4 {
		t.Fatalf("%d log lines, want one for each event: %s", len(lines), log)
	}
	for i, want := range map[int]string{
		1: `"msg":"champion changed","champion":"b","before":"a","record":30000`,
		2: `"msg":"drift","detector":"adwin","signal":"champion","score":0.5,"record":40000}`,
		3: `"msg":"drift","detector":"psi","signal":"features","score":0.25,"record":45000,"feature":"angle"}`,
	} {
		level := map[bool]string{true: `"level":"info"`, false: `"level":"warn"`}[i == 1]
		if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], level) {
			t.Errorf("log line %s, want %s and %s", lines[i], level, want)
		}
	}
}

// gathered returns the value of every series.
func gathered(t *testing.T, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			all[f.GetName()+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}
