package web

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
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
	body, err := json.Marshal(s.p.Status())
	if err != nil {
		problem(w, http.StatusInternalServerError, "the status could not be written: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(body, '\n')) //nolint:errcheck // nobody is left to tell
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

// problem answers with problem details (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	body, _ := json.Marshal(map[string]any{ // strings and a number: it can't fail
		"title": http.StatusText(status), "status": status, "detail": detail,
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) //nolint:errcheck // nobody is left to tell
}

// retryAfter sets when to come again, in whole seconds, at least 1.
func retryAfter(w http.ResponseWriter, d time.Duration) {
	seconds := max(1, int(math.Ceil(d.Seconds())))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}
