package main

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/sgd"
	"learner/pkg/train"
)

// comparison returns how the models compare by what this process has, as holder or as standby; nil: it has nothing.
func (s *service) comparison() *train.Comparison {
	_, _, comparison, _ := s.serving()
	return comparison
}

// twin returns the frozen copy of the champion that this process has; nil: none.
func (s *service) twin() sgd.Predictor {
	if t := s.tenure.Load(); t != nil {
		return t.trainer.Twin()
	}
	if f := s.followed.Load(); f != nil {
		return f.twin
	}
	return nil
}

// championStatus is the champion, as /api/status shows it.
type championStatus struct {
	Name    string  `json:"name"`
	Since   *uint64 `json:"since_record"` // of the lineage; null: the change is no longer among the events
	Changes uint64  `json:"changes"`      // in the lineage
}

// modelComparison is how a model compares with the champion in a segment of the lineage.
type modelComparison struct {
	Segment    int         `json:"segment"`
	Records    int         `json:"records"`
	Difference serve.Float `json:"difference"` // champion's loss less the model's: above 0 the model is better
	Low        serve.Float `json:"low"`
	High       serve.Float `json:"high"`
}

// baselineStatus are the scores of a baseline on the train records.
type baselineStatus struct {
	Name           string      `json:"name"`
	Records        uint64      `json:"records"`
	Accuracy       serve.Float `json:"progressive_accuracy"`
	Loss           serve.Float `json:"progressive_loss"`
	RecentRecords  int         `json:"recent_records"`
	RecentAccuracy serve.Float `json:"recent_accuracy"`
	RecentLoss     serve.Float `json:"recent_loss"`
}

// driftStatus is a detector of drift.
type driftStatus struct {
	Detector string      `json:"detector"`
	Signal   string      `json:"signal"`
	Score    serve.Float `json:"score"`
	Reports  uint64      `json:"reports"` // in the lineage
}

// featureStatus is a feature that is watched.
type featureStatus struct {
	Feature string      `json:"feature"`
	Index   serve.Float `json:"population_stability_index"`
}

// eventStatus is a train.Event whose feature has a name.
type eventStatus struct {
	train.Event
	Feature string `json:"feature,omitempty"`
}

// compare puts a comparison into what /api/status shows.
func (st *status) compare(c *train.Comparison, cfg *Config, layout *record.Layout) {
	st.Champion = championStatus{Name: c.Champion, Changes: c.Changes}
	if c.Changes == 0 {
		st.Champion.Since = new(uint64)
	}
	for i := range c.Events {
		if e := &c.Events[i]; e.Kind == train.ChampionChanged {
			st.Champion.Since = &e.Record
		}
	}
	for i := range st.Models {
		m := &st.Models[i]
		m.Champion = m.Name == c.Champion
		at := slices.IndexFunc(c.Models, func(x train.ModelComparison) bool { return x.Name == m.Name })
		if at < 0 { // nothing is compared yet
			continue
		}
		x := &c.Models[at]
		m.RecentRecords, m.RecentAccuracy, m.RecentLoss = x.RecentRecords, serve.Float(x.RecentAccuracy), serve.Float(x.RecentLoss)
		if x.Segment > 0 {
			m.Comparison = &modelComparison{
				Segment: x.Segment, Records: x.Compared,
				Difference: serve.Float(x.Difference), Low: serve.Float(x.Low), High: serve.Float(x.High),
			}
		}
	}
	for _, b := range c.Baselines {
		st.Baselines = append(st.Baselines, baselineStatus{
			b.Name, b.Records, serve.Float(b.Accuracy), serve.Float(b.Loss),
			b.RecentRecords, serve.Float(b.RecentAccuracy), serve.Float(b.RecentLoss),
		})
	}
	for _, d := range c.Drift {
		st.Drift = append(st.Drift, driftStatus{d.Detector, d.Signal, serve.Float(d.Score), d.Reports})
	}
	for i, index := range c.Stability {
		st.Stability = append(st.Stability, featureStatus{cfg.numberName(layout, i), serve.Float(index)})
	}
	st.TwinAge = c.TwinAge
	for _, e := range c.Events {
		shown := eventStatus{Event: e}
		if e.Signal == train.SignalFeatures {
			shown.Feature = cfg.numberName(layout, e.Feature)
		}
		st.Events = append(st.Events, shown)
	}
}

// compared brings the metrics up to date with a comparison.
func (s *service) compared(c *train.Comparison, layout *record.Layout) {
	s.metrics.Champion(c.Champion)
	for _, m := range c.Models {
		s.metrics.Recent(m.Name, m.RecentRecords, m.RecentAccuracy, m.RecentLoss)
		records := float64(m.Compared)
		if m.Segment == 0 { // the champion
			records = math.NaN()
		}
		s.metrics.Difference(m.Name, records, m.Difference, m.Low, m.High)
	}
	for _, b := range c.Baselines {
		s.metrics.ProgressiveBaseline(b.Name, b.Accuracy, b.Loss, b.RecentAccuracy, b.RecentLoss)
	}
	age := math.NaN()
	if c.TwinAge > 0 {
		age = float64(c.TwinAge)
	}
	s.metrics.TwinAge(age)
	for _, d := range c.Drift {
		s.metrics.DriftScore(d.Detector, d.Signal, d.Score)
	}
	for i, index := range c.Stability {
		s.metrics.Stability(s.cfg.numberName(layout, i), index)
	}
}

// featureName returns what LEARNER_FEATURES would call the i-th feature of a row: its column's name, or the column's number
// where columns have no names.
func (c *Config) featureName(i int) string {
	number := func(column string) int {
		for n, name := range c.Columns {
			if strings.TrimSpace(name) == column {
				return n
			}
		}
		n, err := strconv.Atoi(column)
		if err != nil {
			return -1 // the key
		}
		return n
	}
	at := i
	if len(c.Features) > 0 {
		at = number(strings.TrimSpace(c.Features[i]))
	} else {
		label := 0
		if text := strings.TrimSpace(c.Label); text != "auto" {
			label = number(text)
		}
		if label >= 0 && label <= i {
			at++
		}
	}
	if at < len(c.Columns) {
		return strings.TrimSpace(c.Columns[at])
	}
	return strconv.Itoa(at)
}
