// Package offload brings every finished recording to a server, exactly once.
//
// # State is files
//
// What is to be sent is what the archive has and has not marked as sent: there
// is no list beside it that could differ. A recording is marked, durably, after
// the server has confirmed that it is on its disk with the digest that was noted
// while it was recorded; and only what is marked may be deleted, which is the
// archive's business. So whatever crashes, the next start finds the truth.
//
// The server knows a recording by an ID made of that digest. It is the same for
// every attempt and never used for another recording, so what was confirmed just
// before a crash is offered again, and answered with "have".
//
// # Several servers
//
// A recording goes to the first server that takes it, not to all: copies are
// better made by servers. A server that does not answer, has no room or refuses
// is left alone for a while, and the next one takes over meanwhile. When the
// first one dies between taking a recording and saying so, the next one gets it
// too: twice is better than never.
//
// # Trying again
//
// What went wrong with a server pauses that server; what went wrong with a
// recording pauses that recording, and the others go on. What only a person can
// cure is not hammered: a server that refuses is asked every ten minutes, a
// recording that can't be sent when somebody says so. When the network changes,
// all pauses end.
package offload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

// ErrUnknown is the error for a recording that does not wait.
var ErrUnknown = errors.New("no such recording waits to be offloaded")

// Recording is a finished recording that is to be sent.
type Recording struct {
	ID       string // what people know it by
	Camera   string // a folder at the server
	Name     string // of the file at the server
	Size     int64  // bytes
	Ended    time.Time
	Modified time.Time // tells the date folder at the server; 1970 to 9999
	SHA256   filetransfer.Digest
}

// fileID is what the server knows the recording by.
func (r *Recording) fileID() string { return r.SHA256.String()[:32] }

// Archive is where the recordings are. Errors that wrap ErrUnknown say that a
// recording is gone, or needs not be sent any more.
type Archive interface {
	// Unsent returns what is to be sent, oldest first.
	Unsent() []Recording
	// Open opens a recording, which then stays until Close.
	Open(id string) (Content, error)
	// SetConfirmed marks a recording as sent. When it returns nil, the mark
	// is durable.
	SetConfirmed(id, server string, r filetransfer.Receipt) error
	// SetDropped marks a recording as not to be sent, or takes that back.
	SetDropped(id string, dropped bool) error
}

// Content is an open recording.
type Content interface {
	io.ReaderAt
	io.Closer
}

// Sender is what the queue needs of a [filetransfer.Sender].
type Sender interface {
	Send(ctx context.Context, u *filetransfer.Upload, progress func(filetransfer.Progress)) (filetransfer.Receipt, error)
	SetPacing(bitsPerSecond int64) error
	TCPInfo() (filetransfer.TCPInfo, bool)
	Close() error
}

var _ Sender = (*filetransfer.Sender)(nil)

// Params are the parameters of New. Archive, Servers, Clock, Live and Log are
// needed.
type Params struct {
	Archive Archive
	// Servers are tried in this order. Timeout, Pace, DSCP and Dial are set
	// by the queue.
	Servers []filetransfer.SenderParams

	NewestFirst bool
	Windows     []Window // times of day when it may send, none: all day
	Interface   string   // the only network interface to send over, empty: any
	MaxRate     int64    // bit/s, 0: any

	// Busy tells why the live picture wants the network for itself, in words;
	// empty when it does not. Nil: never.
	Busy func() string
	// Live tells how the live picture fares, see package yield.
	Live func() yield.Live
	// Clock tells the time of day, and whether it is known to be right.
	Clock func() (now time.Time, trusted bool)

	Log *slog.Logger

	// Connect and Network are for tests; nil: real ones.
	Connect func(filetransfer.SenderParams) (Sender, error)
	Network Network
}

// Queue sends recordings, one after the other.
type Queue struct {
	p     Params
	wake  chan struct{} // holds a token when Run has something to look at
	rules *schedule

	refreshing sync.Mutex // held by refresh

	mu      sync.Mutex
	entries []*entry // as the archive has them: oldest first
	servers []*server
	tried   *server  // last
	link    *link    // the open connection, nil without one
	current *current // what is being sent, nil when nothing is
	held    string   // why nothing may be sent now, empty when it may
	logged  string   // the failure that was logged last
	totals  totals
}

// totals count since the start.
type totals struct {
	recordings, bytes uint64
	last              time.Time // when one was confirmed
}

// current is a recording on its way.
type current struct {
	entry    *entry
	server   *server
	progress filetransfer.Progress
	cut      context.CancelCauseFunc
	moved    time.Time // when it got on last
	measured int64     // bytes sent at the last look
	rate     float64   // bit/s
}

// New makes a queue. It does nothing until Run.
func New(p Params) (*Queue, error) {
	if p.Connect == nil {
		p.Connect = func(params filetransfer.SenderParams) (Sender, error) { return filetransfer.NewSender(params) }
	}
	if p.Network == nil {
		p.Network = systemNetwork{}
	}
	if len(p.Servers) == 0 {
		return nil, errors.New("offload: there is no server")
	}
	q := &Queue{p: p, wake: make(chan struct{}, 1), rules: newSchedule(&p)}
	for i, params := range p.Servers {
		params.Timeout, params.DSCP, params.Dial = silence, dscpCS1, dialer(p.Interface)
		q.servers = append(q.servers, newServer(params, i+1 < len(p.Servers)))
	}
	q.tried = q.servers[0]
	return q, nil
}

// Wake tells the queue that there may be something new in the archive. It does
// not block.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends and returns the context's error. What was being sent
// goes on at the next start from the server's last checkpoint.
func (q *Queue) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	watchCtx, stop := context.WithCancel(ctx)
	q.look(time.Now())
	watching.Go(func() { q.watch(watchCtx) })
	defer func() {
		stop()
		watching.Wait()
		q.disconnect()
	}()
	for ctx.Err() == nil {
		e, s, pause := q.next(time.Now())
		if e != nil {
			q.attempt(ctx, e, s)
			continue
		}
		q.disconnect()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return ctx.Err()
}

// next chooses what to send and where. When there is nothing, pause tells for
// how long, unless the queue is woken.
func (q *Queue) next(now time.Time) (e *entry, s *server, pause time.Duration) {
	q.refresh()
	q.mu.Lock()
	defer q.mu.Unlock()
	pause = forever
	if q.held != "" || len(q.entries) == 0 {
		return nil, nil, pause
	}
	for _, candidate := range q.servers {
		if wait := candidate.until.Sub(now); wait > 0 {
			pause = min(pause, wait)
		} else if s == nil {
			s = candidate
		}
	}
	if s == nil {
		return nil, nil, pause
	}
	for i := range q.entries {
		e := q.entries[i]
		if q.p.NewestFirst {
			e = q.entries[len(q.entries)-1-i]
		}
		if wait := e.next.Sub(now); e.state == Failed {
			continue
		} else if wait > 0 {
			pause = min(pause, wait)
			continue
		}
		return e, s, 0
	}
	return nil, nil, pause
}

// forever is a pause that somebody else ends.
const forever = 24 * time.Hour

// refresh brings the queue in line with the archive.
func (q *Queue) refresh() {
	q.refreshing.Lock() // so that none comes after a newer one
	defer q.refreshing.Unlock()
	list := q.p.Archive.Unsent()
	q.mu.Lock()
	defer q.mu.Unlock()
	known := make(map[string]*entry, len(q.entries))
	for _, e := range q.entries {
		known[e.ID] = e
	}
	entries := make([]*entry, len(list))
	for i, r := range list {
		if entries[i] = known[r.ID]; entries[i] == nil {
			entries[i] = newEntry(r)
		}
	}
	q.entries = entries
}

// find returns the entry of a recording, or nil. The caller holds the mutex.
func (q *Queue) find(id string) *entry {
	for _, e := range q.entries {
		if e.ID == id {
			return e
		}
	}
	return nil
}

// Retry sends a recording as soon as its turn comes, whatever was wrong with it,
// also when it was dropped. An empty id is all that wait. The error wraps
// ErrUnknown.
func (q *Queue) Retry(id string) error {
	q.mu.Lock()
	e := q.find(id)
	q.mu.Unlock()
	if id != "" && e == nil {
		if err := q.p.Archive.SetDropped(id, false); err != nil {
			return err
		}
		q.refresh()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	found := id == ""
	for _, e := range q.entries {
		if id == "" || e.ID == id {
			found = true
			e.again()
		}
	}
	if !found {
		return fmt.Errorf("recording %q: %w", id, ErrUnknown)
	}
	for _, s := range q.servers {
		s.again()
	}
	q.Wake()
	return nil
}

// Drop takes a recording out of the queue for good. It is not deleted. The error
// wraps ErrUnknown.
func (q *Queue) Drop(id string) error {
	q.mu.Lock()
	e := q.find(id)
	q.mu.Unlock()
	if e == nil {
		return fmt.Errorf("recording %q: %w", id, ErrUnknown)
	}
	if err := q.p.Archive.SetDropped(id, true); err != nil {
		return err
	}
	q.mu.Lock()
	if q.current != nil && q.current.entry == e {
		q.current.cut(errDropped)
	}
	q.mu.Unlock()
	q.refresh()
	return nil
}
