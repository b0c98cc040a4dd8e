package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// browser is a headless Chromium with one page, driven by the DevTools protocol over a pair of pipes.
type browser struct {
	t       *testing.T
	session string
	out     io.Writer // commands, each ended by a zero byte

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	faults  []string // what the page has reported: exceptions, console errors, violations of the policy
}

// answer is what comes back for a command, or an event.
type answer struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// startBrowser starts Chromium until the test ends. Without Chromium the test is skipped, unless REQUIRE_CHROMIUM is set.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("REQUIRE_CHROMIUM") != "" {
			t.Fatal("REQUIRE_CHROMIUM is set, and there is no chromium")
		}
		t.Skip("needs chromium")
	}
	theirIn, out := pipe(t)
	in, theirOut := pipe(t)
	ctx, cancel := context.WithCancel(context.Background())
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
		"--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-extensions",
		"--user-data-dir="+home, "about:blank")
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+home)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	b := &browser{t: t, out: out, waiting: make(map[int]chan answer)}
	var reading sync.WaitGroup
	reading.Go(func() { b.read(in) })
	t.Cleanup(func() {
		b.mu.Lock()
		_, _ = io.WriteString(out, `{"id":1000000,"method":"Browser.close"}`+"\x00") // a browser that went away is closed already
		b.mu.Unlock()
		stopped := time.AfterFunc(10*time.Second, cancel)
		_ = cmd.Wait() // its exit code says nothing about the page
		stopped.Stop()
		cancel()
		_ = out.Close()
		reading.Wait()
		_ = in.Close()
	})

	var target struct{ TargetID string }
	b.do("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.do("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.do(domain+".enable", nil, nil)
	}
	return b
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// read takes in what the browser says until it ends.
func (b *browser) read(in io.Reader) {
	r := bufio.NewReader(in)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var a answer
		if err := json.Unmarshal(text[:len(text)-1], &a); err != nil {
			a.Method, a.Params = "Log.entryAdded", text[:len(text)-1]
		}
		b.mu.Lock()
		switch {
		case a.ID != 0:
			if c := b.waiting[a.ID]; c != nil {
				c <- a
			}
			delete(b.waiting, a.ID)
		case a.Method == "Runtime.exceptionThrown", a.Method == "Log.entryAdded",
			a.Method == "Runtime.consoleAPICalled" && !strings.Contains(string(a.Params), `"type":"log"`):
			b.faults = append(b.faults, string(a.Params))
		}
		b.mu.Unlock()
	}
}

// do sends a command and stores its result.
func (b *browser) do(method string, params map[string]any, result any) {
	b.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	b.mu.Lock()
	b.next++
	command := map[string]any{"id": b.next, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	c := make(chan answer, 1)
	b.waiting[b.next] = c
	_, err = b.out.Write(append(text, 0))
	b.mu.Unlock()
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	select {
	case a := <-c:
		if a.Error != nil {
			b.t.Fatalf("%s: %s", method, a.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(a.Result, result); err != nil {
				b.t.Fatalf("%s: %v in %s", method, err, a.Result)
			}
		}
	case <-time.After(30 * time.Second):
		b.t.Fatalf("%s: no answer", method)
	}
}

// eval returns the value of an expression on the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	var got struct {
		Result           struct{ Value T }
		ExceptionDetails json.RawMessage
	}
	b.do("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	return got.Result.Value
}

// waitFor waits until an expression is true on the page.
func (b *browser) waitFor(expression string) {
	b.t.Helper()
	for range 600 {
		if eval[bool](b, "Boolean("+expression+")") {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("the page never has %s; it shows:\n%s\n%s", expression, eval[string](b, "document.body.innerText"), b.reported())
}

// text returns the text of the first element that a selector finds.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.do("Page.navigate", map[string]any{"url": url}, nil)
	b.waitFor(fmt.Sprintf(`location.href === %q && document.readyState === "complete"`, url))
}

// look sets the width of the window, and light or dark.
func (b *browser) look(width int, scheme string) {
	b.t.Helper()
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}, nil)
	b.do("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]any{{"name": "prefers-color-scheme", "value": scheme}},
	}, nil)
}

// reported returns what the page has reported so far but for what the test expects.
func (b *browser) reported(expected ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.faults), func(fault string) bool {
		return slices.ContainsFunc(expected, func(text string) bool { return strings.Contains(fault, text) })
	})
}
