package yield

import (
	"math/rand/v2"
	"time"
)

const (
	// paceLate is how late a sender may be and still catch up.
	paceLate = 10 * time.Millisecond
	// paceLook is the longest wait before the bucket is looked at again: its
	// rate may have changed.
	paceLook = 20 * time.Millisecond
)

// bucket is a token bucket whose rate changes. It may be overdrawn once, so a
// piece of any size passes in the end.
type bucket struct {
	rate   float64 // bytes/s, 0: no limit
	tokens float64 // bytes
	at     time.Time
	dither *rand.Rand
}

func newBucket() bucket { return bucket{dither: rand.New(rand.NewPCG(1, 2))} }

// limit sets the rate, in bit/s. What is overdrawn takes no longer at a lower
// rate than it would have taken, so that something is sent soon that meets the
// queue as it is.
func (b *bucket) limit(now time.Time, rate float64) {
	b.refill(now)
	rate /= 8
	if b.tokens < 0 && rate < b.rate {
		b.tokens *= rate / b.rate
	}
	b.rate = rate
}

func (b *bucket) refill(now time.Time) {
	b.tokens = min(b.tokens+b.rate*now.Sub(b.at).Seconds(), b.rate*paceLate.Seconds())
	b.at = now
}

// take takes n bytes and returns 0, or how long to wait before asking again.
func (b *bucket) take(now time.Time, n int) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.refill(now)
	if b.tokens < 0 {
		return max(time.Duration(-b.tokens/b.rate*float64(time.Second)), 100*time.Microsecond)
	}
	// Pieces at a fixed distance could keep step with the pictures, and meet
	// the same moment of each for a long time.
	b.tokens -= float64(n) * (0.8 + 0.4*b.dither.Float64())
	return 0
}
