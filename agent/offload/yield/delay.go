package yield

import (
	"math"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// A queue stands when the least wait of the last standShort is above the
	// target: long enough for a picture at 20 fps to have passed. It takes
	// standAcks acknowledgements to tell, so that some have met the gap
	// between two pictures; they must not be older than standLong.
	standShort = 50 * time.Millisecond
	standAcks  = 12
	standLong  = 2 * time.Second

	// srttKeep is what remains of the smoothed round trip after one more
	// sample (RFC 6298 section 2, alpha).
	srttKeep = 7.0 / 8

	// The least round trip of baseSeconds is the one without a wait. The
	// longest wait of peakSeconds is what the pictures make themselves.
	baseSeconds = 10
	peakSeconds = 10
)

// gauge measures how long packets wait in the network, from what the kernel
// tells of a connection.
type gauge struct {
	last   filetransfer.TCPInfo
	known  bool // last is
	base   extremum
	peak   extremum
	recent []wait // of the last standLong, the oldest first
}

// wait is how long packets were held up that were acknowledged lately.
type wait struct {
	at    time.Time
	acks  int
	delay time.Duration
	usual time.Duration // the longest of the last seconds before
}

func newGauge() gauge {
	return gauge{base: newExtremum(baseSeconds, false), peak: newExtremum(peakSeconds, true)}
}

// take looks at newer figures. fresh is false when nothing was acknowledged
// meanwhile.
func (g *gauge) take(now time.Time, info filetransfer.TCPInfo) (w wait, fresh bool) {
	last, known := g.last, g.known
	g.last, g.known = info, true
	if known && info.Acked < last.Acked {
		*g = newGauge() // another connection
		g.last, g.known, known = info, true, false
	}
	g.base.advance(now)
	g.peak.advance(now)
	w = wait{at: now, usual: max(g.peak.value(), 0)}
	if info.RTT == 0 || known && info.Acked == last.Acked {
		return w, false
	}
	rtt, acks := info.RTT, 1
	if lone := int(last.Sent - last.Resent - last.Acked); known && lone > 0 && lone <= info.SegmentBytes {
		// The acknowledgement of a last segment may have been delayed on
		// purpose (RFC 1122 section 4.2.3.2).
		return w, false
	}
	if known {
		acks = max(int(info.Segments-last.Segments), 1)
		news := 1 - math.Pow(srttKeep, float64(acks))
		rtt = last.RTT + time.Duration(float64(info.RTT-last.RTT)/news)
	}
	rtt = max(rtt, info.MinRTT) // both are rounded
	if g.base.empty() {
		g.base.add(info.MinRTT)
	}
	g.base.add(rtt)
	w.acks, w.delay = acks, rtt-g.base.value()
	g.peak.add(w.delay)

	g.recent = append(g.recent, w)
	old := 0
	for now.Sub(g.recent[old].at) > standLong {
		old++
	}
	g.recent = append(g.recent[:0], g.recent[old:]...)
	return w, true
}

// standing returns the wait that no packet was spared lately; 0 while too few
// have been seen to tell.
func (g *gauge) standing(now time.Time) time.Duration {
	least, acks := time.Duration(math.MaxInt64), 0
	for i := len(g.recent) - 1; i >= 0; i-- {
		w := g.recent[i]
		least = min(least, w.delay)
		acks += w.acks
		age := now.Sub(w.at)
		if age >= standShort && acks >= standAcks {
			return least
		}
	}
	return 0
}

// forget drops what was seen of a queue that is gone.
func (g *gauge) forget() { g.recent = g.recent[:0] }

// pause stops the ageing of what is remembered until the next take.
func (g *gauge) pause(now time.Time) {
	g.base.start, g.peak.start = now, now
	g.known = false
	g.forget()
}

// extremum is the least or greatest of the values of some seconds, in slots of
// one second. A slot without a value has a negative one.
type extremum struct {
	slots    []time.Duration // the newest first
	greatest bool
	start    time.Time // of the newest slot
}

func newExtremum(seconds int, greatest bool) extremum {
	return extremum{slots: make([]time.Duration, seconds), greatest: greatest}
}

// advance begins new slots when it is time.
func (e *extremum) advance(now time.Time) {
	if e.start.IsZero() {
		e.start = now
		for i := range e.slots {
			e.slots[i] = -1
		}
	}
	for range len(e.slots) {
		if now.Sub(e.start) < time.Second {
			return
		}
		e.start = e.start.Add(time.Second)
		copy(e.slots[1:], e.slots)
		e.slots[0] = -1
	}
	if now.Sub(e.start) >= time.Second {
		e.start = now // all slots are empty
	}
}

func (e *extremum) add(v time.Duration) { e.slots[0] = e.choose(e.slots[0], v) }

func (e *extremum) empty() bool { return e.value() < 0 }

// value returns the extremum, negative when there is none.
func (e *extremum) value() time.Duration {
	v := time.Duration(-1)
	for _, s := range e.slots {
		v = e.choose(v, s)
	}
	return v
}

func (e *extremum) choose(a, b time.Duration) time.Duration {
	switch {
	case a < 0:
		return b
	case b < 0:
		return a
	case e.greatest:
		return max(a, b)
	default:
		return min(a, b)
	}
}
