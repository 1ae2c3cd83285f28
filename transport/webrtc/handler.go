package webrtc

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

const (
	// maxBody bounds a request's body: browsers send some 5 KB.
	maxBody = 64 << 10

	sdpType      = "application/sdp"
	fragmentType = "application/trickle-ice-sdpfrag"

	// retryAfter, in seconds, goes with 409 and 503.
	retryAfter = "2"

	// deleteTimeout is how long DELETE waits for the session to end, which it
	// does by itself.
	deleteTimeout = time.Second
)

// ServeHTTP serves /whep/{camera} and the session URLs below it. Errors are
// answered as problem+json (RFC 9457). Before Run and after it, the answer is
// 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.isRunning() {
		w.Header().Set("Retry-After", retryAfter)
		problemNotRunning.write(w)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// The methods of the two resources, as OPTIONS and 405 tell them. Clients look
// for PATCH and DELETE in the endpoint's answer already.
const (
	endpointMethods = "OPTIONS, GET, HEAD, POST"
	sessionMethods  = "OPTIONS, GET, HEAD, PATCH, DELETE"
	allMethods      = "OPTIONS, GET, HEAD, POST, PATCH, DELETE"
)

func (s *Server) routes() *http.ServeMux {
	const endpoint, session = "/whep/{camera}", "/whep/{camera}/{session}"
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+endpoint, s.post)
	mux.HandleFunc("GET "+endpoint, s.get) // and HEAD
	mux.HandleFunc("OPTIONS "+endpoint, s.options)
	mux.HandleFunc(endpoint, notAllowed(endpointMethods))
	mux.HandleFunc("PATCH "+session, s.patch)
	mux.HandleFunc("DELETE "+session, s.delete)
	mux.HandleFunc("GET "+session, s.getSession)
	mux.HandleFunc("OPTIONS "+session, s.options)
	mux.HandleFunc(session, notAllowed(sessionMethods))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { problemNotFound.write(w) })
	return mux
}

// post makes a session.
func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	camera := r.PathValue("camera")
	feed, err := s.params.Camera(camera)
	switch {
	case errors.Is(err, ErrUnknownCamera):
		problemUnknownCamera.write(w)
		return
	case err != nil:
		w.Header().Set("Retry-After", retryAfter)
		problemNotLive.because(err).write(w)
		return
	}
	body, problem := readBody(w, r, sdpType)
	if problem != nil {
		problem.write(w)
		return
	}
	o, err := parseOffer(body, feed.Profile)
	if err != nil {
		offerProblem(err).write(w)
		return
	}
	sess, err := s.open(r.Context(), camera, feed, o)
	switch {
	case errors.Is(err, errFull):
		w.Header().Set("Retry-After", retryAfter)
		problemFull.write(w)
		return
	case errors.Is(err, errNotRunning):
		w.Header().Set("Retry-After", retryAfter)
		problemNotRunning.write(w)
		return
	case err != nil:
		offerProblem(err).write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", sdpType)
	h.Set("Location", path.Join(r.URL.EscapedPath(), sess.secret))
	h.Set("ETag", sess.etag)
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch")
	h.Set("Accept-Patch", fragmentType)
	for _, link := range s.links {
		h.Add("Link", link)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, sess.answer.sdp) // without it the session times out
}

// get tells that a camera can be asked for an offer's answer.
func (s *Server) get(w http.ResponseWriter, r *http.Request) {
	if _, err := s.params.Camera(r.PathValue("camera")); errors.Is(err, ErrUnknownCamera) {
		problemUnknownCamera.write(w)
		return
	}
	w.Header().Set("Content-Type", sdpType)
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
	}
}

// getSession tells that a session lives.
func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	if s.session(w, r) != nil {
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) options(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Accept-Post", sdpType)
	h.Set("Accept-Patch", fragmentType)
	h.Set("Access-Control-Allow-Methods", allMethods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch")
	for _, link := range s.links {
		h.Add("Link", link)
	}
}

// patch takes trickled candidates or restarts ICE.
func (s *Server) patch(w http.ResponseWriter, r *http.Request) {
	sess := s.session(w, r)
	if sess == nil {
		return
	}
	body, problem := readBody(w, r, fragmentType)
	if problem != nil {
		problem.write(w)
		return
	}
	f, err := parseFragment(body)
	if err != nil {
		problemBadSDP.because(err).write(w)
		return
	}
	answer, etag, err := sess.patch(r.Context(), r.Header.Get("If-Match"), f)
	switch {
	case errors.Is(err, errNoMatch):
		problemPrecondition.write(w)
	case errors.Is(err, errStaleMatch), errors.Is(err, errWrongSession):
		problemStale.because(err).write(w)
	case err != nil:
		problemRestart.because(err).write(w)
	case answer == "":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", fragmentType)
		w.Header().Set("ETag", etag)
		w.Header().Set("Access-Control-Expose-Headers", "ETag")
		_, _ = io.WriteString(w, answer)
	}
}

// delete ends a session.
func (s *Server) delete(w http.ResponseWriter, r *http.Request) {
	sess := s.session(w, r)
	if sess == nil {
		return
	}
	s.forget(sess.secret)
	sess.end(errDeleted)
	wait(sess.done, deleteTimeout)
}

// session finds the session of a request; without one it answers 404.
func (s *Server) session(w http.ResponseWriter, r *http.Request) *session {
	sess := s.lookup(r.PathValue("camera"), r.PathValue("session"))
	if sess == nil {
		problemUnknownSession.write(w)
	}
	return sess
}

func notAllowed(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", methods)
		problemMethod.write(w)
	}
}

// readBody reads a body of the given media type.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string) (string, *problem) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != mediaType {
		p := problemMediaType.because(fmt.Errorf("send %s", mediaType))
		return "", &p
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", &problemTooLarge
	case err != nil:
		p := problemBadSDP.because(fmt.Errorf("read body: %w", err))
		return "", &p
	}
	return string(body), nil
}

// offerProblem tells what is wrong with an offer.
func offerProblem(err error) problem {
	var syntax *syntaxError
	switch {
	case errors.Is(err, errNoH264):
		return problemNoH264.because(err)
	case errors.As(err, &syntax):
		return problemBadSDP.because(err)
	}
	return problemBadOffer.because(err)
}

// linkHeader tells a browser of an ICE server (RFC 9725 section 4.6).
func linkHeader(server ICEServer) string {
	link := fmt.Sprintf("<%s>; rel=\"ice-server\"", server.URL)
	if server.Username != "" {
		link += fmt.Sprintf("; username=%s; credential=%s; credential-type=\"password\"",
			quote(server.Username), quote(server.Credential))
	}
	return link
}

// quote writes a quoted-string (RFC 9110 section 5.6.4).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
