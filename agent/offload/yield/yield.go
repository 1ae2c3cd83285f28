// Package yield decides how fast a bulk transfer may go beside a live picture,
// so that the picture's delay is as if the transfer were not there, on a link
// whose rate nobody knows and that changes.
//
// No TCP congestion control does that: all of them, BBR too, keep a queue of
// their own in the link, and the live packets wait in it. A fixed rate does it
// only while the link holds. So a [Controller] looks at the kernel's figures of
// the connection (TCP_INFO) every 10 ms, finds out how long packets wait in the
// network, and keeps that wait at nothing:
//
//   - What counts is the standing queue: the least wait of the last pictures.
//     Live pictures are bursts and make waits of their own, which end before
//     the next picture comes; only what does not end delays the picture.
//   - The kernel tells a smoothed round trip. The smoothing is known (RFC 6298,
//     1/8 for each acknowledgement), so it is taken out again. What is not
//     acknowledged yet has waited, too: so a link that falls is noticed within
//     some 30 ms.
//   - The least round trip of the last 10 s is the one without a wait, as in
//     LEDBAT (RFC 6817) and BBR. Every time the rate is lowered the queue drains,
//     so there always is a true one, and another route is noticed in 10 s.
//   - When a queue stands, the transfer goes down until it is gone, and then on
//     a little below the rate at which its packets came through meanwhile. Then
//     it grows: slowly where the queue was last seen, faster the longer none is.
//   - Pace lets go small pieces only, for the kernel may send what it has at
//     once, and what has left can't be held back any more.
//
// The target is 5 ms where LEDBAT takes up to 100 ms: it would yield to other
// transfers, and here somebody watches.
package yield

import (
	"context"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// Live is what the live streams feel now.
type Live struct {
	Active  bool          // somebody watches, or a push runs
	Bitrate float64       // bit/s, of all that is sent live
	RTT     time.Duration // round trip to the receivers, the worst; 0 when unknown
	Loss    float64       // share of packets lost lately, 0 to 1; 0 when unknown
	Reduced bool          // the bitrate had to drop below what is configured
	Dropped uint64        // packets that this machine could not even send; only grows
}

// Params configure a [Controller]. All but Cap are needed.
type Params struct {
	Cap  int64                               // bit/s never exceeded, 0: no cap
	Live func() Live                         // asked every 10 ms
	Path func() (filetransfer.TCPInfo, bool) // the transfer's connection, such as Sender.TCPInfo
	Set  func(bitsPerSecond int64)           // paces the connection, such as Sender.SetPacing; 0 is no limit
}

// Status is what a controller does now.
type Status struct {
	Rate   int64  // bit/s that the transfer may take, 0: no limit
	Paused bool   // only a trickle flows, which keeps the connection
	Reason string // for people
}

// Controller sets the rate of one transfer. Its methods are safe for concurrent
// use, but Run runs once.
type Controller struct {
	p Params

	mu     sync.Mutex
	law    law
	bucket bucket
	set    int64 // as Set was told last, -1 before
}

// New returns a controller that holds the transfer at its least rate until Run
// has looked.
func New(p Params) *Controller {
	c := &Controller{p: p, law: newLaw(float64(p.Cap)), bucket: newBucket(), set: -1}
	c.bucket.limit(time.Now(), c.law.rate)
	return c
}

// Run looks and decides until ctx ends; it returns the context's error.
func (c *Controller) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(c.step(time.Now()))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step looks once, and returns when to look again.
func (c *Controller) step(now time.Time) time.Duration {
	live := c.p.Live()
	info, ok := c.p.Path()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.law.step(now, live, info, ok)
	c.bucket.limit(now, c.law.rate)
	if pacing := kernelPacing(c.law.rate); pacing != c.set {
		c.set = pacing
		c.p.Set(pacing)
	}
	if c.law.idle() {
		return idleTick
	}
	return tick
}

// kernelPacing is the rate for the kernel, which spaces the packets of what
// Pace lets go at once. It is well above the rate: what the kernel has begun to
// wait for it waits for to the end, at the old rate.
func kernelPacing(rate float64) int64 {
	if rate == 0 {
		return 0
	}
	return int64(max(2*rate, 4e6))
}

// Pace waits until more may be sent, after n bytes were. It is the Pace of
// [filetransfer.SenderParams]; its error is the context's. It never waits long
// enough for a receiver to give up: a pause is a trickle.
func (c *Controller) Pace(ctx context.Context, n int) error {
	c.mu.Lock()
	c.bucket.spend(time.Now(), n)
	c.mu.Unlock()
	for {
		c.mu.Lock()
		wait := c.bucket.wait(time.Now())
		c.mu.Unlock()
		if wait == 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(min(wait, paceLook))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// Status returns what the controller does now.
func (c *Controller) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{Rate: int64(c.law.rate), Paused: c.law.phase == paused, Reason: c.law.reason()}
}
