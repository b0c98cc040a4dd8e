package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"learner/pkg/record"
)

// shapes are those of a stream whose writers change: the first is the usual one. All begin with what a recorder notes.
var shapes = []*record.Shape{
	shapeOf("schema 1", "p", "o", "a", "b", "c#"),
	shapeOf("schema 2", "p", "o", "b", "a"),            // reordered, and a category is gone
	shapeOf("schema 3", "p", "o", "a", "d", "b", "c#"), // a number more
	shapeOf("schema 4", "p", "o", "a", "b", "c#", "e#"),
	shapeOf("schema 5", "p", "o", "a#", "b"), // a is of another type
	nil,                                      // no names
}

// shapeOf returns the shape of columns, categories being marked #.
func shapeOf(origin string, columns ...string) *record.Shape {
	s := &record.Shape{Origin: origin}
	for _, c := range columns {
		name, marked := strings.CutSuffix(c, "#")
		kind := record.Numeric
		if marked {
			kind = record.Categorical
		}
		s.Columns = append(s.Columns, record.Column{Name: name, Kind: kind})
	}
	return s
}

// give gives an entry another shape, and values for it.
func (e *entry) give(shape *record.Shape, rng *rand.Rand) {
	x := slices.Clone(e.x[:2])
	e.shape, e.hashes = shape, nil
	if shape == nil {
		x = append(x, rng.NormFloat64(), e.y+rng.NormFloat64())
		e.x = x
		return
	}
	for _, c := range shape.Columns[2:] {
		missing := rng.IntN(10) == 0
		switch {
		case c.Kind == record.Categorical && missing:
			e.hashes = append(e.hashes, 0)
		case c.Kind == record.Categorical:
			e.hashes = append(e.hashes, record.NewHasher(c.Name).Number(float64(rng.IntN(20))))
		case missing:
			x = append(x, math.NaN())
		default:
			x = append(x, e.y+rng.NormFloat64())
		}
	}
	e.x = x
}

// Columns that come, go, move, and change their type: whatever the crashes, each record counts once, and the bits are the same.
func TestRestartsWithColumns(t *testing.T) {
	var n tally
	grown, refused := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		logs, _ := drawBatchedLogs(rt, rapid.SampledFrom([]int{3, 90}).Draw(rt, "most"))
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "columns"), 0))
		odd := rapid.SampledFrom([]int{5, 30, 200}).Draw(rt, "usual rows between two others")
		for _, l := range logs {
			for i := range l.entries {
				if e := &l.entries[i]; e.bad == nil {
					shape := shapes[0]
					if rng.IntN(odd) == 0 {
						shape = shapes[rng.IntN(len(shapes))]
					}
					e.give(shape, rng)
				}
			}
		}
		whole := n.restarts(t, rt, logs, rapid.SampledFrom([]Mode{ByTime, ByProgress}).Draw(rt, "mode"), rapid.IntRange(0, 5).Draw(rt, "crashes"))
		if len(whole.last.Columns) > 5 {
			grown++
		}
		refused += len(whole.refused)
	})
	t.Logf("restarts: %+v, %d logs with more columns, %d records refused", n, grown, refused)
	if n.inside < n.starts/10 || grown == 0 || refused == 0 {
		t.Error("too few restarts inside the log, or changes of columns")
	}
}

// A cut right before the first row of another schema is before the schema, too: behind a restart it is an event as if there had
// been none.
func TestCutBeforeASchema(t *testing.T) {
	for name, shape := range map[string]*record.Shape{"with the same columns": shapeOf("schema 0", "p", "o", "a", "b", "c#"), "with more": shapes[2]} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, 0))
				l := steadyLog(0, 300, 0, 10, 5)
				for i := range l.entries {
					l.entries[i].give(shapes[0], rng)
				}
				l.entries[200] = bad(200)
				for i := range l.entries[201:] {
					l.entries[201+i].give(shape, rng)
				}
				logs := []*testLog{l}

				s := openFrom(t, nil, ByTime, twoModels, logs, 300)
				cut := make(chan *Cut, 1)
				s.seen.onRefused = func() { // on the way to the row behind
					go func() { cut <- s.cut("before the schema") }()
					time.Sleep(time.Millisecond) // it asks by then
				}
				s.send(0, 300)
				between := onward(<-cut)
				s.stop()
				if between.records() != 200 || between.at(0).Next != 200 {
					t.Fatalf("cut at %d records, offset %d", between.records(), between.at(0).Next)
				}
				again := openFrom(t, between, ByTime, twoModels, logs, 300)
				again.send(0, 300)
				again.stop()
				whole, restarted := s.cut("the whole"), again.cut("restarted")
				if d := sameTensors(restarted.Comparison, whole.Comparison); d != "" || !slices.Equal(restarted.Origins, whole.Origins) {
					t.Errorf("%s, schemas %q, want %q", d, restarted.Origins, whole.Origins)
				}
				if len(again.seen.events) != 1 || again.seen.events[0].Schema != shape.Origin {
					t.Errorf("told behind the cut: %+v", again.seen.events)
				}
			})
		})
	}
}
