package serve

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	maxStates    = 4 // states being made or sent at a time: each is a copy of a whole model
	stateTimeout = 10 * time.Second
)

// pages are what is only read, by the pattern of the path.
func (s *Server) pages() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/{$}":                     s.index,
		"/healthz":                 s.healthz,
		"/readyz":                  s.readyz,
		"/metrics":                 s.cfg.Metrics.ServeHTTP,
		"/version":                 s.version,
		"/web/{name...}":           s.file,
		"/api/status":              s.status,
		"/api/history":             s.samples,
		"/api/events":              s.events,
		"/api/models/{name}/state": s.state,
	}
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range s.pages() {
		mux.HandleFunc(pattern, readOnly(handler))
	}
	for pattern, handler := range s.predictions() {
		mux.HandleFunc(pattern, handler)
	}
	mux.HandleFunc("/", noSuchPath)
	return mux
}

// readOnly refuses every method but GET and HEAD.
func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return only(next, http.MethodGet, http.MethodHead)
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := s.cfg.Alive(); err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("ok\n")) // a client that went away needs no answer
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	writeReady(w, s.cfg.Unready())
}

// writeReady answers whether something is ready: it is if there is no reason why not.
func writeReady(w http.ResponseWriter, reasons []string) {
	code := http.StatusOK
	if len(reasons) > 0 {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
	}{len(reasons) == 0, append([]string{}, reasons...)}) // an empty list, never null
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Version)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.cfg.Status())
}

// formats holds the media types of the formats that a state is sent in. Their names are also the files' extensions.
var formats = map[string]string{
	"safetensors": "application/octet-stream",
	"onnx":        "application/octet-stream",
	"json":        "application/json",
}

// state sends a model's state as a file, of safetensors unless ?format= says otherwise. The ETag is the file's SHA-256, so a client that has the newest
// one is told so (If-None-Match), and a download that broke off can go on while the model stands still (Range).
func (s *Server) state(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if names := s.cfg.Models.Names(); !slices.Contains(names, name) {
		writeJSON(w, http.StatusNotFound, failure{Error: fmt.Sprintf("no model %q", name), Models: names})
		return
	}
	format := cmp.Or(r.URL.Query().Get("format"), "safetensors")
	mediaType, ok := formats[format]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(formats)), ", ")
		writeError(w, http.StatusBadRequest, fmt.Sprintf("no format %q (there is: %s)", format, names))
		return
	}
	select {
	case s.states <- struct{}{}:
		defer func() { <-s.states }()
	default:
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "too many states are being sent; try again")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), stateTimeout)
	defer cancel()
	state, err := s.cfg.Models.State(ctx, name, format)
	switch {
	case errors.Is(err, ErrNoState), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, fmt.Sprintf("state of model %q: %v", name, err))
		return
	case err != nil:
		s.cfg.Log.Error("state of a model", zap.String("model", name), zap.Error(err))
		writeError(w, http.StatusInternalServerError, fmt.Sprintf("state of model %q: %v", name, err))
		return
	}
	sum := sha256.Sum256(state.Data)
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + "." + format}))
	header.Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	header.Set("Cache-Control", "no-cache")
	header.Set("X-Learner-Records", strconv.FormatUint(state.Records, 10))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(state.Data))
}
