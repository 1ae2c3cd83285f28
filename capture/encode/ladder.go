package encode

import "time"

const (
	// watchable is the least bitrate of a picture worth its size, in bit a
	// pixel: below it openh264 begins to blur and to leave pictures out.
	watchable = 0.04

	// leastRate is below what pictures per second are not cut.
	leastRate = 10

	// smallest is the shorter side, in pixels, below which nothing is shrunk.
	smallest = 160

	// What a step needs must be there so many times to go up to it.
	climbRate = 1.15
	climbSize = 1.4

	// A step of frame rate is taken at once down and soon up. A step of size
	// begins another file of a recording, and every viewer sees it: only
	// what lasts is a reason.
	rateUp   = time.Second
	sizeDown = 2 * time.Second
	sizeUp   = 10 * time.Second
)

// rung is one way to encode a camera.
type rung struct {
	shrink int     // sides are divided by it
	rate   float64 // pictures per second
	need   int     // bit/s that it takes to be watchable
}

// ladder chooses how to encode by the bitrate there is: first the frame rate
// is halved, then the sides are, and so on. The first rung is what was asked
// for.
type ladder struct {
	rungs []rung
	now   int

	wish  int           // the rung that it would like to be on
	since time.Duration // when that began
}

func newLadder(p Params) *ladder {
	pixels := float64(p.Width * p.Height)
	// What was asked for is watchable to whoever asked.
	least := min(watchable, 0.6*float64(p.Bitrate)/(pixels*p.FPS))
	l := &ladder{}
	for shrink := 1; shrink == 1 || min(p.Width, p.Height)/shrink >= smallest; shrink *= 2 {
		for _, rate := range []float64{p.FPS, p.FPS / 2} {
			if rate < p.FPS && rate < leastRate {
				continue
			}
			l.rungs = append(l.rungs, rung{shrink, rate, int(least * pixels / float64(shrink*shrink) * rate)})
		}
	}
	return l
}

// step returns the rung to be on, at a time on the capture clock.
func (l *ladder) step(bitrate int, at time.Duration) rung {
	wish := l.wished(bitrate)
	if wish != l.wish {
		l.wish, l.since = wish, at
	}
	lasts := at - l.since
	resize := l.rungs[wish].shrink != l.rungs[l.now].shrink
	switch {
	case wish > l.now && (!resize || lasts >= sizeDown),
		wish < l.now && (lasts >= sizeUp || !resize && lasts >= rateUp):
		l.now = wish
	case wish > l.now: // until then, the least of this size
		for l.now+1 < len(l.rungs) && l.rungs[l.now+1].shrink == l.rungs[l.now].shrink {
			l.now++
		}
	}
	return l.rungs[l.now]
}

// wished returns the rung that suits a bitrate: the one it is on as long as
// that is watchable and no better one is so by far.
func (l *ladder) wished(bitrate int) int {
	for i, r := range l.rungs {
		need := r.need
		switch {
		case i < l.now && r.shrink == l.rungs[l.now].shrink:
			need = int(climbRate * float64(need))
		case i < l.now:
			need = int(climbSize * float64(need))
		}
		if bitrate >= need {
			return i
		}
	}
	return len(l.rungs) - 1
}
