// Package web is the HTTP server of the agent: the viewer page, the WHEP
// endpoint, status, metrics and health.
//
// # Addresses
//
//	GET  /              the viewer page, /#name links to one camera
//	     /whep/{camera} and the session addresses below it: Params.WHEP
//	     /recordings/…  and /api/recordings, /api/recorder/…: Params.Recordings
//	     /api/offload   and below: Params.Offload
//	GET  /push/…        what receivers of pushes need to know: Params.Pushes
//	GET  /api/status    what Params.Status returns, as JSON
//	GET  /metrics       Prometheus text exposition
//	GET  /healthz       200 "ok" or 503, the only one that never asks who you are
//	GET  /recordings    the page that lists the recordings
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
// Nothing over HTTP runs a command or writes a file; recordings may be started,
// stopped and deleted.
package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/netutil"
)

// TLSMode says how the server encrypts.
type TLSMode string

// The modes. The zero value is TLSOff.
const (
	TLSOff        TLSMode = "off"
	TLSSelfSigned TLSMode = "self-signed" // a certificate of its own making
	TLSFiles      TLSMode = "files"       // Params.CertFile and Params.KeyFile
)

// Params is all that a Server needs. WHEP, Recordings, Offload, Pushes, Status, Metrics,
// Health and Log are required, the rest may be zero.
type Params struct {
	// Listen is the TCP address, "host:port". An empty host means all
	// addresses, port 0 a free one.
	Listen string

	// Password lets people in, Token lets tools in; either is enough. With
	// both empty nobody is asked, and only loopback host names are answered.
	Password, Token string

	// TLS says how to encrypt. The files are read again when they change.
	TLS               TLSMode
	CertFile, KeyFile string

	// StateDir is the folder where the self-signed certificate is kept, so
	// that browsers that accepted it need not do so again. Empty keeps it
	// in memory.
	StateDir string

	// WHEP answers /whep/… (transport/webrtc.Server). Requests reach it
	// authenticated, from an allowed origin and within the rate limits; only
	// OPTIONS, which browsers send without credentials, is not authenticated.
	WHEP http.Handler

	// Recordings answers what is below /recordings/, /api/recordings and
	// /api/recorder/ (agent/recording/gallery), guarded like WHEP.
	Recordings http.Handler

	// Offload answers /api/offload and what is below it.
	Offload http.Handler

	// Pushes answers GET of what is below /push/, guarded like WHEP.
	Pushes http.Handler

	// Status returns what /api/status shows, a value for encoding/json.
	Status func() any

	// Metrics writes the Prometheus text exposition (version 0.0.4).
	Metrics func(io.Writer)

	// Health returns why the agent does not do its work, nil when it does.
	Health func() error

	Log *slog.Logger
}

// Limits of one server.
const (
	maxConnections = 512
	maxHeaderBytes = 16 << 10
	maxBodyBytes   = 64 << 10 // an SDP offer has about 5 KB

	headerTimeout = 5 * time.Second
	readTimeout   = 15 * time.Second
	writeTimeout  = 15 * time.Second
	idleTimeout   = 60 * time.Second

	// graceTimeout is how long running requests may take after Run was
	// told to end, below the 2 s in which the whole agent ends.
	graceTimeout = time.Second
)

// Server is the HTTP server. New opens its listener, Run serves until its
// context ends.
type Server struct {
	p        Params
	listener net.Listener
	secure   bool // TLS
	http     *http.Server
}

// New checks the parameters, reads or makes the certificate and listens. The
// caller must call Run, which closes the listener.
func New(p Params) (*Server, error) {
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	auth, err := newAuth(p.Password, p.Token)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := newTLSConfig(p)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", p.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for viewers: %w", err)
	}
	s := &Server{p: p, listener: netutil.LimitListener(listener, maxConnections), secure: tlsConfig != nil}
	auth.cookie.name = fmt.Sprintf("lenscast_%d", s.port())
	auth.cookie.secure = s.secure
	s.http = &http.Server{
		Handler:           s.handler(pages, auth),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// What it reports are broken clients and refused certificates.
		ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// URL returns the address for people to open: "http://localhost:8080".
func (s *Server) URL() string {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	ip := s.listener.Addr().(*net.TCPAddr).IP
	host := ip.String()
	if ip.IsUnspecified() || ip.Equal(net.IPv4(127, 0, 0, 1)) || ip.Equal(net.IPv6loopback) {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(s.port()))
}

func (s *Server) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Run serves until ctx ends, then lets running requests end for at most 1 s.
// It returns nil when ctx ended it.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if s.secure {
			served <- s.http.ServeTLS(s.listener, "", "")
		} else {
			served <- s.http.Serve(s.listener)
		}
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve viewers: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTimeout)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		s.http.Close() //nolint:errcheck // those that took too long are cut off
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve viewers: %w", err)
	}
	return nil
}
