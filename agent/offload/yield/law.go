package yield

import (
	"fmt"
	"math"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	tick     = 10 * time.Millisecond
	idleTick = 100 * time.Millisecond // while nothing is sent

	// target is the standing queue at which the rate goes down.
	target = 5 * time.Millisecond
	// sudden is how far above the usual a single wait tells at once that the
	// link has slowed down.
	sudden = 3 * time.Millisecond
	// ownLoss is the share of bytes sent again that counts as a full queue.
	ownLoss = 0.02

	startRate = 500e3 // bit/s, to begin with
	leastRate = 128e3 // bit/s, enough to see within 0.2 s that a queue is gone
	fallRate  = 64e3  // bit/s, where the link has fallen and a long queue stands
	// trickle is the rate of a pause, in bit/s: what keeps a receiver from
	// ending the connection (64 KiB in 30 s are 17.5e3), and some more.
	trickle = 28e3
	// fullAfter is how long a queue may stand at the least rate before the
	// transfer pauses.
	fullAfter = 3 * time.Second

	// complaintHold is how long the rate stays down after a complaint of the live
	// streams, which come about once a second.
	complaintHold = time.Second

	// A transfer of less than smallShare of the live bitrate is not what live
	// streams complain of.
	smallShare = 0.25

	// keep is the share of what the link was found to leave that is used
	// after a queue.
	keep = 0.8
	// The logarithm of the rate grows by growth for each second, and each
	// second since there was a queue: in 2.1 s to where the queue was, in
	// 4.3 s to twice of that. growthMost bounds it, and is what a transfer
	// starts with: twice the rate in 0.35 s.
	growth     = 0.1
	growthMost = 2.0
	// growthAck bounds it further where little comes back to judge by: so much
	// for each acknowledgement, but not below growthLeast.
	growthAck   = 0.03
	growthLeast = 0.3

	// lately is the time over which rates are measured; usedLately that over
	// which the transfer must use its rate.
	lately     = 200 * time.Millisecond
	usedLately = 500 * time.Millisecond
	// queueLeast is how long a queue must take to come through to tell the
	// rate of the link: longer than a picture takes, or two.
	queueLeast = 60 * time.Millisecond
	// tellingSegments tell the rate of the link when they come through in less.
	tellingSegments = 4
	// stallMost is how long the air may be still for a moment. What lasts longer
	// is a link that has fallen.
	stallMost = 500 * time.Millisecond
	// toldFor is how long people see why the rate went down.
	toldFor = time.Second
)

// phase is what the law does:
//
//	            a picture is live            a queue stands, loss
//	free ──────────────────────► draining ◄──────────────────────► sharing
//	 ▲                              │ ▲        the queue is gone
//	 │ none is                      ▼ │
//	any                           paused
//
// It pauses when the queue does not end, and whenever the live bitrate had to
// drop.
type phase int

const (
	free     phase = iota // no live picture, nothing to yield to
	sharing               // the rate grows until a queue stands
	draining              // the end of a queue is waited for
	paused                // the live picture needs all there is
)

// law is the rule for the rate of a transfer.
type law struct {
	cap   float64 // bit/s, 0: none
	phase phase
	since time.Time // of the phase
	rate  float64   // bit/s, 0: no limit

	last    time.Time // step
	calm    time.Time // since when no queue stands; zero: none was seen yet
	hold    time.Time // not faster before
	spare   float64   // bit/s that the link was found to leave
	queue   queue
	gauge   gauge
	flow    flow
	signals signals

	why string // the rate went down
}

// queue is what was known when a queue was seen.
type queue struct {
	at     mark
	sent   float64 // bit/s that were sent before
	served bool    // what was under way then has come through
	sudden bool    // a single wait told of it, and nothing yet how much the link still carries
}

func newLaw(limit float64) law {
	l := law{cap: limit, gauge: newGauge()}
	l.rate = l.bound(leastRate)
	return l
}

// bound keeps a rate below the cap.
func (l *law) bound(rate float64) float64 {
	if l.cap > 0 {
		return min(rate, l.cap)
	}
	return rate
}

func (l *law) enter(now time.Time, p phase) {
	if p != l.phase {
		l.phase, l.since = p, now
	}
}

// step decides anew. ok tells that info is known.
func (l *law) step(now time.Time, live Live, info filetransfer.TCPInfo, ok bool) {
	elapsed := now.Sub(l.last)
	l.last = now
	if !live.Active {
		l.enter(now, free)
		l.rate = l.cap
		l.gauge.pause(now)
		l.flow, l.signals = nil, signals{}
		return
	}
	if l.phase == free {
		// What went at full speed may stand in the link.
		l.enter(now, draining)
		l.rate, l.spare = l.bound(leastRate), l.bound(startRate)
		l.queue = queue{served: true}
		l.calm, l.why = time.Time{}, ""
	}
	complaint := l.signals.step(now, live)
	if l.rate < smallShare*live.Bitrate {
		complaint = "" // it must be of something else
	}
	if live.Reduced {
		if l.phase != paused {
			l.spare = l.rate / 2
		}
		l.enter(now, paused)
		l.queue.served = true // or it is not known any more
		l.rate, l.calm, l.why = l.bound(trickle), now, "the live bitrate had to drop"
		return
	}
	if !ok {
		l.rate = l.bound(leastRate) // nobody can tell what more would do
		return
	}
	w, fresh := l.gauge.take(now, info)
	l.flow.add(now, info)
	delay := max(w.delay, l.flow.overdue(info.SegmentBytes)-l.gauge.base.value())
	if l.rate > leastRate && delay > w.usual+sudden && delay > 3*target {
		// What came through before tells nothing of the link as it is now: the
		// queue will. It may also have been the air, for a moment.
		before := l.rate
		l.yield(now, l.bound(fallRate), waitWords(delay))
		l.spare, l.queue.sudden = before, true
		return
	}
	if complaint != "" {
		l.hold = now.Add(complaintHold)
	}
	if l.phase == sharing {
		l.share(now, elapsed, complaint)
		return
	}
	l.drain(now, live.Bitrate)
	if fresh && w.delay <= target && now.After(l.hold) {
		if l.queue.sudden && now.Sub(l.since) > stallMost {
			l.spare = min(l.spare, startRate) // what it was before is no guide
		}
		l.enter(now, sharing)
		l.rate = l.bound(max(keep*l.spare, trickle))
		if !l.calm.IsZero() {
			l.calm = now
		}
		l.gauge.forget()
	}
}

// share lets the rate grow, or ends that.
func (l *law) share(now time.Time, elapsed time.Duration, complaint string) {
	least := l.bound(leastRate)
	info, standing := l.gauge.last, l.gauge.standing(now)
	sent, _ := l.flow.rates(usedLately)
	loss := l.flow.loss(info.SegmentBytes)
	switch {
	case complaint != "":
		before := l.rate
		l.yield(now, least, complaint)
		l.spare = min(l.spare, before/2)
	case standing > 2*target:
		l.yield(now, least, waitWords(standing))
	case standing > target:
		l.yield(now, max(l.rate/2, least), waitWords(standing))
	case loss > ownLoss && now.Sub(l.since) > flowLength:
		l.yield(now, max(l.rate/2, least), fmt.Sprintf("the network loses %.1f %%", 100*loss))
	case sent < l.rate/2 && now.Sub(l.since) > usedLately:
		// A rate that is not used is not known to be harmless.
		l.rate = max(l.rate*math.Exp(-elapsed.Seconds()), min(l.rate, startRate))
	default:
		acks := l.rate / (16 * float64(info.SegmentBytes)) // a second, one for two segments
		speed := min(growth*now.Sub(l.calm).Seconds(), growthMost, max(growthAck*acks, growthLeast))
		l.rate = l.bound(l.rate * math.Exp(speed*elapsed.Seconds()))
	}
}

// yield goes down to a rate until the queue is gone.
func (l *law) yield(now time.Time, rate float64, why string) {
	sent, acked := l.flow.rates(lately)
	l.spare = l.rate
	l.find(min(l.rate, acked))
	l.queue = queue{at: l.flow.newest(), sent: sent}
	l.enter(now, draining)
	l.rate, l.calm, l.why = rate, now, why
	l.gauge.forget()
}

// drain waits for a queue to end. While it does, it finds out what the link
// leaves.
func (l *law) drain(now time.Time, live float64) {
	least := l.bound(leastRate)
	standing := l.gauge.standing(now)
	switch {
	case l.phase == paused:
	case standing > 2*target && l.rate > least:
		l.rate = least
	case standing > target && l.rate <= least && now.Sub(l.since) > fullAfter:
		l.enter(now, paused)
		l.spare /= 2
		l.rate, l.why = l.bound(trickle), "the live picture needs all of the link"
	}
	if l.queue.served {
		return
	}
	// What was under way when the queue was seen arrives at the rate of the
	// link. The last two segments don't count: their acknowledgement may be
	// delayed (RFC 1122 section 4.2.3.2).
	info, from := l.gauge.last, l.queue.at
	underWay := int64(from.sent - from.resent - from.acked - uint64(2*info.SegmentBytes))
	came := int64(info.Acked - from.acked)
	if came < underWay {
		return
	}
	l.queue.served = true
	took := now.Sub(from.at)
	switch {
	case l.queue.sudden && underWay >= tellingSegments*int64(info.SegmentBytes):
		// The link has another rate since a moment ago, so this is all there is.
		l.queue.sudden, l.rate = false, l.bound(leastRate)
	case took < queueLeast:
		return // too short for a rate: what had come through before must do
	default:
		l.queue.sudden = false
	}
	// The transfer and the live stream got shares of the link by what each
	// had sent into the queue.
	rate := float64(came) * 8 / took.Seconds()
	passed := rate / max(l.queue.sent, rate)
	l.find(min(l.spare, rate-live*(1-passed)))
}

// find takes a rate as what the link leaves. Few packets tell little, so a low
// rate goes down by half at once at most.
func (l *law) find(rate float64) {
	l.spare = max(rate, min(l.spare, startRate)/2)
}

// idle tells that there is nothing to decide: no picture, or no transfer.
func (l *law) idle() bool {
	if l.phase == free || len(l.flow) == 0 {
		return true
	}
	return l.flow[0].sent == l.flow.newest().sent && l.last.Sub(l.flow[0].at) > flowLength/2
}

func waitWords(d time.Duration) string {
	return fmt.Sprintf("packets wait %v in the network", d.Round(time.Millisecond))
}

// reason tells people what the law does.
func (l *law) reason() string {
	switch {
	case l.phase == paused:
		return "paused: " + l.why
	case l.why != "" && (l.phase == draining || l.last.Sub(l.calm) < toldFor):
		return "yields: " + l.why
	case l.phase == free && l.cap == 0:
		return "nothing is live: as fast as it can"
	case l.cap > 0 && l.rate >= l.cap:
		return "at the rate that is set as its limit"
	default:
		return "takes what the live picture leaves"
	}
}
