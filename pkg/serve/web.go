package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// What one client may take.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 60 * time.Second // a large state over a slow line
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	stopGrace         = 5 * time.Second // to finish open requests once the service stops
)

// web is what Server and Admin share: an address, bounds for its clients, and a beginning and an end.
type web struct {
	variable string // that the address comes from
	addr     string
	observer Observer
	log      *zap.Logger
	http     *http.Server
	listener net.Listener
	grace    time.Duration
}

func newWeb(variable, addr string, routes http.Handler, observer Observer, log *zap.Logger) *web {
	s := &web{variable: variable, addr: addr, observer: observer, log: log, grace: stopGrace}
	clients := newClients(log)
	s.http = &http.Server{
		Handler:           s.observed(clients.noted(routes)),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         clients.changed,
		ConnContext:       clients.connected,
		ErrorLog:          zap.NewStdLog(log.Named("http")),
	}
	return s
}

// Listen takes the address. Connections wait until Run.
func (s *web) Listen() error {
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listen on %s=%s: %w", s.variable, s.addr, err)
	}
	s.listener = listener
	return nil
}

// Addr returns the address listened on, with the port that was chosen if the configuration said 0.
func (s *web) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then finishes the open requests for a few seconds and closes what is left. Listen must
// have succeeded.
func (s *web) Run(ctx context.Context) error {
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
		s.log.Warn("http requests cut off", zap.Error(err))
		if err := s.http.Close(); err != nil {
			return fmt.Errorf("close HTTP on %v: %w", s.listener.Addr(), err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %v: %w", s.listener.Addr(), err)
	}
	return nil
}

// only refuses every method but those given.
func only(next http.HandlerFunc, methods ...string) http.HandlerFunc {
	allow := strings.Join(methods, ", ")
	text := "only " + strings.Join(methods, " and ") + " are answered here"
	if len(methods) == 1 {
		text = "only " + allow + " is answered here"
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			writeError(w, http.StatusMethodNotAllowed, text)
			return
		}
		next(w, r)
	}
}

func noSuchPath(w http.ResponseWriter, _ *http.Request) {
	writeError(w, http.StatusNotFound, "no such path; / lists what there is")
}
