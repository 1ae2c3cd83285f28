package offload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

func TestOrder(t *testing.T) {
	for newest, order := range map[bool]string{false: "a.mp4 b.mp4 c.mp4 d.mp4", true: "c.mp4 d.mp4 b.mp4 a.mp4"} {
		s, w := newShelf("a", "b", "c"), newWorld()
		w.takes = time.Minute
		run(t, Params{Archive: s, Connect: w.connect, NewestFirst: newest}, func(q *Queue, _ *wires) {
			wait(30 * time.Second)
			s.add("d") // finished while another one is being sent
			q.Wake()
			st := q.Status()
			if st.State != Sending || st.Waiting != 4 || st.Rate <= 0 || st.Left <= 0 || st.Sent <= 0 || st.Bytes != 4000-st.Sent {
				t.Errorf("%+v", st)
			}
			wait(5 * time.Minute)
			if got := w.got(); got != order {
				t.Errorf("sent %s, want %s", got, order)
			}
			if st := q.Status(); st.State != Idle || st.Recordings != 4 || st.BytesSent != 4000 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A server that does not answer is asked again and again, never in a busy loop,
// and at once when the network has changed.
func TestServerGone(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	w.fail["one:1"] = fmt.Errorf("connect: %w", syscall.ECONNREFUSED)
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, n *wires) {
		wait(time.Minute)
		if st := q.Status(); st.Problem != "" { // it may be back soon
			t.Errorf("%+v", st)
		}
		wait(time.Hour - time.Minute)
		want(t, q, "a", Retrying, "is lenscast receive running there?")
		want(t, q, "b", Waiting, "")
		if st := q.Status(); st.State != Retrying || !strings.Contains(st.Reason, "one:1 does not answer") || st.Problem != "offload: "+st.Reason {
			t.Errorf("%+v", st)
		}
		if n := w.count("one:1"); n < 100 || n > 500 {
			t.Errorf("%d tries in an hour", n)
		}
		w.set(func() { w.fail["one:1"] = nil })
		q.mu.Lock()
		q.servers[0].until = time.Now().Add(time.Minute)
		q.mu.Unlock()
		wait(2 * time.Second)
		if got := w.got(); got != "" {
			t.Errorf("sent %s in the pause", got)
		}
		n.set(nil)
		wait(2 * time.Second)
		if got := w.got(); got != "a.mp4 b.mp4" {
			t.Errorf("sent %s after the network had changed", got)
		}
	})
}

// A transfer that stands still when the network changes is begun anew.
func TestNetworkChangesMeanwhile(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	w.takes = 20 * time.Second
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, n *wires) {
		wait(5 * time.Second)
		n.set(nil) // it moves, so nothing is cut
		wait(2 * time.Second)
		if w.count("one:1") != 1 {
			t.Errorf("%d tries", w.count("one:1"))
		}
		w.set(func() { w.stuck = true })
		wait(10 * time.Second)
		n.set(nil)
		wait(1500 * time.Millisecond)
		w.set(func() { w.stuck = false })
		wait(30 * time.Second)
		if w.count("one:1") != 2 || w.got() != "a.mp4" {
			t.Errorf("%d tries, sent %s", w.count("one:1"), w.got())
		}
	})
}

func TestFallback(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	w.fail["one:1"] = &filetransfer.Error{Code: filetransfer.CodeFull, Reason: "the disk is full", RetryAfter: time.Minute}
	run(t, Params{Archive: s, Connect: w.connect, Servers: servers("one:1", "two:2")}, func(q *Queue, _ *wires) {
		wait(time.Second)
		if s.confirmed["a"] != "two:2" || w.count("one:1") != 1 {
			t.Errorf("a went to %q after %d tries at the first", s.confirmed["a"], w.count("one:1"))
		}
		s.add("b") // the first is still left alone, as it asked for
		q.Wake()
		wait(time.Second)
		if s.confirmed["b"] != "two:2" || w.count("one:1") != 1 {
			t.Errorf("b went to %q after %d tries at the first", s.confirmed["b"], w.count("one:1"))
		}
		w.set(func() { w.fail["one:1"] = nil })
		wait(10 * time.Minute)
		s.add("c")
		q.Wake()
		wait(time.Second)
		if s.confirmed["c"] != "one:1" {
			t.Errorf("c went to %q", s.confirmed["c"])
		}
	})
}

// What only a person can cure is not hammered, and goes on when they say so.
func TestRefusal(t *testing.T) {
	for want, err := range map[string]error{
		"denied: wrong token; see token_file": &filetransfer.Error{Code: filetransfer.CodeDenied, Reason: "wrong token"},
		"is not the server that was meant":    &tls.CertificateVerificationError{Err: errors.New("another key")},
		`remove tls = "off" from [offload]`:   filetransfer.ErrInsecure,
		"protocol: this is a web server":      &filetransfer.Error{Code: filetransfer.CodeProtocol, Reason: "this is a web server"},
	} {
		s, w := newShelf("a", "b"), newWorld()
		w.fail["one:1"] = err
		run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
			wait(time.Hour)
			if n := w.count("one:1"); n > 7 {
				t.Errorf("%d tries in an hour", n)
			}
			st := q.Status()
			if st.State != Retrying || !strings.Contains(st.Reason, want) || !strings.Contains(st.Problem, want) {
				t.Errorf("%+v", st)
			}
			w.set(func() { w.fail["one:1"] = nil })
			if err := q.Retry(""); err != nil {
				t.Error(err)
			}
			wait(time.Second)
			if got := w.got(); got != "a.mp4 b.mp4" {
				t.Errorf("sent %s", got)
			}
		})
	}
}

// A recording that can't be sent does not stop those behind it.
func TestFailedRecording(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	s.readErr = syscall.EIO
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(time.Second)
		want(t, q, "a", Failed, "input/output error")
		s.mu.Lock()
		s.readErr = nil
		s.mu.Unlock()
		s.add("b")
		q.Wake()
		wait(time.Hour)
		if got := w.got(); got != "b.mp4" || w.count("one:1") != 2 {
			t.Errorf("sent %s in %d tries", got, w.count("one:1"))
		}
		if st := q.Status(); st.State != Failed || st.Failed != 1 || !strings.Contains(st.Problem, "input/output error") {
			t.Errorf("%+v", st)
		}
		if err := q.Retry("a"); err != nil {
			t.Error(err)
		}
		wait(time.Second)
		if got := w.got(); got != "b.mp4 a.mp4" {
			t.Errorf("sent %s", got)
		}
	})
}

// A digest other than the one that was noted while recording is no
// confirmation.
func TestLyingServer(t *testing.T) {
	s, w := newShelf("a"), newWorld()
	w.lie = true
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(time.Hour)
		want(t, q, "a", Failed, "the server confirms the SHA-256")
		if len(s.confirmed) != 0 || w.count("one:1") != 2 {
			t.Errorf("confirmed %v after %d tries", s.confirmed, w.count("one:1"))
		}
	})
}

// What may be the recording's fault lets others go first.
func TestTroublesomeRecording(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	w.fail["one:1"] = &filetransfer.Error{Code: filetransfer.CodeStorage, Reason: "the disk fails"}
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(100 * time.Millisecond)
		w.set(func() { w.fail["one:1"] = nil })
		wait(time.Minute)
		if got := w.got(); got != "b.mp4 a.mp4" {
			t.Errorf("sent %s", got)
		}
	})
}

func TestDrop(t *testing.T) {
	s, w := newShelf("a", "b", "c"), newWorld()
	w.takes = time.Minute
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(10 * time.Second)
		for _, id := range []string{"a", "c"} { // a is being sent
			if err := q.Drop(id); err != nil {
				t.Error(err)
			}
		}
		wait(10 * time.Minute)
		if got := w.got(); got != "b.mp4" || !s.dropped["a"] || !s.dropped["c"] {
			t.Errorf("sent %s, dropped %v", got, s.dropped)
		}
		if err := q.Retry("c"); err != nil {
			t.Error(err)
		}
		wait(10 * time.Minute)
		if got := w.got(); got != "b.mp4 c.mp4" {
			t.Errorf("sent %s", got)
		}
		for _, err := range []error{q.Drop("c"), q.Drop("none"), q.Retry("none"), q.Retry("b")} {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%v", err)
			}
		}
	})
}

// A recording that is deleted while it waits or is sent leaves the queue.
func TestDeleted(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	w.takes = time.Minute
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(10 * time.Second)
		s.mu.Lock()
		clear(s.files)
		s.mu.Unlock()
		wait(10 * time.Minute)
		if st := q.Status(); st.State != Idle || st.Problem != "" {
			t.Errorf("%+v", st)
		}
	})
}

// While the mark can't be made, nothing else is sent, and nothing twice.
func TestMarkFails(t *testing.T) {
	s, w := newShelf("a", "b"), newWorld()
	s.markErr = syscall.ENOSPC
	run(t, Params{Archive: s, Connect: w.connect}, func(q *Queue, _ *wires) {
		wait(10 * time.Minute)
		want(t, q, "a", Confirmed, "no space left on device")
		if got := w.got(); got != "a.mp4" {
			t.Errorf("sent %s", got)
		}
		s.mu.Lock()
		s.markErr = nil
		s.mu.Unlock()
		wait(time.Minute)
		if got := w.got(); got != "a.mp4 b.mp4" || s.confirmed["a"] == "" {
			t.Errorf("sent %s, confirmed %v", got, s.confirmed)
		}
	})
}

func TestWords(t *testing.T) {
	s := newServer(servers("nas:9000")[0], false)
	for want, err := range map[string]error{
		"nas:9000 has said nothing for 15s":   fmt.Errorf("wait for OFFER: %w", context.DeadlineExceeded),
		"nas:9000 has ended the connection":   fmt.Errorf("send: %w", syscall.EPIPE),
		"nas:9000 says: full: no room; make":  &filetransfer.Error{Code: filetransfer.CodeFull, Reason: "no room"},
		"the recording is not what it was":    fmt.Errorf("%w: it ends at 5", filetransfer.ErrChanged),
		"nas:9000: connect: no route to host": fmt.Errorf("connect: %w", syscall.EHOSTUNREACH),
	} {
		if got := inWords(s, err); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
