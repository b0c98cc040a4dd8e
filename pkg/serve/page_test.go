package serve

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var reference = regexp.MustCompile(`(?:href|src)="([^"]*)"|import [^;]* from "\./([^"]*)"`)

// The page and all that it refers to is served, under a policy that lets it load nothing from elsewhere.
func TestPage(t *testing.T) {
	f := start(t, nil, nil)
	files := 0
	for name := range assets {
		path := "/web/" + name
		if name == "index.html" {
			path = "/"
		}
		got := f.do("GET", path)
		if got.code != 200 || got.header.Get("Cache-Control") != "no-cache" || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", path, got.code, got.header)
		}
		policy := got.header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, part) || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: policy %q, want %s", path, policy, part)
			}
		}
		tag := got.header.Get("ETag")
		if again := f.do("GET", path, "If-None-Match", tag); tag == "" || again.code != 304 || again.body != "" {
			t.Errorf("%s again, with ETag %s: %d and %d bytes", path, tag, again.code, len(again.body))
		}
		if strings.HasPrefix(name, "vendor/") {
			continue
		}
		files++
		if strings.Contains(strings.ReplaceAll(got.body, "http://www.w3.org/2000/svg", ""), "://") {
			t.Errorf("%s has an address of another host", path)
		}
		if strings.Contains(got.body, " style=") || strings.Contains(got.body, "<style") || strings.Contains(got.body, "innerHTML") {
			t.Errorf("%s has what the policy forbids, or makes elements of text", path)
		}
		for _, found := range reference.FindAllStringSubmatch(got.body, -1) {
			to := "/" + found[1]
			if found[2] != "" {
				to = "/web/" + found[2]
			}
			if found[1] == "#main" || strings.HasPrefix(found[1], "data:") {
				continue
			}
			if there := f.do("GET", to); there.code != 200 {
				t.Errorf("%s refers to %s: %d", path, to, there.code)
			}
		}
	}
	if files < 6 {
		t.Errorf("the page has %d files of its own", files)
	}
	for _, path := range []string{"/web/", "/web/none.js", "/web/vendor/README.md", "/web/../serve.go"} {
		if got := f.do("GET", path); got.code != 404 {
			t.Errorf("%s: %d", path, got.code)
		}
	}
}

// What was taken from elsewhere is as the folder's README says, and all of it is listed there.
func TestVendoredFiles(t *testing.T) {
	readme, err := os.ReadFile("web/vendor/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("web/vendor/*")
	if err != nil || len(files) != 4 {
		t.Fatalf("%v %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("| `%s` | `%x` |\n", filepath.Base(file), sha256.Sum256(content))
		if filepath.Base(file) != "README.md" && !strings.Contains(string(readme), line) {
			t.Errorf("README.md has no line %s", line)
		}
	}
}
