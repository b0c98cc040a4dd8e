package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// result is what a run of the program left behind.
type result struct {
	code           int
	stdout, stderr string
}

// runWith runs the program in an empty directory with the environment and command line given.
func runWith(t *testing.T, environ []string, args ...string) result {
	t.Helper()
	return runIn(t, t.TempDir(), environ, args...)
}

func runIn(t *testing.T, dir string, environ []string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), &process{
		args:    args,
		stdin:   strings.NewReader(""),
		stdout:  &stdout,
		stderr:  &stderr,
		environ: environ,
		dir:     dir,
	})
	return result{code, stdout.String(), stderr.String()}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		give   string // arguments
		env    []string
		want   int
		stdout string // part of it; empty: nothing at all
		stderr string
	}{
		{name: "help", give: "help", stdout: "Commands:\n"},
		{name: "help flag", give: "--help", stdout: "LEARNER_EVAL_INTERVAL (default 5s)"},
		{name: "short help flag", give: "-h", stdout: "CCLOUD_CLUSTER_API_SECRET_FILE"},
		{name: "help needs no valid configuration", give: "help", env: []string{"LEARNER_SEED=x"}, stdout: "Commands:\n"},
		{name: "help of a command", give: "help version", stdout: "Usage: learner version\n"},
		{name: "help flag of a command", give: "version --help", stdout: "Usage: learner version\n"},
		{name: "help of help", give: "help help", stdout: "Usage: learner help [COMMAND]\n"},
		{name: "help of an unknown command", give: "help confg", want: 2, stderr: `did you mean "config"?`},
		{name: "help of two commands", give: "help a b", want: 2, stderr: "one command"},
		{name: "unknown command", give: "lod", want: 2, stderr: `learner: unknown command "lod", did you mean "load"?`},
		{name: "unknown flag", give: "version -x", want: 2, stderr: "learner: version: flag provided but not defined: -x"},
		{name: "needless argument", give: "config all", want: 2, stderr: `config takes no arguments, found "all"`},
		{name: "version", give: "version", stdout: "learner "},
		{name: "version flag", give: "--version", stdout: "revision "},
		{name: "config", give: "config", stdout: "LEARNER_SEED=1 # default\n"},
		{name: "config that is wrong", give: "config", env: []string{"LEARNER_SEED=x"}, want: 2, stderr: `learner: LEARNER_SEED: found "x"`},
		{name: "service without brokers", give: "", want: 2, stderr: "learner: CCLOUD_BOOTSTRAP_ENDPOINT: not set"},
		{name: "service by its name", give: "serve", want: 2, stderr: "learner: CCLOUD_BOOTSTRAP_ENDPOINT: not set"},
		{name: "healthcheck without a port", give: "healthcheck", env: []string{"LEARNER_HTTP_ADDR=:0"}, want: 1, stderr: "port 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runWith(t, tt.env, strings.Fields(tt.give)...)
			if got.code != tt.want {
				t.Errorf("exit code %d, want %d", got.code, tt.want)
			}
			for _, out := range []struct{ name, got, want string }{
				{"stdout", got.stdout, tt.stdout},
				{"stderr", got.stderr, tt.stderr},
			} {
				if !strings.Contains(out.got, out.want) || out.want == "" && out.got != "" {
					t.Errorf("%s: %q, want %q", out.name, out.got, out.want)
				}
			}
		})
	}
}

// brokenPipe is a standard output that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestRunReportsAFailedWrite(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"help", "version", "config", "version -h"} {
		var stderr bytes.Buffer
		code := run(t.Context(), &process{args: strings.Fields(args), stdout: brokenPipe{}, stderr: &stderr, dir: t.TempDir()})
		if code != exitFailure || !strings.Contains(stderr.String(), "broken pipe") {
			t.Errorf("%s: exit code %d, stderr %q", args, code, &stderr)
		}
	}
}

func TestHelpNamesEverything(t *testing.T) {
	t.Parallel()
	text := runWith(t, nil, "help").stdout
	for _, c := range commands() {
		if line := fmt.Sprintf("  %-28s %s\n", c.synopsis(), c.summary); !strings.Contains(text, line) {
			t.Errorf("command %s: no line %q", c.name, line)
		}
		got := runWith(t, nil, c.name, "-h")
		if got.code != exitClean || !strings.HasPrefix(got.stdout, "Usage: "+c.synopsis()+"\n\n"+c.summary+"\n") || got.stderr != "" {
			t.Errorf("%s -h: %+v", c.name, got)
		}
	}
	for _, s := range settings() {
		line := "  " + s.name
		if s.def != "" {
			line += " (default " + s.def + ")"
		}
		if line += "\n      " + s.desc + ": " + s.want; !strings.Contains(text, line) {
			t.Errorf("variable %s: no line %q", s.name, line)
		}
	}
}

func TestParseFlags(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		give string
		rest string // separated by spaces
		rate int
		all  bool
		err  string
	}{
		{name: "flags first", give: "-rate 7 -all FILE", rest: "FILE", rate: 7, all: true},
		{name: "flags last", give: "FILE --rate=7 --all", rest: "FILE", rate: 7, all: true},
		{name: "flags between", give: "A -all B -rate 7 C", rest: "A B C", rate: 7, all: true},
		{name: "standard input", give: "- -rate 7", rest: "-", rate: 7},
		{name: "nothing", give: ""},
		{name: "end of flags", give: "A -all -- -rate B", rest: "A -rate B", all: true},
		{name: "wrong value", give: "FILE -rate x", err: `load: invalid value "x" for flag -rate: parse error; see learner help load`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &process{args: strings.Fields(tt.give), command: command{name: "load"}}
			flags := p.newFlags()
			rate, all := flags.Int("rate", 0, "records per second"), flags.Bool("all", false, "all of it")
			rest, err := p.parse(flags)
			if tt.err != "" {
				if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.err {
					t.Fatalf("error %v, want the usage error %q", err, tt.err)
				}
				return
			}
			if err != nil || strings.Join(rest, " ") != tt.rest || *rate != tt.rate || *all != tt.all {
				t.Errorf("%q, rate %d, all %v, error %v", rest, *rate, *all, err)
			}
		})
	}
}

func TestParsePrintsFlags(t *testing.T) {
	t.Parallel()
	var stdout bytes.Buffer
	p := &process{args: []string{"FILE", "-h"}, stdout: &stdout, command: command{name: "load", args: "[flags] FILE", summary: "Load it."}}
	flags := p.newFlags()
	flags.Int("rate", 3, "`records` per second")
	if _, err := p.parse(flags); !errors.Is(err, errHelp) {
		t.Fatalf("error %v, want errHelp", err)
	}
	want := "Usage: learner load [flags] FILE\n\nLoad it.\n\nFlags:\n  -rate records\n    \trecords per second (default 3)\n"
	if stdout.String() != want {
		t.Errorf("%q, want %q", &stdout, want)
	}
}

func TestStopOnSignal(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	signals, code := make(chan os.Signal), make(chan int, 1)
	go stopOnSignal(signals, cancel, func(c int) { code <- c })

	if ctx.Err() != nil {
		t.Fatal("cancelled before any signal")
	}
	signals <- os.Interrupt
	<-ctx.Done()
	select {
	case c := <-code:
		t.Fatalf("the first signal ended the process with code %d", c)
	default:
	}
	signals <- os.Interrupt
	if c := <-code; c != exitFailure {
		t.Errorf("the second signal ended the process with code %d, want %d", c, exitFailure)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		give, want string
		edits      int
	}{
		{"", "load", 4},
		{"load", "load", 0},
		{"laod", "load", 2},
		{"conf", "config", 2},
		{"demon", "demo", 1},
		{"xonfig", "config", 1},
	}
	for _, tt := range tests {
		got := nearest(tt.give, []string{"config", "load", "demo"})
		if got != tt.want || edits(tt.give, got) != tt.edits || edits(got, tt.give) != tt.edits {
			t.Errorf("nearest(%q) = %q with %d edits, want %q with %d", tt.give, got, edits(tt.give, got), tt.want, tt.edits)
		}
	}
}
