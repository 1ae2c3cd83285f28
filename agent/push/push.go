// Package push keeps one stream going to one destination: it connects, sends,
// notices that the other end is gone, says so, and tries again for ever.
//
// How the pictures travel is the business of a [Pusher], of transport/udp for
// example. Every push of a camera has a reader of its own, so that one that
// fails harms no other.
package push

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/transport/packet"
)

// Pusher sends pictures to one destination.
type Pusher interface {
	// Run connects and sends until ctx ends, or until it fails and says why.
	// It calls receivers when it is open for them (0), and whenever their
	// number changes. A Pusher for one address goes from nothing to 1. The
	// error may be a [Refusal].
	Run(ctx context.Context, receivers func(n int)) error

	// Stats returns what was sent, in all runs together.
	Stats() packet.Stats
}

// Interruptible is a Pusher that mends a connection without ending Run.
type Interruptible interface {
	// Interrupted returns why nothing gets through at the moment, nil when it
	// does.
	Interrupted() error
}

// Refusal is an error of a server that was reached and said no. It is tried
// again all the same, for whoever can change its mind may do so, but not as
// often as one that does not answer.
type Refusal interface {
	error

	// RetryAfter returns how long the server asked to be left alone, 0 when
	// it did not.
	RetryAfter() time.Duration
}

const (
	// minPause and the MaxPause of the parameters bound the time between a
	// failure and the next attempt.
	minPause = 100 * time.Millisecond

	// The same after a refusal.
	minRefusedPause = time.Second
	maxRefusedPause = 30 * time.Second

	// steady is how long a connection must have held for the next attempt to
	// be made at once.
	steady = 5 * time.Second

	// quiet is how long the camera may give nothing before it is said.
	quiet = 3 * time.Second

	watchInterval = time.Second
)

// Params are the parameters of New. All are needed.
type Params struct {
	Camera      string
	Destination string // for people, without secrets
	Pusher      Pusher

	// MaxPause is the longest pause between two attempts: short where one
	// costs a datagram, longer where it costs the server work.
	MaxPause time.Duration

	Log *slog.Logger
}

// Push is one push of one camera.
type Push struct {
	p Params

	mu        sync.Mutex
	status    Status
	connected time.Time // since when there is a receiver; zero without one
	announced bool      // that there is one
	logged    string    // the failure that was logged last
	bytes     uint64    // sent at the last look
}

// New makes a push. It does nothing until Run.
func New(p Params) *Push {
	p.Log = p.Log.With("camera", p.Camera, "push", p.Destination)
	return &Push{p: p, status: Status{Camera: p.Camera, Destination: p.Destination, State: Idle, Since: time.Now()}}
}

// Status returns what the push does now. It may be called at any time.
func (p *Push) Status() Status {
	stats := p.p.Pusher.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.status
	st.Stats = stats
	if i, ok := p.p.Pusher.(Interruptible); ok && (st.State == Sending || st.State == NoPicture) {
		if why := i.Interrupted(); why != nil {
			st.State, st.Reason = Interrupted, why.Error()
		}
	}
	return st
}

// Run pushes until ctx ends and returns the context's error; whatever happens
// to the connection is a state and not an end.
func (p *Push) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	watchCtx, stop := context.WithCancel(ctx)
	watching.Go(func() { p.watch(watchCtx) })
	defer func() {
		stop()
		watching.Wait()
		p.enter(Idle)
	}()

	backoff := retry.New(retry.Policy{Floor: minPause, Cap: max(p.p.MaxPause, minPause)})
	refusals := retry.New(retry.Policy{Floor: minRefusedPause, Cap: maxRefusedPause})
	for {
		p.enter(Connecting)
		err := p.p.Pusher.Run(ctx, p.receivers)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		held := p.failed(err)
		if held >= steady {
			backoff.Reset()
			refusals.Reset()
		}
		var refusal Refusal
		switch {
		case errors.As(err, &refusal):
			err = retry.Sleep(ctx, max(refusals.Next(), atLeast(refusal.RetryAfter())))
		case held >= steady:
			err = ctx.Err()
		default:
			err = backoff.Wait(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// atLeast returns d and up to a tenth more, so that not all cameras that were
// sent away come back at the same time.
func atLeast(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// receivers is what the Pusher calls.
func (p *Push) receivers(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case n > 0:
		if p.connected.IsZero() {
			p.connected = time.Now()
		}
		p.status.Reason = ""
		p.set(Sending)
	default:
		p.connected, p.announced = time.Time{}, false
		p.status.Reason = ""
		p.set(Listening)
	}
}

// failed notes why a run ended, and returns how long it had a receiver. The
// same reason is logged once only, however often it comes in a row.
func (p *Push) failed(err error) (held time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.connected.IsZero() {
		held = time.Since(p.connected)
		p.connected, p.announced = time.Time{}, false
	}
	p.status.Failures++
	p.status.Reason = err.Error()
	p.set(Waiting)
	if p.logged != p.status.Reason {
		p.logged = p.status.Reason
		p.p.Log.Warn("push failed, trying again", "error", err)
	}
	return held
}

func (p *Push) enter(s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(s)
}

// set changes the state. p.mu is held.
func (p *Push) set(s State) {
	if s != p.status.State {
		p.status.State, p.status.Since = s, time.Now()
	}
}

// watch measures, and notices that the camera gives nothing, until ctx ends.
func (p *Push) watch(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			p.look(now)
		}
	}
}

func (p *Push) look(now time.Time) {
	stats := p.p.Pusher.Stats()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Bitrate = float64(stats.Bytes-p.bytes) * 8 / watchInterval.Seconds()
	p.bytes = stats.Bytes
	if !p.connected.IsZero() && !p.announced && now.Sub(p.connected) >= watchInterval {
		// Not sooner: a server that throws out everybody at once would fill
		// the log.
		p.p.Log.Info("push is connected")
		p.announced, p.logged = true, ""
	}
	still := now.Sub(stats.LastPicture) > quiet
	switch {
	case p.status.State == Sending && still && now.Sub(p.status.Since) > quiet:
		p.set(NoPicture)
	case p.status.State == NoPicture && !still:
		p.set(Sending)
	}
}
