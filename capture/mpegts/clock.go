package mpegts

import "time"

const (
	// maxAhead is how much faster than real time the stream clock may run
	// from one picture to the next before that is a jump.
	maxAhead = time.Second
	// maxApart is how far sound may be from the newest picture: more than
	// any muxer lets it lag or lead.
	maxApart = 5 * time.Second
	// mapWindow is a time in which at least one picture is expected to
	// arrive without delay.
	mapWindow = 5 * time.Second
	// mapSlewUp bounds how fast the map to wall time bends towards later, as
	// a fraction: ten times what quartz clocks drift. mapSlewDown is that
	// towards earlier, for which there is proof.
	mapSlewUp   = 1000
	mapSlewDown = 50
	// mapStep is the error from which on the map is set and not bent.
	mapStep = 100 * time.Millisecond
)

// clock makes continuous media time of the PTS of a sender, and wall-clock
// time of that.
type clock struct {
	running bool
	raw     uint64 // of the last picture, 33 bits at 90 kHz
	arrived time.Time
	ticks   int64         // of 90 kHz, since the first picture
	pts     time.Duration // the same

	// Pictures arrive late, never early: the least delay within a window
	// tells the offset of the two clocks.
	origin      time.Time
	offset      time.Duration // in use: pictures are taken at origin + pts + offset
	least       time.Duration // delay in this window
	leastBefore time.Duration // and in the one before
	windowStart time.Duration // pts
}

// next returns the media time of a picture. It always increases. A PTS that
// goes back or leaps ahead, as when the sender has started anew, is a jump:
// media time goes on by the time that really passed.
func (c *clock) next(raw uint64, arrived time.Time) (pts time.Duration, jumped bool) {
	if !c.running {
		c.running, c.raw, c.arrived, c.origin = true, raw, arrived, arrived
		return 0, false
	}
	// The difference modulo 2^33, signed: the counter wraps every 26.5 h.
	delta := int64((raw-c.raw)<<31) >> 31
	elapsed := max(0, arrived.Sub(c.arrived))
	if delta <= 0 || fromTicks(delta) > elapsed+maxAhead {
		delta, jumped = max(1, toTicks(elapsed)), true
	}
	c.ticks += delta
	c.raw, c.arrived, c.pts = raw, arrived, fromTicks(c.ticks)
	c.bend(fromTicks(delta), jumped)
	return c.pts, jumped
}

// beside returns the media time of the sound with a PTS, by the newest picture.
// It is not ok when there is none, or its PTS has nothing to do with it.
func (c *clock) beside(raw uint64) (pts time.Duration, ok bool) {
	delta := int64((raw-c.raw)<<31) >> 31
	if !c.running || fromTicks(delta).Abs() > maxApart {
		return 0, false
	}
	return fromTicks(c.ticks + delta), true
}

// bend fits the map to wall time to the picture that came step after the one
// before.
func (c *clock) bend(step time.Duration, jumped bool) {
	delay := c.arrived.Sub(c.origin) - c.pts
	if jumped {
		c.offset, c.least, c.leastBefore, c.windowStart = delay, delay, delay, c.pts
		return
	}
	if c.pts-c.windowStart >= mapWindow {
		c.leastBefore, c.least, c.windowStart = c.least, delay, c.pts
	}
	c.least = min(c.least, delay)
	switch wrong := min(c.least, c.leastBefore) - c.offset; {
	case wrong.Abs() > mapStep:
		c.offset += wrong
	case wrong > 0:
		c.offset += min(wrong, step/mapSlewUp)
	default:
		c.offset += max(wrong, -step/mapSlewDown)
	}
}

// captured returns the wall-clock time at which the picture given to next last
// was taken: when it arrived, without the jitter of the network. It follows
// the wall clock when that is set.
func (c *clock) captured() time.Time {
	now := time.Now()
	age := now.Sub(c.origin.Add(c.pts + c.offset)) // by the monotonic clock
	return now.Add(-age).Round(0)
}

// fromTicks and toTicks convert 90 kHz.
func fromTicks(t int64) time.Duration { return time.Duration(t * 100000 / 9) }
func toTicks(d time.Duration) int64   { return int64(d) / 100000 * 9 }
