package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	maxStreams = 32 // streams of events at a time
	// streamWrite is how long a client may take to read what was sent before the stream is cut.
	streamWrite = 5 * time.Second
	// pingEvery is the longest silence of a stream: proxies close connections on which nothing comes.
	pingEvery = 15 * time.Second
	// reconnect is how soon a browser that lost its stream asks for another.
	reconnect = 2 * time.Second
)

// event is what /api/events sends once a second.
type event struct {
	Sample Sample          `json:"sample"`
	Status json.RawMessage `json:"status,omitempty"` // with the newest sample; left out before the stream was noticed
}

// events streams each new sample, and what the page shows beside it, as server-sent events. An event's id is the time of
// its sample: with Last-Event-ID, the samples are sent first that were missed, as far as they are kept finely.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		writeError(w, http.StatusServiceUnavailable, "too many streams are open; /api/status and /api/history have the same")
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy must not wait for more
	if r.Method == http.MethodHead {
		return
	}
	last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		last = -1
	}
	stream := http.NewResponseController(w)
	// The limits of other requests would cut it: the one for reading ends the request's context.
	if err := stream.SetReadDeadline(time.Time{}); err != nil {
		writeError(w, http.StatusInternalServerError, "open a stream: "+err.Error())
		return
	}
	send := func(text string) bool {
		if stream.SetWriteDeadline(time.Now().Add(s.streamWrite)) != nil {
			return false
		}
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return stream.Flush() == nil
	}
	if !send(fmt.Sprintf("retry: %d\n\n", reconnect.Milliseconds())) {
		return
	}
	ping := time.NewTimer(s.ping)
	defer ping.Stop()
	for {
		samples, status, changed := s.history.news(last)
		for i := range samples {
			e := event{Sample: samples[i]}
			if i == len(samples)-1 {
				e.Status = status
			}
			data, err := json.Marshal(e)
			if err != nil || !send(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Sample.Time, data)) {
				return
			}
			last = e.Sample.Time
			ping.Reset(s.ping)
		}
		select {
		case <-changed:
		case <-ping.C:
			if !send(":\n\n") {
				return
			}
			ping.Reset(s.ping)
		case <-r.Context().Done():
			return
		case <-s.ending:
			return
		}
	}
}
