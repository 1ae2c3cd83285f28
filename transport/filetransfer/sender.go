package filetransfer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultTimeout is how long the other side may be silent: several
	// heartbeats.
	defaultTimeout = 30 * time.Second
	// Limits of SenderParams.BufferBytes: by default a frame of 64 KiB is
	// read and sent while another is hashed.
	defaultBuffer = 2 * (64<<10 + bufferUnit)
	minBuffer     = 8 * bufferUnit
)

// pieceTime is how long a piece of content takes at the rate of SetPacing: what
// is handed to the kernel at once may leave at once.
const pieceTime = 3 * time.Millisecond

// usualSegment is the content of a TCP segment over Ethernet, with timestamps.
const usualSegment = 1448

// tlsRecord is what TLS 1.3 adds to a frame (RFC 8446 section 5.2): header,
// type and tag.
const tlsRecord = 5 + 1 + 16

// keepAlive notices a dead peer on a connection that waits between two files.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}

// SenderParams configure a [Sender]. Address and Agent are needed.
type SenderParams struct {
	Address string // host:port of the receiver
	Agent   string // the name of this machine; a safe name
	Token   string // credential, empty: none or a certificate in TLS

	// TLS is used on every connection when not nil. With no ServerName in it
	// the host of Address is taken.
	TLS *tls.Config
	// PlainToken allows to send the token without TLS beyond loopback.
	PlainToken bool

	// Timeout is how long the receiver may be silent, and how long
	// connecting may take; default 30 s.
	Timeout time.Duration

	// Pace is called after n bytes were sent, and waits until more may be: so
	// the next piece is cut when the wait is over, at the rate of then. Its
	// error ends the exchange. When it waits for longer than the receiver's
	// progress window, the receiver ends the connection. Nil: no pacing.
	Pace func(ctx context.Context, n int) error
	// PacedBytes is the largest n that Pace is given, default 16 KiB. At low
	// rates of SetPacing it is less, down to two segments.
	PacedBytes int
	// BufferBytes is the memory for content that is sent and hashed, at least
	// 32 KiB, default 136 KiB. One sender alone is faster with 512 KiB.
	BufferBytes int
	// DSCP is the differentiated services code point of the packets (RFC
	// 2474), such as 8 for CS1, "lower effort than all else"; 0 to 63.
	DSCP int

	// Dial connects, nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Sender sends files to one receiver, one after the other over one connection,
// which it opens when it needs it and keeps between files. Several senders can
// work side by side. The caller must call Close.
type Sender struct {
	p SenderParams

	sending sync.Mutex // held by Send

	mu     sync.Mutex // guards what is below
	link   *link
	pacing uint64 // bytes per second, 0: no limit
	closed bool
}

// link is a connection to a receiver.
type link struct {
	raw    net.Conn // below TLS
	conn   net.Conn
	in     *frameReader
	out    *frameWriter
	steps  *pipeline
	opened time.Time
	used   bool  // a file has been exchanged over it
	early  int64 // size of the largest file that the receiver takes early

	pacing   uint64       // bytes per second as set, 0: no limit
	segments int          // bytes of a frame that fills two segments
	piece    atomic.Int64 // most content in a frame when paced
}

// NewSender returns a sender that is not connected yet.
func NewSender(p SenderParams) (*Sender, error) {
	if _, _, err := net.SplitHostPort(p.Address); err != nil {
		return nil, fmt.Errorf("receiver's address: %w", err)
	}
	h := hello{Agent: p.Agent, File: "00000000", Name: "x", Modified: time.Unix(0, 0)}
	if err := h.check(); err != nil {
		return nil, err
	}
	if p.DSCP < 0 || p.DSCP > 63 {
		return nil, fmt.Errorf("DSCP %d is not 0 to 63", p.DSCP)
	}
	p.Timeout = cmp.Or(p.Timeout, defaultTimeout)
	p.PacedBytes = min(cmp.Or(p.PacedBytes, 16<<10), maxData)
	p.BufferBytes = max(cmp.Or(p.BufferBytes, defaultBuffer), minBuffer)
	if p.Dial == nil {
		p.Dial = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	}
	return &Sender{p: p}, nil
}

// Send sends u and returns when the receiver has confirmed it. progress is
// called often, from this goroutine; it may be nil.
//
// After an error nothing may be deleted. [Permanent] tells whether another
// attempt can help; it goes on where the receiver's last checkpoint was.
func (s *Sender) Send(ctx context.Context, u *Upload, progress func(Progress)) (Receipt, error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if progress == nil {
		progress = func(Progress) {}
	}
	for {
		l, err := s.connect(ctx)
		if err != nil {
			return Receipt{}, ended(ctx, err)
		}
		stale := l.used
		x := &exchange{link: l, p: &s.p, u: u, progress: progress}
		receipt, err := x.run(ctx)
		if err == nil {
			l.used = true
			return receipt, nil
		}
		if x.refused {
			l.used = true
		} else {
			s.drop(l)
		}
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, errFarBehind):
			// The receiver wants the file from a place whose hash this side
			// does not know. Reading up to there takes longer than it waits.
			if err = x.catchUp(ctx); err == nil {
				continue
			}
		case stale && !x.answered:
			continue // the receiver had closed it between two files
		}
		return Receipt{}, ended(ctx, err)
	}
}

// ended returns what to tell the caller: why the context ended, if it did.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Close closes the connection. A Send in progress fails.
func (s *Sender) Close() error {
	s.mu.Lock()
	l := s.link
	s.link, s.closed = nil, true
	s.mu.Unlock()
	if l == nil {
		return nil
	}
	return l.conn.Close()
}

func (s *Sender) drop(l *link) {
	_ = l.conn.Close() // given up: nothing that mattered is in it
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == l {
		s.link = nil
	}
}

// connect returns the open connection or a new one.
func (s *Sender) connect(ctx context.Context) (*link, error) {
	s.mu.Lock()
	l, closed := s.link, s.closed
	s.mu.Unlock()
	if closed {
		return nil, net.ErrClosed
	}
	if l != nil {
		return l, nil
	}

	ctx, cancel := context.WithTimeout(ctx, s.p.Timeout)
	defer cancel()
	raw, err := s.p.Dial(ctx, "tcp", s.p.Address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l, err = s.open(ctx, raw)
	if err != nil {
		_ = raw.Close() // nothing was sent over it
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err = net.ErrClosed
	if !s.closed {
		err = s.pace(l)
	}
	if err != nil {
		_ = raw.Close() // likewise
		return nil, err
	}
	s.link = l
	return l, nil
}

func (s *Sender) open(ctx context.Context, raw net.Conn) (*link, error) {
	if s.p.TLS == nil && s.p.Token != "" && !s.p.PlainToken {
		if addr := remoteAddr(raw); addr.IsValid() && !addr.IsLoopback() {
			return nil, ErrInsecure
		}
	}
	if err := setDSCP(raw, s.p.DSCP); err != nil {
		return nil, err
	}
	conn := raw
	overhead := 0
	if s.p.TLS != nil {
		config := s.p.TLS.Clone()
		config.DynamicRecordSizingDisabled = true // nobody waits for the first bytes of a file
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(s.p.Address) // checked by NewSender
		}
		secure := tls.Client(raw, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("TLS: %w", err)
		}
		conn, overhead = secure, tlsRecord
	}
	out := newFrameWriter(conn, 2*s.p.Timeout)
	if err := conn.SetWriteDeadline(time.Now().Add(s.p.Timeout)); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(preamble)); err != nil {
		return nil, fmt.Errorf("send preamble: %w", err)
	}
	l := &link{
		raw: raw, conn: conn, in: newFrameReader(conn), out: out,
		steps: newPipeline(s.p.BufferBytes, nil), opened: time.Now(),
	}
	if s.p.TLS != nil {
		out.cork = func(on bool) { setCork(raw, on) } // TLS writes every record by itself
	}
	l.segments = 2*usualSegment - overhead
	if info, err := tcpInfo(raw); err == nil && info.SegmentBytes > 0 {
		l.segments = 2*info.SegmentBytes - overhead
	}
	l.piece.Store(maxData)
	return l, nil
}

// pace applies what SetPacing was told to a link. The caller holds mu.
func (s *Sender) pace(l *link) error {
	if s.pacing == l.pacing {
		return nil
	}
	piece := int64(maxData)
	if s.pacing > 0 {
		piece = min(piece, int64(float64(s.pacing)*pieceTime.Seconds()))
	}
	l.pacing = s.pacing
	l.piece.Store(max(piece, int64(l.segments-headerBytes)))
	return setPacing(l.raw, s.pacing)
}

// SetPacing makes the kernel spread the packets of this sender over time so
// that they take bitsPerSecond at most (SO_MAX_PACING_RATE, Linux); 0 is no
// limit. It may be called at any time. With Pace set, the content is handed to
// the kernel in pieces of what takes 3 ms at that rate, two full segments at
// least: a kernel may send all that it has at once (tcp_tso_autosize in
// net/ipv4/tcp_output.c), and receivers acknowledge two segments at once.
func (s *Sender) SetPacing(bitsPerSecond int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pacing = uint64(max(bitsPerSecond, 0)+7) / 8
	if s.link == nil {
		return nil
	}
	return s.pace(s.link)
}

// TCPInfo returns the state of the connection; false when there is none or the
// system does not tell. It may be called at any time.
func (s *Sender) TCPInfo() (TCPInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return TCPInfo{}, false
	}
	info, err := tcpInfo(s.link.raw)
	info.Age = time.Since(s.link.opened)
	return info, err == nil
}
