package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		give progressState
		bar  bool
		want string
	}{
		{"size unknown", progressState{rows: 1, verb: "written", read: 999, elapsed: time.Second}, true, "1 row written, 999 B read, 1 rows/s"},
		{
			"plain",
			progressState{rows: 3000, verb: "written", read: 2_500_000, size: 10_000_000, elapsed: 3 * time.Second},
			false, " 25.0 %  3000 rows written, 2.5 MB read, 1000 rows/s, ETA 9s",
		},
		{
			"bar",
			progressState{rows: 10, verb: "written", read: 3_000_000_000, size: 6_000_000_000, elapsed: 90 * time.Second},
			true, "[===============               ]  50.0 %  10 rows written, 3.00 GB read, 0 rows/s, ETA 1m30s",
		},
		{"start", progressState{verb: "learned", size: 10}, false, "  0.0 %  0 rows learned, 0 B read, 0 rows/s"},
		{
			"file that has grown",
			progressState{rows: 7, verb: "learned", read: 20, size: 10, elapsed: time.Second},
			true, "[==============================] 100.0 %  7 rows learned, 20 B read, 7 rows/s, ETA 0s",
		},
	} {
		if got := tt.give.line(tt.bar); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestProgressShows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		terminal bool
		want     string
	}{
		{"lines", false, "1 row\n2 rows\nnote\n3 rows\n"},
		{"terminal", true, "1 row\r\x1b[K2 rows\r\x1b[Knote\n3 rows\r\x1b[K"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, nil)
			p.terminal = tt.terminal
			n := int64(0)
			p.state = func() progressState {
				n++
				return progressState{rows: n, verb: "written"}
			}
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				p.run(stop)
				close(done)
			}()
			time.Sleep(11 * time.Second)
			p.note("note")
			time.Sleep(5 * time.Second)
			close(stop)
			<-done
			got := strings.ReplaceAll(out.String(), " written, 0 B read, 0 rows/s", "")
			if got != tt.want {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		})
	}
}
