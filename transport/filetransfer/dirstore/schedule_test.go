package dirstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// TestSchedules sends files through everything that can go wrong, in random
// order: cuts, silence and flipped bits on the wire, kills of either side,
// failing calls and a full disk, power cuts of the receiver at any call. What
// must hold: a receipt comes only when the file would survive a power cut, and
// in the end every file is there once and whole.
//
// LENSCAST_SCHEDULES sets how many schedules are tried, LENSCAST_SEED the
// first one. The test was seen to fail with each sync, and the removal of the
// sidecar before the link, taken out of the store.
func TestSchedules(t *testing.T) {
	first, count := fromEnv(t, "LENSCAST_SEED", 1), fromEnv(t, "LENSCAST_SCHEDULES", 400)
	var faults [len(faultNames)]int
	for seed := first; seed < first+count; seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed)
			w.run()
			for i := range faults {
				faults[i] += w.happened[i]
			}
		})
		if t.Failed() {
			t.Fatalf("LENSCAST_SEED=%d LENSCAST_SCHEDULES=1 shows it again", seed)
		}
	}
	for i, name := range faultNames {
		t.Logf("%6d × %s", faults[i], name)
		if count >= 400 && faults[i] == 0 {
			t.Errorf("never happened: %s", name)
		}
	}
}

func fromEnv(t *testing.T, name string, value uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return value
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

type fault int

const (
	cut fault = iota
	silence
	flip
	killSender
	killReceiver
	powerCut
	ioError
	diskFull
	powerCutInCall
)

var faultNames = [...]string{
	"connection cut", "connection silent", "bit flipped", "sender killed", "receiver killed",
	"power cut", "input/output error", "disk full", "power cut within a call",
}

// world is one schedule.
type world struct {
	t    *testing.T
	rand *rand.Rand // used by one goroutine at a time: the test's
	disk *disk
	size int      // of the largest file
	sent [][]byte // contents, confirmed or not

	budget   atomic.Int64 // faults that are still to come
	happened [len(faultNames)]int

	mu       sync.Mutex
	incoming chan net.Conn
	proc     *process
	stop     func() // ends the receiver that runs
	down     chan fault
	kill     context.CancelFunc // of the sender
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), down: make(chan fault, 16)}
	w.disk = newDisk(rand.New(rand.NewPCG(seed, 1)))
	w.budget.Store(int64(w.rand.IntN(12)))
	w.size = 40_000
	if w.rand.IntN(8) == 0 {
		w.size = 600_000 // enough that writing and hashing go on beside receiving
	}
	return w
}

func (w *world) run() {
	w.start()
	want := make(map[string][]byte)
	for i := range 1 + w.rand.IntN(3) {
		content := make([]byte, w.rand.IntN(w.size))
		for j := range content {
			content[j] = byte(w.rand.Uint32())
		}
		u := &filetransfer.Upload{
			File: filetransfer.File{
				ID: fmt.Sprintf("file-%04d", i), Name: "clip.mp4", // all the same: none may replace another
				Size: int64(len(content)), Modified: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
			},
			Content: bytes.NewReader(content),
		}
		w.sent = append(w.sent, content)
		receipt := w.deliver(u)
		if w.t.Failed() {
			break
		}
		if other, ok := want[receipt.Name]; ok {
			w.t.Errorf("%s confirmed twice, for %d and %d bytes", receipt.Name, len(other), len(content))
		}
		want[receipt.Name] = content
	}
	w.stop()
	w.disk.powerCut()
	got := w.disk.files()
	if len(got) != len(want) {
		w.t.Errorf("%d files in the end, want %d", len(got), len(want))
	}
	for name, content := range want {
		if !bytes.Equal(got[name], content) {
			w.t.Errorf("%s: %d bytes in the end, want the %d sent", name, len(got[name]), len(content))
		}
	}
}

// deliver sends u until it is confirmed.
func (w *world) deliver(u *filetransfer.Upload) filetransfer.Receipt {
	const attempts = 60
	for range attempts {
		receipt, err := w.attempt(u)
		if err == nil {
			content, gerr := w.disk.guaranteed(receipt.Name)
			sent := make([]byte, u.File.Size)
			if _, rerr := u.Content.ReadAt(sent, 0); rerr != nil && !errors.Is(rerr, io.EOF) {
				w.t.Fatal(rerr)
			}
			if gerr == nil && !bytes.Equal(content, sent) {
				gerr = errors.New("its content is another")
			}
			if gerr != nil {
				w.t.Errorf("confirmed %s, but a power cut now would lose it: %v", receipt.Name, gerr)
			}
			return receipt
		}
		var said *filetransfer.Error
		if filetransfer.Permanent(err) || errors.As(err, &said) && said.Code == filetransfer.CodeMismatch {
			// A mismatch would be a checkpoint that lied: damage on the way
			// is found frame by frame.
			w.t.Errorf("failed for good: %v", err)
			return receipt
		}
		w.recover()
		w.whole()
		time.Sleep(time.Second)
	}
	w.t.Errorf("not confirmed after %d attempts", attempts)
	return filetransfer.Receipt{}
}

// whole checks that what has a final name is whole, confirmed or not.
func (w *world) whole() {
	for name, content := range w.disk.files() {
		if !slices.ContainsFunc(w.sent, func(sent []byte) bool { return bytes.Equal(sent, content) }) {
			w.t.Errorf("%s is there with %d bytes, but was not sent so", name, len(content))
		}
	}
}

// attempt sends u with a sender of its own, whose memory is gone afterwards in
// half of the cases.
func (w *world) attempt(u *filetransfer.Upload) (filetransfer.Receipt, error) {
	if w.rand.IntN(2) == 0 {
		u.Hashes = nil
	}
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	w.mu.Lock()
	w.kill = kill
	w.mu.Unlock()
	sender, err := filetransfer.NewSender(filetransfer.SenderParams{
		Address: "receiver:9000", Agent: "hero", Dial: w.dial,
		// Small frames, so that much lies between two checkpoints.
		Pace: func(context.Context, int) error { return nil }, PacedBytes: 500 + w.rand.IntN(2000),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer sender.Close()
	return sender.Send(ctx, u, nil)
}

// dial connects to the receiver that runs, over a wire with a fault of its own.
func (w *world) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	at := w.rand.IntN(w.size * 3 / 2)
	if w.rand.IntN(3) == 0 {
		at = w.rand.IntN(500)
	}
	kind := fault(w.rand.IntN(int(ioError)))
	there := &wire{Conn: near, w: w, fault: kind, at: at}
	back := &wire{Conn: far, w: w, fault: kind, at: at}
	if w.rand.IntN(5) == 0 {
		there.fault = -1 // the way back only
	} else {
		back.fault = -1
	}
	w.mu.Lock()
	incoming := w.incoming
	w.mu.Unlock()
	select {
	case incoming <- back:
		return there, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spend takes one fault off the budget.
func (w *world) spend(f fault) bool {
	if f < 0 || w.budget.Add(-1) < 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened[f]++
	return true
}

// wire is one end of a connection, whose fault strikes when it has sent so many
// bytes.
type wire struct {
	net.Conn
	w      *world
	fault  fault
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
	if c.fault == flip && at < 5 || !c.w.spend(c.fault) {
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
		c.w.down <- c.fault
		c.w.proc.kill()
	}
	return n, errors.Join(io.ErrClosedPipe, c.Close())
}

// open opens the store on the disk as it is, in a process that has a fault of
// its own ahead.
func (w *world) open() (*process, *dirstore.Store) {
	for {
		proc := &process{disk: w.disk}
		failAt, kind := w.rand.IntN(150), ioError+fault(w.rand.IntN(3))
		proc.fault = func(call int, _ string) error {
			if call != failAt || !w.spend(kind) {
				return nil
			}
			switch kind {
			case ioError:
				return syscall.EIO
			case diskFull:
				return syscall.ENOSPC
			default:
				proc.dead = true
				w.down <- powerCut
				return nil
			}
		}
		store, err := dirstore.New(proc, dirstore.Params{})
		if err == nil {
			return proc, store
		}
		if proc.dead {
			<-w.down
			w.disk.powerCut()
		}
	}
}

// start runs a receiver.
func (w *world) start() {
	proc, store := w.open()
	r, err := filetransfer.NewReceiver(filetransfer.ReceiverParams{
		Store: store, Plain: true, CheckpointBytes: 4096, MaxConns: 8, MaxConnsPerIP: 8,
		Authorize: func(filetransfer.Credentials) (filetransfer.Grant, error) { return filetransfer.Grant{}, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ln := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, ln) }()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.proc, w.incoming = proc, ln.conns
	w.stop = func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	}
}

// recover replaces a receiver that was killed.
func (w *world) recover() {
	for {
		select {
		case f := <-w.down:
			w.proc.kill()
			w.stop()
			if f == powerCut {
				w.disk.powerCut()
			}
			w.start()
		default:
			return
		}
	}
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
