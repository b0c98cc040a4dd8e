package main

import (
	"regexp"
	"testing"
)

// TestDemo holds that the demo says first where to look, and learns all that it was to produce.
func TestDemo(t *testing.T) {
	t.Parallel()
	got := runWith(t, []string{"LEARNER_HTTP_ADDR=127.0.0.1:0", "LEARNER_MODELS=logistic"}, "demo", "-rate", "0", "-records", "3000")
	want := regexp.MustCompile(`(?s)^Live page: http://127\.0\.0\.1:\d+/\nEmbedded broker on .*Status: http://127\.0\.0\.1:\d+/api/status .*\nAll 3000 records learned in \d+s\.\n$`)
	if got.code != exitClean || !want.MatchString(got.stdout) {
		t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}
