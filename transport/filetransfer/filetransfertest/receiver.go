package filetransfertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// receiver is one that runs.
type receiver struct {
	incoming chan net.Conn
	kill     func()
	stop     func()
	down     atomic.Int64 // the fault that it died of, -1: it lives
}

func (r *receiver) die(f Fault) { r.down.CompareAndSwap(-1, int64(f)) }

// start runs a receiver.
func (w *World) start() *receiver {
	run := &receiver{incoming: make(chan net.Conn)}
	run.down.Store(-1)
	store, kill := w.backend.Open(w, func() { run.die(powerCut) })
	r, err := filetransfer.NewReceiver(filetransfer.ReceiverParams{
		Store: store, Plain: true, CheckpointBytes: 4096, MaxConns: 8, MaxConnsPerIP: 8,
		Authorize: func(filetransfer.Credentials) (filetransfer.Grant, error) { return filetransfer.Grant{}, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, &listener{conns: run.incoming, closed: make(chan struct{})}) }()
	run.kill = kill
	run.stop = func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	}
	return run
}

// recover replaces the receivers that were killed.
func (w *World) recover() {
	for i, r := range w.receivers {
		f := Fault(r.down.Load())
		if f < 0 {
			continue
		}
		r.kill()
		r.stop()
		if f == powerCut {
			w.backend.PowerCut()
		}
		w.receivers[i] = w.start()
	}
}

// dial connects to one of the receivers, over a wire with a fault of its own.
func (w *World) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	at := w.Rand.IntN(w.size * 3 / 2)
	if w.Rand.IntN(3) == 0 {
		at = w.Rand.IntN(500)
	}
	kind := Fault(w.Rand.IntN(int(BackendFaults)))
	r := w.receivers[w.Rand.IntN(len(w.receivers))]
	there := &wire{Conn: near, w: w, r: r, fault: kind, at: at}
	back := &wire{Conn: far, w: w, r: r, fault: kind, at: at}
	if w.Rand.IntN(5) == 0 {
		there.fault = -1 // the way back only
	} else {
		back.fault = -1
	}
	select {
	case r.incoming <- back:
		return there, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wire is one end of a connection, whose fault strikes when it has sent so many
// bytes.
type wire struct {
	net.Conn
	w      *World
	r      *receiver
	fault  Fault
	at     int
	silent atomic.Bool
}

// Write passes p on, up to where the fault strikes.
func (c *wire) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil // into the void, as a socket's buffer takes it
	}
	if c.at >= len(p) || c.at < 0 {
		c.at -= len(p)
		return c.Conn.Write(p)
	}
	at := c.at
	c.at = -1
	if c.fault == flip && at < 5 || !c.w.Spend(c.fault) {
		return c.Conn.Write(p)
	}
	if c.fault == flip {
		p = bytes.Clone(p)
		p[at] ^= 1 << (at % 8)
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:at])
	if err != nil {
		return n, err
	}
	switch c.fault {
	case silence:
		c.silent.Store(true)
		return len(p), nil
	case killSender:
		c.w.mu.Lock()
		c.w.kill()
		c.w.mu.Unlock()
	case killReceiver, powerCut:
		c.r.die(c.fault)
		c.r.kill()
	}
	return n, errors.Join(io.ErrClosedPipe, c.Close())
}

type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	close(l.closed)
	return nil
}

func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }
