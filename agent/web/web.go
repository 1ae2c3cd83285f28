// Package web is the HTTP server of the agent: the viewer page, the WHEP
// endpoint, status, metrics and health.
//
// # Addresses
//
//	GET  /              the viewer page, /#name links to one camera
//	     /whep/{camera} and the session addresses below it: Params.WHEP
//	GET  /api/status    what Params.Status returns, as JSON
//	GET  /metrics       Prometheus text exposition
//	GET  /healthz       200 "ok" or 503, the only one that never asks who you are
//	GET  /login         the form; POST signs in, POST /logout signs out
//	GET  /assets/…      scripts and styles of the page
//
// # Who may do what
//
// Without a password and a token everybody who reaches the server may watch;
// the configuration allows that on loopback only. There the server answers
// only to loopback host names, so that a page of the internet that rebinds its
// DNS name to 127.0.0.1 gets nothing.
//
// With a password a browser signs in once and gets a signed cookie for 30
// days, which ends with the password. Tools send the token or the password as
// "Authorization: Bearer" (RFC 9725 section 4.9), or as the password of Basic.
// Guesses are limited per address. A request that changes something must come
// from the server's own page, unless it carries a bearer token, which a
// browser never adds by itself.
//
// Nothing over HTTP runs a command or writes a file.
package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
)

// TLSMode says how the server encrypts.
type TLSMode string

// The modes. The zero value is TLSOff.
const (
	TLSOff        TLSMode = "off"
	TLSSelfSigned TLSMode = "self-signed" // a certificate of its own making
	TLSFiles      TLSMode = "files"       // Params.CertFile and Params.KeyFile
)

// Params is all that a Server needs. WHEP, Status, Metrics, Health and Log
// are required, the rest may be zero.
type Params struct {
	// Listen is the TCP address, "host:port". An empty host means all
	// addresses, port 0 a free one.
	Listen string

	// Password lets people in, Token lets tools in; either is enough. With
	// both empty nobody is asked.
	Password, Token string

	// TLS says how to encrypt. The files are read again when they change.
	TLS               TLSMode
	CertFile, KeyFile string

	// StateDir is the folder where the self-signed certificate is kept, so
	// that browsers that accepted it need not do so again. Empty keeps it
	// in memory.
	StateDir string

	// WHEP answers /whep/… (transport/webrtc.Server). Requests reach it
	// authenticated, from an allowed origin, and within the rate limits;
	// OPTIONS and HEAD reach it always.
	WHEP http.Handler

	// Status returns what /api/status shows, a value for encoding/json.
	Status func() any

	// Metrics writes the Prometheus text exposition (version 0.0.4).
	Metrics func(io.Writer)

	// Health returns why the agent does not do its work, nil when it does.
	Health func() error

	Log *slog.Logger
}

// Server is the HTTP server. New opens its listener, Run serves until its
// context ends.
type Server struct{}

// New checks the parameters, reads or makes the certificate and listens. The
// caller must call Run, which closes the listener.
func New(p Params) (*Server, error) {
	return nil, errors.ErrUnsupported
}

// URL returns the address for people to open: "http://localhost:8080".
func (s *Server) URL() string { return "" }

// Run serves until ctx ends, then lets running requests end for at most 2 s.
// It returns nil when ctx ended it.
func (s *Server) Run(ctx context.Context) error { return errors.ErrUnsupported }
