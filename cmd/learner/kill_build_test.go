package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutation replaces a piece of a source file, which has to be there exactly once. Where old is empty the file is new.
type mutation struct{ file, old, new string }

// before returns a mutation that puts code in front of a piece of a source file.
func before(file, piece, code string) mutation { return mutation{file, piece, code + piece} }

// killPoints make a build that ends itself with SIGKILL at the point that KILL_AT names, such as "manifest 2" for the
// second time that it comes there.
//
//	chunks    the chunks, or the file under its first name, are written; what makes them a checkpoint is not
//	manifest  the checkpoint is whole and not committed
//	commit    it is committed, and nothing older was deleted
//	restore   a checkpoint was read to resume from
var killPoints = []mutation{
	{"pkg/checkpoint/kill_at.go", "", `package checkpoint

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

var passed atomic.Int64

// KillAt is where the process may end.
func KillAt(point string) {
	var name string
	var time int64
	_, _ = fmt.Sscan(os.Getenv("KILL_AT"), &name, &time)
	if name == point && passed.Add(1) == time {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}
`},
	before("pkg/checkpoint/topic.go", "\tif err := t.log.Append(ctx, []KeyValue{{t.key(id, manifestKey), encoded}})", "\tKillAt(\"chunks\")\n"),
	before("pkg/checkpoint/dir.go", "\tif err == nil {\n\t\terr = os.Rename(", "\tKillAt(\"chunks\")\n"),
	before("cmd/learner/keeper.go", "\tif err := k.commit(ctx, offsets, metadata)", "\tcheckpoint.KillAt(\"manifest\")\n"),
	before("cmd/learner/keeper.go", "\tk.prune(ctx)\n", "\tcheckpoint.KillAt(\"commit\")\n"),
	before("cmd/learner/keeper.go", "\tadded, dropped, err := c.Compatible(", "\tcheckpoint.KillAt(\"restore\")\n"),
}

// buildLearner builds the program with mutations and returns the binary's path.
func buildLearner(t *testing.T, mutations ...mutation) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sources := make(map[string]string)
	for _, m := range mutations {
		file := filepath.Join(root, m.file)
		if _, ok := sources[file]; !ok && m.old != "" {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources[file] = string(source)
		}
		if n := strings.Count(sources[file], m.old); m.old != "" && n != 1 {
			t.Fatalf("%s has %d times what a mutation replaces:\n%s", m.file, n, m.old)
		}
		sources[file] = strings.Replace(sources[file], m.old, m.new, 1)
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for file, source := range sources {
		mutated, err := os.CreateTemp(dir, "*.go")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mutated.WriteString(source); err != nil {
			t.Fatal(err)
		}
		if err := mutated.Close(); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[file] = mutated.Name()
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "learner")
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with mutations: %v: %s", err, out)
	}
	return binary
}
