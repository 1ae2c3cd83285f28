// Package gallery lists, plays, hands out and deletes recordings over HTTP,
// and starts and stops them.
//
//	GET    /api/recordings             all, newest first; ?camera=NAME and
//	                                   ?day=2026-11-22 (UTC) choose
//	GET    /recordings/{id}.mp4        to play and to seek in, by Range
//	GET    /recordings/{id}.mp4?file   the file as it is on the disk
//	GET    /recordings/{id}.mp4?still  the first picture, as a video of one
//	DELETE /recordings/{id}.mp4
//	POST   /api/recorder/{camera}/start
//	POST   /api/recorder/{camera}/stop
//
// Who may ask is the business of the server that mounts it.
package gallery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/web/answer"
)

// stall is how long a client may take nothing of a recording before it is
// given up. A slow one may take as long as it likes.
const stall = 30 * time.Second

// Switch starts and stops the recording of a camera.
type Switch interface {
	Start()
	Stop()
}

// Params is what a gallery shows.
type Params struct {
	Archive *archive.Archive
	// Switch finds the recorder of a camera, nil when there is none.
	Switch func(camera string) Switch
}

// New returns the handler of all the addresses above.
func New(p Params) http.Handler {
	g := &gallery{p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/recordings", g.list)
	mux.HandleFunc("GET /recordings/{id...}", g.media)
	mux.HandleFunc("DELETE /recordings/{id...}", g.remove)
	mux.HandleFunc("POST /api/recorder/{camera}/start", g.turn(Switch.Start))
	mux.HandleFunc("POST /api/recorder/{camera}/stop", g.turn(Switch.Stop))
	return mux
}

type gallery struct{ p Params }

// listing is the answer of /api/recordings.
type listing struct {
	Archive    archive.Status `json:"archive"`
	Recordings []archive.Info `json:"recordings"`
}

func (g *gallery) list(w http.ResponseWriter, r *http.Request) {
	camera, day := r.FormValue("camera"), r.FormValue("day")
	all := g.p.Archive.List()
	chosen := slices.DeleteFunc(all, func(i archive.Info) bool {
		return camera != "" && i.Camera != camera || day != "" && i.Start.Wall.UTC().Format(time.DateOnly) != day
	})
	slices.Reverse(chosen)
	answer.JSON(w, http.StatusOK, listing{g.p.Archive.Status(), chosen})
}

func (g *gallery) media(w http.ResponseWriter, r *http.Request) {
	m, err := g.p.Archive.Media(id(r))
	if err != nil {
		problem(w, err)
		return
	}
	defer m.Close() //nolint:errcheck // it was only read
	var content io.ReadSeeker
	query := r.URL.Query()
	kind := "player"
	switch {
	case query.Has("file"):
		kind, content = "file", m.File()
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(m.Info.ID)+".mp4"))
	case query.Has("still"):
		var still []byte
		kind = "still"
		still, err = m.Still()
		content = bytes.NewReader(still)
	default:
		content, err = m.Player()
	}
	if err != nil {
		problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "video/mp4")
	// A recording never changes.
	w.Header().Set("ETag", fmt.Sprintf(`"%s-%s"`, m.Info.SHA256, kind))
	w.Header().Set("Cache-Control", "private, no-cache")
	http.ServeContent(patient{w, http.NewResponseController(w)}, r, "", time.Time{}, content)
}

// patient lets a download take longer than a server lets an answer take, for
// as long as it goes on.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (p patient) Write(b []byte) (int, error) {
	// A writer without deadlines has none to move.
	if err := p.control.SetWriteDeadline(time.Now().Add(stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

func (g *gallery) remove(w http.ResponseWriter, r *http.Request) {
	if err := g.p.Archive.Delete(id(r), "deleted by hand"); err != nil {
		problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (g *gallery) turn(how func(Switch)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		camera := r.PathValue("camera")
		s := g.p.Switch(camera)
		if s == nil {
			problem(w, fmt.Errorf("camera %q: %w", camera, archive.ErrNotFound))
			return
		}
		how(s)
		w.WriteHeader(http.StatusNoContent)
	}
}

// id returns the recording that a request is about; what is no ID is none
// that exists.
func id(r *http.Request) string { return strings.TrimSuffix(r.PathValue("id"), ".mp4") }

// problem answers what went wrong.
func problem(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, archive.ErrNotFound) {
		status = http.StatusNotFound
	}
	answer.Problem(w, status, err.Error())
}
