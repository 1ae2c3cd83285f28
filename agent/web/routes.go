package web

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/lenscast/lenscast/agent/web/answer"
)

// handler mounts everything. From the outside in: what every answer carries,
// which host names are ours, how big and how often requests may be, and then
// per address who may ask.
func (s *Server) handler(pages *pages, auth *auth) http.Handler {
	private := auth.require

	mux := http.NewServeMux()
	mux.Handle("GET /{$}", auth.page(pages.viewer(auth.needed())))
	mux.Handle("GET /recordings", auth.page(pages.recordings(auth.needed())))
	mux.Handle("GET /assets/", pages.assets)
	mux.Handle("GET /login", pages.login(http.StatusOK, ""))
	mux.Handle("POST /login", sameOrigin(auth.signIn(pages)))
	mux.Handle("POST /logout", sameOrigin(http.HandlerFunc(auth.signOut)))
	mux.Handle("GET /healthz", s.health(auth))
	mux.Handle("GET /metrics", private(http.HandlerFunc(s.metrics)))
	mux.Handle("GET /api/status", private(http.HandlerFunc(s.status)))
	mux.Handle("/whep/", private(s.p.WHEP))
	mux.Handle("OPTIONS /whep/", s.p.WHEP)
	mux.Handle("/recordings/", private(s.p.Recordings))
	mux.Handle("/api/recordings", private(s.p.Recordings))
	mux.Handle("/api/recorder/", private(s.p.Recordings))
	mux.Handle("GET /push/", private(s.p.Pushes))
	mux.Handle("/api/offload", private(s.p.Offload))
	mux.Handle("/api/offload/", private(s.p.Offload))

	var h http.Handler = mux
	h = http.MaxBytesHandler(h, maxBodyBytes)
	h = limitUnsafe(h)
	if !auth.needed() {
		h = loopbackHost(h)
	}
	return secureHeaders(h)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	answer.JSON(w, http.StatusOK, s.p.Status())
}

func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	s.p.Metrics(w)
}

// health says only to those who may know why the agent is not well.
func (s *Server) health(auth *auth) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		err := s.p.Health()
		switch {
		case err == nil:
			fmt.Fprintln(w, "ok")
			return
		case auth.admit(r) != admitted:
			err = errUnwell
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
	})
}

// retryAfter sets when to come again, in whole seconds, at least 1.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	seconds := max(1, int(math.Ceil(d.Seconds())))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}
