package serve

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

// What the history keeps: a sample a second for 15 minutes, and every fifteenth for 6 hours. With 16 models, the most that
// a sample has, and 3 baselines the 2,340 samples take 2.4 MB, with one model 0.7 MB.
const (
	sampleEvery   = time.Second
	fineSamples   = 900
	coarseStep    = 15
	coarseSamples = 1440
	maxSeries     = 16 // models, the first ones, and baselines
)

// Live is where history and events come from.
type Live struct {
	Sample    func() Sample // called once a second by one goroutine
	Baselines []string      // names of those in a Sample
	// Status returns what an event shows: as Config.Status, but without what is long.
	Status func() any
}

// Sample is one moment of what the page draws.
type Sample struct {
	Time      int64   `json:"time"`               // milliseconds since 1970; set when it is taken, and greater than that of the one before
	Records   uint64  `json:"records"`            // learned
	Rate      Float   `json:"records_per_second"` // since the sample before; set when it is taken
	Lag       int64   `json:"lag_records"`
	Behind    Float   `json:"lag_seconds"`
	Remaining int64   `json:"replay_records"` // of the log as it was at the start; 0: caught up
	Models    []Point `json:"models"`         // as Models.Names has them
	Baselines []Point `json:"baselines"`      // as Live.Baselines has them

	// Counted names what Records counts, so that a rate is never between two counts; empty: nothing is learned here.
	Counted string `json:"-"`
}

// Point holds the scores of one model or baseline at one moment, in the order of scoreNames.
type Point [6]Float

var scoreNames = [len(Point{})]string{
	"test_accuracy", "test_log_loss", "recent_accuracy", "recent_loss", "progressive_accuracy", "progressive_loss",
}

// ring keeps the newest samples, size at most.
type ring struct {
	size    int
	samples []Sample // once it is full, the oldest is at next
	next    int
}

func (r *ring) add(s *Sample) {
	if len(r.samples) < r.size {
		r.samples = append(r.samples, *s)
		return
	}
	r.samples[r.next] = *s
	r.next = (r.next + 1) % r.size
}

// newest returns the newest sample; nil: there is none.
func (r *ring) newest() *Sample {
	if len(r.samples) == 0 {
		return nil
	}
	return &r.samples[(r.next+len(r.samples)-1)%len(r.samples)]
}

// appendBetween appends to dst those with after < Time < before, oldest first.
func (r *ring) appendBetween(dst []Sample, after, before int64) []Sample {
	for i := range r.samples {
		if s := &r.samples[(r.next+i)%len(r.samples)]; s.Time > after && s.Time < before {
			dst = append(dst, *s)
		}
	}
	return dst
}

// history keeps the samples of the last hours. One goroutine adds, any number read.
type history struct {
	mu      sync.Mutex // guards all below
	fine    ring
	coarse  ring
	added   int
	status  json.RawMessage // what is shown beside the newest sample; nil: nobody looks
	changed chan struct{}   // closed when a sample is added
}

func newHistory() *history {
	return &history{fine: ring{size: fineSamples}, coarse: ring{size: coarseSamples}, changed: make(chan struct{})}
}

// add takes a sample of now into the history, with what is shown beside it until the next.
func (h *history) add(now time.Time, s Sample, status json.RawMessage) {
	s.Models, s.Baselines = bounded(s.Models), bounded(s.Baselines)
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Time = now.UnixMilli()
	last := h.fine.newest()
	if last != nil {
		s.Time = max(s.Time, last.Time+1) // also where the clock was set back
	}
	s.Rate = rate(last, &s)
	if h.added%coarseStep == 0 {
		long := s
		long.Rate = rate(h.coarse.newest(), &s)
		h.coarse.add(&long)
	}
	h.fine.add(&s)
	h.added++
	h.status = status
	close(h.changed)
	h.changed = make(chan struct{})
}

// bounded returns the first points; never nil, so that JSON has a list.
func bounded(points []Point) []Point {
	return append([]Point{}, points[:min(len(points), maxSeries)]...)
}

// rate returns the records learned in a second between two samples; NaN: they do not tell.
func rate(from, to *Sample) Float {
	if from == nil || to.Counted == "" || from.Counted != to.Counted || to.Records < from.Records {
		return Float(math.NaN())
	}
	return Float(math.Round(float64(to.Records-from.Records) / float64(to.Time-from.Time) * 1000))
}

// after returns all samples later than time, oldest first: as fine as they are kept.
func (h *history) after(time int64) []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []Sample{}
	if len(h.fine.samples) == 0 {
		return all
	}
	all = h.coarse.appendBetween(all, time, h.fine.samples[h.fine.next%len(h.fine.samples)].Time)
	return h.fine.appendBetween(all, time, math.MaxInt64)
}

// news returns the samples later than time that are kept finely, what is shown beside the newest, and what is closed when
// there is more. A negative time asks for the newest sample alone.
func (h *history) news(time int64) ([]Sample, json.RawMessage, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last := h.fine.newest(); last != nil && time < 0 {
		time = last.Time - 1
	}
	return h.fine.appendBetween(nil, time, math.MaxInt64), h.status, h.changed
}

// sample adds to the history at every tick until ctx ends.
func (s *Server) sample(ctx context.Context) {
	ticker := time.NewTicker(s.every)
	defer ticker.Stop()
	for now := time.Now(); ; {
		var status json.RawMessage
		if len(s.streams) > 0 {
			var err error
			if status, err = json.Marshal(s.cfg.Live.Status()); err != nil {
				s.cfg.Log.Error("write the status of an event as JSON", zap.Error(err))
			}
		}
		s.history.add(now, s.cfg.Live.Sample(), status)
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
	}
}

// samples answers with the history, or with what is later than the query's after, a sample's time.
func (s *Server) samples(w http.ResponseWriter, r *http.Request) {
	after := int64(-1)
	if text := r.URL.Query().Get("after"); text != "" {
		var err error
		if after, err = strconv.ParseInt(text, 10, 64); err != nil {
			writeError(w, http.StatusBadRequest, "after is not the time of a sample, in milliseconds since 1970")
			return
		}
	}
	names := s.cfg.Models.Names()
	writeJSON(w, http.StatusOK, struct {
		Models    []string `json:"models"`
		Baselines []string `json:"baselines"`
		Scores    []string `json:"scores"` // what the numbers of a point are
		Samples   []Sample `json:"samples"`
	}{names[:min(len(names), maxSeries)], s.cfg.Live.Baselines, scoreNames[:], s.history.after(after)})
}
