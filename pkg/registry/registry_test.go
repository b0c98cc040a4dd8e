package registry

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"

	"learner/pkg/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user, password = "the-key", "hunter2"
	basic          = "Basic dGhlLWtleTpodW50ZXIy"
)

var hasty = patience{first: time.Millisecond, most: 5 * time.Millisecond, again: time.Millisecond, answers: 5}

// client returns a client of the registry at a URL. It closes with the test.
func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := newClient(cfg, hasty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// settled waits for the answer to an id.
func settled(t *testing.T, c *Client, id string) (*record.Definition, error) {
	t.Helper()
	for {
		def, err := c.Schema(id)
		pending, ok := errors.AsType[*record.Pending](err)
		if !ok {
			return def, err
		}
		select {
		case <-pending.Known:
		case <-time.After(20 * time.Second):
			t.Fatalf("still waiting: %v", pending)
		}
	}
}

// why waits until it is said of an id that is waited for what the text says.
func why(t *testing.T, c *Client, id, text string) {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, err := c.Schema(id)
		pending, ok := errors.AsType[*record.Pending](err)
		if !ok {
			t.Fatalf("not waiting: %v", err)
		}
		if said = pending.Why(); strings.Contains(said, text) {
			if strings.Contains(pending.Error(), password) || strings.Contains(pending.Error(), user) {
				t.Errorf("credentials in %q", pending.Error())
			}
			return
		}
	}
	t.Fatalf("waiting because of %q, want %q", said, text)
}

// answerf answers. Whether the client is still there does not matter.
func answerf(w http.ResponseWriter, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format, args...)
}

const event = `{"type": "record", "name": "Event", "fields": [{"name": "signal", "type": "double"}]}`

func TestSchemas(t *testing.T) {
	fake := srfake.New(srfake.WithAuth(basic))
	defer fake.Close()
	money := sr.Schema{Schema: `{"type": "record", "name": "Money", "fields": [{"name": "sum", "type": "double"}]}`}
	price := sr.Schema{
		Schema:     `{"type": "record", "name": "Price", "fields": [{"name": "is", "type": "Money"}, {"name": "was", "type": "Money"}]}`,
		References: []sr.SchemaReference{{Name: "Money", Subject: "money/of any:kind", Version: 1}},
	}
	sale := sr.Schema{
		Schema: `{"type": "record", "name": "Sale", "fields": [{"name": "price", "type": "Price"}, {"name": "paid", "type": "Money"}]}`,
		References: []sr.SchemaReference{
			{Name: "Price", Subject: "price", Version: 1}, {Name: "Money", Subject: "money/of any:kind", Version: 1},
		},
	}
	fake.SeedSchema("money/of any:kind", 1, 100, money)
	fake.SeedSchema("price", 1, 101, price)
	fake.SeedSchema("sale", 1, 102, sale)
	fake.SeedSchema("event-value", 1, 103, sr.Schema{Schema: `{"type": "object"}`, Type: sr.TypeJSON})

	var results [3]atomic.Int64
	c := client(t, Config{URLs: "http://127.0.0.1:1," + fake.URL() + "/", Key: user, Secret: password, Requested: func(r Result) {
		results[slices.Index(Results(), r)].Add(1)
	}})
	def, err := settled(t, c, "102")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{money.Schema, price.Schema}; def.ID != "102" || def.Type != "AVRO" || def.Text != sale.Schema || !slices.Equal(def.References, want) {
		t.Errorf("%+v", def)
	}
	if again, _ := c.Schema("102"); again != def {
		t.Error("a second definition of one schema")
	}
	if def, err := settled(t, c, "103"); err != nil || def.Type != "JSON" {
		t.Errorf("%+v, %v", def, err)
	}
	subject, ok := fake.GetSchema("sale", 1)
	if !ok {
		t.Fatal("no sale")
	}
	if def, err := settled(t, c, subject.GUID); err != nil || def.ID != subject.GUID || def.Text != sale.Schema {
		t.Errorf("by GUID %q: %+v, %v", subject.GUID, def, err)
	}
	_, err = settled(t, c, "55")
	if bad, ok := errors.AsType[*record.Bad](err); !ok || bad.Reason != record.SchemaNotFound || bad.Schema != "55" || !strings.Contains(bad.Detail, "40403") {
		t.Errorf("schema 55: %v", err)
	}
	if ok, denied, failed := results[0].Load(), results[1].Load(), results[2].Load(); ok < 4 || denied != 5 || failed < 9 {
		t.Errorf("%d, %d, %d requests", ok, denied, failed)
	}
	if c.Pending() != 0 {
		t.Errorf("%d pending", c.Pending())
	}
}

func TestHostileRegistries(t *testing.T) {
	found := func(w http.ResponseWriter) { answerf(w, `{"schema": %q}`, event) }
	hang := make(chan struct{})
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request, n int)
		why    string // it is waited, and this is said
		known  bool   // it is known in the end
		none   bool   // it is settled that there is none
	}{
		{name: "slow", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			for _, c := range []byte(`{"schema": "` + strings.Repeat("x", 1000)) {
				if _, err := w.Write([]byte{c}); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, why: "exceeded"},
		{name: "hanging", answer: func(_ http.ResponseWriter, r *http.Request, _ int) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, why: "exceeded"},
		{name: "page", answer: func(w http.ResponseWriter, _ *http.Request, _ int) { answerf(w, "<html>") }, why: "no JSON of a registry"},
		{name: "other JSON", answer: func(w http.ResponseWriter, _ *http.Request, _ int) { answerf(w, `{"ok": true}`) }, why: "holds no schema"},
		{name: "list", answer: func(w http.ResponseWriter, _ *http.Request, _ int) { answerf(w, `[1]`) }, why: "no JSON of a registry"},
		{name: "garbage", answer: func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = w.Write([]byte{0, 255, '{'}) }, why: "no JSON of a registry"},
		{name: "other schema", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			answerf(w, `{"schema": %q, "id": 18}`, event)
		}, why: "answers with schema 18"},
		{name: "401", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(401)
			answerf(w, `{"error_code": 401, "message": "Unauthorized"}`)
		}, why: "the key does not suffice"},
		{name: "403", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(403)
			answerf(w, `{"error_code": 40301, "message": "User is denied"}`)
		}, why: "User is denied"},
		{name: "404 of a registry", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(404)
			answerf(w, `{"error_code": 40403, "message": "Schema 17 not found"}`)
		}, none: true},
		{name: "404 of a registry without such an endpoint", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(404)
			answerf(w, `{"error_code": 404, "message": "HTTP 404 Not Found"}`)
		}, why: "is the URL right?"},
		{name: "404 page", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			w.WriteHeader(404)
			answerf(w, `<html>nginx</html>`)
		}, why: "is the URL right?"},
		{name: "404 four times, then found", answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			if n > 4 {
				found(w)
				return
			}
			w.WriteHeader(404)
			answerf(w, `{"error_code": 40403, "message": "Schema 17 not found"}`)
		}, known: true},
		{name: "500, then found", answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			if n > 7 {
				found(w)
				return
			}
			w.WriteHeader(500)
		}, known: true},
		{name: "broken off, then found", answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			if n > 2 {
				found(w)
				return
			}
			panic(http.ErrAbortHandler)
		}, known: true},
		{name: "gigabytes", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			answerf(w, `{"schema": "`)
			for piece := []byte(strings.Repeat("x", 1<<20)); ; {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}, why: "larger than 4 MiB"},
		{name: "redirects for ever", answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
		}, why: "more than 3 times"},
		{name: "redirects elsewhere", answer: func(w http.ResponseWriter, r *http.Request, _ int) {
			http.Redirect(w, r, "http://"+user+":"+password+"@elsewhere.invalid/", http.StatusFound)
		}, why: "redirects to http://elsewhere.invalid"},
		{name: "redirects to itself, once", answer: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
				return
			}
			found(w)
		}, known: true},
		{name: "refers to itself", answer: func(w http.ResponseWriter, _ *http.Request, _ int) {
			answerf(w, `{"schema": %q, "references": [{"subject": "itself", "version": 1}]}`, event)
		}, known: true},
		{name: "refers without end", answer: func(w http.ResponseWriter, _ *http.Request, n int) {
			answerf(w, `{"schema": %q, "references": [{"subject": "next", "version": %d}]}`, event, n)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if name, secret, ok := r.BasicAuth(); !ok || name != user || secret != password {
					t.Errorf("credentials %q, %q", name, secret)
				}
				tt.answer(w, r, int(asked.Add(1)))
			}))
			defer server.Close()
			at := "http://" + user + ":" + password + "@" + strings.TrimPrefix(server.URL, "http://")
			timeout := 10 * time.Second
			if tt.why == "exceeded" {
				timeout = 200 * time.Millisecond
			}
			c := client(t, Config{URLs: at, Timeout: timeout})
			if tt.why != "" {
				why(t, c, "17", tt.why)
				c.Close()
				if c.Pending() != 1 {
					t.Errorf("%d pending", c.Pending())
				}
				return
			}
			def, err := settled(t, c, "17")
			bad, _ := errors.AsType[*record.Bad](err)
			switch {
			case tt.known && (err != nil || def.Text != event):
				t.Errorf("%+v, %v", def, err)
			case tt.none && (bad == nil || bad.Reason != record.SchemaNotFound || bad.Schema != "17" || asked.Load() != 5):
				t.Errorf("%v after %d requests", err, asked.Load())
			case !tt.known && !tt.none && (bad == nil || bad.Reason != record.Schema):
				t.Errorf("%v", err)
			}
		})
	}
	close(hang)
}

func TestOneRequestForAll(t *testing.T) {
	var asked atomic.Int64
	answer := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-answer
		answerf(w, `{"schema": %q}`, event)
	}))
	defer server.Close()
	c := client(t, Config{URLs: server.URL})
	var waiting sync.WaitGroup
	for range 10 {
		waiting.Go(func() {
			for range 1000 {
				_, err := c.Schema("17")
				if _, ok := errors.AsType[*record.Pending](err); !ok {
					t.Errorf("error %v", err)
				}
			}
		})
	}
	waiting.Wait()
	if c.Pending() != 1 {
		t.Errorf("%d pending", c.Pending())
	}
	close(answer)
	if _, err := settled(t, c, "17"); err != nil || asked.Load() != 1 || c.Pending() != 0 {
		t.Errorf("%d requests, error %v, %d pending", asked.Load(), err, c.Pending())
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answerf(w, `{"schema": %q}`, event) }))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	why(t, client(t, Config{URLs: server.URL}), "17", "certificate")
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig
	if _, err := settled(t, client(t, Config{URLs: server.URL, TLS: roots}), "17"); err != nil {
		t.Error(err)
	}
}

func TestVerdictsAreKept(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/schemas/ids/20" {
			w.WriteHeader(500)
			return
		}
		answerf(w, `{"schema": %q}`, event)
	}))
	defer server.Close()
	c := client(t, Config{URLs: server.URL, NotFound: []string{"17"}})
	if _, err := settled(t, c, "18"); err != nil {
		t.Error(err)
	}
	why(t, c, "20", "500")
	c.Condemn("18", "19", "20")
	for id, none := range map[string]bool{"17": true, "18": false, "19": true, "20": true} {
		_, err := settled(t, c, id)
		bad, _ := errors.AsType[*record.Bad](err)
		if none != (bad != nil && bad.Reason == record.SchemaNotFound && bad.Schema == id) {
			t.Errorf("schema %s: %v", id, err)
		}
	}
	c.Close()
	if _, err := c.Schema("21"); errors.As(err, new(*record.Bad)) || err == nil {
		t.Errorf("closed: %v", err)
	}
	if def, err := c.Schema("18"); err != nil || def == nil {
		t.Errorf("closed: %v, %v", def, err)
	}
}

func TestRegister(t *testing.T) {
	fake := srfake.New(srfake.WithAuth(basic))
	defer fake.Close()
	c := client(t, Config{URLs: fake.URL(), Key: user, Secret: password})
	id, err := c.Register(t.Context(), "a/b-value", event, "AVRO")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.Register(t.Context(), "a/b-value", event, "AVRO"); err != nil || again != id {
		t.Errorf("again: %d, %v", again, err)
	}
	if def, err := settled(t, c, fmt.Sprint(id)); err != nil || !strings.Contains(def.Text, "signal") {
		t.Errorf("%+v, %v", def, err)
	}
	for status, text := range map[int]string{401: "the key does not suffice", 403: "the key does not suffice", 409: "not compatible", 422: "takes no such schema", 500: "500"} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		_, err := client(t, Config{URLs: server.URL, Key: user, Secret: password}).Register(t.Context(), "a-value", event, "AVRO")
		server.Close()
		if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), `"a-value"`) || !strings.Contains(err.Error(), server.URL) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, urls := range []string{"", "registry:8081", "https://a,", "ftp://" + user + ":" + password + "@b", "https://a?b", "https://" + user + ":" + password + "@%zz"} {
		_, err := New(Config{URLs: urls})
		if err == nil || !strings.Contains(err.Error(), "https://host:port") || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", urls, err)
		}
	}
}

// TestRecordsWait has a decoder that needs a schema while the registry is out of order.
func TestRecordsWait(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	var broken atomic.Bool
	broken.Store(true)
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return broken.Load()
	})
	c := client(t, Config{URLs: fake.URL()})
	newDecoder, err := record.NewDecoder(record.Options{Schemas: c})
	if err != nil {
		t.Fatal(err)
	}
	fake.SeedSchema("event-value", 1, 9, sr.Schema{Schema: `{"type": "record", "name": "Event", "fields": [
		{"name": "signal", "type": "boolean"}, {"name": "jets", "type": "int"}, {"name": "detector", "type": "string"}]}`})
	rec := record.Record{Value: []byte{0, 0, 0, 0, 9, 1, 14, 2, 'A'}}
	d := newDecoder()
	var dst record.Block
	pending, ok := errors.AsType[*record.Pending](d.Decode(&dst, rec))
	if !ok || pending.Schema != "9" || dst.Rows() != 0 {
		t.Fatalf("%v, %+v", pending, dst)
	}
	why(t, c, "9", "503")
	broken.Store(false)
	<-pending.Known
	for _, d := range []record.Decoder{d, newDecoder()} {
		if err := d.Decode(&dst, rec); err != nil {
			t.Fatal(err)
		}
	}
	row := dst.Row(1)
	if dst.Rows() != 2 || len(dst.Shapes) != 1 || row.X[0] != 7 || row.Hashes[0] != record.NewHasher("detector").Text([]byte("A")) || dst.Y[1] != 1 {
		t.Errorf("%+v", dst)
	}
}
