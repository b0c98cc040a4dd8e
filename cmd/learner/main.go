// Command learner keeps machine-learning models trained from Kafka, record by record, and shows how good they are.
//
// This package holds the commands, the configuration, and the wiring. It knows nothing of how the parts work.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"go.uber.org/zap"
)

// The exit codes.
const (
	exitClean   = 0
	exitFailure = 1 // something went wrong while running
	exitUsage   = 2 // wrong configuration or command line
)

// process is what a command has from the operating system. Tests make their own.
type process struct {
	args    []string // after the program's name; commands see those after their own name
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	environ []string // NAME=value
	dir     string   // where a .env file is looked for

	command command         // the one that runs
	level   zap.AtomicLevel // of the log, once start has made it
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go stopOnSignal(signals, cancel, os.Exit)

	os.Exit(run(ctx, &process{
		args:    os.Args[1:],
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		environ: os.Environ(),
		dir:     ".",
	}))
}

// stopOnSignal ends ctx's work in order at the first signal and the process at the second.
func stopOnSignal(signals <-chan os.Signal, cancel context.CancelFunc, exit func(int)) {
	<-signals
	cancel()
	<-signals
	exit(exitFailure)
}

// run runs the command that p.args name, writes its error, if any, to p.stderr, and returns the exit code.
func run(ctx context.Context, p *process) int {
	err := dispatch(ctx, p)
	if err == nil || errors.Is(err, errHelp) {
		return exitClean
	}
	text := "learner: " + strings.ReplaceAll(err.Error(), "\n", "\nlearner: ")
	_, _ = fmt.Fprintln(p.stderr, text) // nobody is left to be told
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// usageError is a wrong configuration or command line. The user has to change something before a new start.
type usageError struct{ err error }

func (u usageError) Error() string { return u.err.Error() }
func (u usageError) Unwrap() error { return u.err }

// usagef makes a usageError.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
