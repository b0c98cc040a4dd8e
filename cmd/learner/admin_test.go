package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"learner/internal/broker"
	"learner/pkg/checkpoint"
	"learner/pkg/serve"
)

var listeningForOperators = regexp.MustCompile(`"listening for operators","address":"([^"]+)"`)

// adminURL returns where the service's server for operators is.
func (r *running) adminURL() string {
	r.t.Helper()
	var found []string
	r.eventually("listens for operators", func() bool {
		found = listeningForOperators.FindStringSubmatch(r.log.String())
		return found != nil
	})
	return "http://" + found[1]
}

// request sends a request, and returns the status code and everything else of the answer.
func request(t *testing.T, method, url, body string, header ...string) (code int, answer string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") { // which has no end
		time.AfterFunc(500*time.Millisecond, cancel)
	}
	text, err := io.ReadAll(response.Body)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return response.StatusCode, fmt.Sprint(response.Header) + "\n" + string(text)
}

// checkpointNow asks for a checkpoint and returns it.
func checkpointNow(t *testing.T, admin string) (c serve.Checkpoint) {
	t.Helper()
	code, answer := request(t, "POST", admin+"/checkpoint", "")
	_, body, _ := strings.Cut(answer, "\n")
	if err := json.Unmarshal([]byte(body), &c); err != nil || code != 200 {
		t.Errorf("POST /checkpoint: %d %s, %v", code, answer, err)
	}
	return c
}

// An operator's checkpoint holds what is learned by then, and is committed when the answer comes.
func TestCheckpointNow(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"topic", "dir"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			b, _ := embedded(t, broker.Options{})
			b.create(t, 2, nil)
			c := b.kept(t, store)
			lines := susyLines(t)[:2000]
			c.write(t, lines[:1000])
			s := startService(t, c, "LEARNER_CHECKPOINT_INTERVAL=24h", "LEARNER_ADMIN_ADDR=127.0.0.1:0")
			s.learns(1000)
			admin := s.adminURL()
			before := s.status()
			kept := checkpointNow(t, admin)
			if kept.Sequence <= before.Sequence || kept.Lineage != before.Lineage || kept.Writer != before.Writer {
				t.Errorf("the checkpoint is %+v, the one before %d of %s", kept, before.Sequence, before.Lineage)
			}
			committed := func(want serve.Checkpoint, records int64) {
				t.Helper()
				var offsets int64
				for p, commit := range c.commits(t) {
					offsets += commit.Offset
					if _, id := checkpoint.ParseMetadata(commit.Metadata); id != checkpoint.ID(want) {
						t.Errorf("partition %d: %s is committed, want %+v", p, commit.Metadata, want)
					}
				}
				if offsets != records {
					t.Errorf("offsets up to %d are committed, want %d", offsets, records)
				}
			}
			committed(kept, 1000)
			if again := checkpointNow(t, admin); again != kept {
				t.Errorf("with nothing learned since: %+v, want %+v", again, kept)
			}

			c.write(t, lines[1000:])
			s.learns(2000)
			var wait sync.WaitGroup
			var both [2]serve.Checkpoint
			for i := range both {
				wait.Go(func() { both[i] = checkpointNow(t, admin) })
			}
			wait.Wait()
			if both[0] != both[1] || both[0].Sequence != kept.Sequence+1 {
				t.Errorf("two at once: %+v, want one with sequence %d", both, kept.Sequence+1)
			}
			committed(both[0], 2000)

			standby := startService(t, c, "LEARNER_ADMIN_ADDR=127.0.0.1:0")
			standby.standsBy()
			if code, answer := request(t, "POST", standby.adminURL()+"/checkpoint", ""); code != 409 || !strings.Contains(answer, "its role is standby") {
				t.Errorf("a standby: %d %s", code, answer)
			}
		})
	}
}

func TestNoCheckpointWithoutAStore(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t, broker.Options{})
	c.create(t, 1, nil)
	s := startService(t, c, "LEARNER_CHECKPOINT=none", "LEARNER_ADMIN_ADDR=127.0.0.1:0")
	code, answer := request(t, "POST", s.adminURL()+"/checkpoint", "")
	if code != 409 || !strings.Contains(answer, "LEARNER_CHECKPOINT=none keeps no checkpoints") {
		t.Errorf("%d %s", code, answer)
	}
}

// A checkpoint that is not committed is none: the answer says so, and why.
func TestCheckpointThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	s, problem, ended := &service{cfg: defaults(t)}, "the broker is away", make(chan struct{})
	s.problem.Store(&problem)
	s.tenure.Store(&tenure{asked: make(chan chan<- checkpoint.ID), ended: ended})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.checkpointNow(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), problem) {
		t.Errorf("after the deadline: %v", err)
	}
	close(ended)
	if _, err := s.checkpointNow(t.Context()); err == nil || !strings.Contains(err.Error(), "learning ended") {
		t.Errorf("after the tenure: %v", err)
	}
}

// The level that operators set decides what is logged from then on.
func TestLogLevelWhileRunning(t *testing.T) {
	t.Parallel()
	c, _ := embedded(t, broker.Options{})
	c.create(t, 1, nil)
	s := startService(t, c, "LEARNER_ADMIN_ADDR=127.0.0.1:0")
	s.ready()
	level := s.adminURL() + "/log/level"
	const debug = `"msg":"in a new generation"`
	if strings.Contains(s.log.String(), debug) {
		t.Fatal("level info shows debug lines")
	}
	if code, answer := request(t, "PUT", level, `{"level":"debug"}`); code != 200 {
		t.Fatalf("%d %s", code, answer)
	}
	second := startService(t, c)
	second.standsBy()
	s.eventually("logs debug lines", func() bool { return strings.Contains(s.log.String(), debug) })
	second.stop()
	if code, answer := request(t, "PUT", level, `{"level":"error"}`); code != 200 {
		t.Fatalf("%d %s", code, answer)
	}
	s.stop()
	if log := s.log.String(); !strings.Contains(log, "log level changed") || strings.Contains(log, `"msg":"stopping"`) {
		t.Error("level error shows other lines, or the change of the level is not told")
	}
}

// A default address that is taken is done without; one that was asked for is not.
func TestAdminAddressTaken(t *testing.T) {
	t.Parallel()
	if taken, err := net.Listen("tcp", defaultAdmin); err == nil { // else it is taken already
		defer func() { _ = taken.Close() }()
	}
	c, _ := embedded(t, broker.Options{})
	c.create(t, 1, nil)
	s := startService(t, c, "LEARNER_ADMIN_ADDR=")
	s.ready()
	if log := s.log.String(); !strings.Contains(log, "no server for operators") || listeningForOperators.MatchString(log) {
		t.Errorf("the log does not say that there is no server for operators")
	}
	s.stops()

	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	got := runWith(t, c.with("LEARNER_ADMIN_ADDR="+other.Addr().String()))
	if got.code != exitFailure || !strings.Contains(got.stderr, "learner: listen on LEARNER_ADMIN_ADDR="+other.Addr().String()) {
		t.Errorf("an address that was asked for and is taken: %d %s", got.code, got.stderr)
	}
}

// Nothing that the service answers or logs, whatever it is asked, has a secret in it.
func TestEndpointsShowNoSecret(t *testing.T) {
	t.Parallel()
	const key, secret, registryKey, registrySecret, token = "marker-key-1", "marker-secret-2", "marker-registry-key-3", "marker-registry-secret-4", "marker-token-5"
	c, b := embedded(t, broker.Options{User: key, Password: secret})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, b.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	_, tokenFile := writeFile(t, "token", token+"\n")
	c.env = c.with("CCLOUD_CLUSTER_API_KEY="+key, "CCLOUD_CLUSTER_API_SECRET="+secret, "LEARNER_TLS_CA_FILE="+ca)
	c.create(t, 1, nil)
	c.write(t, susyLines(t)[:500])
	s := startService(t, c, "CCLOUD_SCHEMA_REGISTRY_ENDPOINT=http://127.0.0.1:1", "CCLOUD_SCHEMA_REGISTRY_API_KEY="+registryKey, "CCLOUD_SCHEMA_REGISTRY_API_SECRET="+registrySecret,
		"LEARNER_ADMIN_ADDR=127.0.0.1:0", "LEARNER_ADMIN_TOKEN_FILE="+tokenFile, "LEARNER_LOG_LEVEL=debug")
	s.learns(500)

	var seen strings.Builder
	asked := 0
	ask := func(method, url, body string, header ...string) {
		t.Helper()
		code, answer := request(t, method, url, body, header...)
		fmt.Fprintf(&seen, "%s %s: %d %s\n", method, url, code, answer)
		asked++
	}
	paths := []string{
		"/", "/healthz", "/readyz", "/readyz?verbose", "/metrics", "/version", "/api/status", "/api/history", "/api/events", "/api/models/logistic/state", "/api/models/x/state",
		"/openapi.yaml", "/v1/models/logistic:predict", "/v2", "/v2/health/ready", "/v2/models/logistic", "/v2/models/logistic/infer",
		"/nothing", "/../.env", "/.env",
	}
	_, index := s.get("/")
	for _, link := range regexp.MustCompile(`(?:href|src)="([a-z/][^":]*)"`).FindAllStringSubmatch(string(index), -1) {
		paths = append(paths, "/"+strings.TrimPrefix(link[1], "/"))
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
			for _, body := range []string{"", "{", `{"inputs":[{"name":"features","shape":[1,18],"datatype":"FP64","data":["x"]}]}`} {
				ask(method, s.url+path, body, "Authorization", "Bearer "+token)
			}
		}
	}
	admin := s.adminURL()
	for _, path := range []string{
		"/", "/log/level", "/checkpoint", "/nothing", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/goroutine?debug=2",
		"/debug/pprof/block?debug=1", "/debug/pprof/mutex?debug=1", "/debug/pprof/threadcreate?debug=1", "/debug/pprof/nothing",
	} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			for _, header := range []string{"Bearer " + token, "Basic " + token, "Bearer", token} {
				ask(method, admin+path, "{", "Authorization", header)
			}
			ask(method, admin+path, "")
		}
	}
	s.stops()
	all := seen.String() + s.log.String()
	for _, marker := range []string{key, secret, registryKey, registrySecret, token} {
		for _, form := range []string{marker, base64.StdEncoding.EncodeToString([]byte(marker)), fmt.Sprintf("%x", marker)} {
			if at := strings.Index(all, form); at >= 0 {
				t.Errorf("%q is shown: …%s", form, all[max(0, at-200):at+len(form)])
			}
		}
	}
	for _, want := range []string{"/checkpoint: 200", "/log/level: 200", "/log/level: 400", "/debug/pprof/: 200", "/api/status: 200", "/api/events: 200", "/web/page.js: 200", ": 401", "REDACTED"} {
		if !strings.Contains(all, want) {
			t.Errorf("the walk has not seen %q", want)
		}
	}
	t.Logf("%d requests", asked)
}

// An operator's wrong configuration is told before anything is connected to.
func TestAdminWantsAToken(t *testing.T) {
	t.Parallel()
	began := time.Now()
	got := runWith(t, []string{"CCLOUD_BOOTSTRAP_ENDPOINT=127.0.0.1:1", "LEARNER_ADMIN_ADDR=:0"})
	if got.code != exitUsage || !strings.Contains(got.stderr, "LEARNER_ADMIN_TOKEN: not set") || !strings.Contains(got.stderr, "LEARNER_ADMIN_ADDR=:0") {
		t.Errorf("%d %s", got.code, got.stderr)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("after %s", took)
	}
}

// What strangers do on both addresses changes nothing of what is learned.
func TestStrangersDoNotDisturbLearning(t *testing.T) {
	t.Parallel()
	c, b := embedded(t, broker.Options{})
	c.create(t, 2, nil)
	const rows = 3000
	c.write(t, susyLines(t)[:rows])
	want := c.reference(t)

	hurry := slowly(b, c.train, 5*time.Millisecond)
	s := startService(t, c, "LEARNER_ADMIN_ADDR=127.0.0.1:0", "LEARNER_ADMIN_TOKEN=token")
	addresses := []string{strings.TrimPrefix(s.url, "http://"), strings.TrimPrefix(s.adminURL(), "http://")}
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	opened := make([]atomic.Int64, len(addresses))
	for i, address := range addresses {
		wait.Go(func() {
			var held []net.Conn
			for ctx.Err() == nil {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Errorf("stranger %d: %v", len(held), err)
					break
				}
				held = append(held, conn)
				opened[i].Add(1)
				_, _ = io.WriteString(conn, []string{
					"", "GET /api/sta", "POST /v2/models/logistic/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{\"inputs\":[",
					"POST /checkpoint HTTP/1.1\r\nHost: localhost\r\n\r\n", "PUT /log/level HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n{\"level\":\"error\"}",
					"\x16\x03\x01\x02\x00\x01", "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
				}[len(held)%7])
				time.Sleep(2 * time.Millisecond)
			}
			for _, conn := range held {
				_ = conn.Close()
			}
		})
	}
	s.eventually("has more strangers than places", func() bool { return opened[0].Load() > 300 && opened[1].Load() > 300 })
	hurry()
	s.learns(rows)
	stop()
	wait.Wait()
	same(t, "after strangers", s.state(), want)
	if level := s.log.String(); strings.Contains(level, "log level changed") {
		t.Error("a stranger changed the level of the log")
	}
}
