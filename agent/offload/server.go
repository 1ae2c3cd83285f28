package offload

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// silence is how long a server may say nothing. It owes a word every 10 s
	// (PROTOCOL.md, ACK).
	silence = 15 * time.Second

	// dscpCS1 marks the packets as worth less than all others (RFC 8622 and
	// before it RFC 3662 call it lower effort).
	dscpCS1 = 8

	// outage is how long a server may be away until somebody should look after
	// it.
	outage = 10 * time.Minute

	// refusedPause is how often a server that refuses is asked whether it still
	// does.
	refusedPause = 10 * time.Minute
)

var (
	// A server that is down costs it nothing to be asked, and a recording
	// should not wait for long once it is back.
	serverRetry = retry.Policy{Floor: 500 * time.Millisecond, Cap: 30 * time.Second}
	// One that has another to fall back on is asked less: each time it does not
	// answer the recordings wait for it.
	fallenRetry = retry.Policy{Floor: 5 * time.Second, Cap: 5 * time.Minute}
	// entryRetry is for what is wrong with one recording.
	entryRetry = retry.Policy{Floor: 5 * time.Second, Cap: 10 * time.Minute}
)

// server is a receiver and how it fares. It is guarded by the mutex of the
// queue, params apart.
type server struct {
	params  filetransfer.SenderParams
	backoff *retry.Backoff
	until   time.Time // it is left alone until then
	reason  string    // why, in words; empty while it works
	since   time.Time // it has not worked since then; with reason
	refused bool      // and only a person can cure it
}

func newServer(params filetransfer.SenderParams, more bool) *server {
	policy := serverRetry
	if more {
		policy = fallenRetry
	}
	return &server{params: params, backoff: retry.New(policy)}
}

// works notes that it does.
func (s *server) works() {
	s.again()
	s.reason, s.refused = "", false
}

// again lets it be tried at once.
func (s *server) again() {
	s.until = time.Time{}
	s.backoff.Reset()
}

// pause leaves it alone for a while, at least as long as it asked for.
func (s *server) pause(now time.Time, reason string, atLeast time.Duration) {
	if s.reason == "" {
		s.since = now
	}
	s.reason = reason
	s.until = now.Add(max(s.backoff.Next(), atLeast))
}

// link is an open connection to a server, with what paces it.
type link struct {
	server *server
	sender Sender
	pace   *yield.Controller
	stop   func()
}

// connect returns the connection to s, which stays open from one recording to
// the next. Only the goroutine of Run calls it.
func (q *Queue) connect(s *server) (*link, error) {
	if q.link != nil && q.link.server == s {
		return q.link, nil
	}
	q.disconnect()
	l := &link{server: s}
	l.pace = yield.New(yield.Params{
		Cap: q.p.MaxRate, Live: q.p.Live,
		Path: func() (filetransfer.TCPInfo, bool) { return l.sender.TCPInfo() },
		// Where the kernel does not pace, the token bucket of Pace alone does.
		Set: func(bitsPerSecond int64) { _ = l.sender.SetPacing(bitsPerSecond) },
	})
	params := s.params
	params.Pace = l.pace.Pace
	var err error
	if l.sender, err = q.p.Connect(params); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var pacing sync.WaitGroup
	pacing.Go(func() { _ = l.pace.Run(ctx) }) // ends with the context
	l.stop = func() {
		cancel()
		pacing.Wait()
		_ = l.sender.Close() // every recording was confirmed or is sent again
	}
	q.mu.Lock()
	q.link = l
	q.mu.Unlock()
	return l, nil
}

// disconnect closes the connection, if there is one.
func (q *Queue) disconnect() {
	q.mu.Lock()
	l := q.link
	q.link = nil
	q.mu.Unlock()
	if l != nil {
		l.stop()
	}
}

// dialer connects over one network interface, or over any when name is empty.
func dialer(name string) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: silence, Interval: silence / 3, Count: 3,
	}}
	if name != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var bound error
			// Unprivileged processes may since Linux 5.7.
			err := c.Control(func(fd uintptr) {
				bound = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name)
			})
			if err == nil && bound != nil {
				err = fmt.Errorf("send over %s only: %w", name, bound)
			}
			return err
		}
	}
	return d.DialContext
}
