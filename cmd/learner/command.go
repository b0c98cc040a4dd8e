package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is one of the things that learner can do.
type command struct {
	name    string
	args    string // as the help shows them
	summary string
	run     func(ctx context.Context, p *process) error
}

// commands returns all commands, in the help's order. The first runs where none is named.
func commands() []command {
	return []command{
		{"serve", "", "Train from Kafka and show how good the models are; runs when no command is named.", serveTopics},
		{"demo", "[flags]", "Run the service on an embedded broker that is fed with generated records.", demo},
		{"load", "[flags] FILE|-", "Write the rows of a CSV or CSV.gz file, or generated ones, to the train and test topics.", load},
		{"evaluate", "[flags] FILE|-", "Show how good the models would have been on the rows of a CSV or CSV.gz file; no Kafka is needed.", evaluateFile},
		{"reset", "--to earliest|latest|TIME", "Let the stopped service begin anew, with fresh models, at other offsets of the train topic.", reset},
		{"export", "[flags]", "Write the newest committed checkpoint of the group to a file.", export},
		{"inspect", "FILE|-", "Print what is in a checkpoint or the state of a model.", inspect},
		{"config", "", "Check the configuration and print it, with secrets redacted.", printConfig},
		{"healthcheck", "", "Ask the service on this machine whether it is alive: exit code 0 or 1.", healthcheck},
		{"version", "", "Print version, revision, Go version, and platform.", printVersion},
		{"help", "[COMMAND]", "Print this help, or that of a command.", help},
	}
}

// findCommand returns the command of that name, or a usageError that names the nearest.
func findCommand(name string) (command, error) {
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	return command{}, usagef("unknown command %q, did you mean %q? See learner help", name, nearest(name, names))
}

// dispatch runs the command that p.args name.
func dispatch(ctx context.Context, p *process) error {
	name := commands()[0].name
	if len(p.args) > 0 {
		name, p.args = p.args[0], p.args[1:]
	}
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	var err error
	if p.command, err = findCommand(name); err != nil {
		return err
	}
	return p.command.run(ctx, p)
}

// errHelp comes from parse when it has printed the help that the user asked for.
var errHelp = errors.New("help was printed")

// newFlags returns an empty set for the flags of the command that runs.
func (p *process) newFlags() *flag.FlagSet {
	return flag.NewFlagSet(p.command.name, flag.ContinueOnError)
}

// parse reads the command line into flags and returns the arguments that are none. Flags may stand before, between,
// and after them; what follows "--" is no flag. The error is a usageError, or errHelp after -h.
func (p *process) parse(flags *flag.FlagSet) (rest []string, err error) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	args := p.args
	for {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return nil, p.printUsage(flags)
		case err != nil:
			return nil, usagef("%s: %w; see learner help %s", p.command.name, err, p.command.name)
		}
		left := flags.Args()
		if read := len(args) - len(left); len(left) == 0 || read > 0 && args[read-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// parseNothing is parse for commands that take neither flags nor arguments.
func (p *process) parseNothing() error {
	rest, err := p.parse(p.newFlags())
	if err == nil && len(rest) > 0 {
		return usagef("%s takes no arguments, found %q", p.command.name, rest[0])
	}
	return err
}

// printUsage prints the help of one command and returns errHelp.
func (p *process) printUsage(flags *flag.FlagSet) error {
	var text strings.Builder
	fmt.Fprintf(&text, "Usage: %s\n\n%s\n", p.command.synopsis(), p.command.summary)
	var shown strings.Builder
	flags.SetOutput(&shown)
	if flags.PrintDefaults(); shown.Len() > 0 {
		fmt.Fprintf(&text, "\nFlags:\n%s", shown.String())
	}
	if err := p.print(text.String()); err != nil {
		return err
	}
	return errHelp
}

// synopsis returns how the command is called.
func (c command) synopsis() string { return strings.TrimSpace("learner " + c.name + " " + c.args) }

// print writes text to the standard output.
func (p *process) print(text string) error {
	if _, err := io.WriteString(p.stdout, text); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// help prints all commands and all variables, or what one command takes.
func help(ctx context.Context, p *process) error {
	rest, err := p.parse(p.newFlags())
	switch {
	case err != nil:
		return err
	case len(rest) > 1:
		return usagef("help takes one command, found %q", rest)
	case len(rest) == 1:
		if p.command, err = findCommand(rest[0]); err != nil {
			return err
		}
		p.args = []string{"-h"}
		return p.command.run(ctx, p)
	}

	var text strings.Builder
	text.WriteString("learner keeps machine-learning models trained from Kafka and shows how good they are.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(&text, "  %-28s %s\n", c.synopsis(), c.summary)
	}
	text.WriteString(`
Exit codes: 0 clean stop, 1 failure while running, 2 wrong configuration or usage.

Environment variables. An empty value counts as unset. Variables are also read from a file named .env in the
working directory, which never overrides the environment.
`)
	for _, s := range settings() {
		def := ""
		if s.def != "" {
			def = " (default " + s.def + ")"
		}
		fmt.Fprintf(&text, "  %s%s\n      %s\n", s.name, def, s.description())
	}
	return p.print(text.String())
}
