package status

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// systemd listens like the service manager and returns a function that waits
// for the next note.
func systemd(t *testing.T) (next func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return func() string {
		t.Helper()
		buf := make([]byte, 4096)
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
}

func TestNotes(t *testing.T) {
	next := systemd(t)
	n := NewNotifier()
	for _, test := range []struct {
		send func() error
		want string
	}{
		{n.Ready, "READY=1"},
		{n.Stopping, "STOPPING=1"},
		{func() error { return n.Status("1 camera\nlive") }, "STATUS=1 camera live"},
	} {
		if err := test.send(); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != test.want {
			t.Errorf("sent %q, want %q", got, test.want)
		}
	}
	if err := n.Reloading(); err != nil {
		t.Fatal(err)
	}
	usec, ok := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
	if v, err := strconv.ParseInt(usec, 10, 64); !ok || err != nil || v <= 0 {
		t.Errorf("reload without a monotonic time: %q", usec)
	}
}

func TestNoSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "1000")
	n := NewNotifier()
	if err := errors.Join(n.Ready(), n.Status("x"), n.Reloading(), n.Stopping()); err != nil {
		t.Error(err)
	}
	n.RunWatchdog(t.Context(), func() error { return nil }, func(error) {}) // returns at once
}

func TestLostSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "none"))
	if err := NewNotifier().Ready(); err == nil {
		t.Error("nobody listens, and no error")
	}
}

func TestWatchdogStopsWithHealth(t *testing.T) {
	next := systemd(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Setenv("WATCHDOG_PID", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var ill atomic.Bool
	faults := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		NewNotifier().RunWatchdog(ctx, func() error {
			if ill.Load() {
				return errors.New("ill")
			}
			return nil
		}, func(err error) {
			select {
			case faults <- err:
			default:
			}
		})
	}()
	for range 3 {
		if got := next(); got != "WATCHDOG=1" {
			t.Fatalf("sent %q", got)
		}
	}
	ill.Store(true)
	if err := <-faults; err.Error() != "ill" {
		t.Errorf("fault is %v", err)
	}
	// What was sent before the fault may still wait; nothing may follow.
	note := NewNotifier()
	if err := note.Status("ill"); err != nil {
		t.Fatal(err)
	}
	for next() != "STATUS=ill" {
	}
	<-faults
	<-faults
	if err := note.Status("still ill"); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "STATUS=still ill" {
		t.Errorf("sent %q while ill", got)
	}
	cancel()
	<-done
}

func TestWatchdogOfAnotherProcess(t *testing.T) {
	systemd(t)
	t.Setenv("WATCHDOG_USEC", "1000")
	t.Setenv("WATCHDOG_PID", "1")
	NewNotifier().RunWatchdog(t.Context(), func() error { return nil }, func(error) {}) // returns at once
}
