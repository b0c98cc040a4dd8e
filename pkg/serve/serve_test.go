package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// models has one model with a state, one without, one that cannot be written, and one that is waited for in vain.
type models struct {
	state []byte
	stuck chan struct{} // receives a value when the wait begins
}

func (models) Names() []string { return []string{"logistic", "young", "broken", "stuck", `od"d <b>`} }

func (m models) State(ctx context.Context, name, format string) (State, error) {
	switch name {
	case "young":
		return State{}, ErrNoState
	case "broken":
		return State{}, errors.New("shape does not fit")
	case "stuck":
		m.stuck <- struct{}{}
		<-ctx.Done()
		return State{}, ctx.Err()
	}
	if format != "safetensors" {
		return State{Data: []byte(`{"` + format + `":1}`), Records: 12345}, nil
	}
	return State{Data: m.state, Records: 12345}, nil
}

// requests collects what an Observer is told, as "pattern method code".
type requests struct {
	mu   sync.Mutex
	seen []string
}

func (r *requests) Requested(handler, method string, code int, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if took < 0 {
		handler = "negative time"
	}
	r.seen = append(r.seen, fmt.Sprint(handler, " ", method, " ", code))
}

func (r *requests) Predicted(model string, class0, class1 int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, fmt.Sprint(model, " ", class0, " ", class1))
}

func (r *requests) has(want string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.seen, want)
}

// runner is a server that listens.
type runner interface {
	Addr() net.Addr
	Run(ctx context.Context) error
}

type fixture struct {
	t        *testing.T
	server   runner
	client   *http.Client
	requests *requests
	stop     func() error // ends Run and returns what it returned
}

// start runs a server on a free port until the test ends. change may alter it before it listens.
func start(t *testing.T, change func(cfg *Config), tune func(s *Server)) *fixture {
	t.Helper()
	requests := &requests{}
	cfg := Config{
		Addr:    "127.0.0.1:0",
		Version: Version{Version: "1.2.3", Revision: "abc", Go: "go1.26"},
		Alive:   func() error { return nil },
		Unready: func() []string { return nil },
		Status:  func() any { return map[string]any{"accuracy": Float(0.75), "loss": Float(math.NaN())} },
		Live: Live{
			Status: func() any { return map[string]any{"loss": Float(0.5)} }, Sample: func() Sample { return Sample{} }, Baselines: []string{"majority"},
		},
		Models:   models{state: []byte("weights")},
		Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "learner_ready 1\n") }),
		Observer: requests,
		Log:      zap.NewNop(),

		Predictor: predictor,
	}
	if change != nil {
		change(&cfg)
	}
	s := New(cfg)
	if tune != nil {
		tune(s)
	}
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	return serving(t, s, requests)
}

// serving runs a server that listens until the test ends.
func serving(t *testing.T, server runner, requests *requests) *fixture {
	f := &fixture{t: t, server: server, requests: requests}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Run(ctx) }()
	f.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	transport := &http.Transport{}
	f.client = &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := f.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return f
}

type reply struct {
	code   int
	header http.Header
	body   string
}

func (f *fixture) do(method, path string, header ...string) reply {
	f.t.Helper()
	return f.send(method, path, "", header...)
}

// send makes a request with a body, and holds the answer against the OpenAPI document.
func (f *fixture) send(method, path, body string, header ...string) reply {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.server.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	got := exchange(f.t, f.client, req, header)
	documented(f.t, req, body, got)
	return got
}

// exchange sends a request with further header lines, each a name and a value, and returns the answer.
func exchange(t *testing.T, client *http.Client, req *http.Request, header []string) reply {
	t.Helper()
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func TestRoutes(t *testing.T) {
	f := start(t, nil, nil)
	for _, c := range []struct {
		method, path string
		code         int
		contentType  string
		body         string
		route        string
	}{
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok\n", "/healthz"},
		{"HEAD", "/healthz", 200, "text/plain; charset=utf-8", "", "/healthz"},
		{"GET", "/readyz", 200, "application/json", `{"ready":true,"reasons":[]}` + "\n", "/readyz"},
		{"GET", "/metrics", 200, "text/plain; charset=utf-8", "learner_ready 1\n", "/metrics"},
		{"GET", "/version", 200, "application/json", `{"version":"1.2.3","revision":"abc","go":"go1.26"}` + "\n", "/version"},
		{"GET", "/api/status", 200, "application/json", `{"accuracy":0.75,"loss":null}` + "\n", "/api/status"},
		{"GET", "/api/models/logistic/state", 200, "application/octet-stream", "weights", "/api/models/{name}/state"},
		{"GET", "/api/models/logistic/state?format=safetensors", 200, "application/octet-stream", "weights", "/api/models/{name}/state"},
		{"GET", "/api/models/logistic/state?format=onnx", 200, "application/octet-stream", `{"onnx":1}`, "/api/models/{name}/state"},
		{"GET", "/api/models/logistic/state?format=json", 200, "application/json", `{"json":1}`, "/api/models/{name}/state"},
		{
			"GET", "/api/models/logistic/state?format=pmml", 400, "application/json",
			`{"error":"no format \"pmml\" (there is: json, onnx, safetensors)"}` + "\n", "/api/models/{name}/state",
		},
		{
			"GET", "/api/models/young/state", 503, "application/json",
			`{"error":"state of model \"young\": the model has no state yet"}` + "\n", "/api/models/{name}/state",
		},
		{
			"GET", "/api/models/broken/state", 500, "application/json",
			`{"error":"state of model \"broken\": shape does not fit"}` + "\n", "/api/models/{name}/state",
		},
		{
			"GET", "/api/models/none/state", 404, "application/json",
			`{"error":"no model \"none\"","models":["logistic","young","broken","stuck","od\"d \u003cb\u003e"]}` + "\n",
			"/api/models/{name}/state",
		},
		{"GET", "/nothing", 404, "application/json", `{"error":"no such path; / lists what there is"}` + "\n", "/"},
		{"GET", "/healthz/", 404, "application/json", `{"error":"no such path; / lists what there is"}` + "\n", "/"},
		{"POST", "/readyz", 405, "application/json", `{"error":"only GET and HEAD are answered here"}` + "\n", "/readyz"},
		{
			"DELETE", "/api/models/logistic/state", 405, "application/json",
			`{"error":"only GET and HEAD are answered here"}` + "\n", "/api/models/{name}/state",
		},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			got := f.do(c.method, c.path)
			if got.code != c.code || got.body != c.body || got.header.Get("Content-Type") != c.contentType {
				t.Errorf("%d %s %q, want %d %s %q", got.code, got.header.Get("Content-Type"), got.body, c.code, c.contentType, c.body)
			}
			if got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("a browser may guess another type")
			}
			if allow := got.header.Get("Allow"); (c.code == 405) != (allow == "GET, HEAD") {
				t.Errorf("Allow: %q", allow)
			}
			if want := fmt.Sprint(c.route, " ", c.method, " ", c.code); !f.eventually(want) {
				t.Errorf("the observer was not told of %q", want)
			}
		})
	}
}

// eventually waits for the observer to be told: the client may have the answer a moment earlier.
func (f *fixture) eventually(want string) bool {
	for range 200 {
		if f.requests.has(want) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestProbes(t *testing.T) {
	var mu sync.Mutex
	var stuck error
	var reasons []string
	f := start(t, func(cfg *Config) {
		cfg.Alive = func() error { mu.Lock(); defer mu.Unlock(); return stuck }
		cfg.Unready = func() []string { mu.Lock(); defer mu.Unlock(); return reasons }
	}, nil)
	mu.Lock()
	stuck, reasons = errors.New("no batch border for 60 s"), []string{"catching up", "no test run yet"}
	mu.Unlock()
	if got := f.do("GET", "/healthz"); got.code != 503 || got.body != `{"error":"no batch border for 60 s"}`+"\n" {
		t.Errorf("stuck: %d %q", got.code, got.body)
	}
	if got := f.do("GET", "/readyz"); got.code != 503 || got.body != `{"ready":false,"reasons":["catching up","no test run yet"]}`+"\n" {
		t.Errorf("not ready: %d %q", got.code, got.body)
	}
}

func TestState(t *testing.T) {
	f := start(t, nil, nil)
	const path = "/api/models/logistic/state"
	got := f.do("GET", path)
	tag := got.header.Get("ETag")
	if len(tag) != 66 || got.header.Get("X-Learner-Records") != "12345" || got.header.Get("Content-Length") != "7" {
		t.Errorf("headers %v", got.header)
	}
	if file := got.header.Get("Content-Disposition"); file != "attachment; filename=logistic.safetensors" {
		t.Errorf("Content-Disposition: %s", file)
	}
	onnx := f.do("GET", path+"?format=onnx")
	if file := onnx.header.Get("Content-Disposition"); file != "attachment; filename=logistic.onnx" || onnx.header.Get("ETag") == tag {
		t.Errorf("ONNX with Content-Disposition %s, ETag %s", file, onnx.header.Get("ETag"))
	}
	if got := f.do("GET", path, "If-None-Match", tag); got.code != 304 || got.body != "" {
		t.Errorf("the same again: %d %q", got.code, got.body)
	}
	if got := f.do("GET", path, "Range", "bytes=3-", "If-Range", tag); got.code != 206 || got.body != "ghts" {
		t.Errorf("the rest: %d %q", got.code, got.body)
	}
	if got := f.do("HEAD", path); got.code != 200 || got.header.Get("ETag") != tag {
		t.Errorf("HEAD: %d %v", got.code, got.header)
	}
}

// Clients that wait for states take no more than their places, which come free when they go away.
func TestStatesAtATimeAreBounded(t *testing.T) {
	stuck := make(chan struct{})
	f := start(t, func(cfg *Config) { cfg.Models = models{stuck: stuck} }, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxStates {
		waiting.Go(func() {
			req, err := http.NewRequestWithContext(ctx, "GET", "http://"+f.server.Addr().String()+"/api/models/stuck/state", http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			if resp, err := f.client.Do(req); err == nil {
				_ = resp.Body.Close()
				t.Errorf("an answer from a model that gives none: %d", resp.StatusCode)
			}
		})
	}
	for range maxStates {
		<-stuck
	}
	if got := f.do("GET", "/api/models/logistic/state"); got.code != 503 || got.header.Get("Retry-After") != "1" {
		t.Errorf("one state too many: %d %q", got.code, got.body)
	}
	if got := f.do("GET", "/healthz"); got.code != 200 {
		t.Errorf("/healthz meanwhile: %d", got.code)
	}
	cancel()
	waiting.Wait()
	for range 500 {
		if f.do("GET", "/api/models/logistic/state").code == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond) // until the handlers have noticed
	}
	t.Error("the places did not come free")
}

func TestPanicBecomesAnError(t *testing.T) {
	f := start(t, func(cfg *Config) {
		cfg.Status = func() any { panic("oops") }
		cfg.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("oops")
		})
	}, nil)
	if got := f.do("GET", "/api/status"); got.code != 500 || got.body != `{"error":"internal error"}`+"\n" {
		t.Errorf("%d %q", got.code, got.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+f.server.Addr().String()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Do(req)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looked like a whole one")
	}
	if !f.eventually("/api/status GET 500") || !f.eventually("/metrics GET 200") {
		t.Errorf("the observer was told %v", f.requests.seen)
	}
}

func TestStatusThatIsNoJSON(t *testing.T) {
	f := start(t, func(cfg *Config) { cfg.Status = func() any { return math.Inf(1) } }, nil)
	if got := f.do("GET", "/api/status"); got.code != 500 || !strings.HasPrefix(got.body, `{"error":"write the answer as JSON: `) {
		t.Errorf("%d %q", got.code, got.body)
	}
}

func TestFloat(t *testing.T) {
	for _, give := range []float64{0, -1.5, 0.1, 1e-300, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
		got, err := json.Marshal(struct{ F Float }{Float(give)})
		want := []byte(`{"F":null}`)
		if !math.IsNaN(give) && !math.IsInf(give, 0) {
			want, _ = json.Marshal(struct{ F float64 }{give})
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %s, %v, want %s", give, got, err, want)
		}
	}
}

// raw sends text to the server and returns all that comes back until the server closes the connection.
func (f *fixture) raw(text string) string {
	f.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", f.server.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		f.t.Fatal(err)
	}
	_, _ = io.WriteString(conn, text) // the server may close before it has read all
	got, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		f.t.Fatalf("the server keeps the connection open after %.40q", text)
	}
	return string(got)
}

func TestSlowAndHostileClients(t *testing.T) {
	f := start(t, nil, func(s *Server) { s.http.ReadHeaderTimeout = 100 * time.Millisecond })
	if got := f.raw("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); strings.Contains(got, "200 OK") {
		t.Errorf("half a request was answered with %q", got)
	}
	if got := f.raw(""); got != "" {
		t.Errorf("silence was answered with %q", got)
	}
	long := strings.Repeat("a", 2*maxHeaderBytes)
	if got := f.raw("GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + long + "\r\n\r\n"); got != "" && !strings.Contains(got, " 431 ") {
		t.Errorf("a long header was answered with %.80q", got)
	}
	if got := f.raw("GET /" + long + " HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" && !strings.Contains(got, " 431 ") {
		t.Errorf("a long path was answered with %.80q", got)
	}
	if got := f.raw("\x16\x03\x01\x02\x00\x01\x00"); strings.Contains(got, "200 OK") {
		t.Errorf("a TLS greeting was answered with %q", got)
	}
	f.raw("BREW /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	f.raw("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	f.raw("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !f.eventually("/healthz other 405") {
		t.Errorf("an invented method: the observer was told %v", f.requests.seen)
	}
	for _, seen := range f.requests.seen {
		if strings.Contains(seen, "passwd") || strings.Contains(seen, "BREW") {
			t.Errorf("a client chose a label: %q", seen)
		}
	}
	if got := f.do("GET", "/healthz"); got.code != 200 {
		t.Errorf("afterwards /healthz says %d", got.code)
	}
}

func TestListenNamesTheAddress(t *testing.T) {
	f := start(t, nil, nil)
	taken := f.server.Addr().String()
	err := New(Config{Addr: taken, Log: zaptest.NewLogger(t), Metrics: http.NotFoundHandler()}).Listen()
	if err == nil || !strings.Contains(err.Error(), "listen on LEARNER_HTTP_ADDR="+taken) {
		t.Errorf("a taken address: %v", err)
	}
	if err := New(Config{Addr: "nonsense", Log: zap.NewNop(), Metrics: http.NotFoundHandler()}).Listen(); err == nil {
		t.Error("an address without a port was taken")
	}
}

// A request that is open when the service stops is finished.
func TestStopFinishesOpenRequests(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Status = func() any { close(entered); <-leave; return map[string]bool{"done": true} }
	}, nil)
	replies := make(chan reply, 1)
	go func() { replies <- f.do("GET", "/api/status") }()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- f.stop() }()
	select {
	case err := <-stopped:
		t.Errorf("stopped with a request open: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(leave)
	if got := <-replies; got.code != 200 || got.body != `{"done":true}`+"\n" {
		t.Errorf("%d %q", got.code, got.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A request that would not end is cut off, and its context ends.
func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	entered, left := make(chan struct{}), make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Metrics = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done(); close(left) })
	}, func(s *Server) { s.grace = 50 * time.Millisecond })
	answered := make(chan error, 1)
	go func() {
		resp, err := f.client.Get("http://" + f.server.Addr().String() + "/metrics")
		if err == nil {
			_ = resp.Body.Close()
		}
		answered <- err
	}()
	<-entered
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	<-left
	if err := <-answered; err == nil {
		t.Error("a request that was cut off got an answer")
	}
}

func TestRunTellsWhenTheListenerFails(t *testing.T) {
	s := New(Config{Addr: "127.0.0.1:0", Log: zap.NewNop(), Metrics: http.NotFoundHandler(), Live: Live{Sample: func() Sample { return Sample{} }}})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	if err := s.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run on a closed listener: %v", err)
	}
}
