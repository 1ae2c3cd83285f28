package offload

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

func TestWindow(t *testing.T) {
	night, noon := Window{22 * time.Hour, 6 * time.Hour}, Window{12 * time.Hour, 13 * time.Hour}
	for at, want := range map[time.Duration][2]bool{
		0: {true, false}, 6*time.Hour - 1: {true, false}, 6 * time.Hour: {false, false},
		12 * time.Hour: {false, true}, 13 * time.Hour: {false, false}, 22 * time.Hour: {true, false}, 24*time.Hour - 1: {true, false},
	} {
		if got := [2]bool{night.has(at), noon.has(at)}; got != want {
			t.Errorf("at %v: %v, want %v", at, got, want)
		}
	}
	if got := night.String(); got != "22:00-06:00" {
		t.Error(got)
	}
}

// A window cuts a transfer off when it closes, and goes on when it opens.
func TestWindows(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	w.takes = 40 * time.Minute
	start := time.Date(2026, 11, 22, 5, 0, 0, 0, time.Local)
	var began time.Time
	p := Params{
		Archive: s, Connect: w.connect, Windows: []Window{{22 * time.Hour, 6 * time.Hour}, {12 * time.Hour, 12*time.Hour + time.Minute}},
		Clock: func() (time.Time, bool) {
			if began.IsZero() {
				began = time.Now()
			}
			return start.Add(time.Since(began)), true
		},
	}
	run(t, p, func(q *Queue, _ *wires) {
		wait(50 * time.Minute) // 5:50
		if got := w.got(); got != "a.mp4" {
			t.Errorf("sent %s by 5:50", got)
		}
		want(t, q, "b", Sending, "")
		wait(time.Hour) // 6:50
		want(t, q, "b", Held, "its hours are 22:00-06:00, 12:00-12:01")
		if st := q.Status(); st.State != Held || st.Recording != "" {
			t.Errorf("%+v", st)
		}
		wait(16 * time.Hour) // 22:50
		if got := w.got(); got != "a.mp4 b.mp4" {
			t.Errorf("sent %s by 22:50", got)
		}
		if n := w.count("one:1"); n != 4 { // b: in the morning, for a minute at noon, and in the evening
			t.Errorf("%d tries", n)
		}
	})
}

// Without a clock that is known to be right windows hold for ten minutes only.
func TestWindowsWithoutClock(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	p := Params{
		Archive: s, Connect: w.connect, Windows: []Window{{22 * time.Hour, 6 * time.Hour}},
		Clock: func() (time.Time, bool) { return time.Date(1970, 1, 1, 12, 0, 0, 0, time.Local), false },
	}
	run(t, p, func(q *Queue, _ *wires) {
		wait(9 * time.Minute)
		want(t, q, "a", Held, "the clock of this machine is not set yet")
		wait(2 * time.Minute)
		if got := w.got(); got != "a.mp4" {
			t.Errorf("sent %s", got)
		}
	})
}

func TestInterface(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	w.takes = time.Minute
	run(t, Params{Archive: s, Connect: w.connect, Interface: "wlan0"}, func(q *Queue, n *wires) {
		n.set(errors.New("wlan0 is not connected"))
		wait(time.Hour)
		want(t, q, "a", Held, "wlan0 is not connected")
		if w.count("one:1") != 1 {
			t.Errorf("%d tries", w.count("one:1"))
		}
		n.set(nil)
		wait(90 * time.Second)
		n.set(errors.New("wlan0 is not connected"))
		wait(time.Hour)
		want(t, q, "b", Held, "wlan0 is not connected")
		if got := w.got(); got != "a.mp4" || w.count("one:1") != 3 {
			t.Errorf("sent %s in %d tries", got, w.count("one:1"))
		}
		n.set(nil)
		wait(90 * time.Second)
		if got := w.got(); got != "a.mp4 b.mp4" {
			t.Errorf("sent %s", got)
		}
	})
}

// Who looks stops the transfer within a second, and who looks again at once
// meets none.
func TestIdle(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	w.takes = time.Minute
	var watched atomic.Bool
	busy := func() string {
		if watched.Load() {
			return "somebody watches camera hero"
		}
		return ""
	}
	run(t, Params{Archive: s, Connect: w.connect, Busy: busy}, func(q *Queue, _ *wires) {
		wait(10 * time.Second)
		want(t, q, "a", Sending, "")
		watched.Store(true)
		wait(1100 * time.Millisecond)
		want(t, q, "a", Held, "somebody watches camera hero")
		wait(time.Hour)
		watched.Store(false)
		wait(9 * time.Second)
		want(t, q, "a", Held, "until just now")
		wait(2 * time.Minute)
		if got := w.got(); got != "a.mp4" || w.count("one:1") != 2 {
			t.Errorf("sent %s in %d tries", got, w.count("one:1"))
		}
	})
}

func TestSystemNetwork(t *testing.T) {
	n := systemNetwork{}
	if _, err := n.Watch(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Connected("none0"); err == nil || err.Error() != "there is no network interface none0" {
		t.Errorf("%v", err)
	}
	if err := n.Connected("lo"); err != nil {
		t.Errorf("%v", err)
	}
}
