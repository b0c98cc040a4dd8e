package serve

import (
	"cmp"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// observed runs next, answers for it if it panics, and tells the observer of the request.
func (s *web) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		answer := &answer{ResponseWriter: w}
		defer func() {
			cause, started := recover(), answer.code != 0
			if cause != nil {
				s.log.Error("http handler panicked", zap.Any("cause", cause), zap.String("handler", r.Pattern), zap.Stack("stack"))
			}
			if cause != nil && !started {
				writeError(answer, http.StatusInternalServerError, "internal error")
			}
			s.observer.Requested(cmp.Or(r.Pattern, "/"), method(r), cmp.Or(answer.code, http.StatusOK), time.Since(began))
			if cause != nil && started {
				panic(http.ErrAbortHandler) // part of an answer is out: cut it off, so that the client notices
			}
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(answer, r)
	})
}

// method returns the request's method if it is one that HTTP knows, and else "other": clients may send any word.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return r.Method
	}
	return "other"
}

// answer remembers the status code that was sent; 0: none yet.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
