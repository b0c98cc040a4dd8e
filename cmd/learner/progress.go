package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows how far the reading of a file is: one line that changes on a terminal, else a line every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration        // between two lines
	state    func() progressState // may be called at any time

	mu    sync.Mutex // guards what is written
	shown bool       // a line that will be overwritten stands on the terminal
}

// progressState is a moment of it.
type progressState struct {
	rows    int64         // through already
	verb    string        // what was done with them, such as written
	read    int64         // bytes of the file
	size    int64         // of the file in bytes; 0: not known
	elapsed time.Duration // since the start
}

// newProgress returns a progress that writes to w.
func newProgress(w io.Writer, state func() progressState) *progress {
	p := &progress{w: w, terminal: isTerminal(w), every: 5 * time.Second, state: state}
	if p.terminal {
		p.every = 200 * time.Millisecond
	}
	return p
}

// run shows progress until stop is closed, and leaves no unfinished line behind.
func (p *progress) run(stop <-chan struct{}) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.write(p.state().line(p.terminal), false)
		case <-stop:
			p.write("", false)
			return
		}
	}
}

// note writes a line that stays.
func (p *progress) note(text string) { p.write(text, true) }

// write writes a line, which the next one overwrites on a terminal unless it stays. An empty line writes nothing but
// takes the last one away. What cannot be shown is not worth an error.
func (p *progress) write(line string, stays bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := line
	if line != "" && (stays || !p.terminal) {
		text += "\n"
	}
	if p.shown {
		text = "\r\x1b[K" + text
	}
	p.shown = p.terminal && !stays && line != ""
	_, _ = io.WriteString(p.w, text)
}

// line describes the moment, with a bar if there is to be one.
func (s progressState) line(bar bool) string {
	var text strings.Builder
	done := -1.0
	if s.size > 0 {
		done = min(1, float64(s.read)/float64(s.size))
	}
	if bar && done >= 0 {
		const width = 30
		full := int(done * width)
		fmt.Fprintf(&text, "[%s%s] ", strings.Repeat("=", full), strings.Repeat(" ", width-full))
	}
	if done >= 0 {
		fmt.Fprintf(&text, "%5.1f %%  ", 100*done)
	}
	fmt.Fprintf(&text, "%s %s, %s read, %.0f rows/s", plural(s.rows, "row"), s.verb, bytesText(s.read), perSecond(s.rows, s.elapsed))
	if done > 0 {
		left := time.Duration(float64(s.elapsed) * (1 - done) / done)
		fmt.Fprintf(&text, ", ETA %v", left.Round(time.Second))
	}
	return text.String()
}

// perSecond returns a rate; 0 before any time has passed.
func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// bytesText returns n bytes in a unit that suits.
func bytesText(n int64) string {
	switch {
	case n < 1e3:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.2f GB", float64(n)/1e9)
}

// plural returns "1 row" or "2 rows".
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
