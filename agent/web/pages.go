package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/lenscast/lenscast/agent/web/answer"
)

// page holds the templates, and below assets what is served as it is.
//
//go:embed page/*.html page/assets
var page embed.FS

// pages serves what is embedded.
type pages struct {
	templates *template.Template
	assets    http.Handler
}

func newPages() (*pages, error) {
	templates, err := template.ParseFS(page, "page/*.html")
	if err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	assets, err := newAssets(page)
	if err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	return &pages{templates: templates, assets: assets}, nil
}

// viewer serves the viewer page, with a way to sign out if there is one.
func (p *pages) viewer(canSignOut bool) http.Handler {
	return p.render("index.html", http.StatusOK, struct{ CanSignOut bool }{canSignOut})
}

// recordings serves the page that lists the recordings.
func (p *pages) recordings(canSignOut bool) http.Handler {
	return p.render("recordings.html", http.StatusOK, struct{ CanSignOut bool }{canSignOut})
}

// login serves the login page with a message over the form.
func (p *pages) login(status int, message string) http.Handler {
	return p.render("login.html", status, struct{ Message string }{message})
}

// render serves a template that is the same for everybody.
func (p *pages) render(name string, status int, data any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		if err := p.templates.ExecuteTemplate(&body, name, data); err != nil {
			answer.Problem(w, http.StatusInternalServerError, "the page could not be made: "+err.Error())
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store") // it depends on who asks
		w.WriteHeader(status)
		w.Write(body.Bytes()) //nolint:errcheck // nobody is left to tell
	})
}

// asset is one embedded file.
type asset struct {
	body []byte
	mime string
	etag string
}

// assets serves embedded files. Browsers keep them, but ask each time whether
// they are still the same: an update of the agent shows at once. They hold no
// secret, and the login page needs some, so they are open to everybody.
type assets map[string]asset // by URL path

// mimeTypes are those of the files we have: the system's table is not to be
// relied on, and scripts must have the right one.
var mimeTypes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

func newAssets(files fs.FS) (assets, error) {
	all := make(assets)
	err := fs.WalkDir(files, "page/assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		kind, ok := mimeTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s: no media type known", name)
		}
		sum := sha256.Sum256(body)
		etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		all[name[len("page"):]] = asset{body, kind, etag}
		return nil
	})
	return all, err
}

func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := a[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", found.mime)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", found.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.body))
}
