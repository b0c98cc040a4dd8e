package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"learner/pkg/evaluate"
	"learner/pkg/record"
	"learner/pkg/sgd"
)

// lessons returns n rows. The label follows the sum of the features, but for noise; flip says from which rows on it is
// inverted, each time once more.
func lessons(seed uint64, n, width int, flip ...int) sgd.Rows {
	rng := rand.New(rand.NewPCG(seed, 9))
	rows := sgd.Rows{Width: width}
	inverted := 0.
	for i := range n {
		if slices.Contains(flip, i) {
			inverted = 1 - inverted
		}
		sum := 1.5 * rng.NormFloat64()
		for range width {
			v := rng.NormFloat64()
			sum += v
			rows.X = append(rows.X, v)
		}
		rows.Y = append(rows.Y, math.Abs(number(sum > 0)-inverted))
	}
	return rows
}

func number(one bool) float64 {
	if one {
		return 1
	}
	return 0
}

// until returns the first n rows.
func until(rows sgd.Rows, n int) sgd.Rows {
	return sgd.Rows{Width: rows.Width, X: rows.X[:n*rows.Width], Y: rows.Y[:n]}
}

// configured completes a configuration.
func configured(cfg Config) Config {
	cfg.Seed, cfg.Logger = 1, zap.NewNop()
	if cfg.Observer == nil {
		cfg.Observer = nothing{}
	}
	return cfg
}

// teach trains on the rows of a log of one partition from where the configuration says up to offset to, in blocks of at most
// as many rows as given, each seldom in the same batch as the next. It returns the trainer when its Run has ended, and some
// cuts from before.
func teach(t *testing.T, cfg Config, rows sgd.Rows, to, most int, seed uint64) (*Trainer, []*Cut) {
	t.Helper()
	trainer, err := New(configured(cfg))
	if err != nil {
		t.Fatal(err)
	}
	return trainer, teachWith(t, trainer, rows, to, most, seed)
}

// teachWith is teach with a trainer.
func teachWith(t *testing.T, trainer *Trainer, rows sgd.Rows, to, most int, seed uint64) (cuts []*Cut) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 10))
	at := 0
	if from := trainer.cfg.From; from != nil && len(from.Partitions) > 0 {
		at = int(from.Partitions[0].Next)
	}
	end := int64(rows.Len())
	source := &stack{make(chan *record.Block), map[int32]record.End{0: {Stable: end, Log: end}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var feeding sync.WaitGroup
	feeding.Go(func() {
		defer close(source.blocks)
		for at < to {
			next := min(at+1+rng.IntN(most), to)
			b := &record.Block{Base: int64(at), Next: int64(next), X: slices.Clone(rows.X[at*rows.Width : next*rows.Width])}
			for i := at; i < next; i++ {
				b.Y = append(b.Y, rows.Y[i])
				b.End = append(b.End, (i-at+1)*rows.Width)
				b.Offset = append(b.Offset, int64(i))
				b.Time = append(b.Time, int64(i))
			}
			select {
			case source.blocks <- b:
			case <-ctx.Done():
				t.Error("the trainer hangs")
				return
			}
			at = next
			if at >= record.SettleRows && rng.IntN(10) == 0 { // before, rows are held back, and nothing can be cut
				c, err := trainer.Cut(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				cuts = append(cuts, c)
			}
		}
	})
	trainer.Run(ctx, source)
	feeding.Wait()
	return cuts
}

// end returns the cut at the end of a trainer's Run.
func end(t *testing.T, trainer *Trainer) *Cut {
	t.Helper()
	c, err := trainer.Cut(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// atOnce returns what a compare stage knows that gets all rows as a single batch.
func atOnce(cfg Config, rows sgd.Rows) *compare {
	cfg = configured(cfg)
	c := newCompare(&cfg)
	b := &Batch{Rows: rows, answers: make([]answers, len(cfg.Models))}
	for i, spec := range cfg.Models {
		l := &learner{spec: spec, seed: cfg.Seed, index: i, see: nothing{}, age: cfg.TwinAge}
		l.learn(b)
	}
	c.compare(b)
	return c
}

// sameTensors says how two states differ, bit for bit, in whatever order their tensors are; empty: not at all.
func sameTensors(got, want []sgd.Tensor) string {
	byName := func(a, b sgd.Tensor) int { return strings.Compare(a.Name, b.Name) }
	got, want = slices.SortedFunc(slices.Values(got), byName), slices.SortedFunc(slices.Values(want), byName)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			return "other tensors"
		}
		a, b := got[i], want[i]
		if a.Name != b.Name || !slices.Equal(a.Shape, b.Shape) {
			return a.Name + " in place of " + b.Name
		}
		if x, ok := a.Data.([]float64); ok {
			y, _ := b.Data.([]float64)
			same := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
			if slices.EqualFunc(x, y, same) {
				continue
			}
		}
		if !reflect.DeepEqual(a.Data, b.Data) {
			return a.Name
		}
	}
	return ""
}

// count returns how many events of a kind there are.
func count(events []Event, kind string) (n int) {
	for _, e := range events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// Whatever the sizes of batches and blocks, wherever cuts lie and whichever of them is gone on from: the bits are those
// of one batch, with changes of champion, copies, and reports of drift among it.
func TestComparisonDependsOnRecordsAlone(t *testing.T) {
	const records = 24_000
	changes, reports, starts := 0, 0, 0
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 11))
		rows := lessons(seed, records, 3, 4000+rng.IntN(4000), 15_000+rng.IntN(4000))
		models := names("slow=logistic:rate=0.000001", "newton", "logistic")[:2+rng.IntN(2)]
		if rng.IntN(2) == 0 {
			slices.Reverse(models)
		}
		cfg := Config{
			Models: models,
			Best:   rng.IntN(4) > 0, TwinAge: []uint64{0, 7, 999, 1000, 5000}[rng.IntN(5)],
		}
		if cfg.TwinAge == 7 {
			rows = until(rows, 3000) // takes its time
		}
		want := atOnce(cfg, rows)
		wanted := want.state()
		for range 2 {
			cfg.From = nil
			for {
				to, most := rows.Len(), []int{1500, 100, 3000}[rng.IntN(3)]
				if rng.IntN(3) > 0 {
					to = rng.IntN(to)
				}
				if cfg.From != nil {
					to = max(to, int(cfg.From.Partitions[0].Next))
				}
				trainer, cuts := teach(t, cfg, rows, to, most, rng.Uint64())
				last := end(t, trainer)
				for _, c := range append(cuts, last) {
					if c.Records != c.Models[0].Records || to >= record.SettleRows && c.Records != uint64(c.Partitions[0].Next) {
						t.Fatalf("seed %d: cut of %d records at %+v", seed, c.Records, c.Partitions)
					}
				}
				if to == rows.Len() {
					if d := sameTensors(last.Comparison, wanted); d != "" || last.Champion != cfg.Models[want.champion].Name {
						t.Errorf("seed %d, in blocks of up to %d: champion %s, differs: %s", seed, most, last.Champion, d)
					}
					break
				}
				starts++
				cfg.From = last
				if len(cuts) > 0 && rng.IntN(2) == 0 {
					cfg.From = cuts[rng.IntN(len(cuts))]
				}
			}
		}
		changes += count(want.events, ChampionChanged)
		reports += count(want.events, DriftReported)
	}
	t.Logf("seeds 0 to 7: %d changes, %d reports, %d restarts", changes, reports, starts)
	if changes < 3 || reports < 4 || starts < 20 {
		t.Error("too little happened")
	}
}

// The frozen copy is the champion exactly as it was at a multiple of the age, the one before the newest.
func TestTwinIsTheModelAtAMultiple(t *testing.T) {
	for _, age := range []int{100, 999, 1024, 2000, 2500, 7000} {
		rows := lessons(uint64(age), 6000, 3)
		spec := names("newton")[0]
		trainer, _ := teach(t, Config{Models: []sgd.Spec{spec}, TwinAge: uint64(age)}, rows, rows.Len(), 1300, 5)
		c := trainer.Comparison()

		model := spec.New(3, 1)
		var newest, twin sgd.Predictor
		var n, correct uint64
		var loss, prob [1]float64
		for i := range rows.Len() {
			x, y := rows.Row(i), rows.Y[i]
			if twin != nil {
				twin.Predict(prob[:], x, nil)
				n++
				correct += uint64(number((prob[0] >= .5) == (y == 1)))
				loss[0] += sgd.LogLoss(prob[0], y)
			}
			model.Learn(&sgd.Rows{Width: 3, X: x, Y: []float64{y}}, prob[:])
			if (i+1)%age == 0 {
				newest, twin = model.Snapshot(), newest
			}
		}
		got := c.Baselines[2]
		if got.Name != FrozenTwin || got.Records != n || n > 0 && (got.Accuracy != float64(correct)/float64(n) || got.Loss != loss[0]/float64(n)) {
			t.Errorf("age %d: scores %+v, want of %d: %d correct, loss %v", age, got, n, correct, loss[0])
		}
		if twin == nil {
			if trainer.Twin() != nil || c.TwinAge != 0 || got.Records != 0 || !math.IsNaN(got.Loss) {
				t.Errorf("age %d: there is a twin of age %d", age, c.TwinAge)
			}
			continue
		}
		if want := uint64(6000 - (6000/age-1)*age); c.TwinAge != want {
			t.Errorf("age %d: the twin's age is %d, want %d", age, c.TwinAge, want)
		}
		again, err := New(configured(Config{Models: []sgd.Spec{spec}, TwinAge: uint64(age), From: end(t, trainer)}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			var want, a, b [1]float64
			twin.Predict(want[:], rows.Row(i), nil)
			trainer.Twin().Predict(a[:], rows.Row(i), nil)
			again.Twin().Predict(b[:], rows.Row(i), nil)
			if a != want || b != want {
				t.Fatalf("age %d: the twin answers %v, and %v when restored, want %v", age, a, b, want)
			}
		}
		if again.Comparison().TwinAge != c.TwinAge || !reflect.DeepEqual(again.Comparison().Baselines, c.Baselines) {
			t.Errorf("age %d: restored as %+v, want %+v", age, again.Comparison(), c)
		}
	}
}

// The baselines answer by what they saw before.
func TestBaselines(t *testing.T) {
	rows := sgd.Rows{Width: 2}
	rng := rand.New(rand.NewPCG(1, 1))
	var correct [2]uint64
	var loss [2]float64
	ones, repeats := 0., 0.
	for i := range 3000 {
		y := number(rng.Float64() < .3)
		if i > 0 && rng.Float64() < .8 {
			y = rows.Y[i-1]
		}
		p := (ones + 1) / (float64(i) + 2)
		q, last := .5, 1.
		if i > 0 {
			last = rows.Y[i-1]
			q = (repeats + 1) / (float64(i) + 1)
			if last == y {
				repeats++
			}
			if last == 0 {
				q = 1 - q
			}
		}
		correct[0] += uint64(number((p >= .5) == (y == 1)))
		correct[1] += uint64(number(last == y))
		loss[0] += sgd.LogLoss(p, y)
		loss[1] += sgd.LogLoss(q, y)
		ones += y
		rows.X = append(rows.X, rng.NormFloat64(), rng.NormFloat64())
		rows.Y = append(rows.Y, y)
	}
	trainer, _ := teach(t, Config{Models: names("logistic")}, rows, 3000, 700, 1)
	for i, b := range trainer.Comparison().Baselines[:2] {
		if b.Records != 3000 || b.Accuracy != float64(correct[i])/3000 || b.Loss != loss[i]/3000 || b.RecentRecords != 3000 ||
			b.RecentAccuracy != b.Accuracy || math.Abs(b.RecentLoss-b.Loss) > 1e-12 {
			t.Errorf("%+v, want %d correct, loss %v", b, correct[i], loss[i]/3000)
		}
	}
	if m := trainer.Comparison().Models[0]; m.RecentRecords != 3000 || m.RecentAccuracy != float64(trainer.Snapshots()[0].Correct)/3000 {
		t.Errorf("%+v, want %d correct", m, trainer.Snapshots()[0].Correct)
	}
}

// With Best the better model takes the lead, not before 10,000 records, and keeps it; without, nothing changes.
func TestTheLeadGoesToTheBetterModel(t *testing.T) {
	rows := lessons(3, 30_000, 3)
	models := names("slow=logistic:rate=0.000001", "slower=logistic:rate=0.0000001", "newton")
	seen := newWitness()
	trainer, _ := teach(t, Config{Models: models, Best: true, TwinAge: 4000, Observer: seen}, rows, rows.Len(), 900, 1)
	c := trainer.Comparison()
	if c.Champion != "newton" || c.Changes != 1 || len(c.Events) != 1 || !slices.Equal(seen.events, c.Events) {
		t.Fatalf("champion %s after %d changes: %+v, told %+v", c.Champion, c.Changes, c.Events, seen.events)
	}
	e := c.Events[0]
	if e.Kind != ChampionChanged || e.Champion != "newton" || e.Before != "slow" || e.Record != leadAfter {
		t.Fatalf("event %+v", e)
	}
	if m := c.Models[2]; m.Segment != 0 || !math.IsNaN(m.Difference) || !math.IsNaN(m.Low) || !math.IsNaN(m.High) {
		t.Errorf("the champion beside itself: %+v", m)
	}
	for _, m := range c.Models[:2] {
		if m.High >= 0 || m.Low >= m.Difference || m.Difference >= m.High || m.Compared > 20_000 {
			t.Errorf("a weak challenger: %+v", m)
		}
	}
	// The copy of slow from 8,000 was dropped: newton's of 12,000 predicts from 16,000 on.
	if twin := c.Baselines[2]; twin.Records != 2000+14_000 || c.TwinAge != 30_000-24_000 {
		t.Errorf("the twin has answered %d times, and is %d old", twin.Records, c.TwinAge)
	}
	last := seen.compared[len(seen.compared)-1]
	if last != c || last.Records != 30_000 {
		t.Errorf("told of %d records last", last.Records)
	}

	trainer, _ = teach(t, Config{Models: models}, rows, rows.Len(), 900, 1)
	if c := trainer.Comparison(); c.Champion != "slow" || c.Changes != 0 || len(c.Events) > 0 || c.Models[2].Low <= 0 {
		t.Errorf("without Best: %+v", c)
	}
}

// Labels are inverted: the champion's loss tells it soon. For 50,000 records further reports are kept quiet.
func TestDriftIsReportedAndThenQuiet(t *testing.T) {
	const first, second, third = 20_000, 50_000, 80_000
	rows := lessons(4, 90_000, 3, first, second, third)
	cfg := Config{Models: names("logistic:rate=0.5", "other=logistic:rate=0.4")}
	c := atOnce(cfg, rows)
	got := c.comparison()
	if len(got.Events) != 2 {
		t.Fatalf("events %+v, want 2", got.Events)
	}
	for i, from := range []uint64{first, third} {
		if e := got.Events[i]; e.Kind != DriftReported || e.Signal != SignalChampion || e.Detector != ADWIN || e.Score <= 0 ||
			e.Record <= from || e.Record > from+1000 {
			t.Errorf("report %+v, want one within 1,000 records from %d on", e, from)
		}
	}
	adwin := got.Drift[0]
	if adwin.Detector != ADWIN || adwin.Signal != SignalChampion || adwin.Reports != 2 || adwin.Raised < 3 {
		t.Errorf("%+v, want 2 reports and one kept quiet at least", adwin)
	}
	reports := uint64(0)
	for _, d := range got.Drift {
		reports += d.Reports
	}
	if reports != 2 {
		t.Errorf("reports %+v", got.Drift)
	}

	// A report begins new segments.
	at := int(got.Events[0].Record)
	before, behind := atOnce(cfg, until(rows, at-1)).comparison().Models[1], atOnce(cfg, until(rows, at)).comparison().Models[1]
	if before.Compared == 0 || behind.Compared != 0 || behind.Segment != before.Segment+1 || !math.IsNaN(behind.Difference) {
		t.Errorf("the comparison was %+v before the report and is %+v behind it", before, behind)
	}
	if c.detectors[ofChampion].gauge.(*window).Len() == 0 {
		t.Error("the detector does not go on")
	}
}

// A feature that moves is named, in the first window behind the move; a window is what lies between two copies.
func TestMovedFeatureIsReported(t *testing.T) {
	rows := lessons(5, 20_000, 3)
	for i := 10_000; i < rows.Len(); i++ {
		rows.Row(i)[1]++
	}
	c := atOnce(Config{Models: names("newton"), TwinAge: 5000}, rows).comparison()
	psi := c.Drift[ofFeatures]
	i := slices.IndexFunc(c.Events, func(e Event) bool { return e.Detector == PSI })
	if i < 0 && psi.Raised == 0 {
		t.Fatalf("%+v, %+v", c.Events, psi)
	}
	if i >= 0 && (c.Events[i].Record != 15_000 || c.Events[i].Feature != 1 || c.Events[i].Score <= evaluate.StabilityAlarm) {
		t.Errorf("report %+v", c.Events[i])
	}
	c = atOnce(Config{Models: names("newton"), TwinAge: 5000}, until(rows, 15_000-1)).comparison()
	if !math.IsNaN(c.Drift[ofFeatures].Score) || !math.IsNaN(c.Stability[1]) {
		t.Errorf("before the first window is full: %+v, %v", c.Drift[ofFeatures], c.Stability)
	}
}

// sleeper is a model that takes its time, another one for each batch.
type sleeper struct {
	sgd.Model
	rng *rand.Rand
}

func (s *sleeper) Learn(rows *sgd.Rows, prob []float64) {
	time.Sleep(time.Duration(s.rng.IntN(3)*s.rng.IntN(300)) * time.Microsecond)
	s.Model.Learn(rows, prob)
}

// However far models run ahead of each other, batches are compared in order.
func TestBatchesAreComparedInOrder(t *testing.T) {
	rows := lessons(6, 20_000, 3, 7000)
	cfg := Config{Models: names("a=logistic", "b=logistic:rate=0.1", "c=newton", "d=newton:q=0.1"), Best: true, TwinAge: 1500}
	trainer, err := New(configured(cfg))
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range trainer.learners {
		l.model, l.width = &sleeper{l.spec.New(3, 1), rand.New(rand.NewPCG(7, uint64(i)))}, 3
	}
	teachWith(t, trainer, rows, rows.Len(), 90, 1)
	if d := sameTensors(end(t, trainer).Comparison, atOnce(cfg, rows).state()); d != "" {
		t.Errorf("differs: %s", d)
	}
}

// heavy is a model whose snapshots take long.
type heavy struct {
	recorder
	takes time.Duration
}

func (h *heavy) Snapshot() sgd.Predictor {
	time.Sleep(h.takes)
	return nil
}

// Publishing takes no more than 5 % of a learner's time, and happens every 20 ms at most, or 100 ms while it catches up.
func TestPublicationsAreSpaced(t *testing.T) {
	for _, tt := range []struct {
		takes      time.Duration
		caughtUp   bool
		least, top int // publications in 10 s
	}{
		{0, true, 450, 510},
		{0, false, 45, 52},
		{500 * time.Microsecond, true, 450, 510},
		{10 * time.Millisecond, true, 40, 55},
		{10 * time.Millisecond, false, 40, 55},
		{100 * time.Millisecond, true, 4, 8},
	} {
		synctest.Test(t, func(t *testing.T) {
			seen := newWitness()
			trainer, err := New(configured(Config{Models: names("logistic"), Observer: seen}))
			if err != nil {
				t.Fatal(err)
			}
			trainer.learners[0].model, trainer.learners[0].caughtUp = &heavy{takes: tt.takes}, tt.caughtUp
			source := &stack{make(chan *record.Block), map[int32]record.End{0: {Stable: 1 << 40, Log: 1 << 40}}}
			go func() {
				defer close(source.blocks)
				for at := range int64(2000) {
					b := &record.Block{Base: at * 100, Next: at*100 + 100}
					for i := range 100 {
						b.X, b.Y = append(b.X, 1, 2), append(b.Y, 1)
						b.End, b.Offset, b.Time = append(b.End, 2*i+2), append(b.Offset, b.Base+int64(i)), append(b.Time, 1)
					}
					source.blocks <- b
					time.Sleep(5 * time.Millisecond)
				}
			}()
			trainer.Run(t.Context(), source)
			if n := len(seen.snapshots); n < tt.least || n > tt.top {
				t.Errorf("a snapshot takes %v: %d were published in 10 s, want %d to %d", tt.takes, n, tt.least, tt.top)
			}
			if n := len(seen.compared); n < 18 || n > 23 {
				t.Errorf("%d comparisons were published", n)
			}
			if s := trainer.Snapshots()[0]; s.Records != 200_000 || trainer.Comparison().Records != 200_000 {
				t.Errorf("last snapshot %+v", s)
			}
		})
	}
}

// certain is a predictor that takes no memory.
type certain struct{}

func (certain) Predict(dst, _ []float64, _ []int32) { dst[0] = 1 }

// Comparing does not allocate for records.
func TestComparingDoesNotAllocate(t *testing.T) {
	cfg := configured(Config{Models: names("a=logistic", "b=newton"), Best: true, TwinAge: 2000})
	rows := lessons(8, 6000, 3)
	c := newCompare(&cfg)
	b := &Batch{Rows: rows, answers: make([]answers, 2)}
	learners := make([]*learner, 2)
	for i, spec := range cfg.Models {
		learners[i] = &learner{spec: spec, seed: 1, index: i, see: nothing{}, age: cfg.TwinAge}
		learners[i].learn(b)
	}
	c.compare(b)
	b = &Batch{Rows: until(rows, 10), answers: make([]answers, 2)}
	for i, l := range learners {
		l.learn(b)
		l.model = &idle{}
		if n := testing.AllocsPerRun(100, func() { l.learn(b) }); n != 0 {
			t.Errorf("learning 10 records makes %v allocations beside model %d", n, i)
		}
	}
	c.predicting.predictor = certain{}
	if n := testing.AllocsPerRun(100, func() { c.compare(b) }); n != 0 {
		t.Errorf("comparing 10 records makes %v allocations", n)
	}
}

// cheat is a model that learns each record before it answers.
type cheat struct{ sgd.Model }

func (c *cheat) Learn(rows *sgd.Rows, prob []float64) {
	for i := range rows.Len() {
		c.Model.Learn(&sgd.Rows{Width: rows.Width, X: rows.Row(i), Y: rows.Y[i : i+1]}, prob[i:])
		c.Model.Snapshot().Predict(prob[i:i+1], rows.Row(i), nil)
	}
}

// Labels that have nothing to do with the features are guessed right half the time, unless an answer knew its label.
func TestNobodyKnowsALabelBeforeItAnswers(t *testing.T) {
	const most = .515
	rows := lessons(10, 12_000, 18)
	rng := rand.New(rand.NewPCG(10, 1))
	rng.Shuffle(rows.Len(), func(i, k int) { rows.Y[i], rows.Y[k] = rows.Y[k], rows.Y[i] })
	dear := []string{"zoo", "forest", "knn"} // at tens of microseconds a record
	var models []string
	for _, kind := range sgd.Kinds() {
		if !slices.Contains(dear, kind) {
			models = append(models, kind)
		}
	}
	honest, _ := teach(t, Config{Models: names(models...), TwinAge: 3000}, rows, rows.Len(), 1000, 1)
	c := honest.Comparison()
	for i, s := range honest.Snapshots() {
		accuracy := float64(s.Correct) / float64(s.Records)
		t.Logf("seed 10: %s %.4f, recently %.4f", s.Model, accuracy, c.Models[i].RecentAccuracy)
		if s.Records != 12_000 || accuracy >= most || c.Models[i].RecentAccuracy >= most {
			t.Errorf("%s is right too often", s.Model)
		}
	}
	for _, b := range c.Baselines {
		if b.Accuracy >= most {
			t.Errorf("%+v is right too often", b)
		}
	}
	dishonest, err := New(configured(Config{Models: names("newton")}))
	if err != nil {
		t.Fatal(err)
	}
	l := dishonest.learners[0]
	l.model, l.width = &cheat{l.spec.New(18, 1)}, 18
	teachWith(t, dishonest, rows, rows.Len(), 1000, 1)
	s, recent := dishonest.Snapshots()[0], dishonest.Comparison().Models[0].RecentAccuracy
	t.Logf("one that cheats %.4f, recently %.4f", float64(s.Correct)/float64(s.Records), recent)
	if float64(s.Correct)/float64(s.Records) < most || recent < most {
		t.Error("one that cheats is not caught")
	}
}

// BenchmarkCompare compares models with 18 features, without a frozen copy and with one.
func BenchmarkCompare(b *testing.B) {
	const age = 20_000
	for _, models := range []string{"a=logistic", "a=logistic;b=logistic;c=logistic"} {
		for _, twin := range []bool{false, true} {
			cfg := configured(Config{Models: names(strings.Split(models, ";")...), Best: true, TwinAge: age})
			c := newCompare(&cfg)
			rows := lessons(1, batchRows, 18)
			batch := &Batch{Rows: rows, answers: make([]answers, len(cfg.Models))}
			learners := make([]*learner, len(cfg.Models))
			for i, spec := range cfg.Models {
				learners[i] = &learner{spec: spec, seed: 1, index: i, see: nothing{}, age: age}
			}
			for c.records < 2*age {
				batch.first = c.records
				for i, l := range learners {
					batch.answers[i].copies = nil
					l.learn(batch)
				}
				c.compare(batch)
			}
			c.age = 0 // the copy that predicts stays
			if !twin {
				c.drop()
			}
			b.Run(fmt.Sprintf("models=%d/twin=%t", len(cfg.Models), twin), func(b *testing.B) {
				for b.Loop() {
					c.compare(batch)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchRows, "ns/record")
			})
		}
	}
}
