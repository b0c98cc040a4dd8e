package serve

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed web/index.html web/*.css web/*.js web/vendor/LICENSE web/vendor/*.css web/vendor/*.js
var webFiles embed.FS

// asset is a file that the page is made of.
type asset struct {
	content     []byte
	contentType string
	tag         string // ETag
}

// assets are all files of the page, by their names below web.
var assets = func() map[string]asset {
	all := map[string]asset{}
	types := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		"": "text/plain; charset=utf-8",
	}
	root, err := fs.Sub(webFiles, "web")
	if err == nil {
		err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := fs.ReadFile(root, name)
			sum := sha256.Sum256(content)
			all[name] = asset{content, types[path.Ext(name)], `"` + hex.EncodeToString(sum[:16]) + `"`}
			return err
		})
	}
	if err != nil {
		panic("serve: the page that is built in cannot be read: " + err.Error())
	}
	return all
}()

// policy lets the page load what this server serves and nothing else. uPlot places its elements by script, which a policy
// for styles does not concern.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

func (s *Server) index(w http.ResponseWriter, r *http.Request) { serveAsset(w, r, "index.html") }

func (s *Server) file(w http.ResponseWriter, r *http.Request) { serveAsset(w, r, r.PathValue("name")) }

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	a, ok := assets[name]
	if !ok {
		writeError(w, http.StatusNotFound, "the page has no such file")
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("ETag", a.tag)
	header.Set("Cache-Control", "no-cache") // asked for anew each time, so that no page stays behind its server
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.content))
}
