package train

import (
	"math"
	"os"
	"slices"
	"testing"

	"learner/internal/adwin"
	"learner/pkg/evaluate"
	"learner/pkg/sgd"
	"learner/pkg/susy"
)

// seeds returns how many seeds a slow test goes over: LONG_TESTS=1 asks for five.
func seeds() uint64 {
	if os.Getenv("LONG_TESTS") != "" {
		return 5
	}
	return 1
}

// raced says whether the race detector watches.
var raced bool

// measured skips a test that measures in one goroutine, which under the race detector would take minutes and show nothing.
func measured(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("nothing to race")
	}
}

// simulation feeds generated SUSY rows to the default champion, record by record.
type simulation struct {
	t         *testing.T
	generator *susy.Generator
	model     sgd.Model
	twin      sgd.Predictor
	n         int // records so far
	rows      sgd.Rows
	prob      []float64
}

func simulate(t *testing.T, seed uint64) *simulation {
	t.Helper()
	spec, err := sgd.Parse("mix")
	if err != nil {
		t.Fatal(err)
	}
	return &simulation{
		t: t, generator: susy.NewGenerator(seed), model: spec.New(susy.Features, seed),
		rows: sgd.Rows{Width: susy.Features},
		prob: make([]float64, 1000),
	}
}

// run goes on for n records, a multiple of 1,000. change is called before each, and tells what was seen of each.
func (s *simulation) run(n int, invert bool, scale func(record int) float64, each func(record int, x []float64, champion, twin scored)) {
	for range n / 1000 {
		s.rows.X, s.rows.Y = s.rows.X[:0], s.rows.Y[:0]
		var x [susy.Features]float64
		for i := range 1000 {
			s.generator.EnergyScale = scale(s.n + i)
			label := s.generator.Next(&x)
			if invert {
				label = 1 - label
			}
			s.rows.X, s.rows.Y = append(s.rows.X, x[:]...), append(s.rows.Y, float64(label))
		}
		s.model.Learn(&s.rows, s.prob)
		var p [1]float64
		for i, y := range s.rows.Y {
			var twin scored
			if s.twin != nil {
				s.twin.Predict(p[:], s.rows.Row(i), nil)
				twin = score(p[0], y)
			}
			each(s.n+i, s.rows.Row(i), score(s.prob[i], y), twin)
		}
		s.n += 1000
	}
}

type scored struct {
	correct bool
	loss    float64 // capped
}

func score(p, y float64) scored {
	return scored{(p >= 0.5) == (y == 1), min(sgd.LogLoss(p, y), evaluate.LossCap)}
}

func steady(int) float64 { return 1 }

// ramp is an energy scale that goes from 1 to 1.5 within 100,000 records.
func ramp(from int) func(record int) float64 {
	return func(record int) float64 { return 1 + 0.5*min(max(float64(record-from)/100_000, 0), 1) }
}

func TestDetectorsFindADriftThatTheChampionHides(t *testing.T) {
	measured(t)
	const copied = 400_000
	delays := map[string][]int{}
	for seed := uint64(1); seed <= seeds(); seed++ {
		s := simulate(t, seed)
		stability := evaluate.NewStability(susy.Features, 10_000)
		s.run(copied, false, steady, func(record int, x []float64, _, _ scored) {
			if record >= copied-10_000 {
				stability.Collect(x)
			}
		})
		s.twin = s.model.Snapshot()
		stability.Mark()
		stability.Mark() // the copy predicts at once
		cuts := adwin.New(0.002)
		rises := evaluate.NewPageHinkley(0.005, 50)
		found := map[string]int{}
		report := func(detector string, record int) {
			if _, again := found[detector]; !again {
				found[detector] = record - copied
			}
		}
		var correct, twinCorrect, in int
		s.run(300_000, false, ramp(copied), func(record int, x []float64, champion, twin scored) {
			excess := twin.loss - champion.loss
			if cuts.Add(excess) == adwin.Rose {
				report(ADWIN, record)
			}
			if rises.Add(excess) {
				report(PageHinkley, record)
			}
			if stability.Add(x) {
				if _, worst := stability.Worst(); worst > evaluate.StabilityAlarm {
					report(PSI, record)
				}
			}
			if record < copied+100_000 {
				return
			}
			in++
			if champion.correct {
				correct++
			}
			if twin.correct {
				twinCorrect++
			}
			if in == 50_000 {
				c, w := float64(correct)/50_000, float64(twinCorrect)/50_000
				t.Logf("seed %d, to record %d: champion %.4f, twin %.4f", seed, record+1, c, w)
				if c < 0.765 || w < 0.66 || w > 0.73 {
					t.Errorf("seed %d, to record %d: champion %.4f, want at least .765; twin %.4f, want .66 to .73", seed, record+1, c, w)
				}
				in, correct, twinCorrect = 0, 0, 0
			}
		})
		note(t, delays, seed, found)
	}
	late(t, delays)
}

func TestInvertedLabelsAreFoundAtOnce(t *testing.T) {
	measured(t)
	for seed := uint64(1); seed <= seeds(); seed++ {
		s := simulate(t, seed)
		cuts := adwin.New(0.002)
		found := -1
		see := func(record int, _ []float64, champion, _ scored) {
			if cuts.Add(champion.loss) == adwin.Rose && found < 0 && record >= 200_000 {
				found = record - 200_000
			}
		}
		s.run(200_000, false, steady, see)
		s.run(2_000, true, steady, see)
		t.Logf("seed %d: after %d records", seed, found)
		if found < 0 || found > 1000 {
			t.Errorf("seed %d: reported after %d records, want at most 1,000", seed, found)
		}
	}
}

// schedule lets the whole compare stage watch generated rows, with copies of the champion at every 100,000 records. It tells
// each of what the detectors raise, in the cool-down too, to the next 1,000 records.
func schedule(t *testing.T, seed uint64, n int, scale func(record int) float64, raised func(records int, d *detector)) {
	t.Helper()
	cfg := configured(Config{Models: names("mix"), TwinAge: 100_000})
	c := newCompare(&cfg)
	l := &learner{spec: cfg.Models[0], seed: seed, see: nothing{}, age: cfg.TwinAge}
	generator := susy.NewGenerator(seed)
	var x [susy.Features]float64
	b := &Batch{answers: make([]answers, 1)}
	b.Width = susy.Features
	var before [len(c.detectors)]uint64
	for from := 0; from < n; from += 1000 {
		b.first, b.X, b.Y = uint64(from), b.X[:0], b.Y[:0]
		b.answers[0].copies = b.answers[0].copies[:0]
		for i := range 1000 {
			generator.EnergyScale = scale(from + i)
			b.Y = append(b.Y, float64(generator.Next(&x)))
			b.X = append(b.X, x[:]...)
		}
		l.learn(b)
		c.compare(b)
		for i := range c.detectors {
			for ; before[i] < c.detectors[i].raised; before[i]++ {
				raised(from+1000, &c.detectors[i])
			}
		}
	}
}

// The ramp goes on across a refresh of the twin, with which the detectors of the excess begin anew.
func TestEachDetectorFindsTheDriftOnTheUsualSchedule(t *testing.T) {
	measured(t)
	const from = 450_000
	delays := map[string][]int{}
	for seed := uint64(1); seed <= seeds(); seed++ {
		found := map[string]int{}
		schedule(t, seed, 600_000, ramp(from), func(records int, d *detector) {
			if _, again := found[d.name]; !again && records > from && d.signal != SignalChampion {
				found[d.name] = records - from
			}
		})
		note(t, delays, seed, found)
	}
	late(t, delays)
}

func TestNoDriftIsFoundWhereThereIsNone(t *testing.T) {
	measured(t)
	const warmUp = 200_000
	records := warmUp + 200_000
	if seeds() > 1 {
		records = warmUp + 2_000_000
	}
	for seed := uint64(1); seed <= seeds(); seed++ {
		reports := 0
		schedule(t, seed, records, steady, func(record int, d *detector) {
			t.Logf("seed %d: %s on %s reports at record %d", seed, d.name, d.signal, record)
			if record > warmUp {
				reports++
			}
		})
		t.Logf("seed %d: %d reports in %d records behind the first %d", seed, reports, records-warmUp, warmUp)
		if reports > 2 {
			t.Errorf("seed %d: %d reports in stationary records", seed, reports)
		}
	}
}

// note adds to delays after how many drifting records each detector has reported, never being the largest number.
func note(t *testing.T, delays map[string][]int, seed uint64, found map[string]int) {
	t.Helper()
	for _, detector := range []string{ADWIN, PageHinkley, PSI} {
		delay, ok := found[detector]
		if !ok {
			delay = math.MaxInt
		}
		t.Logf("seed %d: %s reports after %d drifting records", seed, detector, delay)
		delays[detector] = append(delays[detector], delay)
	}
}

// late complains of delays, in drifting records, with a median above 50,000 or one above 70,000.
func late(t *testing.T, delays map[string][]int) {
	t.Helper()
	for detector, d := range delays {
		slices.Sort(d)
		if d[len(d)/2] > 50_000 || d[len(d)-1] > 70_000 {
			t.Errorf("%s: delays %v, want a median of at most 50,000 and none above 70,000", detector, d)
		}
	}
}
