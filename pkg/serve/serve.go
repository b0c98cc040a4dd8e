// Package serve is the service's HTTP side: probes, metrics, status, and the models' states.
//
// It knows neither Kafka nor how a model learns: everything it shows comes from the functions and interfaces of
// [Config].
//
// | goroutine | started and waited for by | ends when | it alone touches |
// |---|---|---|---|
// | accept | Run | Shutdown | its listener |
// | one for each connection | net/http; Shutdown waits, up to the grace | the client or a timeout ends it | its connection |
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// What one client may take. A connection is closed that exceeds them, or is one too many.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 60 * time.Second // a large state over a slow line
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	maxConnections    = 256
	stopGrace         = 5 * time.Second // to finish open requests once the service stops
)

// Models gives the models' states.
type Models interface {
	// Names returns the names of all models.
	Names() []string
	// State returns the state of one of them, or ErrNoState. It returns when ctx ends at the latest.
	State(ctx context.Context, name string) (State, error)
}

// State is a model's whole state at one moment.
type State struct {
	Data    []byte // a safetensors file
	Records uint64 // records learned by then
}

// ErrNoState says that a model has nothing to give yet.
var ErrNoState = errors.New("the model has no state yet")

// Observer is told of each request: the pattern of its route, its method, the status code, and the time that the
// answer took. The values of handler and method come from a small fixed set.
type Observer interface {
	Requested(handler, method string, code int, took time.Duration)
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
	Models   Models
	Metrics  http.Handler
	Observer Observer
	Log      *zap.Logger
}

// Server serves one address.
type Server struct {
	cfg         Config
	http        *http.Server
	listener    net.Listener
	connections atomic.Int64
	states      chan struct{} // holds one value for each state being made or sent
	grace       time.Duration
}

// New returns a server that does not listen yet.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, states: make(chan struct{}, maxStates), grace: stopGrace}
	s.http = &http.Server{
		Handler:           s.observed(s.routes()),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.limit,
		ErrorLog:          zap.NewStdLog(cfg.Log.Named("http")),
	}
	return s
}

// limit closes a new connection when there are too many: sockets that strangers hold open must not use up the file
// descriptors that the way to Kafka needs.
func (s *Server) limit(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.connections.Add(1) > maxConnections {
			_ = conn.Close() // nothing was sent, nothing is lost
		}
	case http.StateClosed:
		s.connections.Add(-1)
	}
}

// Listen takes the address. Connections wait until Run.
func (s *Server) Listen() error {
	listener, err := net.Listen("tcp", s.cfg.Addr)
	if err != nil {
		return fmt.Errorf("listen on LEARNER_HTTP_ADDR=%s: %w", s.cfg.Addr, err)
	}
	s.listener = listener
	return nil
}

// Addr returns the address listened on, with the port that was chosen if the configuration said 0.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then finishes the open requests for a few seconds and closes what is left. Listen must
// have succeeded.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		_ = s.http.Close() // the error that ended Serve is the one to tell
		return fmt.Errorf("serve HTTP on %v: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
	defer cancel()
	if err := s.http.Shutdown(ending); err != nil {
		s.cfg.Log.Warn("http requests cut off", zap.Error(err))
		if err := s.http.Close(); err != nil {
			return fmt.Errorf("close HTTP on %v: %w", s.listener.Addr(), err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %v: %w", s.listener.Addr(), err)
	}
	return nil
}
