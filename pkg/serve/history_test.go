package serve

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

var morning = time.UnixMilli(1_700_000_000_000)

// fill adds n samples, a second apart, in which 100 records are learned each.
func fill(h *history, n int) {
	for i := range n {
		h.add(morning.Add(time.Duration(i)*time.Second), Sample{Records: uint64(100 * i), Counted: "mix"}, nil)
	}
}

// However long it runs and however many models there are, the history has a bounded number of numbers: the newest finely,
// older ones coarsely, the oldest not at all.
func TestHistoryIsBounded(t *testing.T) {
	h := newHistory()
	const hours = 8
	fill(h, hours*3600)
	all := h.after(-1)
	if most := fineSamples + coarseSamples; len(all) > most || len(all) < most-fineSamples/coarseStep-1 {
		t.Errorf("%d samples", len(all))
	}
	newest := morning.Add((hours*3600 - 1) * time.Second).UnixMilli()
	if got := all[len(all)-1].Time; got != newest {
		t.Errorf("the newest is of %d, want %d", got, newest)
	}
	if oldest := all[0].Time; newest-oldest < 21_500_000 || newest-oldest > 21_700_000 {
		t.Errorf("it reaches back %d s, want 6 h", (newest-oldest)/1000)
	}
	for i := 1; i < len(all); i++ {
		step, want := all[i].Time-all[i-1].Time, int64(1000)
		switch {
		case i < len(all)-fineSamples:
			want = coarseStep * 1000
		case i == len(all)-fineSamples:
			want = step // where both meet
		}
		if step != want || step <= 0 || step > coarseStep*1000 {
			t.Fatalf("step %d of %d takes %d ms, want %d", i, len(all), step, want)
		}
		if all[i].Rate != 100 {
			t.Fatalf("sample %d: %v records/s, want 100", i, all[i].Rate)
		}
	}

	h.add(morning.Add(9*time.Hour), Sample{Models: make([]Point, 100), Baselines: make([]Point, 100)}, nil)
	if last := h.fine.newest(); len(last.Models) != maxSeries || len(last.Baselines) != maxSeries {
		t.Errorf("%d models and %d baselines in a sample", len(last.Models), len(last.Baselines))
	}
}

func TestHistoryAfter(t *testing.T) {
	h := newHistory()
	if got := h.after(-1); got == nil || len(got) != 0 {
		t.Errorf("an empty history: %v, want a list", got)
	}
	if got, _, _ := h.news(-1); len(got) != 0 {
		t.Errorf("news of an empty history: %v", got)
	}
	fill(h, 10)
	at := func(i int) int64 { return morning.UnixMilli() + int64(1000*i) }
	times := func(samples []Sample) (all []int64) {
		for i := range samples {
			all = append(all, samples[i].Time)
		}
		return all
	}
	if got := times(h.after(at(6))); !slices.Equal(got, []int64{at(7), at(8), at(9)}) {
		t.Errorf("after the seventh: %v", got)
	}
	got, _, changed := h.news(-1)
	if !slices.Equal(times(got), []int64{at(9)}) {
		t.Errorf("the newest: %v", times(got))
	}
	h.add(morning, Sample{}, json.RawMessage(`{"a":1}`)) // the clock was set back
	<-changed
	got, status, _ := h.news(at(9))
	if len(got) != 1 || got[0].Time != at(9)+1 || string(status) != `{"a":1}` {
		t.Errorf("after the clock was set back: %v with %s", times(got), status)
	}
}

// A rate is told only between two counts of the same thing.
func TestRate(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to *Sample
		want     float64
	}{
		{"first", nil, &Sample{Time: 1000, Records: 5, Counted: "a"}, math.NaN()},
		{"a second", &Sample{Time: 1000, Records: 5, Counted: "a"}, &Sample{Time: 2000, Records: 25, Counted: "a"}, 20},
		{"half a second", &Sample{Time: 1000, Records: 5, Counted: "a"}, &Sample{Time: 1500, Records: 25, Counted: "a"}, 40},
		{"another champion", &Sample{Time: 1000, Records: 5, Counted: "a"}, &Sample{Time: 2000, Records: 25, Counted: "b"}, math.NaN()},
		{"models begun anew", &Sample{Time: 1000, Records: 5, Counted: "a"}, &Sample{Time: 2000, Records: 2, Counted: "a"}, math.NaN()},
		{"standby", &Sample{Time: 1000, Records: 5}, &Sample{Time: 2000, Records: 25}, math.NaN()},
	} {
		if got := float64(rate(c.from, c.to)); got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// One sample is taken at once, and one each second; what an event shows is made only where somebody looks.
func TestSampling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var taken, shown atomic.Int64
		s := New(Config{
			Live:    Live{Sample: func() Sample { taken.Add(1); return Sample{} }, Status: func() any { return shown.Add(1) }},
			Metrics: http.NotFoundHandler(), Log: zap.NewNop(),
		})
		go s.sample(t.Context())
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		if taken.Load() != 5 || shown.Load() != 0 {
			t.Errorf("%d samples, %d statuses made, want 5 and 0", taken.Load(), shown.Load())
		}
		s.streams <- struct{}{}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, status, _ := s.history.news(-1); taken.Load() != 7 || shown.Load() != 2 || string(status) != "2" {
			t.Errorf("%d samples, %d statuses made, %s shown", taken.Load(), shown.Load(), status)
		}
	})
}

func TestHistoryIsServed(t *testing.T) {
	f := start(t, func(cfg *Config) {
		cfg.Live.Sample = func() Sample {
			return Sample{Records: 7, Behind: Float(math.NaN()), Models: []Point{{.75, .5}}, Baselines: []Point{{.5}}}
		}
	}, func(s *Server) { s.every = time.Hour })
	var got struct {
		Models, Baselines, Scores []string
		Samples                   []map[string]any
	}
	for range 500 {
		body := f.do("GET", "/api/history").body
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if len(got.Samples) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond) // until the first is taken
	}
	if len(got.Samples) != 1 || len(got.Models) != 5 || got.Baselines[0] != "majority" || got.Scores[1] != "test_log_loss" {
		t.Fatalf("%+v", got)
	}
	sample := got.Samples[0]
	if sample["records"] != 7. || sample["lag_seconds"] != nil || sample["models"].([]any)[0].([]any)[0] != .75 {
		t.Errorf("%v", sample)
	}
	if got := f.do("GET", "/api/history?after=99999999999999"); !strings.Contains(got.body, `"samples":[]`) {
		t.Errorf("after the newest: %s", got.body)
	}
	if got := f.do("GET", "/api/history?after=noon"); got.code != 400 || !strings.Contains(got.body, "after is not the time of a sample") {
		t.Errorf("%d %s", got.code, got.body)
	}
}
