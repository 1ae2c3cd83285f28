package webrtc

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/transport/packet"
)

const (
	defaultMaxSessions = 100

	// closeTimeout and closeGrace bound the end of Run, before and after the
	// sockets are closed.
	closeTimeout = 1500 * time.Millisecond
	closeGrace   = 300 * time.Millisecond
)

// Why no session could be made, apart from what is wrong with the offer.
var (
	errFull       = errors.New("too many viewers")
	errNotRunning = errors.New("not running")
)

// Server is a WHEP server. All its methods are safe for concurrent use.
type Server struct {
	params        ServerParams
	log           *slog.Logger
	configuration webrtc.Configuration
	links         []string // Link headers of the ICE servers
	mux           *http.ServeMux
	pacing        packet.Clock

	mu       sync.Mutex
	running  context.Context // of the sessions; nil before Open and after Run
	end      context.CancelCauseFunc
	ports    *ports
	sessions map[string]*session // by secret
	reserved int                 // sessions, and those being made
	cameras  map[string]*sharedPacketizer
	ended    sync.WaitGroup
}

// sharedPacketizer is the packetizer of a camera that has viewers.
type sharedPacketizer struct {
	*packet.Packetizer
	users int
}

// NewServer checks the parameters. It opens nothing: Open does, or Run.
func NewServer(p ServerParams) (*Server, error) {
	if p.Camera == nil {
		return nil, errors.New("make WHEP server: no camera lookup")
	}
	s := &Server{
		params: p, log: cmp.Or(p.Log, slog.New(slog.DiscardHandler)),
		sessions: make(map[string]*session), cameras: make(map[string]*sharedPacketizer),
	}
	s.params.MaxSessions = cmp.Or(p.MaxSessions, defaultMaxSessions)
	for _, server := range p.ICEServers {
		if _, err := stun.ParseURI(server.URL); err != nil {
			return nil, fmt.Errorf("ICE server %q: %w", server.URL, err)
		}
		s.configuration.ICEServers = append(s.configuration.ICEServers, webrtc.ICEServer{
			URLs: []string{server.URL}, Username: server.Username, Credential: server.Credential,
		})
		s.links = append(s.links, linkHeader(server))
	}
	var err error
	if s.configuration.Certificates, err = newCertificates(); err != nil {
		return nil, err
	}
	s.mux = s.routes()
	return s, nil
}

// newCertificates makes the certificate of DTLS, one for all connections of a
// server or a push: making one costs a Pi more than all the rest of a
// handshake.
func newCertificates() ([]webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make DTLS key: %w", err)
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make DTLS certificate: %w", err)
	}
	return []webrtc.Certificate{*certificate}, nil
}

// Open opens the ports, so that viewers can come even before Run is called. An
// opened server has to be run: that is what closes it. The error tells which
// address can't be had.
func (s *Server) Open(ctx context.Context) error {
	ports, err := openPorts(ctx, s.params.Listen, pionLogs{s.log})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = ports
	// Sessions outlive the context of Run by the moment it takes to say goodbye.
	s.running, s.end = context.WithCancelCause(context.WithoutCancel(ctx))
	s.log.Info("media port open", "port", ports.port, "gso", ports.gso())
	return nil
}

// Run opens the ports, unless Open did, and serves until ctx ends. Before it
// returns it closes all sessions, telling the browsers so, in less than 2 s.
func (s *Server) Run(ctx context.Context) error {
	if !s.isRunning() {
		if err := s.Open(ctx); err != nil {
			return err
		}
	}
	<-ctx.Done()

	s.mu.Lock()
	s.running = nil // no more sessions
	ports, end := s.ports, s.end
	s.mu.Unlock()
	end(errStopping)
	closed := make(chan struct{})
	go func() {
		s.ended.Wait()
		close(closed)
	}()
	wait(closed, closeTimeout)
	// Closing the sockets ends what hangs on them. What hangs on a TURN
	// server that does not answer, inside pion, is not waited for.
	ports.close()
	wait(closed, closeGrace)
	s.log.Info("media port closed", "port", ports.port, "datagrams_dropped", ports.dropped())
	return nil
}

// wait waits for c to be closed, but no longer than timeout.
func wait(c <-chan struct{}, timeout time.Duration) {
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	}
}

// Sessions returns the status of all sessions, the oldest first.
func (s *Server) Sessions() []SessionStatus {
	s.mu.Lock()
	var all []*session
	for _, session := range s.sessions {
		all = append(all, session)
	}
	s.mu.Unlock()
	now := time.Now()
	status := make([]SessionStatus, 0, len(all))
	for _, session := range all {
		status = append(status, session.status(now))
	}
	slices.SortFunc(status, func(a, b SessionStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return status
}

// open makes a session and lets it run. ctx bounds only the making.
func (s *Server) open(ctx context.Context, camera string, feed Feed, o *offer) (*session, error) {
	params, running, err := s.reserve(camera)
	if err != nil {
		return nil, err
	}
	params.offer = o
	running, params.end = context.WithCancelCause(running)
	sess, err := newSession(ctx, params)
	if err != nil {
		params.end(err)
		s.release(camera, "")
		return nil, err
	}
	s.mu.Lock()
	s.sessions[sess.secret] = sess
	s.mu.Unlock()
	go func() {
		sess.run(running, feed.Open)
		params.end(nil)
		s.release(camera, sess.secret)
	}()
	return sess, nil
}

// reserve takes a place for a session. The context is that of all sessions.
func (s *Server) reserve(camera string) (sessionParams, context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return sessionParams{}, nil, errNotRunning
	}
	if s.reserved >= s.params.MaxSessions {
		return sessionParams{}, nil, fmt.Errorf("%w: %d", errFull, s.reserved)
	}
	s.reserved++
	s.ended.Add(1)
	shared := s.cameras[camera]
	if shared == nil {
		shared = &sharedPacketizer{Packetizer: packet.NewPacketizer(maxPayload)}
		s.cameras[camera] = shared
	}
	shared.users++
	return sessionParams{
		camera: camera, ports: s.ports, packets: shared.Packetizer, pacing: &s.pacing,
		configuration: s.configuration, publicAddresses: s.params.PublicAddresses, log: s.log,
	}, s.running, nil
}

// release gives the place of a session back. secret is empty if it was never
// made.
func (s *Server) release(camera, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, secret)
	s.reserved--
	if shared := s.cameras[camera]; shared.users == 1 {
		delete(s.cameras, camera)
	} else {
		shared.users--
	}
	s.ended.Done()
}

func (s *Server) isRunning() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil
}

// forget makes a session unknown to later requests, which is sooner than all of
// it has ended.
func (s *Server) forget(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, secret)
}

// lookup finds a session by the secret of its URL.
func (s *Server) lookup(camera, secret string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sess := s.sessions[secret]; sess != nil && sess.camera == camera {
		return sess
	}
	return nil
}
