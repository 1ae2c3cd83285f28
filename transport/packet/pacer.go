package packet

import (
	"context"
	"sync"
	"time"
)

// Pacing, chosen for a bottleneck of 30 Mbit/s with a queue of 75 KB, in which
// a keyframe of 200 KB sent at once is lost and one at 24 Mbit/s is not.
const (
	paceTick  = 2 * time.Millisecond
	paceBurst = 24 << 10 // bytes that may leave at once: small pictures never wait
	paceFloor = 20e6     // bit/s, the least rate
	paceSpeed = 3        // times the stream's bitrate

	// paceMostBurst is the same for fast streams, in bytes, which may send for
	// paceAhead at once: more than one tick, else they could not keep up. By
	// default the socket of a receiver holds 92 datagrams on Linux.
	paceMostBurst = 64 << 10
	paceAhead     = 2 * paceTick

	// paceLongest bounds what pacing adds to the latency of one picture.
	paceLongest = 100 * time.Millisecond

	// Where the way is known to be narrow, packets leave hardly faster than
	// it carries them: a queue there may be as short as 50 ms. A picture that
	// takes longer than limitedLongest would then be late anyway.
	limitedSpeed   = 1.4
	limitedBurst   = 30 * time.Millisecond // of what the way carries
	limitedLeast   = 3000                  // bytes, two packets
	limitedLongest = 400 * time.Millisecond

	// bitrateWindow is what the bitrate of a stream is measured over.
	bitrateWindow = 2 * time.Second
)

// Clock wakes all pacers that wait, together, with one timer for all of them.
// It costs nothing while nobody waits. The zero Clock is ready for use.
type Clock struct {
	mu   sync.Mutex
	tick chan struct{} // closed at the next tick; nil when nobody waits
}

// Next returns a channel that is closed at the next tick, in 2 ms or less.
func (c *Clock) Next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tick == nil {
		c.tick = make(chan struct{})
		time.AfterFunc(paceTick, c.fire)
	}
	return c.tick
}

func (c *Clock) fire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.tick)
	c.tick = nil
}

// Pacer spreads what one sender sends to one destination. Pictures of normal
// size leave at once; a large one leaves in small groups, at three times the
// stream's bitrate and at least 20 Mbit/s, so that it crosses the queue of a
// slow link whole. It is not safe for concurrent use.
type Pacer struct {
	clock *Clock

	limit  float64 // bytes/s that the way carries, 0 when not known
	burst  float64 // bytes that may leave at once
	rate   float64 // bytes/s for the picture being sent
	credit float64 // bytes that may leave now
	last   time.Time

	// The bitrate is measured on the media clock, so that catching up from
	// a cache does not look like a faster stream.
	started     bool
	windowStart time.Duration
	windowBytes int
	bitrate     float64 // bytes/s over the last window
}

// NewPacer makes a pacer that waits on clock.
func NewPacer(clock *Clock) *Pacer {
	return &Pacer{clock: clock, credit: paceBurst, burst: paceBurst}
}

// Limit tells how many bit/s the way carries, 0 when that is not known. It
// counts from the next picture on.
func (p *Pacer) Limit(bitsPerSecond int) { p.limit = float64(bitsPerSecond) / 8 }

// Begin tells the picture to be sent next.
func (p *Pacer) Begin(pic *Picture) {
	span := pic.PTS - p.windowStart
	switch {
	case !p.started || span < 0:
		p.started, p.windowStart, p.windowBytes = true, pic.PTS, 0
	case span >= bitrateWindow:
		p.bitrate = float64(p.windowBytes) / span.Seconds()
		p.windowStart, p.windowBytes = pic.PTS, 0
	}
	p.windowBytes += pic.Size
	p.refill()
	p.burst = min(max(paceBurst, paceSpeed*p.bitrate*paceAhead.Seconds()), paceMostBurst)
	p.rate = max(paceSpeed*p.bitrate, paceFloor/8, float64(pic.Size)/paceLongest.Seconds())
	if p.limit > 0 {
		p.burst = min(paceBurst, max(p.limit*limitedBurst.Seconds(), limitedLeast))
		p.rate = min(p.rate, max(limitedSpeed*p.limit, float64(pic.Size)/limitedLongest.Seconds()))
		p.credit = min(p.credit, p.burst)
	}
}

// Grant reports whether n bytes may leave at once, as all of the next picture,
// and takes the credit for them if so: then there is no need to ask Allow. It
// comes before Begin.
func (p *Pacer) Grant(n int) bool {
	p.refill()
	if p.credit < float64(n) {
		return false
	}
	p.credit -= float64(n)
	return true
}

// Allow takes the credit for a packet of n bytes and reports whether it may
// leave now. If not, send what was allowed so far, Wait, and ask again.
func (p *Pacer) Allow(n int) bool {
	if p.credit < float64(n) && p.credit < p.burst {
		return false
	}
	p.credit -= float64(n)
	return true
}

// Wait waits for more credit. The error is the context's.
func (p *Pacer) Wait(ctx context.Context) error {
	select {
	case <-p.clock.Next():
	case <-ctx.Done():
		return ctx.Err()
	}
	p.refill()
	return nil
}

func (p *Pacer) refill() {
	now := time.Now()
	if !p.last.IsZero() {
		p.credit = min(p.credit+now.Sub(p.last).Seconds()*p.rate, p.burst)
	}
	p.last = now
}
