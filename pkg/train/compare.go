package train

import (
	"math"
	"slices"
	"sync"
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
// over it in runs of records, and gives it back. What it finds depends on the records and how many there were, not on
// borders between batches or runs: nothing but a report of drift reaches from one part of the stage to another within a
// run, so each part goes over the run by itself.
type compare struct {
	specs []sgd.Spec
	seed  uint64
	best  bool
	age   uint64 // records between two copies; 0: there are none
	see   Observer
	turns sync.Locker
	in    chan *Batch // has room for all there are, so that a learner never waits

	records  uint64 // of the lineage
	width    int    // dense features of a row so far; 0: none yet
	models   []contender
	champion int // of the models; -1: none, while its state is taken up
	changes  uint64

	labels   evaluate.Labels
	majority scores
	last     scores
	frozen   scores // of the predicting copy

	newest     *keptCopy // of the champion; nil: none yet
	predicting *keptCopy // the one before it

	detectors [5]detector
	stability *evaluate.Stability // nil: rows have no dense features yet, or no copies are taken
	quiet     uint64              // nothing is reported before so many records
	raised    []raised            // in the run in hand
	run       run

	events    []Event
	untold    bool // one came since the last publication
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

// add takes in a run of records, one by one: sums over runs would depend on where these end.
func (s *scores) add(correct []uint8, loss []float64) {
	s.records += uint64(len(loss))
	for i, l := range loss {
		s.correct += uint64(correct[i])
		s.loss += l
	}
	s.recent.AddRun(correct, loss)
}

// runRows is how many records are compared in one go: few enough for their rows to stay in a core's first cache.
const runRows = 128

// run is room for what is computed for a run of records.
type run struct {
	prob              [2][runRows]float64 // of two baselines
	correct           [2][runRows]uint8
	loss              [runRows]float64
	champion, another [runRows]float64 // signals, and differences of losses
	sparseEnd         [runRows]int
}

// raised is what a detector noticed.
type raised struct {
	row      int // of the run
	detector *detector
	score    float64
	feature  int
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
	// AddRun adds values up to the first at which the mean has risen. It returns how many it took, and whether there was one.
	AddRun(x []float64) (n int, rose bool)
	Restart()
	Score() float64
}

// window is an adaptive window as a gauge: its score is the mean.
type window struct{ adwin.Window }

func newWindow() *window { return &window{adwin.New(.002)} }

func (w *window) AddRun(x []float64) (n int, rose bool) {
	for n < len(x) {
		taken, change := w.Window.AddRun(x[n:])
		n += taken
		if change == adwin.Rose {
			return n, true
		}
	}
	return n, false
}

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
		specs: cfg.Models, seed: cfg.Seed, best: cfg.Best, age: cfg.TwinAge, see: cfg.Observer, turns: cfg.Turns,
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

func (c *compare) work() {
	pace := newPacer(compareEvery, c.publish)
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
			urgent := b.CaughtUp || c.untold
			b.recycle()
			pace.changed(urgent)
		case <-pace.due.C:
			pace.publish()
		}
	}
}

// compare goes over a batch.
func (c *compare) compare(b *Batch) {
	if c.turns != nil {
		c.turns.Lock()
		defer c.turns.Unlock()
	}
	for _, e := range b.events {
		c.happened(e)
	}
	if b.Len() > 0 && b.Width > c.width {
		c.settle(b.Width)
	}
	copies := 0 // taken at the multiples of the age so far
	for from := 0; from < b.Len(); {
		to := min(b.Len(), from+runRows)
		due := copyDue(c.age, c.records)
		if due > 0 {
			to = min(to, from+int(min(due, runRows)))
		}
		if c.best {
			to = min(to, from+leadEvery-int(c.records%leadEvery))
		}
		c.compareRun(b, from, to, due)
		if c.best && c.records >= leadAfter && c.records%leadEvery == 0 {
			if better := c.better(); better >= 0 {
				c.lead(better, c.specs[c.champion].Name)
			}
		}
		if due == uint64(to-from) {
			c.refresh(b.answers[c.champion].copies[copies])
			copies++
		}
		from = to
	}
}

// compareRun takes in rows [from, to) of a batch, runRows at most, of which the due-th is the one behind which a copy is taken.
func (c *compare) compareRun(b *Batch, from, to int, due uint64) {
	r, n := &c.run, to-from
	rows := between(&b.Rows, from, to, r.sparseEnd[:0])
	y := rows.Y
	c.baselines(y)
	champion, another := r.champion[:n], r.another[:n]
	capped(champion, b.answers[c.champion].loss[from:to])
	c.raised = c.raised[:0]
	c.signal(c.detectors[ofChampion:ofExcess], champion)
	if c.predicting != nil {
		prob, correct, loss := r.prob[0][:n], r.correct[0][:n], r.loss[:n]
		sgd.PredictRows(c.predicting.predictor, prob, rows.X, rows.Sparse, rows.SparseEnd)
		judge(correct, loss, prob, y)
		c.frozen.add(correct, loss)
		capped(another, loss)
		for i, l := range champion {
			another[i] -= l
		}
		c.signal(c.detectors[ofExcess:ofFeatures], another)
	}
	if c.stability != nil {
		c.watch(&rows)
		if first := max(0, int(due)-int(referenceRows(c.age))); due > 0 && first < n {
			c.stability.CollectRun(rows.X[first*b.Width:], b.Width)
		}
	}

	before := c.records
	drifts := c.report(before)
	c.records = before + uint64(n)
	for m := range c.models {
		a, model := &b.answers[m], &c.models[m]
		model.recent.AddRun(a.correct[from:to], a.loss[from:to])
		if model.against == nil {
			continue
		}
		capped(another, a.loss[from:to])
		for i, l := range champion {
			another[i] = l - another[i]
		}
		rest, at := another, 0
		for _, drift := range drifts { // a new segment begins behind each
			model.against.AddRun(rest[:drift+1-at])
			model.against.Restart()
			rest, at = rest[drift+1-at:], drift+1
		}
		model.against.AddRun(rest)
	}
}

// judge stores what comes of answers: 1 where at least one half stands for the right class, else 0, and the log loss.
func judge(correct []uint8, loss, prob, y []float64) {
	for i, p := range prob {
		correct[i] = bit((p >= .5) == (y[i] == 1))
	}
	sgd.LogLosses(loss, prob, y)
}

func bit(yes bool) uint8 {
	if yes {
		return 1
	}
	return 0
}

// capped stores losses as they count in comparisons.
func capped(dst, loss []float64) {
	for i, l := range loss {
		if l > evaluate.LossCap {
			l = evaluate.LossCap
		}
		dst[i] = l
	}
}

// baselines lets those that need no features answer to a run of records.
func (c *compare) baselines(y []float64) {
	r, n := &c.run, len(y)
	majority := evaluate.Answers{Prob: r.prob[0][:n], Correct: r.correct[0][:n]}
	last := evaluate.Answers{Prob: r.prob[1][:n], Correct: r.correct[1][:n]}
	c.labels.AddRun(y, majority, last)
	loss := r.loss[:n]
	sgd.LogLosses(loss, majority.Prob, y)
	c.majority.add(majority.Correct, loss)
	sgd.LogLosses(loss, last.Prob, y)
	c.last.add(last.Correct, loss)
}

// signal adds a run of values to the detectors of a signal. One that has raised begins anew.
func (c *compare) signal(detectors []detector, x []float64) {
	for i := range detectors {
		d := &detectors[i]
		for at := 0; at < len(x); {
			n, rose := d.gauge.AddRun(x[at:])
			at += n
			if !rose {
				continue
			}
			score := d.gauge.Score()
			if d.limit > 0 {
				score = d.limit
			}
			d.gauge.Restart()
			c.raised = append(c.raised, raised{row: at - 1, detector: d, score: score})
		}
	}
}

// watch compares the features of a run of rows with those before the copy that predicts was taken.
func (c *compare) watch(rows *sgd.Rows) {
	for row, x := 0, rows.X; len(x) > 0; {
		n, complete := c.stability.AddRun(x, rows.Width, rows.Missing)
		row += n
		x = x[n*rows.Width:]
		if !complete {
			continue
		}
		if feature, index := c.stability.Worst(); index > evaluate.StabilityAlarm {
			c.raised = append(c.raised, raised{row - 1, &c.detectors[ofFeatures], index, feature})
		}
	}
}

// report raises what was noticed in a run that begins behind so many records, in the order in which a stage would that goes
// record by record. It returns the rows at which drift is reported.
func (c *compare) report(before uint64) (drifts []int) {
	slices.SortStableFunc(c.raised, func(a, b raised) int { return a.row - b.row })
	for _, r := range c.raised {
		c.records = before + uint64(r.row) + 1
		if c.raise(r.detector, r.score, r.feature) {
			drifts = append(drifts, r.row)
		}
	}
	return drifts
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
	c.untold = true
	c.events = append(c.events, e)
	c.events = c.events[max(0, len(c.events)-keptEvents):]
	c.see.Happened(e)
}

func (c *compare) publish() {
	p := c.comparison()
	c.untold = false
	c.published.Store(p)
	c.see.Compared(p)
}

// comparison returns what is known now.
func (c *compare) comparison() *Comparison {
	out := &Comparison{
		Champion: c.specs[c.champion].Name, Records: c.records, Changes: c.changes, Events: slices.Clone(c.events),
		Baselines: []BaselineScores{c.majority.as(Majority), c.last.as(LastLabel), c.frozen.as(FrozenTwin)},
		Models:    make([]ModelComparison, 0, len(c.models)), Drift: make([]Detector, 0, len(c.detectors)),
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
		out.Stability = make([]float64, 0, c.stability.Features())
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
