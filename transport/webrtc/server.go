package webrtc

import (
	"context"
	"net/http"
)

// Server is a WHEP server. All its methods are safe for concurrent use.
type Server struct{}

// NewServer checks the parameters. It opens nothing: Run does.
func NewServer(p ServerParams) (*Server, error) { return &Server{}, nil }

// Run opens the ports and serves until ctx ends. Before it returns it closes
// all sessions, telling the browsers so, in less than 2 s.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// ServeHTTP serves /whep/{camera} and the session URLs below it. Errors are
// answered as problem+json (RFC 9457). Before Run and after it, the answer is
// 503.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "not running", http.StatusServiceUnavailable)
}

// Sessions returns the status of all sessions, the oldest first.
func (s *Server) Sessions() []SessionStatus { return nil }
