// Package whiptest is a WHIP server (RFC 9725) for tests. It insists on every
// rule that a client must keep, and can be given the quirks of servers that
// are in use. It receives H.264 by pion and tells which pictures came.
package whiptest

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Rules is how a server behaves. The zero Rules are those of the RFC.
type Rules struct {
	Token string // that every request must carry, empty for none

	// Redirects are the statuses with which the first POSTs are sent on, to
	// a path of another depth. RedirectHost names another host for them.
	Redirects    []int
	RedirectHost string

	// Refusals answer the first POSTs, after the redirects.
	Refusals []Refusal

	NoLocation bool
	Location   string // of the session with %s for its id, default "/session/%s"
	ETag       string // default quoted and new for each; "none" for no header
	Links      []string
	LinkFirst  bool // tell the links in OPTIONS, and in 201 not

	PatchStatus  int    // answer to every PATCH, 0 for the right one
	RestartMatch string // If-Match that a restart must have, default `"*"`
	DeleteStatus int    // default 200

	// Deaf drops the candidates of the offer, so that only those that are
	// trickled count.
	Deaf bool

	// Settings changes the server's end of the connection.
	Settings func(*webrtc.SettingEngine)
}

// Refusal is an answer of a server that says no.
type Refusal struct {
	Status     int
	RetryAfter string
	Type, Body string
}

// Picture is one that came whole.
type Picture struct {
	At        time.Time
	Session   int // counted from 1
	Key       bool
	Timestamp uint32 // of RTP
}

// Request is one that was made.
type Request struct {
	At           time.Time
	Method, Path string
	IfMatch      string
	Body         string
	Status       int // answered
}

// Server is the handler.
type Server struct {
	rules Rules
	fault func(format string, args ...any)

	mu        sync.Mutex
	posts     int
	made      int
	sessions  map[string]*session // by id
	pictures  []Picture
	requests  []Request
	onPicture func(Picture)
	ended     sync.WaitGroup
}

// New makes a server. fault is called with every breach of a rule.
func New(rules Rules, fault func(format string, args ...any)) *Server {
	return &Server{rules: rules, fault: fault, sessions: make(map[string]*session)}
}

// OnPicture sets what is called for every picture.
func (s *Server) OnPicture(f func(Picture)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPicture = f
}

// Pictures returns those that came so far.
func (s *Server) Pictures() []Picture {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Picture(nil), s.pictures...)
}

// Requests returns those that were made so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Count returns how many requests had the method and the status.
func (s *Server) Count(method string, status int) int {
	n := 0
	for _, r := range s.Requests() {
		if r.Method == method && r.Status == status {
			n++
		}
	}
	return n
}

// Sessions returns how many are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Forget makes the server forget its sessions, as one that was started again.
// Their connections are closed without telling the client by HTTP.
func (s *Server) Forget() {
	s.mu.Lock()
	old := s.sessions
	s.sessions = make(map[string]*session)
	s.mu.Unlock()
	for _, sess := range old {
		sess.close()
	}
}

// Close ends all sessions and waits until nothing is left of them.
func (s *Server) Close() {
	s.Forget()
	s.ended.Wait()
}

func (s *Server) arrived(p Picture) {
	s.mu.Lock()
	s.pictures = append(s.pictures, p)
	f := s.onPicture
	s.mu.Unlock()
	if f != nil {
		f(p)
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func location(pattern, id string) string {
	if pattern == "" {
		pattern = "/session/%s"
	}
	return fmt.Sprintf(pattern, id)
}
