package filetransfer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

const (
	// answerTimeout bounds the sending of one frame to a sender.
	answerTimeout = 20 * time.Second
	// heartbeat is the longest time without a frame to a sender that waits
	// or sends. Its own patience is several times longer.
	heartbeat = 5 * time.Second
	// lingerTimeout bounds how long a connection that ends with an ERROR is
	// read on: closing it with data unread would send a reset, which can
	// overtake the ERROR.
	lingerTimeout = 2 * time.Second
	// checkpointEvery bounds how old the last checkpoint of a slow transfer
	// gets.
	checkpointEvery = 30 * time.Second

	tlsHandshake = 0x16 // first byte of every TLS connection
)

// session is one connection to a [Receiver]. It goes through
//
//	                  ┌────── have, busy, full ◄────┐
//	                  ▼                             │
//	accept ► sniff ► HELLO ─ authorise, claim ──► OFFER ─ new, partial ► DATA… ► END ► DONE
//	           │      ▲ ▲                           │ denied               │      │      │
//	           │      │ └───────────────────────────┼──────────────────────┼──────┼──────┘
//	           └► legacy                            ▼                      ▼      ▼
//	                                              close  ◄──────────────  ERROR, checkpoint
type session struct {
	r      *Receiver
	conn   *watchedConn
	addr   netip.Addr
	out    *frameWriter
	in     *frameReader
	steps  *pipeline
	tls    bool
	key    *Digest // of the client's certificate
	remote string
	log    *slog.Logger
}

func newSession(r *Receiver, conn net.Conn, addr netip.Addr) *session {
	remote := conn.RemoteAddr().String()
	return &session{
		r: r, conn: &watchedConn{Conn: conn}, addr: addr, remote: remote,
		log: r.p.Log.With("remote", remote),
	}
}

// run serves the connection to its end and closes it.
func (s *session) run(ctx context.Context) {
	defer s.conn.Close() // what mattered was sent and answered before
	defer context.AfterFunc(ctx, func() {
		s.conn.interrupt(errorf(CodeShutdown, "the receiver stops"))
	})()

	err := s.serve(ctx)
	var e *Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		level := slog.LevelWarn
		if e.Code == CodeShutdown {
			level = slog.LevelInfo // not the sender's fault
		}
		s.log.Log(ctx, level, "connection ended", "error", err)
		s.complain(e)
	default:
		s.log.Debug("connection broke", "error", err)
	}
}

// complain tells the sender why the connection ends, and waits until it must
// have read that.
func (s *session) complain(e *Error) {
	if s.out == nil {
		return // the sender speaks nothing that has errors
	}
	if s.out.message(frameError, failure{Code: e.Code, Reason: e.Reason}) != nil {
		return
	}
	raw := s.conn.Conn
	for _, conn := range []net.Conn{s.out.conn, raw} { // TLS first, then TCP
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the close that follows does as well
		}
	}
	_ = raw.SetReadDeadline(time.Now().Add(lingerTimeout)) // without it the read below ends at once
	_, _ = io.Copy(io.Discard, io.LimitReader(raw, 64<<20))
}

func (s *session) serve(ctx context.Context) error {
	s.conn.expect(1, s.r.p.HelloTimeout)
	first, err := s.conn.peek()
	if err != nil {
		return err
	}
	switch {
	case first == preamble[0]:
		return s.serveV2(ctx, s.conn)
	case first == tlsHandshake && s.r.p.TLS != nil:
		return s.serveTLS(ctx)
	case s.r.p.LegacyAnywhere || s.r.p.Legacy && s.addr.IsLoopback():
		return s.serveLegacy(ctx)
	default:
		return fmt.Errorf("connection begins with %#02x: neither version 2 nor an exchange that is switched on", first)
	}
}

func (s *session) serveTLS(ctx context.Context) error {
	conn := tls.Server(s.conn, s.r.p.TLS)
	handshake, cancel := context.WithTimeout(ctx, s.r.p.HelloTimeout)
	defer cancel()
	if err := conn.HandshakeContext(handshake); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	s.tls = true
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		key := KeyDigest(certs[0])
		s.key = &key
	}
	return s.serveV2(ctx, conn)
}

// serveV2 takes files one after the other.
func (s *session) serveV2(ctx context.Context, conn net.Conn) error {
	s.out = newFrameWriter(conn, answerTimeout)
	s.in = newFrameReader(conn)
	s.steps = newPipeline(queueBytes, &s.r.queue)
	s.in.data = s.steps.buffer
	magic, err := s.in.take(len(preamble))
	if err != nil {
		return fmt.Errorf("read preamble: %w", err)
	}
	if string(magic) != preamble {
		return errorf(CodeProtocol, "the connection begins with %q, this receiver speaks %q", magic, preamble)
	}
	if !s.tls && !s.r.p.Plain && !s.addr.IsLoopback() {
		return errorf(CodeDenied, "this receiver takes files from other machines over TLS only")
	}
	deadline := s.r.p.HelloTimeout
	for {
		s.conn.expect(1<<20, deadline) // no message is that long: a plain deadline
		t, payload, err := s.in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if ctx.Err() != nil { // no word of it: between two files nobody loses anything
			return fmt.Errorf("close idle connection: %w", context.Cause(ctx))
		}
		if err != nil {
			return err
		}
		if t == frameError {
			return fmt.Errorf("the sender ended: %w", decodeFailure(payload))
		}
		if t != frameHello {
			return errorf(CodeProtocol, "%v frame where HELLO is due", t)
		}
		var h hello
		if err := decodeMessage(t, payload, &h); err != nil {
			return err
		}
		if err := s.exchange(ctx, &h); err != nil {
			return err
		}
		deadline = s.r.p.IdleTimeout
	}
}

// exchange answers a HELLO and takes the file. The error ends the connection.
func (s *session) exchange(ctx context.Context, h *hello) error {
	grant, err := s.admit(h)
	if err != nil {
		s.r.total.refused.Add(1)
		e := asError(err, CodeDenied)
		if err := s.out.message(frameOffer, refuse(e)); err != nil {
			return err
		}
		return fmt.Errorf("refused %q of %q: %w", h.Name, h.Agent, e)
	}

	t := &transfer{file: h.file(), remote: s.remote, interrupt: s.conn.interrupt, done: make(chan struct{})}
	if err := s.r.claim(ctx, t); err != nil {
		return s.refuse(h, err)
	}
	defer s.r.release(t)

	receipt, have, err := s.r.p.Store.Find(ctx, t.file)
	if err != nil {
		return s.refuse(h, err)
	}
	if have {
		s.r.total.had.Add(1)
		return s.answer(h, offer{State: offerHave, Name: receipt.Name, SHA256: &receipt.SHA256})
	}
	in, err := s.r.p.Store.Open(ctx, t.file, grant.Quota)
	if err != nil {
		return s.refuse(h, err)
	}
	intake := &intake{session: s, transfer: t, file: in, hello: h}
	err = intake.run(ctx)
	if cerr := in.Close(); err == nil && cerr != nil {
		s.log.Warn("close after commit", "file", t.file.Name, "error", cerr)
	}
	if err != nil {
		s.r.total.broken.Add(1)
		return fmt.Errorf("receive %q of %q: %w", t.file.Name, t.file.Agent, err)
	}
	return nil
}

// admit judges a HELLO: form, size, credentials.
func (s *session) admit(h *hello) (Grant, error) {
	if err := h.check(); err != nil {
		return Grant{}, err
	}
	if h.Size > s.r.p.MaxFileSize {
		return Grant{}, errorf(CodeTooLarge, "the file has %d bytes, this receiver takes %d at most", h.Size, s.r.p.MaxFileSize)
	}
	return s.authorize(h.Agent, h.Token)
}

func (s *session) authorize(agent, token string) (Grant, error) {
	return s.r.p.Authorize(Credentials{Agent: agent, Token: token, TLS: s.tls, Key: s.key, Remote: s.addr})
}

// refuse answers that this file can't come now. The connection stays for
// others.
func (s *session) refuse(h *hello, err error) error {
	s.r.total.refused.Add(1)
	e := asError(err, CodeStorage)
	s.log.Warn("refused a file", "agent", h.Agent, "file", h.Name, "error", e)
	return s.answer(h, refuse(e))
}

// answer sends an OFFER that wants nothing of what has come early, and passes
// over that.
func (s *session) answer(h *hello, o offer) error {
	o.Early = earlyBytes
	if err := s.out.message(frameOffer, o); err != nil || !h.Early {
		return err
	}
	s.conn.expect(s.r.p.MinProgress, s.r.p.ProgressWindow)
	s.steps.start(h.Size)
	defer func() { _ = s.steps.finish() }() // there are no steps that could fail
	for left := h.Size; ; {
		t, payload, err := s.in.next()
		if err != nil {
			return err
		}
		switch t {
		case frameData:
			left -= int64(len(payload))
			if left < 0 {
				return errorf(CodeProtocol, "more content than the %d bytes announced", h.Size)
			}
			_ = s.steps.add(payload[:cap(payload)], nil) // gives the buffer back
		case frameEnd:
			return nil
		case frameError:
			return decodeFailure(payload)
		default:
			return errorf(CodeProtocol, "%v frame where DATA or END is due", t)
		}
	}
}
