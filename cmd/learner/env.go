package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

// prefix marks the variables that are the program's alone: an unknown one is a typing error.
const prefix = "LEARNER_"

// fileSuffix makes of a secret's name the variable that holds the path of a file with the secret.
const fileSuffix = "_FILE"

// use says what a command needs of the configuration.
type use bool

// The uses.
const (
	offline use = false // nothing but valid values
	cluster use = true  // brokers to connect to
)

// loadConfig makes the configuration from environ (NAME=value) and the file .env in dir, which is read if it is
// there and never overrides. The error is a usageError that names every variable that is wrong or missing, one on a line.
func loadConfig(environ []string, dir string, use use) (*Config, error) {
	vars := nonEmpty(environ)
	// Without the file, every complaint about what it should have set would be a guess: its fault comes alone.
	if err := vars.addDotenv(filepath.Join(dir, ".env")); err != nil {
		return nil, usageError{err}
	}

	var bad faults
	cfg := new(Config)
	for _, s := range settings() {
		text := vars[s.name]
		if s.secret {
			text = vars.secret(s.name, &bad)
		}
		if text == "" {
			text = s.def
		}
		if text == "" {
			continue
		}
		if err := s.decode(cfg, text); err != nil {
			bad.found(s.name, text)
		}
	}
	if use == cluster && len(cfg.Brokers) == 0 {
		bad.missing("CCLOUD_BOOTSTRAP_ENDPOINT")
	}
	cfg.check(&bad)
	vars.others(&bad)
	return cfg, bad.err()
}

// variables maps names to values that are not empty.
type variables map[string]string

// nonEmpty reads NAME=value lines. Like the operating system's, the first of several lines of one name counts.
func nonEmpty(environ []string) variables {
	vars := make(variables)
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if value != "" && vars[name] == "" {
			vars[name] = value
		}
	}
	return vars
}

// addDotenv adds what vars does not have yet from the file at path. The error names the line, and never what is on
// it: it may be a secret.
func (v variables) addDotenv(path string) error {
	src, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), errors.Unwrap(err))
	}
	file, ok := parseDotenv(string(src))
	if !ok {
		return fmt.Errorf("%s: line %d is not NAME=value, or has a quote without an end", filepath.Base(path), faultyLine(string(src)))
	}
	// The two forms of a secret are one variable: whichever the environment sets, the file sets neither.
	for _, s := range settings() {
		if s.secret && (v[s.name] != "" || v[s.name+fileSuffix] != "") {
			delete(file, s.name)
			delete(file, s.name+fileSuffix)
		}
	}
	for name, value := range file {
		if value != "" && v[name] == "" {
			v[name] = value
		}
	}
	return nil
}

// parseDotenv reads the text of a .env file and says whether it is well-formed.
func parseDotenv(text string) (map[string]string, bool) {
	vars, err := godotenv.Unmarshal(text)
	_, nameless := vars[""] // what godotenv makes of a last line without '='
	return vars, err == nil && !nameless
}

// faultyLine returns the number, from 1, of the first line of text that parseDotenv cannot read. A value in quotes
// may take several lines: the line where it begins counts.
func faultyLine(text string) int {
	lines := strings.SplitAfter(text, "\n")
	first := 0
	for end := range lines {
		if _, ok := parseDotenv(strings.Join(lines[first:end+1], "")); ok {
			first = end + 1
		}
	}
	return first + 1
}

// secret returns the secret of that name, from its variable or from the file that NAME_FILE names.
func (v variables) secret(name string, bad *faults) string {
	path := v[name+fileSuffix]
	if path == "" {
		return v[name]
	}
	if v[name] != "" {
		bad.add(name, "set together with %s%s, want one of them", name, fileSuffix)
		return v[name]
	}
	text, err := os.ReadFile(path)
	if err != nil {
		bad.add(name, "read the file of %s%s: %v", name, fileSuffix, err)
		return ""
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		bad.add(name, "the file of %s%s, %s, is empty", name, fileSuffix, path)
	}
	return secret
}

// serviceLink matches the names that Kubernetes gives to each container for a Service called learner or learner-something.
var serviceLink = regexp.MustCompile(`^LEARNER_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// others reports the variables that nobody knows.
func (v variables) others(bad *faults) {
	var known []string
	for _, s := range settings() {
		known = append(known, s.name)
		if s.secret {
			known = append(known, s.name+fileSuffix)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		switch {
		case slices.Contains(known, name), !strings.HasPrefix(name, prefix):
		case serviceLink.MatchString(name):
			bad.add(name, "unknown; Kubernetes sets it for a Service of that name unless the pod has enableServiceLinks: false")
		default:
			bad.add(name, "unknown, did you mean %s?", nearest(name, known))
		}
	}
}
