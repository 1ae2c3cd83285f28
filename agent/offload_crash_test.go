package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/offload"
	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/wallclock"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

// library is a server that keeps what it has confirmed, and is unreliable in
// everything else.
type library struct {
	mu     sync.Mutex
	chance *rand.Rand
	calm   bool                           // it does what it should
	byID   map[string]filetransfer.Digest // what it has
	copies map[filetransfer.Digest]int    // files with that content
	said   map[filetransfer.Digest]bool   // confirmed, also when nobody heard it
}

func (l *library) has(sum filetransfer.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copies[sum] > 0
}

// librarian is the sender of a test: the network and the server in one.
type librarian struct{ *library }

func (librarian) SetPacing(int64) error                 { return nil }
func (librarian) TCPInfo() (filetransfer.TCPInfo, bool) { return filetransfer.TCPInfo{}, false }
func (librarian) Close() error                          { return nil }

var errCut = errors.New("cut")

func (l librarian) Send(ctx context.Context, u *filetransfer.Upload, progress func(filetransfer.Progress)) (filetransfer.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fails := func() bool { return !l.calm && l.chance.IntN(6) == 0 }
	pause := func() {
		wait := time.Duration(l.chance.IntN(1000)) * time.Millisecond
		l.mu.Unlock()
		defer l.mu.Lock()
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	pause()
	if ctx.Err() != nil {
		return filetransfer.Receipt{}, context.Cause(ctx)
	}
	if fails() {
		return filetransfer.Receipt{}, errCut // before anything was said
	}
	sum, had := l.byID[u.File.ID]
	if !had {
		content := make([]byte, u.File.Size)
		if _, err := u.Content.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
			return filetransfer.Receipt{}, fmt.Errorf("read: %w", err)
		}
		sum = sha256.Sum256(content)
		progress(filetransfer.Progress{Remote: "server", Size: u.File.Size, Sent: u.File.Size})
		pause()
		if fails() {
			return filetransfer.Receipt{}, errCut // in the middle
		}
		if sum != *u.File.SHA256 {
			return filetransfer.Receipt{}, &filetransfer.Error{Code: filetransfer.CodeMismatch, Reason: "damaged"}
		}
		l.byID[u.File.ID] = sum
		l.copies[sum]++
	}
	if fails() {
		return filetransfer.Receipt{}, errCut // its last word was lost
	}
	l.said[sum] = true
	return filetransfer.Receipt{Name: u.File.Name, SHA256: sum}, nil
}

// guarded is a disk that refuses to lose a recording that no server has.
type guarded struct {
	*durabletest.Disk
	library *library
	broken  *string // the promise that was
}

func (g guarded) Remove(name string) error {
	if strings.HasSuffix(name, ".mp4") {
		if f, err := g.Open(name); err == nil {
			size, _ := f.Size()
			content := make([]byte, size)
			// When the power goes just now, nothing is deleted either.
			if _, err := f.ReadAt(content, 0); err == nil && !g.library.has(sha256.Sum256(content)) {
				*g.broken = name + " is deleted, and no server has it"
			}
		}
	}
	return g.Disk.Remove(name)
}

var _ durable.FS = guarded{}

// bubbleClock is the clock of a synctest bubble.
type bubbleClock struct {
	start time.Time
	boot  string
}

func (c *bubbleClock) Read() wallclock.Reading {
	return wallclock.Reading{Wall: time.Now(), Trusted: true, Boot: time.Since(c.start), BootID: c.boot}
}

// unplugged is a network that never changes: that of the machine is outside of
// the bubble.
type unplugged struct{}

func (unplugged) Watch(context.Context) (<-chan struct{}, error) { return nil, nil }
func (unplugged) Connected(string) error                         { return nil }

// life runs archive, recorder and queue until the power goes, which is at step
// crash of the disk or when the time is over, and returns what was finished.
func life(t *testing.T, disk guarded, c *bubbleClock, crash int, finished map[filetransfer.Digest]bool, recordings int, lasts time.Duration) {
	n := 0
	if crash > 0 {
		faulty := crash%3 == 0 // some lives are on a disk that fails now and then
		faults := rand.New(rand.NewPCG(uint64(crash), 3))
		disk.Fail = func(string, string) error {
			if n++; n > crash {
				return durabletest.ErrPowerCut
			} else if faulty && faults.IntN(30) == 0 {
				return []error{syscall.EIO, syscall.ENOSPC}[faults.IntN(2)]
			}
			return nil
		}
	}
	quiet := slog.New(slog.DiscardHandler)
	var mu sync.Mutex
	var q *offload.Queue
	a, err := archive.Open(archive.Params{
		Dir: "/rec", FS: disk, Clock: c, Log: quiet,
		Retention: archive.Retention{KeepUnsent: true, DeleteSent: true},
		Finished: func(i archive.Info) {
			mu.Lock()
			defer mu.Unlock()
			if q != nil {
				q.Wake()
			}
		},
	})
	if err != nil {
		return // the power went at once
	}
	queue, err := offload.New(offload.Params{
		Archive: unsent{a}, Servers: []filetransfer.SenderParams{{Address: "server:9000", Agent: "cam"}},
		Connect: func(filetransfer.SenderParams) (offload.Sender, error) { return librarian{disk.library}, nil },
		Network: unplugged{},
		Clock:   func() (time.Time, bool) { return time.Now(), true },
		Live:    func() yield.Live { return yield.Live{} }, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	q = queue
	mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = a.Run(ctx) })
	parts.Go(func() { _ = queue.Run(ctx) })
	src := recordingtest.Synthetic(30, 5, 200)
	for range recordings {
		src.Skip(time.Second)
		if sum, ok := record(a, src); ok {
			finished[sum] = true
		}
		time.Sleep(2 * time.Second)
	}
	time.Sleep(lasts)
	cancel()
	parts.Wait()
}

// record makes a finished recording, unless the power goes.
func record(a *archive.Archive, src *recordingtest.Source) (sum filetransfer.Digest, ok bool) {
	w, err := a.Create("hero", src.Next(), 0, 100*time.Millisecond)
	if err != nil {
		return sum, false
	}
	for range 9 {
		if err := w.Write(src.Next()); err != nil {
			w.Abandon()
			return sum, false
		}
	}
	if err := w.End(0); err != nil {
		w.Abandon()
		return sum, false
	}
	before := len(a.List())
	if w.Finish() != nil || before == 0 {
		return sum, false
	}
	for _, i := range a.List() {
		if !i.Running && sum.UnmarshalText([]byte(i.SHA256)) == nil {
			ok = true // the newest is the last of the list
		}
	}
	return sum, ok
}

// TestOffloadThroughPowerCuts cuts the power again and again, between any two
// steps of the disk, while recordings are made, sent, marked and deleted, over
// a network and to a server that fail as well, and so do some of the disks. No recording is deleted before
// the server has it, none gets there twice, and in the end none is missing.
func TestOffloadThroughPowerCuts(t *testing.T) {
	schedules := 150
	if n, err := strconv.Atoi(os.Getenv("LENSCAST_SCHEDULES")); err == nil {
		schedules = n
	}
	cuts, total, again := 0, 0, 0
	for seed := range uint64(schedules) {
		synctest.Test(t, func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			broken := ""
			lib := &library{
				chance: rand.New(rand.NewPCG(seed, 2)), byID: map[string]filetransfer.Digest{},
				copies: map[filetransfer.Digest]int{}, said: map[filetransfer.Digest]bool{},
			}
			disk := guarded{durabletest.NewDisk("/", 0), lib, &broken}
			finished := map[filetransfer.Digest]bool{}
			for cut := range 1 + chance.IntN(4) {
				c := &bubbleClock{start: time.Now(), boot: fmt.Sprint("boot-", cut)}
				life(t, disk, c, 1+chance.IntN(150), finished, 1+chance.IntN(4), time.Duration(chance.IntN(20))*time.Second)
				disk.Disk = disk.AfterPowerCut(chance)
				cuts++
			}
			lib.mu.Lock()
			lib.calm = true
			again += len(lib.copies) - len(lib.said)
			lib.mu.Unlock()
			life(t, disk, &bubbleClock{start: time.Now(), boot: "last"}, 0, finished, 1, 30*time.Minute)
			if broken != "" {
				t.Errorf("schedule %d: %s", seed, broken)
			}
			for sum := range finished {
				if lib.copies[sum] != 1 {
					t.Errorf("schedule %d: the server has recording %v %d times", seed, sum, lib.copies[sum])
				}
			}
			for sum, n := range lib.copies {
				if n != 1 {
					t.Errorf("schedule %d: the server has %v %d times", seed, sum, n)
				}
			}
			if left := disk.Files(".mp4"); len(left) > 0 {
				t.Errorf("schedule %d: still here, though all is sent: %v", seed, left)
			}
			total += len(finished)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d schedules, %d power cuts, %d finished recordings; %d were at the server when it could not say so", schedules, cuts, total, again)
}

// TestGuardedDiskNotices shows that the test above can fail.
func TestGuardedDiskNotices(t *testing.T) {
	broken := ""
	disk := guarded{durabletest.NewDisk("/", 0), &library{copies: map[filetransfer.Digest]int{}}, &broken}
	f, err := disk.Create("/x.mp4")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 9), 0); err != nil {
		t.Fatal(err)
	}
	if err := disk.Remove("/x.mp4"); err != nil || broken == "" {
		t.Errorf("%v, %q", err, broken)
	}
}
