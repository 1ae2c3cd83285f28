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

// bucket is a token bucket whose rate changes. It is overdrawn by what was sent
// last, so a piece may have any size.
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

// spend takes n bytes, which have been sent.
func (b *bucket) spend(now time.Time, n int) {
	if b.rate == 0 {
		return
	}
	b.refill(now)
	// Pieces at a fixed distance could keep step with the pictures, and meet
	// the same moment of each for a long time.
	b.tokens -= float64(n) * (0.8 + 0.4*b.dither.Float64())
}

// wait returns how long to wait before anything more may be sent, 0 for not at
// all.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	if b.refill(now); b.tokens >= 0 {
		return 0
	}
	return max(time.Duration(-b.tokens/b.rate*float64(time.Second)), 100*time.Microsecond)
}
