package train

import (
	"math"
	"slices"
	"sync/atomic"

	"learner/internal/adwin"
	"learner/pkg/evaluate"
	"learner/pkg/sgd"
)

const (
	leadAfter     = 10_000 // records of the lineage before the champion may change
	leadEvery     = 100    // records between two looks at who leads
	quietRecords  = 50_000 // behind a report, in which there is no other
	stabilityRows = 10_000 // of a reference of features at most, and of a window
	keptEvents    = 50
)

// compare is the goroutine that compares the models. It gets each batch when all of them have learned it, in order, goes
// over it record by record, and gives it back. What it finds depends on the records and how many there were, not on
// borders between batches.
type compare struct {
	specs []sgd.Spec
	seed  uint64
	best  bool
	age   uint64 // records between two copies; 0: there are none
	see   Observer
	in    chan *Batch // has room for all there are, so that a learner never waits

	records  uint64 // of the lineage
	width    int    // features of a row; 0: not known
	models   []contender
	champion int // of the models; -1: none, while its state is taken up
	changes  uint64

	labels   evaluate.Labels
	majority scores
	last     scores
	frozen   scores // of the predicting copy

	newest     *modelCopy // of the champion; nil: none yet
	predicting *modelCopy // the one before it
	answer     [1]float64 // of the predicting copy

	detectors [5]detector
	stability *evaluate.Stability // nil: width not known, or no copies are taken
	quiet     uint64              // nothing is reported before so many records

	events    []Event
	published atomic.Pointer[Comparison]
	twin      atomic.Pointer[sgd.Predictor] // the predicting copy
}

// contender is what is known of a model.
type contender struct {
	recent  *evaluate.Recent
	against *evaluate.Comparison // with the champion; nil: it is the champion
}

// scores are progressive ones.
type scores struct {
	records, correct uint64
	loss             float64 // sum, nats
	recent           *evaluate.Recent
}

func (s *scores) add(correct bool, loss float64) {
	s.records++
	if correct {
		s.correct++
	}
	s.loss += loss
	s.recent.Add(correct, loss)
}

// detector watches a signal.
type detector struct {
	name, signal string
	gauge        gauge   // nil: stability stands in for it
	limit        float64 // of a gauge whose score is gone when it has reported; else 0
	reports      uint64
	raised       uint64 // reports, and what was kept quiet
}

// gauge tells of rises of the mean of a signal.
type gauge interface {
	part
	Add(x float64) bool
	Restart()
	Score() float64
}

// window is an adaptive window as a gauge: its score is the mean.
type window struct{ adwin.Window }

func newWindow() *window { return &window{adwin.New(.002)} }

func (w *window) Add(x float64) bool { return w.Window.Add(x) == adwin.Rose }

func (w *window) Score() float64 {
	if w.Len() == 0 {
		return math.NaN()
	}
	return w.Mean()
}

// Where the detectors of each signal begin.
const (
	ofChampion = 0
	ofExcess   = 2
	ofFeatures = 4
)

// newCompare returns a stage that has seen no records, and whose first model leads.
func newCompare(cfg *Config) *compare {
	const championLimit, excessLimit = 100, 50
	c := &compare{
		specs: cfg.Models, seed: cfg.Seed, best: cfg.Best, age: cfg.TwinAge, see: cfg.Observer,
		in:       make(chan *Batch, batchesAll),
		majority: scores{recent: evaluate.NewRecent()},
		last:     scores{recent: evaluate.NewRecent()},
		frozen:   scores{recent: evaluate.NewRecent()},
		detectors: [...]detector{
			ofChampion: {name: ADWIN, signal: SignalChampion, gauge: newWindow()},
			{
				name: PageHinkley, signal: SignalChampion,
				gauge: evaluate.NewPageHinkley(.02, championLimit), limit: championLimit,
			},
			ofExcess: {name: ADWIN, signal: SignalExcess, gauge: newWindow()},
			{
				name: PageHinkley, signal: SignalExcess,
				gauge: evaluate.NewPageHinkley(.005, excessLimit), limit: excessLimit,
			},
			ofFeatures: {name: PSI, signal: SignalFeatures},
		},
	}
	for i := range c.specs {
		c.models = append(c.models, contender{recent: evaluate.NewRecent()})
		if i != c.champion {
			c.models[i].against = c.versus()
		}
	}
	return c
}

// versus returns a comparison that has seen no records. While the champion is gone every model has one.
func (c *compare) versus() *evaluate.Comparison {
	return evaluate.NewComparison(max(1, len(c.specs)-1))
}

func (c *compare) run() {
	pace := newPacer(c.publish)
	for {
		select {
		case b, ok := <-c.in:
			if !ok {
				pace.publish()
				return
			}
			c.compare(b)
			if b.cut != nil {
				b.cut.compared(c)
			}
			caughtUp := b.CaughtUp
			b.recycle()
			pace.changed(caughtUp)
		case <-pace.due.C:
			pace.publish()
		}
	}
}

// compare goes over a batch.
func (c *compare) compare(b *Batch) {
	if c.width == 0 && b.Len() > 0 {
		c.settle(b.Width)
	}
	copies := 0 // taken at the multiples of the age so far
	for i := range b.Len() {
		due := copyDue(c.age, c.records)
		c.records++
		if c.record(b, i) {
			c.restart()
		}
		if c.stability != nil && due <= referenceRows(c.age) {
			c.stability.Collect(b.Row(i))
		}
		if c.best && c.records >= leadAfter && c.records%leadEvery == 0 {
			if better := c.better(); better >= 0 {
				c.lead(better, c.specs[c.champion].Name)
			}
		}
		if due == 1 {
			c.refresh(b.answers[c.champion].copies[copies])
			copies++
		}
	}
}

// record takes in row i of a batch, and says whether drift is reported.
func (c *compare) record(b *Batch, i int) (drift bool) {
	y := b.Y[i]
	one := y == 1
	p, class := c.labels.Majority()
	c.majority.add(class == y, sgd.LogLoss(p, y))
	p, class = c.labels.LastLabel()
	c.last.add(class == y, sgd.LogLoss(p, y))
	c.labels.Add(y)

	champion := min(b.answers[c.champion].loss[i], evaluate.LossCap)
	for m := range c.models {
		a, model := &b.answers[m], &c.models[m]
		model.recent.Add((a.prob[i] >= .5) == one, a.loss[i])
		if model.against != nil {
			model.against.Add(champion - min(a.loss[i], evaluate.LossCap))
		}
	}

	drift = c.signal(c.detectors[ofChampion:ofExcess], champion)
	if c.predicting != nil {
		c.predicting.predictor.Predict(c.answer[:], b.Row(i))
		loss := sgd.LogLoss(c.answer[0], y)
		c.frozen.add((c.answer[0] >= .5) == one, loss)
		if c.signal(c.detectors[ofExcess:ofFeatures], min(loss, evaluate.LossCap)-champion) {
			drift = true
		}
	}
	if c.stability != nil && c.stability.Add(b.Row(i)) {
		feature, index := c.stability.Worst()
		if index > evaluate.StabilityAlarm && c.raise(&c.detectors[ofFeatures], index, feature) {
			drift = true
		}
	}
	return drift
}

// signal adds a value to the detectors of a signal, and says whether one of them reports. One that has raised begins anew.
func (c *compare) signal(detectors []detector, x float64) (reported bool) {
	for i := range detectors {
		d := &detectors[i]
		if !d.gauge.Add(x) {
			continue
		}
		score := d.gauge.Score()
		if d.limit > 0 {
			score = d.limit
		}
		d.gauge.Restart()
		if c.raise(d, score, 0) {
			reported = true
		}
	}
	return reported
}

// raise reports drift unless that was done shortly before.
func (c *compare) raise(d *detector, score float64, feature int) bool {
	d.raised++
	if c.records < c.quiet {
		return false
	}
	d.reports++
	c.quiet = c.records + quietRecords
	c.happened(Event{Kind: DriftReported, Detector: d.name, Signal: d.signal, Score: score, Feature: feature})
	return true
}

// restart begins a new segment in all comparisons.
func (c *compare) restart() {
	for _, m := range c.models {
		if m.against != nil {
			m.against.Restart()
		}
	}
}

// better returns the best of the models that are better than the champion for certain, -1 where none is.
func (c *compare) better() int {
	best := -1
	for i, m := range c.models {
		if m.against != nil && m.against.Decided() > 0 && (best < 0 || m.against.Mean() > c.models[best].against.Mean()) {
			best = i
		}
	}
	return best
}

// lead makes a model the champion in the place of the one called before. That one goes on with the new champion's comparison,
// in a new segment: so there is one for each challenger all along.
func (c *compare) lead(model int, before string) {
	if c.champion >= 0 {
		c.models[c.champion].against = c.models[model].against
	}
	c.models[model].against = nil
	c.champion = model
	c.changes++
	c.restart()
	for _, d := range c.detectors[ofChampion:ofExcess] {
		d.gauge.Restart()
	}
	c.drop()
	c.happened(Event{Kind: ChampionChanged, Champion: c.specs[model].Name, Before: before})
}

func (c *compare) happened(e Event) {
	e.Record = c.records
	c.events = append(c.events, e)
	c.events = c.events[max(0, len(c.events)-keptEvents):]
	c.see.Happened(e)
}

func (c *compare) publish() {
	p := c.comparison()
	c.published.Store(p)
	c.see.Compared(p)
}

// comparison returns what is known now.
func (c *compare) comparison() *Comparison {
	out := &Comparison{
		Champion: c.specs[c.champion].Name, Records: c.records, Changes: c.changes, Events: slices.Clone(c.events),
		Baselines: []BaselineScores{c.majority.as(Majority), c.last.as(LastLabel), c.frozen.as(FrozenTwin)},
	}
	for i, m := range c.models {
		model := ModelComparison{
			Name: c.specs[i].Name, RecentRecords: m.recent.Records(), RecentAccuracy: m.recent.Accuracy(),
			RecentLoss: m.recent.LogLoss(), Difference: math.NaN(), Low: math.NaN(), High: math.NaN(),
		}
		if m.against != nil {
			model.Segment, model.Compared = m.against.Segment(), m.against.Records()
			if model.Compared > 0 {
				model.Difference = m.against.Mean()
				model.Low, model.High = m.against.Bounds()
			}
		}
		out.Models = append(out.Models, model)
	}
	for _, d := range c.detectors {
		score := math.NaN()
		if d.gauge != nil {
			score = d.gauge.Score()
		} else if c.stability != nil {
			_, score = c.stability.Worst()
		}
		out.Drift = append(out.Drift, Detector{
			Detector: d.name, Signal: d.signal, Score: score, Reports: d.reports, Raised: d.raised,
		})
	}
	if c.stability != nil {
		for i := range c.stability.Features() {
			out.Stability = append(out.Stability, c.stability.Index(i))
		}
	}
	if c.predicting != nil {
		out.TwinAge = c.records - c.predicting.at
	}
	return out
}

func (s *scores) as(name string) BaselineScores {
	n := float64(s.records)
	return BaselineScores{
		Name: name, Records: s.records, Accuracy: float64(s.correct) / n, Loss: s.loss / n,
		RecentRecords: s.recent.Records(), RecentAccuracy: s.recent.Accuracy(), RecentLoss: s.recent.LogLoss(),
	}
}
