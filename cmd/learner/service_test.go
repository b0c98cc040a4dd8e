package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	status := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/healthz" {
			t.Errorf("asked for %s %s", r.Method, r.URL.Path)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(<-status)
	}))
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")

	for _, tt := range []struct {
		addr   string
		status int
		want   int
	}{
		{":" + port, http.StatusOK, exitClean},
		{"0.0.0.0:" + port, http.StatusOK, exitClean},
		{"127.0.0.1:" + port, http.StatusOK, exitClean},
		{":" + port, http.StatusServiceUnavailable, exitFailure},
		{":" + port, http.StatusFound, exitFailure},
	} {
		status <- tt.status
		got := runWith(t, []string{"LEARNER_HTTP_ADDR=" + tt.addr}, "healthcheck")
		if got.code != tt.want || (got.stdout == "alive\n") != (tt.want == exitClean) || (got.stderr == "") != (tt.want == exitClean) {
			t.Errorf("%s answers %d: %+v, want exit code %d", tt.addr, tt.status, got, tt.want)
		}
	}

	server.Close()
	got := runWith(t, []string{"LEARNER_HTTP_ADDR=:" + port}, "healthcheck")
	if got.code != exitFailure || !strings.Contains(got.stderr, "ask http://127.0.0.1:"+port+"/healthz: ") {
		t.Errorf("nobody listens: %+v", got)
	}
}

func TestHealthURL(t *testing.T) {
	t.Parallel()
	for give, want := range map[string]string{
		":8080":          "http://127.0.0.1:8080/healthz",
		"[::]:8080":      "http://127.0.0.1:8080/healthz",
		"10.1.2.3:80":    "http://10.1.2.3:80/healthz",
		"[::1]:8080":     "http://[::1]:8080/healthz",
		"localhost:8080": "http://localhost:8080/healthz",
	} {
		if got, err := healthURL(give); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", give, got, err, want)
		}
	}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{
		Main:     debug.Module{Version: "v1.0.0"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	for _, tt := range []struct{ give, want build }{
		{build{}, build{Version: "v1.0.0", Revision: "0123abc-dirty"}},
		{build{Version: "v2.0.0", Revision: "456def"}, build{Version: "v2.0.0", Revision: "456def"}},
	} {
		got := tt.give
		if got.complete(info); got != tt.want {
			t.Errorf("%+v: %+v, want %+v", tt.give, got, tt.want)
		}
	}
	b := currentBuild()
	want := "learner " + b.Version + "\nrevision " + b.Revision + "\n" + b.Go + " " + b.Platform + "\n"
	if got := runWith(t, nil, "version"); got.stdout != want || b.Version == "" || b.Revision == "" {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	cfg := defaults(t)

	var out bytes.Buffer
	newLogger(cfg, logLevel(cfg), &out).Debug("below the level")
	newLogger(cfg, logLevel(cfg), &out).Warn("hello")
	var line struct{ Level, TS, Caller, Msg string }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if _, err := time.Parse(logTime, line.TS); err != nil {
		t.Errorf("time: %v; want RFC 3339 with milliseconds", err)
	}
	if line.Level != "warn" || line.Msg != "hello" || !strings.Contains(line.Caller, "service_test.go:") {
		t.Errorf("%+v", line)
	}

	out.Reset()
	cfg.LogFormat, cfg.LogLevel = "console", "debug"
	newLogger(cfg, logLevel(cfg), &out).Debug("hello")
	if fields := strings.Split(strings.TrimSpace(out.String()), "\t"); len(fields) != 4 || fields[1] != "DEBUG" || fields[3] != "hello" {
		t.Errorf("console line %q", &out)
	}
}
