package whiptest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// ServeHTTP takes POST on any path, and PATCH and DELETE on those of sessions.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	answer := &statusWriter{w, http.StatusOK}
	at := time.Now()
	s.serve(answer, r, string(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{at, r.Method, r.URL.RequestURI(), r.Header.Get("If-Match"), string(body), answer.status})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, body string) {
	if want := s.rules.Token; want != "" && r.Header.Get("Authorization") != "Bearer "+want {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.rules.Token == "" && r.Header.Get("Authorization") != "" {
		s.fault("%s with Authorization, though there is no token", r.Method)
	}
	switch r.Method {
	case http.MethodPost:
		s.post(w, r, body)
	case http.MethodOptions:
		if s.rules.LinkFirst {
			s.link(w)
		}
		w.Header().Set("Accept-Post", "application/sdp")
	case http.MethodPatch:
		s.patch(w, r, body)
	case http.MethodDelete:
		s.delete(w, r)
	default:
		s.fault("request with method %s", r.Method)
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *Server) link(w http.ResponseWriter) {
	for _, l := range s.rules.Links {
		w.Header().Add("Link", l)
	}
}

func (s *Server) post(w http.ResponseWriter, r *http.Request, body string) {
	// As text, like servers that compare it so.
	if ct := r.Header.Get("Content-Type"); ct != "application/sdp" {
		s.fault("POST with Content-Type %q", ct)
		w.WriteHeader(http.StatusUnsupportedMediaType)
		return
	}
	s.mu.Lock()
	n := s.posts
	s.posts++
	s.mu.Unlock()
	if n < len(s.rules.Redirects) {
		to := fmt.Sprintf("/moved/%d/here?n=%[1]d", n+1)
		if s.rules.RedirectHost != "" {
			to = s.rules.RedirectHost + to
		}
		w.Header().Set("Location", to)
		w.WriteHeader(s.rules.Redirects[n])
		return
	}
	if n -= len(s.rules.Redirects); n < len(s.rules.Refusals) {
		refusal := s.rules.Refusals[n]
		if refusal.RetryAfter != "" {
			w.Header().Set("Retry-After", refusal.RetryAfter)
		}
		if refusal.Type != "" {
			w.Header().Set("Content-Type", refusal.Type)
		}
		w.WriteHeader(refusal.Status)
		_, _ = io.WriteString(w, refusal.Body)
		return
	}
	s.checkOffer(body)
	sess, answer, err := s.newSession(body)
	if err != nil {
		s.fault("offer can't be answered: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	if !s.rules.NoLocation {
		w.Header().Set("Location", location(s.rules.Location, sess.id))
	}
	if sess.etag != "" {
		w.Header().Set("ETag", sess.etag)
	}
	if !s.rules.LinkFirst {
		s.link(w)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

// checkOffer holds an offer against RFC 9725 section 4.2.
func (s *Server) checkOffer(offer string) {
	lines := strings.Split(strings.TrimSpace(offer), "\r\n")
	count := func(prefix string) (n int) {
		for _, l := range lines {
			if strings.HasPrefix(l, prefix) {
				n++
			}
		}
		return n
	}
	for _, want := range []string{
		"a=sendonly", "a=setup:actpass", "a=group:BUNDLE", "a=rtcp-mux-only", "a=rtcp-mux", "m=video", "a=ice-ufrag:",
		"a=ice-options:", "a=fingerprint:sha-256", "a=mid:",
	} {
		if count(want) == 0 {
			s.fault("offer without %s", want)
		}
	}
	if n := count("m="); n != 1 {
		s.fault("offer has %d media sections", n)
	}
	if n := count("a=msid:"); n != 1 {
		s.fault("offer has %d msid", n)
	}
	for _, l := range lines {
		if f := strings.Fields(l); strings.HasPrefix(l, "a=candidate:") && f[1] != "1" {
			s.fault("offer has a candidate of component %s", f[1])
		}
	}
	if !slices.Contains(lines, "a=rtcp-mux") {
		s.fault("offer without rtcp-mux")
	}
}

func (s *Server) lookup(w http.ResponseWriter, r *http.Request) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, sess := range s.sessions {
		if r.URL.RequestURI() == location(s.rules.Location, id) {
			return sess
		}
	}
	w.WriteHeader(http.StatusNotFound)
	return nil
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request, body string) {
	sess := s.lookup(w, r)
	if sess == nil {
		return
	}
	if s.rules.PatchStatus != 0 {
		w.WriteHeader(s.rules.PatchStatus)
		return
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/trickle-ice-sdpfrag" {
		s.fault("PATCH with Content-Type %q", ct)
	}
	ufrag, pwd, candidates := parseFragment(body)
	if ufrag == "" || pwd == "" {
		s.fault("PATCH without credentials:\n%s", body)
	}
	sess.mu.Lock()
	defer sess.mu.Unlock()
	match, restart := r.Header.Get("If-Match"), ufrag != sess.ufrag
	switch {
	case match == "" && sess.etag != "":
		w.WriteHeader(http.StatusPreconditionRequired)
	case restart && match != s.restartMatch():
		w.WriteHeader(http.StatusPreconditionFailed)
	case !restart && match != sess.etag:
		w.WriteHeader(http.StatusPreconditionFailed)
	case restart:
		s.restart(w, sess, ufrag, pwd, candidates)
	default:
		if sess.trickled++; sess.trickled > 1 {
			s.fault("%d PATCHes trickle, want one", sess.trickled)
		}
		if !strings.Contains(body, "a=end-of-candidates") {
			s.fault("the PATCH does not end the candidates:\n%s", body)
		}
		if err := sess.add(candidates); err != nil {
			s.fault("trickled candidates: %v", err)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) restartMatch() string {
	if s.rules.RestartMatch != "" {
		return s.rules.RestartMatch
	}
	return `"*"`
}

func (s *Server) restart(w http.ResponseWriter, sess *session, ufrag, pwd string, candidates []string) {
	fragment, err := sess.restart(ufrag, pwd, candidates)
	if err != nil {
		s.fault("restart ICE: %v", err)
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	sess.etag = s.newETag()
	w.Header().Set("Content-Type", "application/trickle-ice-sdpfrag")
	if sess.etag != "" {
		w.Header().Set("ETag", sess.etag)
	}
	_, _ = io.WriteString(w, fragment)
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	sess := s.lookup(w, r)
	if sess == nil {
		return
	}
	s.mu.Lock()
	delete(s.sessions, sess.id)
	s.mu.Unlock()
	sess.close()
	if s.rules.DeleteStatus != 0 {
		w.WriteHeader(s.rules.DeleteStatus)
	}
}

func parseFragment(body string) (ufrag, pwd string, candidates []string) {
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "a=ice-ufrag":
			ufrag = value
		case "a=ice-pwd":
			pwd = value
		case "a=candidate":
			candidates = append(candidates, value)
		}
	}
	return ufrag, pwd, candidates
}
