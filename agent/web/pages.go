package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// page holds the pages, with {{marks}} that are filled in, and below assets what
// is served as it is. html/template would be at home here, but a program with it
// keeps every exported method there is, which is 2 MB more for three marks.
//
//go:embed page/*.html page/assets
var page embed.FS

const signOutForm = `<form action="logout" method="post"><button type="submit" class="quiet">Sign out</button></form>`

// pages serves what is embedded.
type pages struct {
	index, list, form string // with marks
	assets            http.Handler
}

func newPages() (*pages, error) {
	p := &pages{}
	for name, text := range map[string]*string{"index.html": &p.index, "recordings.html": &p.list, "login.html": &p.form} {
		raw, err := page.ReadFile("page/" + name)
		if err != nil {
			return nil, fmt.Errorf("read the embedded page: %w", err)
		}
		*text = string(raw)
	}
	var err error
	if p.assets, err = newAssets(page); err != nil {
		return nil, fmt.Errorf("read the embedded page: %w", err)
	}
	return p, nil
}

// viewer serves the viewer page, with a way to sign out if there is one.
func (p *pages) viewer(canSignOut bool) http.Handler { return signedIn(p.index, canSignOut) }

// recordings serves the page that lists the recordings.
func (p *pages) recordings(canSignOut bool) http.Handler { return signedIn(p.list, canSignOut) }

func signedIn(text string, canSignOut bool) http.Handler {
	form := ""
	if canSignOut {
		form = signOutForm
	}
	return render(strings.ReplaceAll(text, "{{sign-out}}", form), http.StatusOK)
}

// login serves the login page with a message over the form.
func (p *pages) login(status int, message string) http.Handler {
	paragraph, invalid := "", ""
	if message != "" {
		paragraph = `<p id="message" role="alert">` + html.EscapeString(message) + `</p>`
		invalid = ` aria-invalid="true" aria-describedby="message"`
	}
	return render(strings.NewReplacer("{{message}}", paragraph, "{{invalid}}", invalid).Replace(p.form), status)
}

// render serves a page that is the same for everybody.
func render(text string, status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store") // it depends on who asks
		w.WriteHeader(status)
		io.WriteString(w, text) //nolint:errcheck // nobody is left to tell
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
