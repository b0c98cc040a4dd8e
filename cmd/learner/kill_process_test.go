package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"learner/pkg/checkpoint"
)

// raceDetector is set in tests that are built with it.
var raceDetector bool

// needsTime skips a test that starts many processes where time is short, and where the race detector would watch the
// embedded broker all the time and the processes never.
func needsTime(t *testing.T) {
	t.Helper()
	if testing.Short() || raceDetector {
		t.Skip("starts many processes")
	}
}

// victim is a learner in a process of its own.
type victim struct {
	*running
	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended
}

// startVictim starts a binary on a cluster.
func startVictim(t *testing.T, binary string, c *testCluster, env ...string) *victim {
	t.Helper()
	log := &safeBuffer{}
	v := &victim{running: &running{t: t, log: log}, process: exec.Command(binary), ended: make(chan struct{})}
	v.process.Env, v.process.Dir, v.process.Stderr = append(os.Environ(), c.with(env...)...), t.TempDir(), log
	if err := v.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = v.process.Wait()
		close(v.ended)
	}()
	v.stop = sync.OnceValue(func() int {
		_ = v.process.Process.Signal(syscall.SIGKILL)
		<-v.ended
		return v.process.ProcessState.ExitCode()
	})
	t.Cleanup(func() { v.stop() })
	return v
}

// killed reports whether the process was ended by SIGKILL, its own or the test's.
func (v *victim) killed() bool {
	status, ok := v.process.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// alive reports whether the process has not ended.
func (v *victim) alive() bool {
	select {
	case <-v.ended:
		return false
	default:
		return true
	}
}

// find returns the first line of the log with a message; nil: there is none yet.
func (v *victim) find(message string) *logLine {
	for line := range strings.Lines(v.log.String()) {
		parsed := new(logLine)
		if json.Unmarshal([]byte(line), parsed) == nil && parsed.Message == message {
			return parsed
		}
	}
	return nil
}

// logLine is what is read of a line of the log.
type logLine struct {
	Message    string          `json:"msg"`
	Row        checkpoint.Row  `json:"row"`
	Checkpoint checkpoint.ID   `json:"checkpoint"` // begun or gone on from
	Offsets    map[int32]int64 `json:"offsets"`
}

// What the log says of a start.
const (
	decidedLine  = "start decided"
	learningLine = "learning goes on"
)

// within waits for a condition, the end of the process, or the end of the time, and returns whether the condition came.
func (v *victim) within(limit time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && v.alive(); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// isReady reports whether the process answers that it is ready.
func (v *victim) isReady() bool {
	if v.url == "" {
		m := listening.FindStringSubmatch(v.log.String())
		if m == nil {
			return false
		}
		v.url = "http://" + m[1]
	}
	response, err := http.Get(v.url + "/readyz")
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// states waits until the process is ready and returns the state of every model, as bytes.
func (v *victim) states() map[string]string {
	v.t.Helper()
	if !v.within(2*time.Minute, v.isReady) {
		v.t.Fatalf("the process does not get ready:\n%s", v.log)
	}
	all := make(map[string]string)
	for _, m := range v.status().Models {
		code, state := v.get("/api/models/" + m.Name + "/state")
		if code != http.StatusOK {
			v.t.Fatalf("state of %s: code %d", m.Name, code)
		}
		all[m.Name] = string(state)
	}
	return all
}
