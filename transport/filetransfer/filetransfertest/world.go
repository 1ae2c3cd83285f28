// Package filetransfertest tries stores of received files, and all of the
// transfer with them, in random schedules of what can go wrong.
package filetransfertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// Backend is what the stores under test keep their files on. It outlives them.
type Backend interface {
	// Open opens a store as a program of its own would, however often that
	// takes, and returns a way to kill the program. It asks World.Spend
	// whether something goes wrong with the backend, and calls died when
	// that was the end of the program.
	Open(w *World, died func()) (store filetransfer.Store, kill func())
	// PowerCut takes from the backend what it does not guarantee to keep.
	PowerCut()
	// Files returns the files that anybody would see.
	Files() map[string][]byte
	// Guaranteed returns what a file surely has after a power cut now.
	Guaranteed(name string) ([]byte, error)
}

// Fault is something that goes wrong. Those of a backend follow BackendFaults.
type Fault int

const (
	cut Fault = iota
	silence
	flip
	killSender
	killReceiver
	powerCut
	// BackendFaults is the first fault that is the backend's own.
	BackendFaults
)

var faultNames = []string{
	"connection cut", "connection silent", "bit flipped", "sender killed", "receiver killed", "power cut",
}

// Params say what is tried.
type Params struct {
	// New returns an empty backend.
	New func(*rand.Rand) Backend
	// Faults are the names of the backend's own, from BackendFaults on.
	Faults []string
	// Receivers is how many receivers share the backend.
	Receivers int
	// Schedules is how many are tried without LENSCAST_SCHEDULES.
	Schedules uint64
}

// Run sends files through everything that can go wrong, in random order: cuts,
// silence and flipped bits on the wire, kills of either side, and what the
// backend adds to that. What must hold: a receipt comes only when the file is
// safe, and in the end every file is there once and whole.
//
// LENSCAST_SCHEDULES sets how many schedules are tried, LENSCAST_SEED the first
// one.
func Run(t *testing.T, p Params) {
	first, count := fromEnv(t, "LENSCAST_SEED", 1), fromEnv(t, "LENSCAST_SCHEDULES", p.Schedules)
	names := slices.Concat(faultNames, p.Faults)
	faults := make([]int, len(names))
	for seed := first; seed < first+count; seed++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, p, seed)
			w.run()
			for i := range faults {
				faults[i] += w.happened[i]
			}
		})
		if t.Failed() {
			t.Fatalf("LENSCAST_SEED=%d LENSCAST_SCHEDULES=1 shows it again", seed)
		}
	}
	for i, name := range names {
		t.Logf("%6d × %s", faults[i], name)
		if count >= p.Schedules && faults[i] == 0 {
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

// World is one schedule.
type World struct {
	// Rand is used by one goroutine at a time: the test's.
	Rand *rand.Rand

	t       *testing.T
	backend Backend
	size    int      // of the largest file
	sent    [][]byte // contents, confirmed or not

	sender *filetransfer.Sender // nil: none is connected

	budget atomic.Int64 // faults that are still to come

	mu        sync.Mutex
	happened  []int
	receivers []*receiver
	kill      context.CancelFunc // of the sender
}

func newWorld(t *testing.T, p Params, seed uint64) *World {
	w := &World{t: t, Rand: rand.New(rand.NewPCG(seed, 0)), happened: make([]int, len(faultNames)+len(p.Faults))}
	w.backend = p.New(rand.New(rand.NewPCG(seed, 1)))
	w.budget.Store(int64(w.Rand.IntN(12)))
	w.size = 40_000
	if w.Rand.IntN(8) == 0 {
		w.size = 600_000 // enough that writing and hashing go on beside receiving
	}
	w.receivers = make([]*receiver, p.Receivers)
	return w
}

func (w *World) run() {
	for i := range w.receivers {
		w.receivers[i] = w.start()
	}
	want := make(map[string][]byte)
	for i := range 1 + w.Rand.IntN(4) {
		content := make([]byte, w.Rand.IntN(w.size))
		for j := range content {
			content[j] = byte(w.Rand.Uint32())
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
	w.disconnect()
	for _, r := range w.receivers {
		r.stop()
	}
	w.backend.PowerCut()
	got := w.backend.Files()
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
func (w *World) deliver(u *filetransfer.Upload) filetransfer.Receipt {
	const attempts = 60
	for range attempts {
		receipt, err := w.attempt(u)
		if err == nil {
			content, gerr := w.backend.Guaranteed(receipt.Name)
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
func (w *World) whole() {
	for name, content := range w.backend.Files() {
		if !slices.ContainsFunc(w.sent, func(sent []byte) bool { return bytes.Equal(sent, content) }) {
			w.t.Errorf("%s is there with %d bytes, but was not sent so", name, len(content))
		}
	}
}

// attempt sends u, with the memory of earlier attempts in half of the cases. The
// sender is that of the file before, or a new one.
func (w *World) attempt(u *filetransfer.Upload) (filetransfer.Receipt, error) {
	if w.Rand.IntN(2) == 0 {
		u.Hashes = nil
	}
	ctx, kill := context.WithCancel(context.Background())
	defer kill()
	w.mu.Lock()
	w.kill = kill
	w.mu.Unlock()
	if w.sender == nil {
		w.connect()
	}
	receipt, err := w.sender.Send(ctx, u, nil)
	if err != nil || w.Rand.IntN(4) == 0 {
		w.disconnect()
	}
	return receipt, err
}

// connect makes a sender.
func (w *World) connect() {
	p := filetransfer.SenderParams{Address: "receiver:9000", Agent: "hero", Dial: w.dial}
	if w.Rand.IntN(2) == 0 {
		// Small frames, so that much lies between two checkpoints. Without
		// them small files come early.
		p.Pace, p.PacedBytes = func(context.Context, int) error { return nil }, 500+w.Rand.IntN(2000)
	}
	sender, err := filetransfer.NewSender(p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sender = sender
}

func (w *World) disconnect() {
	if w.sender != nil {
		_ = w.sender.Close() // what mattered was answered
		w.sender = nil
	}
}

// Spend tells whether the fault f is to happen now.
func (w *World) Spend(f Fault) bool {
	if f < 0 || w.budget.Add(-1) < 0 {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.happened[f]++
	return true
}
