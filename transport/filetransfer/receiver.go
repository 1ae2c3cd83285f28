package filetransfer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ReceiverParams configure a [Receiver]. Store and Authorize are needed, a zero
// value of anything else gives the default.
type ReceiverParams struct {
	Store Store
	// Authorize judges who sends, at the start of every file and again at
	// its checkpoints, so that a credential that is taken back stops
	// working at once. It returns an error to refuse.
	Authorize func(Credentials) (Grant, error)

	// TLS serves connections that begin with a TLS handshake, nil: none.
	TLS *tls.Config
	// Plain takes connections without TLS from beyond loopback too.
	Plain bool
	// Legacy takes the legacy exchange from loopback, LegacyAnywhere from
	// everywhere. It has no credentials.
	Legacy, LegacyAnywhere bool

	MaxConns      int   // open connections, default 512
	MaxConnsPerIP int   // open connections of one address, default 64
	MaxFileSize   int64 // bytes, default 1 TiB

	HelloTimeout time.Duration // from the connection to the first HELLO, default 10 s
	IdleTimeout  time.Duration // between two files, default 60 s
	// Each ProgressWindow must bring MinProgress bytes; defaults 30 s and
	// 64 KiB.
	ProgressWindow time.Duration
	MinProgress    int

	// CheckpointBytes is the content between two checkpoints, default 16 MiB.
	// A power cut costs twice as much at most.
	CheckpointBytes int64

	Log *slog.Logger // default: none
}

// Credentials are what a sender shows.
type Credentials struct {
	Agent  string     // who it says it is; a valid name
	Token  string     // empty: none
	TLS    bool       // the connection is encrypted
	Key    *Digest    // the SHA-256 of its certificate's public key (SPKI), nil: none
	Remote netip.Addr // where it comes from
}

// Grant is what an authorised sender may do.
type Grant struct {
	Quota int64 // bytes that it may keep in the store, 0: no limit
}

// Totals count what a receiver has done since it began. They only grow.
type Totals struct {
	Connections uint64 // accepted
	Turned      uint64 // connections turned away: too many
	Files       uint64 // received and confirmed
	Had         uint64 // offered, but here already
	Refused     uint64 // offered and refused
	Broken      uint64 // ended before they were complete
	Legacy      uint64 // received by the legacy exchange, not confirmed
	Bytes       uint64 // of content received
}

// queueBytes bounds the content that waits to be hashed, of all transfers
// together and besides one frame of each. Where they are many, each receives and
// hashes in turn.
const queueBytes = 2 << 20

// Receiver takes files from many senders at once.
type Receiver struct {
	p ReceiverParams

	queue room // for content that waits to be hashed

	mu        sync.Mutex
	perIP     map[netip.Addr]int
	conns     int
	transfers map[transferKey]*transfer

	total struct {
		connections, turned, files, had, refused, broken, legacy, bytes atomic.Uint64
	}
}

// transferKey is what a file is known by: at most one connection works on it.
type transferKey struct{ agent, id string }

// transfer is a file that is being received.
type transfer struct {
	file      File
	remote    string
	resumed   int64
	received  atomic.Int64
	durable   atomic.Int64
	interrupt func(error)
	done      chan struct{} // closed when nothing of it is in use any more
}

// NewReceiver returns a receiver that serves nothing yet.
func NewReceiver(p ReceiverParams) (*Receiver, error) {
	if p.Store == nil || p.Authorize == nil {
		return nil, errors.New("a receiver needs a store and a way to authorise")
	}
	p.MaxConns = cmp.Or(p.MaxConns, 512)
	p.MaxConnsPerIP = cmp.Or(p.MaxConnsPerIP, 64)
	p.MaxFileSize = cmp.Or(p.MaxFileSize, 1<<40)
	p.HelloTimeout = cmp.Or(p.HelloTimeout, 10*time.Second)
	p.IdleTimeout = cmp.Or(p.IdleTimeout, 60*time.Second)
	p.ProgressWindow = cmp.Or(p.ProgressWindow, 30*time.Second)
	p.MinProgress = cmp.Or(p.MinProgress, 64<<10)
	p.CheckpointBytes = cmp.Or(p.CheckpointBytes, 16<<20)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{
		p:         p,
		queue:     room{size: queueBytes},
		perIP:     make(map[netip.Addr]int),
		transfers: make(map[transferKey]*transfer),
	}
	return r, nil
}

// Serve takes connections from ln until ctx ends, then brings every transfer
// to a checkpoint and returns nil. It closes ln.
func (r *Receiver) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var sessions sync.WaitGroup
	defer sessions.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })() // Accept then fails, which ends the loop below

	var delay time.Duration
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !transientAccept(err) {
				return fmt.Errorf("accept connections: %w", err)
			}
			// Out of file descriptors, say: others will be closed.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			r.p.Log.Warn("can't accept a connection, waiting", "error", err, "wait", delay)
			select {
			case <-time.After(delay):
			case <-ctx.Done():
			}
			continue
		}
		delay = 0
		r.total.connections.Add(1)
		addr := remoteAddr(conn)
		if !r.admit(addr) {
			r.total.turned.Add(1)
			turnAway(conn)
			continue
		}
		sessions.Go(func() {
			defer r.leave(addr)
			newSession(r, conn, addr).run(ctx)
		})
	}
}

func transientAccept(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && !errors.Is(err, net.ErrClosed)
}

// turnAway closes a connection that there is no place for, without the
// TIME_WAIT that thousands of them would leave here.
func turnAway(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close only costs more
	}
	_ = conn.Close() // nothing was sent that could be lost
}

func remoteAddr(conn net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{} // not IP: a test's pipe
	}
	return ap.Addr().Unmap().WithZone("")
}

func (r *Receiver) admit(addr netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns >= r.p.MaxConns || r.perIP[addr] >= r.p.MaxConnsPerIP {
		return false
	}
	r.conns++
	r.perIP[addr]++
	return true
}

func (r *Receiver) leave(addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns--
	if r.perIP[addr]--; r.perIP[addr] == 0 {
		delete(r.perIP, addr)
	}
}

// claim makes t the one transfer of its file. An older one is asked to stop:
// its connection is mostly a dead one, whose sender has come back.
func (r *Receiver) claim(ctx context.Context, t *transfer) error {
	key := transferKey{t.file.Agent, t.file.ID}
	var timeout <-chan time.Time
	for {
		r.mu.Lock()
		old := r.transfers[key]
		if old == nil {
			r.transfers[key] = t
			r.mu.Unlock()
			return nil
		}
		r.mu.Unlock()
		if timeout == nil {
			timeout = time.After(r.p.HelloTimeout)
		}
		old.interrupt(errorf(CodeTaken, "another connection sends this file now"))
		select {
		case <-old.done:
		case <-timeout:
			return &Error{Code: CodeBusy, Reason: "another connection is still at work on this file", RetryAfter: r.p.HelloTimeout}
		case <-ctx.Done():
			return errorf(CodeShutdown, "the receiver stops")
		}
	}
}

// release ends t.
func (r *Receiver) release(t *transfer) {
	r.mu.Lock()
	delete(r.transfers, transferKey{t.file.Agent, t.file.ID})
	r.mu.Unlock()
	close(t.done)
}

// Transfers returns what is being received now, by agent and name.
func (r *Receiver) Transfers() []Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Progress, 0, len(r.transfers))
	for _, t := range r.transfers {
		list = append(list, Progress{
			File: t.file.Name, Agent: t.file.Agent, Remote: t.remote, Size: t.file.Size,
			Resumed: t.resumed, Sent: t.received.Load(), Durable: t.durable.Load(),
		})
	}
	slices.SortFunc(list, func(a, b Progress) int {
		return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.File, b.File))
	})
	return list
}

// Connections returns the number of open connections.
func (r *Receiver) Connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns
}

// Totals returns what has been done so far.
func (r *Receiver) Totals() Totals {
	return Totals{
		Connections: r.total.connections.Load(),
		Turned:      r.total.turned.Load(),
		Files:       r.total.files.Load(),
		Had:         r.total.had.Load(),
		Refused:     r.total.refused.Load(),
		Broken:      r.total.broken.Load(),
		Legacy:      r.total.legacy.Load(),
		Bytes:       r.total.bytes.Load(),
	}
}
