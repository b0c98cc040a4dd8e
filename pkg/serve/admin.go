package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	maxAdminBody      = 4 << 10
	maxCheckpoints    = 4 // requests for a checkpoint that wait at a time
	checkpointTimeout = 30 * time.Second
)

// AdminConfig says what operators may do. All fields but Token must be set.
type AdminConfig struct {
	Addr  string          // host:port of LEARNER_ADMIN_ADDR
	Token string          // that every request must carry; empty: none, which only a loopback address may have
	Level zap.AtomicLevel // of the log
	// Checkpoint makes one of what is learned by now and returns when it is committed. An error that wraps ErrNoCheckpoint
	// says why this process makes none. It returns when ctx ends at the latest.
	Checkpoint func(ctx context.Context) (Checkpoint, error)
	Observer   Observer
	Log        *zap.Logger
}

// Checkpoint is the id of a checkpoint that is committed.
type Checkpoint struct {
	Lineage  string `json:"lineage"`
	Sequence int64  `json:"sequence"`
	Writer   string `json:"writer"`
}

// ErrNoCheckpoint says that this process makes no checkpoints.
var ErrNoCheckpoint = errors.New("no checkpoint is made here")

// Admin serves what only operators may do, on an address of its own.
type Admin struct {
	*web
	cfg         AdminConfig
	checkpoints chan struct{} // holds one value for each request that waits for a checkpoint
}

// NewAdmin returns a server that does not listen yet.
func NewAdmin(cfg AdminConfig) *Admin {
	a := &Admin{cfg: cfg, checkpoints: make(chan struct{}, maxCheckpoints)}
	a.web = newWeb("LEARNER_ADMIN_ADDR", cfg.Addr, a.guarded(a.routes()), cfg.Observer, cfg.Log)
	return a
}

// Listen takes the address, which without a token must be one of this machine alone.
func (a *Admin) Listen() error {
	if err := a.web.Listen(); err != nil {
		return err
	}
	if tcp, ok := a.Addr().(*net.TCPAddr); a.cfg.Token == "" && (!ok || !tcp.IP.IsLoopback()) {
		_ = a.listener.Close() // nothing was served
		return fmt.Errorf("listen on LEARNER_ADMIN_ADDR=%s: %v is no loopback address, which needs LEARNER_ADMIN_TOKEN", a.addr, a.Addr())
	}
	return nil
}

// Loopback says whether a host is this machine by its name alone: localhost, or a loopback address.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

const adminPaths = `GET  /log/level      the least level that is logged
PUT  /log/level      set it: {"level":"debug"}, or the form level=debug
POST /checkpoint     make a checkpoint now; the answer comes when it is committed
GET  /debug/pprof/   profiles, for go tool pprof
`

func (a *Admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", readOnly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(adminPaths)) // a client that went away needs no answer
	}))
	mux.HandleFunc("/log/level", only(a.level, http.MethodGet, http.MethodPut))
	mux.HandleFunc("/checkpoint", only(patient(a.checkpoint), http.MethodPost))
	for name, handler := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
	} {
		mux.HandleFunc("/debug/pprof/"+name, readOnly(patient(handler)))
	}
	mux.HandleFunc("/", noSuchPath)
	return mux
}

// guarded lets those through who have the token. Where there is none, whoever can connect may do all; but web pages in a
// browser on this machine can connect as well: those of other sites give themselves away by Origin or Sec-Fetch-Site, and
// those whose own name was made to point here by Host.
func (a *Admin) guarded(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(a.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.cfg.Token != "" {
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			given := sha256.Sum256([]byte(token)) // sums are as long as each other, so that their comparison tells nothing
			if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(given[:], want[:]) == 0 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				writeError(w, http.StatusUnauthorized, "this address wants Authorization: Bearer, with LEARNER_ADMIN_TOKEN")
				return
			}
		} else if site := r.Header.Get("Sec-Fetch-Site"); !Loopback(hostname(r.Host)) || len(r.Header.Values("Origin")) > 0 ||
			site != "" && site != "none" && site != "same-origin" {
			writeError(w, http.StatusForbidden,
				"without LEARNER_ADMIN_TOKEN only requests to a loopback address are answered, and none from web pages")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostname returns a Host header's value without the port.
func hostname(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return strings.Trim(hostPort, "[]")
}

// patient keeps the time that a client has for its request from ending the answer: a profile takes longer.
func patient(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // fails where the connection is closed
		next(w, r)
	}
}

func (a *Admin) level(w http.ResponseWriter, r *http.Request) {
	before := a.cfg.Level.Level()
	r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
	w.Header().Set("Content-Type", "application/json")
	a.cfg.Level.ServeHTTP(w, r)
	if now := a.cfg.Level.Level(); now != before {
		// At the new level, so that it is told in any case, but at none that ends the process.
		a.cfg.Log.Log(min(max(now, zapcore.InfoLevel), zapcore.ErrorLevel), "log level changed", zap.Stringer("from", before), zap.Stringer("to", now))
	}
}

func (a *Admin) checkpoint(w http.ResponseWriter, r *http.Request) {
	select {
	case a.checkpoints <- struct{}{}:
		defer func() { <-a.checkpoints }()
	default:
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "too many requests wait for a checkpoint; try again")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), checkpointTimeout)
	defer cancel()
	kept, err := a.cfg.Checkpoint(ctx)
	switch {
	case errors.Is(err, ErrNoCheckpoint):
		writeError(w, http.StatusConflict, err.Error())
	case err != nil:
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, err.Error())
	default:
		writeJSON(w, http.StatusOK, kept)
	}
}
