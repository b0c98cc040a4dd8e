// Package serve is the service's HTTP side: the page, probes, metrics, status, predictions, and the models' states; and, on
// an address of its own, what only operators may do.
//
// It knows neither Kafka nor how a model learns: everything it shows comes from the functions and interfaces of
// [Config] and [AdminConfig].
//
// | goroutine | started and waited for by | ends when | it alone touches |
// |---|---|---|---|
// | accept | Run | Shutdown | its listener |
// | sample | Run | its context | what it adds to the history |
// | one for each connection | net/http; Shutdown waits, up to the grace | the client or a timeout ends it | its connection |
package serve

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Models gives the models' states.
type Models interface {
	// Names returns the names of all models.
	Names() []string
	// State returns the state of one of them in one of the formats, or ErrNoState. It returns when ctx ends at the latest.
	State(ctx context.Context, name, format string) (State, error)
}

// State is a model's state at one moment.
type State struct {
	Data    []byte // a file of the format that was asked for
	Records uint64 // records learned by then
}

// ErrNoState says that a model has nothing to give yet.
var ErrNoState = errors.New("the model has no state yet")

// Observer is told what was asked and answered.
type Observer interface {
	// Requested tells of each request: the pattern of its route, its method, the status code, and the time that the answer
	// took. The values of handler and method come from a small fixed set.
	Requested(handler, method string, code int, took time.Duration)
	// Predicted says how many rows a model was asked for that it answered with class 0, and how many with class 1.
	Predicted(model string, class0, class1 int)
}

// Version says which build this is.
type Version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

// Config says what is served. All fields must be set.
type Config struct {
	Addr    string // host:port of LEARNER_HTTP_ADDR
	Version Version

	Alive    func() error    // why the process should be restarted, or nil
	Unready  func() []string // why the service is not ready; none: it is
	Status   func() any      // what /api/status shows, as encoding/json writes it; floats that may be NaN as Float
	Live     Live            // what the page shows of now
	Models   Models
	Metrics  http.Handler
	Observer Observer
	Log      *zap.Logger
	// Predictor returns what answers for a model now, or ErrNoModel, or ErrNoState.
	Predictor func(model string) (Predictor, error)
}

// Server serves one address.
type Server struct {
	*web
	cfg    Config
	states chan struct{} // holds one value for each state being made or sent
	large  chan struct{} // holds one value for each large request for predictions being answered

	history     *history
	streams     chan struct{} // holds one value for each stream of events
	ending      chan struct{} // closed when the server stops
	every       time.Duration // between two samples
	streamWrite time.Duration
	ping        time.Duration
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, states: make(chan struct{}, maxStates), large: make(chan struct{}, maxLarge),
		history: newHistory(), streams: make(chan struct{}, maxStreams), ending: make(chan struct{}),
		every: sampleEvery, streamWrite: streamWrite, ping: pingEvery,
	}
	s.web = newWeb("LEARNER_HTTP_ADDR", cfg.Addr, s.routes(), cfg.Observer, cfg.Log)
	s.http.RegisterOnShutdown(func() { close(s.ending) })
	return s
}

// Run serves and takes samples until ctx ends, then finishes the open requests for a few seconds and closes what is left.
// Listen must have succeeded.
func (s *Server) Run(ctx context.Context) error {
	sampling, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { s.sample(sampling) })
	err := s.web.Run(ctx)
	stop()
	wait.Wait()
	return err
}
