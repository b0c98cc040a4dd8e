package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stream is an open stream of events.
type stream struct {
	t    *testing.T
	resp *http.Response
	body *bufio.Reader
	end  func()
}

// stream opens a stream, or takes another answer.
func (f *fixture) stream(header ...string) *stream {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+f.server.Addr().String()+"/api/events", http.NoBody)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := (&http.Client{Transport: f.client.Transport}).Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	end := func() { cancel(); _ = resp.Body.Close() }
	f.t.Cleanup(end)
	return &stream{f.t, resp, bufio.NewReader(resp.Body), end}
}

// next returns the lines up to the next empty one.
func (s *stream) next() string {
	s.t.Helper()
	var text strings.Builder
	for {
		line, err := s.body.ReadString('\n')
		if err != nil {
			s.t.Fatalf("the stream ended after %q: %v", text.String(), err)
		}
		if line == "\n" {
			return text.String()
		}
		text.WriteString(line)
	}
}

// event returns the next event that is not a comment.
func (s *stream) event() (id int64, e event) {
	s.t.Helper()
	for {
		text := s.next()
		if strings.HasPrefix(text, ":") {
			continue
		}
		var data string
		first, rest, _ := strings.Cut(text, "\n")
		if _, err := fmt.Sscanf(first, "id: %d", &id); err != nil {
			s.t.Fatalf("%v in %q", err, text)
		}
		data = strings.TrimPrefix(rest, "data: ")
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			s.t.Fatalf("%v in %q", err, text)
		}
		return id, e
	}
}

// still is a server whose samples are those that the test adds; one is there already.
func still(t *testing.T, tune func(s *Server)) *fixture {
	t.Helper()
	f := start(t, nil, func(s *Server) {
		s.every = time.Hour
		if tune != nil {
			tune(s)
		}
	})
	for range 500 {
		if got, _, _ := f.server.(*Server).history.news(-1); len(got) > 0 {
			return f
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no sample is taken")
	return nil
}

func TestEvents(t *testing.T) {
	f := still(t, nil)
	s := f.stream()
	if s.resp.StatusCode != 200 || s.resp.Header.Get("Content-Type") != "text/event-stream" || s.resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", s.resp.StatusCode, s.resp.Header)
	}
	if got := s.next(); got != "retry: 2000\n" {
		t.Errorf("first %q", got)
	}
	first, e := s.event()
	if e.Sample.Time != first || e.Status != nil {
		t.Errorf("%d %+v", first, e)
	}
	f.server.(*Server).history.add(time.Now(), Sample{Records: 5}, json.RawMessage(`{"ready":true}`))
	id, e := s.event()
	if e.Sample.Records != 5 || string(e.Status) != `{"ready":true}` || id <= first || e.Sample.Time != id {
		t.Errorf("%d %+v", id, e)
	}

	// A browser that comes back tells the last event that it saw, and gets what it missed, in order, the status with the newest.
	for i := range 3 {
		f.server.(*Server).history.add(time.Now(), Sample{Records: uint64(10 + i)}, json.RawMessage(`{"ready":false}`))
	}
	again := f.stream("Last-Event-ID", fmt.Sprint(id))
	again.next()
	for i := range 3 {
		_, e := again.event()
		if e.Sample.Records != uint64(10+i) || (e.Status != nil) != (i == 2) {
			t.Errorf("missed event %d: %+v", i, e)
		}
	}
	odd := f.stream("Last-Event-ID", "yesterday")
	odd.next()
	if _, e := odd.event(); e.Sample.Records != 12 {
		t.Errorf("with an id that is none: %+v", e)
	}
	if got := f.do("HEAD", "/api/events"); got.code != 200 || got.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD: %d %v", got.code, got.header)
	}
	if got := f.do("POST", "/api/events"); got.code != 405 {
		t.Errorf("POST: %d", got.code)
	}
}

// A stream outlives the limits of other requests, and a comment is sent where nothing else is.
func TestEventsOutliveTheTimeouts(t *testing.T) {
	f := still(t, func(s *Server) {
		s.http.ReadTimeout, s.http.WriteTimeout, s.ping = 100*time.Millisecond, 100*time.Millisecond, 30*time.Millisecond
	})
	s := f.stream()
	s.next()
	s.event()
	for began := time.Now(); time.Since(began) < 400*time.Millisecond; {
		if got := s.next(); got != ":\n" {
			t.Fatalf("%q, want a comment", got)
		}
	}
	f.server.(*Server).history.add(time.Now(), Sample{Records: 9}, nil)
	if _, e := s.event(); e.Sample.Records != 9 {
		t.Errorf("%+v", e)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	f := still(t, nil)
	var open []*stream
	for range maxStreams {
		s := f.stream()
		s.next()
		open = append(open, s)
	}
	if s := f.stream(); s.resp.StatusCode != 503 || s.resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d %v", s.resp.StatusCode, s.resp.Header)
	}
	if got := f.do("GET", "/api/history"); got.code != 200 {
		t.Errorf("/api/history meanwhile: %d", got.code)
	}
	open[0].end()
	for range 500 {
		s := f.stream()
		s.end()
		if s.resp.StatusCode == 200 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the place did not come free")
}

// A client that does not read is dropped, and nobody waits for it.
func TestSlowClientIsDropped(t *testing.T) {
	f := still(t, func(s *Server) { s.streamWrite = 50 * time.Millisecond })
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	large, err := json.Marshal(strings.Repeat("x", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		f.server.(*Server).history.add(time.Now(), Sample{}, large)
		if f.requests.has("/api/events GET 200") {
			if len(f.server.(*Server).streams) != 0 {
				t.Error("its place is taken")
			}
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the stream of a client that reads nothing goes on")
}

// Streams do not hold up the end of the service.
func TestStreamsEndAtStop(t *testing.T) {
	f := still(t, nil)
	s := f.stream()
	s.next()
	s.event()
	began := time.Now()
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > stopGrace/2 {
		t.Errorf("the stop took %v", took)
	}
	if rest, err := io.ReadAll(s.body); err != nil || len(rest) != 0 {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
}
