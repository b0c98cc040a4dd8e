// Package python helps tests that compare with programs in Python.
package python

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Need skips the test where python3 cannot import the modules. With REQUIRE_PYTHON set, that is a fault.
func Need(tb testing.TB, modules ...string) {
	tb.Helper()
	names := strings.Join(modules, ", ")
	if out, err := exec.CommandContext(tb.Context(), "python3", "-c", "import "+names).CombinedOutput(); err != nil {
		if os.Getenv("REQUIRE_PYTHON") != "" {
			tb.Fatalf("import %s in python3: %v\n%s", names, err, out)
		}
		tb.Skipf("python3 cannot import %s (pip install %s)", names, strings.Join(modules, " "))
	}
}

// Run runs python3 with arguments and returns what it prints. A failure ends the test.
func Run(tb testing.TB, args ...string) []byte {
	tb.Helper()
	command := exec.CommandContext(tb.Context(), "python3", args...)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		tb.Fatalf("python3 %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}
