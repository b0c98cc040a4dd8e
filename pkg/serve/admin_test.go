package serve

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// adminFixture is a fixture whose server is an Admin.
type adminFixture struct{ *fixture }

// startAdmin runs an Admin on a free port until the test ends. change may alter its configuration, tune the server.
func startAdmin(t *testing.T, change func(cfg *AdminConfig), tune func(a *Admin)) adminFixture {
	t.Helper()
	requests := &requests{}
	cfg := AdminConfig{
		Addr: "127.0.0.1:0", Level: zap.NewAtomicLevel(), Observer: requests, Log: zap.NewNop(),
		Checkpoint: func(context.Context) (Checkpoint, error) { return Checkpoint{"abc", 7, "def"}, nil },
	}
	if change != nil {
		change(&cfg)
	}
	a := NewAdmin(cfg)
	if tune != nil {
		tune(a)
	}
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	return adminFixture{serving(t, a.web, requests)}
}

func TestAdminRoutes(t *testing.T) {
	f := startAdmin(t, nil, nil)
	for _, c := range []struct {
		method, path string
		body         string // what is sent
		code         int
		want         string // part of the answer
		route        string
	}{
		{"GET", "/", "", 200, "POST /checkpoint", "/{$}"},
		{"POST", "/", "", 405, "only GET and HEAD are answered here", "/{$}"},
		{"GET", "/nothing", "", 404, "no such path; / lists what there is", "/"},
		{"GET", "/metrics", "", 404, "no such path", "/"},
		{"GET", "/log/level", "", 200, `{"level":"info"}`, "/log/level"},
		{"PUT", "/log/level", `{"level":"debug"}`, 200, `{"level":"debug"}`, "/log/level"},
		{"PUT", "/log/level", `{"level":"loud"}`, 400, "unrecognized level", "/log/level"},
		{"PUT", "/log/level", `{"level":`, 400, "malformed request body", "/log/level"},
		{"PUT", "/log/level", `{"level":"` + strings.Repeat("a", maxAdminBody) + `"}`, 400, "request body too large", "/log/level"},
		{"POST", "/log/level", `{"level":"error"}`, 405, "only GET and PUT are answered here", "/log/level"},
		{"GET", "/log/level", "", 200, `{"level":"debug"}`, "/log/level"},
		{"PUT", "/log/level", `{"level":"fatal"}`, 200, `{"level":"fatal"}`, "/log/level"},
		{"POST", "/checkpoint", "", 200, `{"lineage":"abc","sequence":7,"writer":"def"}`, "/checkpoint"},
		{"GET", "/checkpoint", "", 405, "only POST is answered here", "/checkpoint"},
		{"GET", "/debug/pprof/", "", 200, "goroutine", "/debug/pprof/"},
		{"GET", "/debug/pprof/goroutine?debug=1", "", 200, "TestAdminRoutes", "/debug/pprof/"},
		{"GET", "/debug/pprof/nothing", "", 404, "Unknown profile", "/debug/pprof/"},
		{"POST", "/debug/pprof/heap", "", 405, "only GET and HEAD are answered here", "/debug/pprof/"},
		{"GET", "/debug/pprof/cmdline", "", 200, ".test", "/debug/pprof/cmdline"},
		{"GET", "/debug/pprof/symbol", "", 200, "num_symbols", "/debug/pprof/symbol"},
	} {
		t.Run(fmt.Sprintf("%s %.30s %.30s", c.method, c.path, c.body), func(t *testing.T) {
			got := f.do(c.method, c.path, c.body)
			if got.code != c.code || !strings.Contains(got.body, c.want) {
				t.Errorf("%d %.200q, want %d %q", got.code, got.body, c.code, c.want)
			}
			if want := fmt.Sprint(c.route, " ", c.method, " ", c.code); !f.eventually(want) {
				t.Errorf("the observer was not told of %q", want)
			}
		})
	}
}

// Only who cannot be a web page, and speaks to a loopback address, is answered without a token.
func TestAdminWithoutAToken(t *testing.T) {
	f := startAdmin(t, nil, nil)
	for _, c := range []struct {
		host   string
		header []string
		code   int
	}{
		{"127.0.0.1:8081", nil, 200},
		{"127.1.2.3", nil, 200},
		{"LOCALHOST:1", nil, 200},
		{"[::1]:8081", nil, 200},
		{"[::1]", nil, 200},
		{"localhost", []string{"Sec-Fetch-Site", "none"}, 200}, // typed into the browser by its user
		{"localhost", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"localhost", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"localhost", []string{"Sec-Fetch-Site", "same-site"}, 403}, // another port of localhost
		{"localhost", []string{"Origin", "http://localhost"}, 403},
		{"localhost", []string{"Origin", "null"}, 403},
		{"localhost", []string{"Origin", ""}, 403},
		{"evil.example", nil, 403},
		{"evil.example:8081", nil, 403},
		{"localhost.evil.example", nil, 403},
		{"127.0.0.1.evil.example", nil, 403},
		{"10.0.0.1:8081", nil, 403},
		{"[::]:8081", nil, 403},
		{"", nil, 403},
	} {
		for _, path := range []string{"/", "/checkpoint", "/debug/pprof/", "/nothing"} {
			method := "GET"
			if path == "/checkpoint" {
				method = "POST"
			}
			text := method + " " + path + " HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: close\r\n"
			for i := 0; i < len(c.header); i += 2 {
				text += c.header[i] + ": " + c.header[i+1] + "\r\n"
			}
			got := f.raw(text + "\r\n")
			if refused := strings.Contains(got, " 403 Forbidden\r\n"); refused != (c.code == 403) || got == "" {
				t.Errorf("%s to %q with %q: %.60q", path, c.host, c.header, got)
			}
		}
	}
}

func TestAdminWithAToken(t *testing.T) {
	const token = "s3cret-of-operators"
	called := false
	f := startAdmin(t, func(cfg *AdminConfig) {
		cfg.Token = token
		cfg.Checkpoint = func(context.Context) (Checkpoint, error) { called = true; return Checkpoint{}, nil }
	}, nil)
	for _, header := range [][]string{
		nil,
		{"Authorization", token},
		{"Authorization", "Basic " + token},
		{"Authorization", "Bearer"},
		{"Authorization", "Bearer "},
		{"Authorization", "Bearer " + token + "x"},
		{"Authorization", "Bearer " + token[1:]},
		{"Authorization", "Bearer x " + token},
		{"X-Token", token},
	} {
		for _, path := range []string{"/", "/log/level", "/checkpoint", "/debug/pprof/heap", "/nothing"} {
			got := f.do("POST", path, "", header...)
			if got.code != 401 || got.header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(got.body, token) {
				t.Errorf("%s with %q: %d %q", path, header, got.code, got.body)
			}
		}
	}
	if called {
		t.Error("a request without the token got through")
	}
	if got := f.do("POST", "/checkpoint", "", "Authorization", "bearer "+token); got.code != 200 || !called {
		t.Errorf("with the token: %d %q", got.code, got.body)
	}
	if !f.eventually("/ POST 401") {
		t.Errorf("the observer was told %v", f.requests.seen)
	}
}

func TestAdminListensElsewhereOnlyWithAToken(t *testing.T) {
	cfg := AdminConfig{Addr: "0.0.0.0:0", Log: zap.NewNop()}
	err := NewAdmin(cfg).Listen()
	if err == nil || !strings.Contains(err.Error(), "LEARNER_ADMIN_ADDR=0.0.0.0:0") || !strings.Contains(err.Error(), "LEARNER_ADMIN_TOKEN") {
		t.Errorf("every address without a token: %v", err)
	}
	cfg.Token = "token"
	a := NewAdmin(cfg)
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	_ = a.listener.Close()
}

// A change of the level is told, whatever the levels are.
func TestLogLevelIsTold(t *testing.T) {
	level := zap.NewAtomicLevel()
	core, logs := observer.New(level)
	f := startAdmin(t, func(cfg *AdminConfig) { cfg.Level, cfg.Log = level, zap.New(core) }, nil)
	for _, to := range []string{"error", "debug", "debug", "warn"} {
		if got := f.do("PUT", "/log/level", `{"level":"`+to+`"}`); got.code != 200 {
			t.Errorf("%d %q", got.code, got.body)
		}
	}
	if level.Level() != zapcore.WarnLevel {
		t.Errorf("the level is %v", level)
	}
	if n := logs.FilterMessage("log level changed").Len(); n != 3 {
		t.Errorf("%d changes were told, want 3: %v", n, logs.All())
	}
}

func TestCheckpointAnswers(t *testing.T) {
	var answer error
	f := startAdmin(t, func(cfg *AdminConfig) {
		cfg.Checkpoint = func(context.Context) (Checkpoint, error) { return Checkpoint{}, answer }
	}, nil)
	for _, c := range []struct {
		err   error
		code  int
		again string
	}{
		{fmt.Errorf("%w: a standby", ErrNoCheckpoint), 409, ""},
		{errors.New("the broker is away"), 503, "1"},
	} {
		answer = c.err
		got := f.do("POST", "/checkpoint", "")
		if got.code != c.code || got.body != fmt.Sprintf("{\"error\":%q}\n", c.err) || got.header.Get("Retry-After") != c.again {
			t.Errorf("%v: %d %q %v", c.err, got.code, got.body, got.header)
		}
	}
}

func TestCheckpointsAtATimeAreBounded(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	f := startAdmin(t, func(cfg *AdminConfig) {
		cfg.Checkpoint = func(context.Context) (Checkpoint, error) {
			entered <- struct{}{}
			<-leave
			return Checkpoint{Sequence: 1}, nil
		}
	}, nil)
	var waiting sync.WaitGroup
	for range maxCheckpoints {
		waiting.Go(func() {
			if got := f.do("POST", "/checkpoint", ""); got.code != 200 {
				t.Errorf("%d %q", got.code, got.body)
			}
		})
	}
	for range maxCheckpoints {
		<-entered
	}
	if got := f.do("POST", "/checkpoint", ""); got.code != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("one too many: %d %q", got.code, got.body)
	}
	close(leave)
	waiting.Wait()
}

// What takes longer than a client has for its request, or for reading an ordinary answer, is not cut short.
func TestLongAnswersOfAdmin(t *testing.T) {
	done := make(chan error, 1)
	f := startAdmin(t, func(cfg *AdminConfig) {
		cfg.Checkpoint = func(ctx context.Context) (Checkpoint, error) {
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
			done <- ctx.Err()
			return Checkpoint{}, nil
		}
	}, func(a *Admin) { a.http.ReadTimeout, a.http.WriteTimeout = 50*time.Millisecond, 800*time.Millisecond })
	if got := f.do("POST", "/checkpoint", ""); got.code != 200 {
		t.Errorf("%d %q", got.code, got.body)
	}
	if err := <-done; err != nil {
		t.Errorf("the request ended early: %v", err)
	}
	for _, path := range []string{"/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1", "/debug/pprof/heap?seconds=1"} {
		began := time.Now()
		got := f.do("GET", path, "")
		if took := time.Since(began); got.code != 200 || len(got.body) == 0 || took < time.Second {
			t.Errorf("%s: %d, %d bytes after %s", path, got.code, len(got.body), took)
		}
	}
}

// What operators may do is on their own address alone.
func TestServerHasNoAdmin(t *testing.T) {
	f := start(t, nil, nil)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/log/level", "/checkpoint"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
			if got := f.raw(method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.Contains(got, " 404 ") {
				t.Errorf("%s %s: %.60q", method, path, got)
			}
		}
	}
}

// do sends a request, with a body of JSON.
func (f adminFixture) do(method, path, body string, header ...string) reply {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.server.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return exchange(f.t, f.client, req, header)
}
