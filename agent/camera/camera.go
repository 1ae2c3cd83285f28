// Package camera runs one camera: it opens the source, feeds the stream, tells
// in words what is wrong when no picture comes, and tries again.
package camera

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture"
)

const (
	quietAfter = 3 * time.Second  // without a picture: no signal
	deadAfter  = 15 * time.Second // without a picture: stopped and run again
	stuckAfter = 10 * time.Second // told to stop, and still running

	// steadyAfter is how long pictures must have come for a failure to be
	// the first again: less would let a source that fails after its first
	// picture be tried as fast as the floor allows, for ever.
	steadyAfter = 10 * time.Second

	// lossLogInterval is the least time between two log lines that tell of
	// lost pictures; those between are counted.
	lossLogInterval = time.Minute
)

// restart is quick at first: most failures are a cable that was touched.
var restart = retry.Policy{Floor: 250 * time.Millisecond, Cap: 4 * time.Second}

// errSilent is why a source that makes no pictures is stopped.
var errSilent = fmt.Errorf("%w: the camera stopped sending pictures and was reopened", capture.ErrNoSignal)

// Params are what a camera is made of. All are needed, but the bitrates only of
// a source that is a capture.BitrateSetter.
type Params struct {
	Name   string
	Source capture.Source
	Stream *stream.Stream
	Log    *slog.Logger

	Bitrate    int // bit/s that were asked for
	MinBitrate int // bit/s below which the network is not followed
}

// Camera runs a source and knows its state.
type Camera struct {
	p   Params
	log *slog.Logger

	mu     sync.Mutex
	status Status // but for Skipped, which the source counts
	run    run
	clock  clock
	told   struct { // by the last log line about the state
		state  State
		reason string
	}
	losses struct { // what the log line about lost pictures told, and since
		at    time.Time
		since int
	}
}

// run is what is known of the source's current Run.
type run struct {
	opened  time.Time // zero until it is
	first   time.Time // arrival of its first picture, zero until then
	last    time.Time // arrival of its newest picture
	trouble bool      // it told why no picture comes
}

// New makes a camera. It does nothing until Run.
func New(p Params) *Camera {
	return &Camera{
		p: p, log: p.Log.With("camera", p.Name),
		status: Status{Name: p.Name, State: Opening, Since: time.Now()},
	}
}

// Status returns what the camera does now. It may be called at any time.
func (c *Camera) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	if s, ok := c.p.Source.(capture.SkipCounter); ok {
		st.Skipped = s.Skipped()
	}
	return st
}

// Run runs the source, over and over, until ctx ends. It returns the context's
// error; whatever happens to the source is a state and not an end.
func (c *Camera) Run(ctx context.Context) error {
	if s, ok := c.p.Source.(capture.KeyframeForcer); ok {
		c.p.Stream.OnKeyframeWish(s.ForceKeyframe)
		defer c.p.Stream.OnKeyframeWish(nil)
	}
	if s, ok := c.p.Source.(capture.BitrateSetter); ok {
		c.p.Stream.OnBitrateWish(stream.Bitrate{Asked: c.p.Bitrate, Least: c.p.MinBitrate, Set: s.SetBitrate})
		defer c.p.Stream.OnBitrateWish(stream.Bitrate{})
	}
	backoff := retry.New(restart)
	for {
		err := c.runOnce(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if steady := c.ended(err); steady {
			backoff.Reset()
		}
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
}

// runOnce runs the source until it ends. It stops it when ctx ends or it has
// been silent for too long, and waits until it has ended.
func (c *Camera) runOnce(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.begin()
	ended := make(chan error, 1)
	go func() { ended <- c.runSource(ctx) }()

	told := ctx.Done() // nil once the source was told to stop
	timer := time.NewTimer(quietAfter)
	defer timer.Stop()
	for {
		select {
		case err := <-ended:
			c.setStuck(false)
			if errors.Is(context.Cause(ctx), errSilent) {
				return errSilent
			}
			return err
		case <-told:
			told = nil
			timer.Reset(stuckAfter)
		case <-timer.C:
			if told == nil {
				c.setStuck(true)
				continue
			}
			dead, next := c.watch()
			if dead {
				stop(errSilent)
			}
			timer.Reset(next)
		}
	}
}

// runSource calls the source's Run. This is the boundary at which a panic of a
// source becomes an error, so that one camera's bug is not the end of all.
func (c *Camera) runSource(ctx context.Context) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			c.log.Error("source panicked", "panic", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error in this camera's source: %v", cause)
		}
	}()
	return c.p.Source.Run(ctx, sink{c})
}
