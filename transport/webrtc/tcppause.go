package webrtc

import "time"

const (
	minPause = 500 * time.Millisecond
	maxPause = 8 * time.Second

	// calm is how long all must go well for the next pause to be short again.
	calm = 10 * time.Second
)

// tcpPause decides when a viewer whose TCP queue was full gets pictures
// again: after a pause, at an IDR. The pauses grow, so that a viewer that has
// stalled does not make the source send everybody one IDR after the other.
type tcpPause struct {
	pause    time.Duration // the last one
	until    time.Time     // its end
	paused   bool          // no IDR since
	askedFor bool          // that IDR was asked for
}

// hit tells that part of a picture was lost.
func (c *tcpPause) hit(now time.Time) {
	if now.Sub(c.until) > calm {
		c.pause = 0
	}
	c.pause = min(max(2*c.pause, minPause), maxPause)
	c.until, c.paused, c.askedFor = now.Add(c.pause), true, false
}

// admit tells whether the next picture may be sent, and if not, whether an IDR
// is to be asked for.
func (c *tcpPause) admit(key bool, now time.Time) (send, ask bool) {
	switch {
	case !c.paused:
		return true, false
	case now.Before(c.until):
		return false, false
	case key:
		c.paused = false
		return true, false
	}
	ask = !c.askedFor
	c.askedFor = true
	return false, ask
}
