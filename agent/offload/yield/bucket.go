package yield

import "time"

const (
	// paceLead is how much faster than the rate the bucket fills.
	paceLead = 1.25
	// paceBurst is the most it holds, in bytes.
	paceBurst = 64 << 10
	// paceLook is the longest wait before the bucket is looked at again: its
	// rate may have changed.
	paceLook = 100 * time.Millisecond
)

// bucket is a token bucket whose rate changes. It may be overdrawn once, so a
// piece of any size passes in the end.
type bucket struct {
	rate   float64 // bytes/s, 0: no limit
	tokens float64 // bytes
	at     time.Time
}

// limit sets the rate, in bit/s.
func (b *bucket) limit(now time.Time, rate float64) {
	b.refill(now)
	b.rate = rate * paceLead / 8
}

func (b *bucket) refill(now time.Time) {
	b.tokens = min(b.tokens+b.rate*now.Sub(b.at).Seconds(), paceBurst)
	b.at = now
}

// take takes n bytes and returns 0, or how long to wait before asking again.
func (b *bucket) take(now time.Time, n int) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.refill(now)
	if b.tokens < 0 {
		return max(time.Duration(-b.tokens/b.rate*float64(time.Second)), time.Millisecond)
	}
	b.tokens -= float64(n)
	return 0
}
