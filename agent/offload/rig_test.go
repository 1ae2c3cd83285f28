package offload

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

// shelf is an archive in memory.
type shelf struct {
	mu        sync.Mutex
	order     []string
	files     map[string]string
	confirmed map[string]string // server by recording
	dropped   map[string]bool
	openErr   error // of every Open
	readErr   error // of every read
	markErr   error // of every SetConfirmed
}

func newShelf(ids ...string) *shelf {
	s := &shelf{files: map[string]string{}, confirmed: map[string]string{}, dropped: map[string]bool{}}
	for _, id := range ids {
		s.add(id)
	}
	return s
}

func (s *shelf) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, id)
	s.files[id] = strings.Repeat(id, 1000)
}

func (s *shelf) Unsent() []Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Recording
	for _, id := range s.order {
		if text, ok := s.files[id]; ok && s.confirmed[id] == "" && !s.dropped[id] {
			list = append(list, Recording{
				ID: id, Camera: "hero", Name: id + ".mp4", Size: int64(len(text)),
				Modified: time.Unix(1, 0), SHA256: sha256.Sum256([]byte(text)),
			})
		}
	}
	return list
}

func (s *shelf) Open(id string) (Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.files[id]; !ok {
		return nil, ErrUnknown
	}
	if s.openErr != nil {
		return nil, s.openErr
	}
	return book{strings.NewReader(s.files[id]), s.readErr}, nil
}

type book struct {
	*strings.Reader
	err error
}

func (b book) ReadAt(p []byte, off int64) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return b.Reader.ReadAt(p, off)
}
func (book) Close() error { return nil }

func (s *shelf) SetConfirmed(id, server string, r filetransfer.Receipt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.markErr != nil {
		return s.markErr
	}
	if _, ok := s.files[id]; !ok {
		return ErrUnknown
	}
	s.confirmed[id] = server
	return nil
}

func (s *shelf) SetDropped(id string, dropped bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.files[id]; !ok {
		return ErrUnknown
	}
	s.dropped[id] = dropped
	return nil
}

// world is what the senders of a test talk to.
type world struct {
	mu    sync.Mutex
	fail  map[string]error // by server: of every attempt
	lie   bool             // receipts have another digest
	takes time.Duration    // how long a recording takes
	stuck bool             // nothing gets through, and nobody says so
	tries map[string]int   // by server
	have  []string         // names in the order in which they came
}

func newWorld() *world { return &world{fail: map[string]error{}, tries: map[string]int{}} }

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) got() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.have, " ")
}

func (w *world) count(server string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tries[server]
}

func (w *world) connect(p filetransfer.SenderParams) (Sender, error) {
	return &fakeSender{world: w, address: p.Address}, nil
}

type fakeSender struct {
	world   *world
	address string
}

func (s *fakeSender) SetPacing(int64) error                 { return nil }
func (s *fakeSender) TCPInfo() (filetransfer.TCPInfo, bool) { return filetransfer.TCPInfo{}, false }
func (s *fakeSender) Close() error                          { return nil }

// Send takes the time that the world says, in ten steps.
func (s *fakeSender) Send(ctx context.Context, u *filetransfer.Upload, progress func(filetransfer.Progress)) (filetransfer.Receipt, error) {
	w := s.world
	var err error
	var takes time.Duration
	w.set(func() {
		w.tries[s.address]++
		err, takes = w.fail[s.address], w.takes
	})
	if err != nil {
		return filetransfer.Receipt{}, err
	}
	text := make([]byte, u.File.Size)
	if _, err := u.Content.ReadAt(text, 0); err != nil && !errors.Is(err, io.EOF) {
		return filetransfer.Receipt{}, fmt.Errorf("read %s: %w", u.File.Name, err)
	}
	for step := int64(0); step <= 10; step++ {
		progress(filetransfer.Progress{File: u.File.Name, Remote: s.address, Size: u.File.Size, Sent: u.File.Size * step / 10})
		for first, stuck := true, false; first || stuck; first = false {
			select {
			case <-ctx.Done():
				return filetransfer.Receipt{}, context.Cause(ctx)
			case <-time.After(takes/10 + 1):
			}
			w.set(func() { stuck = w.stuck })
		}
	}
	r := filetransfer.Receipt{Name: u.File.Name, SHA256: *u.File.SHA256}
	w.set(func() {
		if w.lie {
			r.SHA256[0]++
		}
		w.have = append(w.have, u.File.Name)
	})
	return r, nil
}

// wires is a network that a test plugs.
type wires struct {
	mu      sync.Mutex
	off     error
	changed chan struct{}
}

func newWires() *wires { return &wires{changed: make(chan struct{}, 1)} }

// set changes the network: to one that is not connected when off is set.
func (n *wires) set(off error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.off = off
	n.changed <- struct{}{}
}

func (n *wires) Watch(context.Context) (<-chan struct{}, error) { return n.changed, nil }

func (n *wires) Connected(string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.off
}

// run runs a queue in a bubble of its own until the test ends.
func run(t *testing.T, p Params, test func(q *Queue, n *wires)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if p.Servers == nil {
			p.Servers = servers("one:1")
		}
		n := newWires()
		p.Network = n
		if p.Clock == nil {
			p.Clock = func() (time.Time, bool) { return time.Now(), true }
		}
		p.Live = func() yield.Live { return yield.Live{} }
		p.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
		q, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		synctest.Wait()
		test(q, n)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func servers(addresses ...string) []filetransfer.SenderParams {
	var list []filetransfer.SenderParams
	for _, a := range addresses {
		list = append(list, filetransfer.SenderParams{Address: a, Agent: "cam"})
	}
	return list
}

// wait lets time pass.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks what a recording, or the queue, is in.
func want(t *testing.T, q *Queue, id string, state State, reason string) {
	t.Helper()
	for _, i := range q.Items() {
		if i.ID == id {
			if i.State != state || !strings.Contains(i.Reason, reason) {
				t.Errorf("%s is %s (%s), want %s (%s)", id, i.State, i.Reason, state, reason)
			}
			return
		}
	}
	t.Errorf("%s is not in the queue", id)
}
