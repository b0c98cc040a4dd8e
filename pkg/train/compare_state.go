package train

import (
	"encoding/json"
	"fmt"
	"slices"

	"learner/pkg/sgd"
)

// part is what keeps its own state, as numbers.
type part interface {
	State() []float64
	Restore(state []float64) error
}

// field is a tensor of the stage's state: one of these.
type field struct {
	name  string
	count *uint64
	sum   *float64
	part  part
}

// Names of tensors that are more than a field.
const (
	agePath       = "twin/age"
	newestPath    = "twin/newest"
	predictsPath  = "twin/predicting"
	atSuffix      = "_at"    // records of the lineage when the copy was taken
	widthSuffix   = "_width" // dense features of a row by then; not there: as many as now
	stabilityPath = "stability"
	eventsPath    = "events" // JSON
	modelsPrefix  = "model/"
)

func recentPath(model string) string     { return modelsPrefix + model + "/recent" }
func comparisonPath(model string) string { return modelsPrefix + model + "/comparison" }

// fields returns the tensors that are there always.
func (c *compare) fields() []field {
	all := []field{
		{name: "changes", count: &c.changes},
		{name: "labels/records", count: &c.labels.Records},
		{name: "labels/ones", count: &c.labels.Ones},
		{name: "labels/repeats", count: &c.labels.Repeats},
		{name: "labels/last", count: &c.labels.Last},
		{name: "drift/quiet_until", count: &c.quiet},
	}
	for _, b := range []struct {
		name string
		*scores
	}{{Majority, &c.majority}, {LastLabel, &c.last}, {FrozenTwin, &c.frozen}} {
		at := "baseline/" + b.name
		all = append(all,
			field{name: at + "/records", count: &b.records}, field{name: at + "/correct", count: &b.correct},
			field{name: at + "/loss", sum: &b.loss}, field{name: at + "/recent", part: b.recent})
	}
	for i := range c.detectors {
		d := &c.detectors[i]
		at := "drift/" + d.name + "/" + d.signal
		all = append(all, field{name: at + "/reports", count: &d.reports}, field{name: at + "/raised", count: &d.raised})
		if d.gauge != nil {
			all = append(all, field{name: at, part: d.gauge})
		}
	}
	return all
}

// state returns the stage's part of a cut. Copies of models are shared with it: they never change.
func (c *compare) state() []sgd.Tensor {
	var all []sgd.Tensor
	for _, f := range c.fields() {
		switch {
		case f.count != nil:
			all = append(all, one(f.name, *f.count))
		case f.sum != nil:
			all = append(all, one(f.name, *f.sum))
		default:
			all = append(all, list(f.name, f.part.State()))
		}
	}
	for i, m := range c.models {
		all = append(all, list(recentPath(c.specs[i].Name), m.recent.State()))
		if m.against != nil {
			all = append(all, list(comparisonPath(c.specs[i].Name), m.against.State()))
		}
	}
	events, err := json.Marshal(c.events)
	if err != nil {
		panic("train: events that are not to be written: " + err.Error()) // names and finite numbers always are
	}
	all = append(all, list(eventsPath, events), one(agePath, c.age))
	if c.stability != nil {
		all = append(all, list(stabilityPath, c.stability.State()))
	}
	return slices.Concat(all, c.newest.state(newestPath, c.width), c.predicting.state(predictsPath, c.width))
}

// state returns the copy's tensors, where rows have that width now; nil: none.
func (m *keptCopy) state(path string, width int) []sgd.Tensor {
	if m == nil {
		return nil
	}
	all := []sgd.Tensor{one(path+atSuffix, m.at)}
	if m.width != width {
		all = append(all, one(path+widthSuffix, uint64(m.width)))
	}
	for _, t := range m.tensors {
		t.Name = path + "/" + t.Name
		all = append(all, t)
	}
	return all
}

// restore takes up the stage from its part of a cut, with the models that are wanted now. Those that the cut does not have
// begin there.
func (c *compare) restore(from *Cut) error {
	c.records = from.Records
	if from.Features > 0 {
		c.settle(from.Features)
	}
	before := from.Champion
	if before == "" {
		before = c.specs[0].Name
	}
	c.champion = slices.IndexFunc(c.specs, func(s sgd.Spec) bool { return s.Name == before })
	for i := range c.models {
		c.models[i].against = nil
		if i != c.champion {
			c.models[i].against = c.versus()
		}
	}
	if len(from.Comparison) > 0 {
		if err := c.load(sgd.NewStored(from.Comparison)); err != nil {
			return fmt.Errorf("restore the comparison of models: %w", err)
		}
	}
	if c.champion < 0 || c.champion > 0 && !c.best {
		c.lead(0, before)
	}
	return nil
}

func (c *compare) load(from *sgd.Stored) error {
	for _, f := range c.fields() {
		switch {
		case f.count != nil:
			sgd.LoadScalar(from, f.name, f.count)
		case f.sum != nil:
			sgd.LoadScalar(from, f.name, f.sum)
		default:
			loadPart(from, f.name, f.part)
		}
	}
	if l := &c.labels; l.Ones > l.Records || l.Repeats > l.Records || l.Last > 1 {
		from.Fault("tensors labels/ones, labels/repeats, labels/last: %d, %d, and %d of %d records", l.Ones, l.Repeats, l.Last, l.Records)
	}
	for i := range c.specs {
		c.loadModel(from, i)
	}
	from.Take(modelsPrefix) // those of models that are not wanted any more
	if events := sgd.Values[uint8](from, eventsPath); events != nil {
		if err := json.Unmarshal(events, &c.events); err != nil {
			from.Fault("tensor %s: %w", eventsPath, err)
		}
	}
	c.loadCopies(from)
	return from.Done()
}

// loadModel loads what is known of a model; without any of it the model is new.
func (c *compare) loadModel(from *sgd.Stored, i int) {
	m, recent, comparison := &c.models[i], recentPath(c.specs[i].Name), comparisonPath(c.specs[i].Name)
	if !from.Has(recent) && !from.Has(comparison) {
		return
	}
	loadPart(from, recent, m.recent)
	if m.against != nil {
		loadPart(from, comparison, m.against)
	}
}

// loadCopies loads the champion's copies, and what its features are compared with. The latter is of no use where another
// age asks for references of another size.
func (c *compare) loadCopies(from *sgd.Stored) {
	c.newest, c.predicting = c.loadCopy(from, newestPath), c.loadCopy(from, predictsPath)
	age := c.age
	sgd.LoadScalar(from, agePath, &age)
	if c.age > 0 && c.stability != nil && referenceRows(age) == referenceRows(c.age) {
		loadPart(from, stabilityPath, c.stability)
	} else if from.Has(stabilityPath) {
		sgd.Values[float64](from, stabilityPath)
	}
	switch {
	case c.age == 0:
		c.drop()
	case c.predicting != nil:
		c.show()
	}
}

// loadCopy loads a copy of the champion; nil where there is none, or the champion is gone.
func (c *compare) loadCopy(from *sgd.Stored, path string) *keptCopy {
	m := &keptCopy{modelCopy: modelCopy{tensors: from.Take(path + "/")}}
	if len(m.tensors) == 0 && !from.Has(path+atSuffix) {
		return nil
	}
	sgd.LoadScalar(from, path+atSuffix, &m.at)
	width := uint64(c.width)
	if from.Has(path + widthSuffix) {
		sgd.LoadScalar(from, path+widthSuffix, &width)
	}
	if c.champion < 0 {
		return nil
	}
	switch {
	case m.at > c.records:
		from.Fault("tensor %s: %d, which is beyond record %d", path+atSuffix, m.at, c.records)
	case width > uint64(c.width):
		from.Fault("tensor %s: %d, where rows have %d features", path+widthSuffix, width, c.width)
	default:
		m.width = int(width)
		var err error
		if m.predictor, err = c.revive(m.tensors, m.width); err != nil {
			from.Fault("tensors %s/…: %w", path, err)
		}
	}
	return m
}

func loadPart(from *sgd.Stored, name string, p part) {
	if state := sgd.Values[float64](from, name); state != nil {
		if err := p.Restore(state); err != nil {
			from.Fault("tensor %s: %w", name, err)
		}
	}
}
