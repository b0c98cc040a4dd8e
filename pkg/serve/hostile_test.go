package serve

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// dial opens a connection that is closed when the test ends.
func (f *fixture) dial() net.Conn {
	f.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", f.server.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

const healthz = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

// asks sends a request for /healthz and says whether it was answered.
func asks(conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	_, _ = io.WriteString(conn, healthz)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// closed waits until the server has closed the connection.
func closed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(15 * time.Second))
	_, err := io.Copy(io.Discard, conn)
	var timeout net.Error
	return !errors.As(err, &timeout) || !timeout.Timeout()
}

// One connection too many closes the one that has been without a request for longest: of those that never sent one and those
// that wait for their next.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	f := start(t, func(cfg *Config) { cfg.Log = zap.New(core) }, nil)
	var held []net.Conn
	for range maxConnections {
		held = append(held, f.dial())
	}
	if !asks(held[0]) || !asks(held[2]) {
		t.Fatal("the connections allowed are not answered")
	}
	_, _ = io.WriteString(held[3], "GET /heal") // half a request is none
	for i := range 3 {
		if !asks(f.dial()) {
			t.Errorf("one connection too many, the %d., is not answered", i+1)
		}
	}
	for _, i := range []int{1, 3, 4} { // 0 and 2 had sent a request a moment before
		if !closed(held[i]) {
			t.Errorf("connection %d is still open", i)
		}
	}
	if !asks(held[0]) || !asks(held[2]) || !asks(held[maxConnections-1]) {
		t.Error("a connection was closed before others that were idle for longer")
	}
	if n := logs.FilterMessageSnippet("too many http connections").Len(); n != 1 {
		t.Errorf("%d log lines about it, want 1: %v", n, logs.All())
	}
}

// Requests that are being answered are cut off for a new connection only when all are, and only the slow ones.
func TestBusyConnectionsMakeRoomLate(t *testing.T) {
	entered := make(chan struct{})
	f := start(t, func(cfg *Config) {
		cfg.Metrics = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { entered <- struct{}{}; <-r.Context().Done() })
	}, nil)
	began := time.Now()
	var held []net.Conn
	for range maxConnections {
		conn := f.dial()
		held = append(held, conn)
		_, _ = io.WriteString(conn, strings.Replace(healthz, "/healthz", "/metrics", 1))
		<-entered
	}
	if asks(f.dial()) && time.Since(began) < stuckAfter {
		t.Error("a request was cut off at once for a new connection")
	}
	time.Sleep(stuckAfter)
	if !asks(f.dial()) {
		t.Error("nobody is answered while slow requests hold all connections")
	}
	if !closed(held[0]) {
		t.Error("the slowest request was not the one that was cut off")
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	for range 500 {
		if asks(f.dial()) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("places did not come free")
}

// Ten thousand strangers that connect and say nothing, and a thousand that send their headers byte by byte, lock nobody out,
// and cost little memory.
func TestStrangersLockNobodyOut(t *testing.T) {
	const silent, slow = 10_000, 1_000
	strangers := silent + slow
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(min(limit.Max, 1<<20)) - 2*maxConnections - 200; most < strangers {
		t.Logf("%d strangers instead of %d: there are no more file descriptors", most, strangers)
		strangers = most
	}
	f := start(t, nil, nil)
	honest := func(tries int) {
		t.Helper()
		for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/status"} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			var err error
			for range tries {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.server.Addr().String()+path, http.NoBody)
				var resp *http.Response
				if resp, err = f.client.Do(req); err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				if err == nil {
					break
				}
			}
			cancel()
			if err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	honest(1)
	before := memory()

	var wait sync.WaitGroup
	all := make(chan net.Conn, strangers)
	for i := range 10 {
		wait.Go(func() {
			for k := i; k < strangers; k += 10 {
				conn, err := net.Dial("tcp", f.server.Addr().String())
				if err != nil {
					t.Errorf("stranger %d: %v", k, err)
					return
				}
				if k%11 == 0 {
					_, _ = io.WriteString(conn, "GET /api/status HTTP/1.1\r\nX-Slow: ")
				}
				all <- conn
				time.Sleep(2 * time.Millisecond) // 5,000 a second
			}
		})
	}
	opened := make(chan struct{})
	go func() { wait.Wait(); close(opened) }()
	for rounds := 0; ; rounds++ {
		honest(3) // one may lose its place between connecting and asking
		f.client.CloseIdleConnections()
		select {
		case <-opened:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		t.Logf("%d rounds of honest requests while %d strangers came", rounds, strangers)
		break
	}
	for range 20 {
		honest(1)
		f.client.CloseIdleConnections()
	}
	grown := memory() - before
	t.Logf("memory has grown by %d KiB, of which the strangers' own ends are a part", grown>>10)
	if most := int64(maxConnections*(32<<10) + strangers*2048); grown > most {
		t.Errorf("memory has grown by %d bytes, at most %d expected", grown, most)
	}
	if n := runtime.NumGoroutine(); n > 2*maxConnections {
		t.Errorf("%d goroutines", n)
	}
	close(all)
	for conn := range all {
		_ = conn.Close()
	}
}

// memory returns what heap and stacks hold.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// drip sends text and then a byte every few milliseconds until the server closes the connection, and returns what came back.
func (f *fixture) drip(text string) string {
	f.t.Helper()
	conn := f.dial()
	_, _ = io.WriteString(conn, text)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				_, _ = io.WriteString(conn, "a")
			}
		}
	}()
	defer close(done)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		f.t.Errorf("the server listens on to %.40q", text)
	}
	return string(got)
}

func TestSlowRequestsAreCutOff(t *testing.T) {
	short := func(s *web) {
		s.http.ReadHeaderTimeout, s.http.ReadTimeout = 100*time.Millisecond, 200*time.Millisecond
	}
	f := start(t, nil, func(s *Server) { short(s.web) })
	for _, text := range []string{"", "GET /hea", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "} {
		if got := f.drip(text); strings.Contains(got, " 200 ") {
			t.Errorf("%q, dripping: %.60q", text, got)
		}
	}
	const body = "Host: localhost\r\nContent-Length: 1000000\r\nContent-Type: application/json\r\n\r\n{"
	if got := f.drip("POST /api/status HTTP/1.1\r\n" + body); !strings.Contains(got, " 405 ") {
		t.Errorf("a dripping body that nobody reads: %.60q", got)
	}
	a := startAdmin(t, nil, func(a *Admin) { short(a.web) })
	if got := a.drip("PUT /log/level HTTP/1.1\r\n" + body); strings.Contains(got, " 200 ") {
		t.Errorf("a dripping body that is read: %.60q", got)
	}
}

// A body that nobody asked for is not read to its end.
func TestHugeBody(t *testing.T) {
	f := start(t, nil, nil)
	conn := f.dial()
	_, _ = io.WriteString(conn, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	sent := 0
	for chunk := make([]byte, 64<<10); sent < 1_000_000_000; {
		n, err := conn.Write(chunk)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 100_000_000 {
		t.Errorf("the server took %d bytes", sent)
	}
}

func TestHostileRequests(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	f := start(t, func(cfg *Config) { cfg.Log = zap.New(core) }, nil)
	const end = "Host: x\r\nConnection: close\r\n\r\n"
	long := strings.Repeat("a", 2*maxHeaderBytes)
	for _, c := range []struct {
		name, text string
		want       string // of the status codes, in order; empty: the connection is closed without an answer, or with one
	}{
		{"HTTP/1.0 without a host", "GET /healthz HTTP/1.0\r\n\r\n", "200"},
		{"HTTP/0.9", "GET /healthz\r\n\r\n", "400"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		{"HTTP/3.7", "GET /healthz HTTP/3.7\r\n" + end, "505"},
		{"no host", "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", "400"},
		{"two hosts", "GET /healthz HTTP/1.1\r\nHost: y\r\n" + end, "400"},
		{"host with a space", "GET /healthz HTTP/1.1\r\nHost: x y\r\n\r\n", "400"},
		{"two requests in one", healthz + "GET /version HTTP/1.1\r\n" + end, "200 200"},
		{"garbage behind a request", healthz + "\x00\x01\x02 garbage\r\n\r\n", "200 400"},
		{"a body behind a request", "GET /healthz HTTP/1.1\r\nContent-Length: 3\r\n" + end + "abc", "200"},
		{"another body than announced", "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabcd\r\n\r\n", "200 400"},
		{"two lengths", "POST /healthz HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + end, "400"},
		{"negative length", "POST /healthz HTTP/1.1\r\nContent-Length: -1\r\n" + end, "400"},
		{"length of no number", "POST /healthz HTTP/1.1\r\nContent-Length: 1e3\r\n" + end, "400"},
		{"length beyond 64 bits", "POST /healthz HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" + end, "400"},
		{"unknown encoding", "POST /healthz HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" + end, "501"},
		{"bad chunk", "POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + end + "zz\r\n", "405"},
		{"header without a name", "GET /healthz HTTP/1.1\r\n: a\r\n" + end, "400"},
		{"header with NUL", "GET /healthz HTTP/1.1\r\nX-A: a\x00b\r\n" + end, "400"},
		{"folded header", "GET /healthz HTTP/1.1\r\nX-A: a\r\n b\r\n" + end, "200"},
		{"long header", "GET /healthz HTTP/1.1\r\nX-A: " + long + "\r\n" + end, ""},
		{"many headers", "GET /healthz HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", maxHeaderBytes/4) + end, ""},
		{"long query", "GET /healthz?" + long + " HTTP/1.1\r\n" + end, ""},
		{"query of nonsense", "GET /api/status?%zz=%&;;&=&a[]=1 HTTP/1.1\r\n" + end, "200"},
		{"unknown method", "BREW /healthz HTTP/1.1\r\n" + end, "405"},
		{"method in lower case", "get /healthz HTTP/1.1\r\n" + end, "405"},
		{"method of no word", "G@T /healthz HTTP/1.1\r\n" + end, "400"},
		{"TRACE", "TRACE /healthz HTTP/1.1\r\n" + end, "405"},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\n" + end, "404"},
		{"proxy request", "GET http://example.com/healthz HTTP/1.1\r\n" + end, "200"},
		{"proxy request elsewhere", "GET http://example.com/other HTTP/1.1\r\n" + end, "404"},
		{"no path", "GET healthz HTTP/1.1\r\n" + end, "400"},
		{"bad escape", "GET /%zz HTTP/1.1\r\n" + end, "400"},
		{"NUL in the path", "GET /healthz%00 HTTP/1.1\r\n" + end, "404"},
		{"dots", "GET /../../etc/passwd HTTP/1.1\r\n" + end, "307"},
		{"escaped dots", "GET /api/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd/state HTTP/1.1\r\n" + end, "404"},
		{"escaped slash", "GET /api%2fstatus HTTP/1.1\r\n" + end, "404"},
		{"two slashes", "GET //example.com/healthz HTTP/1.1\r\n" + end, "307"},
		{"backslash", "GET /api\\status HTTP/1.1\r\n" + end, "404"},
		{"name that is no text", "GET /api/models/%ff%fe/state HTTP/1.1\r\n" + end, "404"},
		{"huge name", "GET /api/models/" + long[:maxHeaderBytes/2] + "/state HTTP/1.1\r\n" + end, "404"},
		{"range beyond the end", "GET /api/models/logistic/state HTTP/1.1\r\nRange: bytes=100-200\r\n" + end, "416"},
		{"ranges without end", "GET /api/models/logistic/state HTTP/1.1\r\nRange: bytes=" + strings.Repeat("0-,", 5000) + "0-\r\n" + end, "200"},
		{"expectation that cannot be met", "GET /healthz HTTP/1.1\r\nExpect: the-inquisition\r\n" + end, "417"},
		{"upgrade", "GET /healthz HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n" + end, "200 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := f.raw(c.text)
			var codes []string
			for _, part := range strings.Split(got, "HTTP/1.")[1:] {
				codes = append(codes, part[2:5])
			}
			if c.want != "" && strings.Join(codes, " ") != c.want {
				t.Errorf("%q in %.300q, want %s", codes, got, c.want)
			}
			if c.want == "" && got != "" && !strings.HasPrefix(codes[0], "4") && !strings.HasPrefix(codes[0], "5") {
				t.Errorf("answered with %.300q", got)
			}
			if len(got) > 100_000 {
				t.Errorf("an answer of %d bytes", len(got))
			}
		})
	}
	if logs.Len() > 0 {
		t.Errorf("errors were logged: %v", logs.All())
	}
	for _, seen := range f.requests.seen {
		if fields := strings.Fields(seen); strings.ContainsAny(fields[0], "%\\") || strings.Contains(seen, "passwd") || strings.Contains(seen, "BREW") {
			t.Errorf("a client chose a label: %q", seen)
		}
	}
	if !asks(f.dial()) {
		t.Error("afterwards /healthz is not answered")
	}
}
