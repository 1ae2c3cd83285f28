package filetransfer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// TestSlow drops who holds a place without getting on, and nobody else.
func TestSlow(t *testing.T) {
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) {
		p.HelloTimeout, p.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond
		p.ProgressWindow, p.MinProgress = 300*time.Millisecond, 1000
	})
	silent := dialPeer(t, r.addr)
	dribble := dialPeer(t, r.addr)
	dribble.send('H', greeting("slow.mp4", 5000))
	dribble.expect('O', nil)
	go func() {
		for { // ends when the receiver closes
			if _, err := dribble.Write(peerFrame('D', []byte("x"))); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if _, err := newSender(t, r.addr, nil).Send(t.Context(), upload("clip.mp4", noise(1, 10<<20)), nil); err != nil {
		t.Errorf("an honest sender beside them: %v", err)
	}
	silent.expect('X', object{"code": "slow"})
	dribble.expect('X', object{"code": "slow"})
	idle := dialPeer(t, r.addr)
	idle.send('H', greeting("clip2.mp4", 0))
	idle.expect('O', nil)
	idle.send('E', object{"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"})
	idle.expect('F', nil)
	idle.expect('X', object{"code": "slow"})
}

// TestSilentReceiver takes the offer back into silence: a sender whose writes
// wait for it gives up when the receiver owes a word, and says so.
func TestSilentReceiver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
		_, _ = conn.Read(make([]byte, 4096)) // preamble and HELLO, or a part of it
		_, _ = conn.Write(peerFrame('O', []byte(`{"state":"new"}`)))
	}()
	s := newSender(t, ln.Addr().String(), func(p *filetransfer.SenderParams) { p.Timeout = 500 * time.Millisecond })
	_, err = s.Send(t.Context(), upload("clip.mp4", noise(1, 64<<20)), nil)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "wait for the confirmation") {
		t.Errorf("%v, want that the receiver says nothing", err)
	}
}

// TestCrowd opens more connections than there are places: the receiver's memory
// stays what it was, and who comes from elsewhere is served.
func TestCrowd(t *testing.T) {
	const crowd, places = 2000, 20
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) {
		p.MaxConns, p.MaxConnsPerIP = places+5, places
		p.Legacy = true
	})
	before := heap()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close() // many are closed already
		}
	}()
	for range crowd {
		// An error is a connection that was turned away at once.
		if conn, err := net.Dial("tcp", r.addr); err == nil {
			conns = append(conns, conn)
		}
	}
	waitFor(t, func() bool { return r.Totals().Connections == crowd })
	if n := r.Connections(); n > places {
		t.Errorf("%d connections have a place, want %d at most", n, places)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d connections took %d bytes", crowd, grown)
	}
	elsewhere := newSender(t, r.addr, func(p *filetransfer.SenderParams) {
		p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, network, address)
		}
	})
	if _, err := elsewhere.Send(t.Context(), upload("clip.mp4", noise(1, 1000)), nil); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestParallelMemory has 100 transfers at once: both sides together stay below
// twice the 32 MiB that each may use.
func TestParallelMemory(t *testing.T) {
	const transfers, size = 100, 2 << 20
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) { p.MaxConnsPerIP = transfers })
	content := noise(1, size)
	before := heap()
	gate := make(chan struct{})
	var halfway, ended sync.WaitGroup
	for i := range transfers {
		halfway.Add(1)
		s := newSender(t, r.addr, nil)
		u := upload("clip.mp4", content)
		u.File.ID = "parallel-" + t26(string(rune(i)))
		ended.Go(func() {
			var once sync.Once
			_, err := s.Send(t.Context(), u, func(p filetransfer.Progress) {
				if p.Sent >= size/2 {
					once.Do(func() { halfway.Done(); <-gate })
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	halfway.Wait()
	grown := heap() - before
	close(gate)
	ended.Wait()
	if grown > 48<<20 {
		t.Errorf("%d transfers take %d MiB on both sides together", transfers, grown>>20)
	}
	t.Logf("%d transfers take %.1f MiB on both sides together", transfers, float64(grown)/(1<<20))
}

// TestQuotaAndRoom refuses what does not fit, with the reason, before content
// is sent.
func TestQuotaAndRoom(t *testing.T) {
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) {
		p.Authorize = func(filetransfer.Credentials) (filetransfer.Grant, error) {
			return filetransfer.Grant{Quota: 1000}, nil
		}
	})
	s := newSender(t, r.addr, nil)
	send := func(name string, size int) error {
		_, err := s.Send(t.Context(), upload(name, noise(1, size)), nil)
		return err
	}
	if err := send("a.mp4", 600); err != nil {
		t.Fatal(err)
	}
	var e *filetransfer.Error
	if err := send("b.mp4", 600); !errors.As(err, &e) || e.Code != filetransfer.CodeFull || e.RetryAfter == 0 {
		t.Errorf("beyond the quota: got %v, want full with a time to wait", err)
	}
	if err := send("c.mp4", 400); err != nil {
		t.Errorf("on the same connection, within the quota: %v", err)
	}

	full := startReceiverIn(t, t.TempDir(), dirstore.Params{KeepFree: 1 << 60}, nil)
	_, err := newSender(t, full.addr, nil).Send(t.Context(), upload("a.mp4", noise(1, 10)), nil)
	if !errors.As(err, &e) || e.Code != filetransfer.CodeFull {
		t.Errorf("no room: got %v, want full", err)
	}
}

// TestRevoked takes a credential back in the middle of a file.
func TestRevoked(t *testing.T) {
	revoked := make(chan struct{})
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) {
		p.CheckpointBytes = 1 << 20
		p.Authorize = func(filetransfer.Credentials) (filetransfer.Grant, error) {
			select {
			case <-revoked:
				return filetransfer.Grant{}, &filetransfer.Error{Code: filetransfer.CodeDenied, Reason: "revoked"}
			default:
				return filetransfer.Grant{}, nil
			}
		}
	})
	var once sync.Once
	_, err := newSender(t, r.addr, nil).Send(t.Context(), upload("a.mp4", noise(1, 64<<20)), func(filetransfer.Progress) {
		once.Do(func() { close(revoked) })
	})
	var e *filetransfer.Error
	if !errors.As(err, &e) || e.Code != filetransfer.CodeDenied {
		t.Errorf("got %v, want denied", err)
	}
}

// TestLocked refuses a second receiver on the same folder.
func TestLocked(t *testing.T) {
	r := startReceiver(t, nil)
	if d, err := dirstore.OpenDir(r.dir); err == nil {
		t.Error("two receivers have the folder", d.Close())
	}
}

// TestSweep forgets what has expired and keeps the rest.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	r := startReceiverIn(t, dir, dirstore.Params{}, nil)
	cut := dialPeer(t, r.addr)
	cut.send('H', greeting("a.mp4", 10))
	cut.expect('O', nil)
	cut.raw(peerFrame('D', []byte("hello")))
	_ = cut.Close() // in the middle
	waitFor(t, func() bool { return r.Totals().Broken == 1 })
	whole := noise(2, 1000)
	if _, err := newSender(t, r.addr, nil).Send(t.Context(), upload("b.mp4", whole), nil); err != nil {
		t.Fatal(err)
	}
	r.stop()

	fsys, err := dirstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	store, err := dirstore.New(fsys, dirstore.Params{})
	if err != nil {
		t.Fatal(err)
	}
	left := func(now time.Time, pattern string) int {
		t.Helper()
		if err := store.Sweep(now); err != nil {
			t.Error(err)
		}
		found, err := filepath.Glob(filepath.Join(dir, ".lenscast", pattern))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	const day = 24 * time.Hour
	if n := left(time.Now().Add(6*day), "partial/hero/*"); n != 2 {
		t.Errorf("after 6 days %d files of an unfinished one are left, want 2", n)
	}
	if n := left(time.Now().Add(8*day), "partial/hero/*"); n != 0 {
		t.Errorf("after 8 days %d are left, want 0", n)
	}
	if n := left(time.Now().Add(29*day), "done/*"); n != 1 {
		t.Errorf("after 29 days %d confirmations are known, want 1", n)
	}
	if n := left(time.Now().Add(31*day), "done/*"); n != 0 {
		t.Errorf("after 31 days %d are known, want 0", n)
	}
	wantFile(t, dir, "hero/roof/2026-11-22/b.mp4", whole)
}

// TestPace tells the pacing hook of every byte of content, when it has been sent.
func TestPace(t *testing.T) {
	r := startReceiver(t, nil)
	const size = 100_001
	var paced, sent int64
	s := newSender(t, r.addr, func(p *filetransfer.SenderParams) {
		p.DSCP, p.PacedBytes = 8, 5000
		p.Pace = func(_ context.Context, n int) error {
			if n > 5000 {
				t.Errorf("sent %d bytes at once", n)
			}
			if paced += int64(n); paced != sent {
				t.Errorf("told of %d bytes when %d were sent", paced, sent)
			}
			return nil
		}
	})
	if err := s.SetPacing(1e9); err != nil && runtime.GOOS == "linux" {
		t.Error(err)
	}
	u := upload("a.mp4", nil)
	u.File.Size, u.Content = size, bytes.NewReader(noise(1, size))
	progress := func(p filetransfer.Progress) { sent = p.Sent }
	if _, err := s.Send(t.Context(), u, progress); err != nil || paced != size {
		t.Errorf("paced %d of %d bytes, %v", paced, size, err)
	}
	if runtime.GOOS == "linux" {
		info, ok := s.TCPInfo()
		if !ok || info.State != "ESTABLISHED" || info.Sent < size || info.PacingRate > 1e9 {
			t.Errorf("TCP_INFO is %+v, %v", info, ok)
		}
	}
}

// TestLimitInWords tells what limits a connection.
func TestLimitInWords(t *testing.T) {
	base := filetransfer.TCPInfo{Age: 10 * time.Second, Busy: 9 * time.Second, Sent: 1e9, RTT: 20 * time.Millisecond, MinRTT: 15 * time.Millisecond}
	for want, change := range map[string]func(*filetransfer.TCPInfo){
		"too early to tell": func(i *filetransfer.TCPInfo) { i.Age = 0 },
		"this side is the limit: reading the file, or the rate it may use":              func(i *filetransfer.TCPInfo) { i.Busy = time.Second },
		"the receiver is the limit: its disk or its processor":                          func(i *filetransfer.TCPInfo) { i.WaitReceiver = 8 * time.Second },
		"the network is the limit: it loses 5.0 %":                                      func(i *filetransfer.TCPInfo) { i.Resent = 5e7 },
		"this side's socket buffer is the limit: the path is longer than it allows for": func(i *filetransfer.TCPInfo) { i.WaitSendSpace = 8 * time.Second },
		"the network is the limit: packets wait 185ms in its queues":                    func(i *filetransfer.TCPInfo) { i.RTT = 200 * time.Millisecond },
		"the network is the limit":                                                      func(*filetransfer.TCPInfo) {},
	} {
		i := base
		change(&i)
		if got := i.Limit(); got != want {
			t.Errorf("%+v: got %q, want %q", i, got, want)
		}
	}
}

// TestShutdown ends a receiver in the middle of a file: what has come is kept.
func TestShutdown(t *testing.T) {
	dir := t.TempDir()
	r := startReceiverIn(t, dir, dirstore.Params{}, nil)
	p := dialPeer(t, r.addr)
	p.send('H', greeting("clip.mp4", 10))
	p.expect('O', object{"state": "new"})
	p.raw(peerFrame('D', []byte("hello")))
	waitFor(t, func() bool { l := r.Transfers(); return len(l) == 1 && l[0].Sent == 5 })
	go r.stop()
	p.expect('X', object{"code": "shutdown"})
	if _, err := io.Copy(io.Discard, p); err != nil {
		t.Error(err)
	}
	_ = p.Close() // the receiver waits for it
	r.stop()
	again := startReceiverIn(t, dir, dirstore.Params{}, nil)
	next := dialPeer(t, again.addr)
	next.send('H', greeting("clip.mp4", 10))
	next.expect('O', object{"state": "partial", "offset": 5})
	if _, err := os.Stat(filepath.Join(dir, "hero")); err == nil {
		t.Error("an unfinished file has a name")
	}
}
