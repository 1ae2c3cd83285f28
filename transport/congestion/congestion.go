// Package congestion finds out how many bits per second the way to a receiver
// carries, from what the receiver reports.
//
// An [Estimator] reads transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), which tells of every
// packet when it arrived. It watches the queue on the way grow, as in
// draft-ietf-rmcat-gcc-02 section 5, and answers before packets are lost.
// [Reports] does with less: loss, round-trip time and backlog, as receiver
// reports (RFC 3550) and SRT have them.
//
// Both come to the same rules, of the type control:
//
//   - Nothing is limited until the way was seen to be full.
//   - Down at once: when a queue builds up, or much is lost, the target is set
//     below what arrived, and by so much lower as empties the queue in about
//     a second.
//   - Up with care, and not while a queue stands: soon to a little less than
//     what the way carried when it was full last, near that by small steps, and
//     far from it by a quarter a second.
//   - A sender that sends less than it may proves nothing: the target is not
//     raised beyond twice what was really sent.
//   - Loss is a reason of its own when it is more than a tenth, and more than
//     chance makes of that: what counts is how many packets were lost beyond
//     it, however long that took. Below that it is the radio's, unless a queue
//     stands: then it is the queue's that is full.
//   - A reduction that was made for a loss is judged: of a way that was full,
//     less is lost when less is sent. When as much is lost as before, of at
//     least so many packets that chance can't have made it, the loss is the
//     way's own. It is then tolerated for a while, and the target is what it
//     was. Of more than three tenths no picture survives: that is never
//     tolerated.
//   - While no feedback comes, less and less is sent. When it comes again, all
//     is as it was before: what a network lost that was away is no sign of one
//     that is full. Of another way nothing is known.
package congestion

import (
	"cmp"
	"math"
	"time"
)

// Unlimited is the target, in bit/s, before anything is known of the way.
const Unlimited = 200_000_000

// minTarget is the least target, in bit/s: less than any picture needs.
const minTarget = 50_000

const (
	// backOff is what is left of the rate that arrived when the way is full
	// (β in draft-ietf-rmcat-gcc-02 section 5.5).
	backOff = 0.85

	// drain is by how much less is sent for a queue of a second, to empty it,
	// and leastBackOff bounds that.
	drain        = 1.5
	leastBackOff = 0.45

	// settle is how long a new target takes to show beyond the round trip:
	// the encoder has to follow, and feedback to come.
	settle = 300 * time.Millisecond

	near      = 1.1  // times the capacity: within it steps are small
	nearStep  = 0.06 // of the capacity a second
	farStep   = 1.28 // times the target a second
	againStep = 2.0  // the same, up to what it was before a queue had to go
	headroom  = 2.0  // times what was sent: more is not proven
	headStart = 100_000

	// boldest is the share of what was sent that one reduction leaves at
	// least: no single look at the way is trusted with more.
	boldest = 0.25

	// heavyLoss is a share beyond which loss is a reason of its own, and
	// excess how many packets must be lost beyond it. With 40 of them, chance
	// makes of a tenth no reason in hours, and of three quarters one is seen
	// after 60 packets.
	// While a queue stands loss is its own: there queueLoss and queueExcess
	// are enough.
	heavyLoss   = 0.12
	excess      = 40
	queueLoss   = 0.02
	queueExcess = 10

	// judgePackets is how many packets it takes to judge a reduction that was
	// made for a loss, and judgeTime how long that may take. As much is lost
	// as before when it is more than uncured of that, and less than that more.
	judgePackets = 100
	judgeTime    = 4 * time.Second
	uncured      = 0.6

	// mostTolerated is the most loss that is tolerated, and forgiven for how
	// long.
	mostTolerated = 0.3
	forgiven      = 30 * time.Second
)

// control is the target and the rules that change it. Times are since any
// fixed instant, on a clock that never jumps.
type control struct {
	target   float64 // bit/s
	capacity float64 // bit/s that arrived when the way was full last, 0 when not known
	last     time.Duration
	hold     time.Duration // no increase until then

	lost, told float64 // packets lost, of those that were told of, since the loss became heavy
	stands     bool    // there has been a queue for a while

	blamed    float64       // loss that the last reduction was for, 0 without one
	before    float64       // the target before it
	judge     time.Duration // until when it is seen whether it helped
	tolerated float64       // loss that no reduction cured
	forget    time.Duration // when it is not tolerated any more
}

// evidence is what is known of the last moments.
type evidence struct {
	now       time.Duration
	congested bool          // a queue grows or does not go away
	draining  bool          // a queue shrinks
	stands    bool          // there has been a queue for a while
	queue     time.Duration // how long a packet waits in it
	rtt       time.Duration // 0 when not known
	received  float64       // bit/s, 0 when not known
	steadily  float64       // bit/s received, of the last second
	capacity  float64       // bit/s received while a queue was seen, 0 when not known
	sent      float64       // bit/s, of the last second
}

func newControl() control { return control{target: Unlimited} }

// limited tells whether the way was ever full.
func (c *control) limited() bool { return c.target < Unlimited }

// count takes so many packets of which something was told, and how many of them
// were lost. What was lost before may turn out to be late: that is a negative
// loss.
func (c *control) count(lost, told float64) {
	c.lost, c.told = max(c.lost+lost, 0), c.told+told
	if packets, _ := c.beyond(); packets <= 0 && c.blamed == 0 {
		c.lost, c.told = 0, 0
	}
}

// beyond returns how many packets were lost beyond what is borne, and how many
// of them are a reason.
func (c *control) beyond() (packets, reason float64) {
	share, reason := heavyLoss, float64(excess)
	if c.stands {
		share, reason = queueLoss, queueExcess
	}
	return c.lost - c.told*(c.tolerated+share), reason
}

// heavy tells whether the loss is a reason to send less.
func (c *control) heavy() bool {
	packets, reason := c.beyond()
	return packets > reason
}

// update takes evidence in. It reports whether the target was reduced.
func (c *control) update(e evidence) (reduced bool) {
	elapsed := min(max(e.now-c.last, 0), time.Second)
	c.last, c.stands = e.now, e.stands
	if e.now < c.hold { // what is lost now was sent before the target changed
		c.lost, c.told = 0, 0
	}
	c.judgeLoss(e)
	switch {
	case e.received <= 0:
	case e.congested:
		c.blamed = 0
		return c.reduce(e, max(e.capacity, e.received), max(backOff-drain*e.queue.Seconds(), leastBackOff))
	case e.now < c.hold:
	case c.heavy(): // a policer, or a queue too short to be seen
		return c.blame(e)
	case e.draining, e.stands, c.blamed > 0:
	default:
		c.raise(e, elapsed)
	}
	return false
}

// blame reduces the target for a loss.
func (c *control) blame(e evidence) (reduced bool) {
	loss, before := c.lost/c.told, c.target
	c.lost, c.told = 0, 0
	if reduced = c.reduce(e, e.received, backOff); !reduced {
		return false
	}
	if c.blamed == 0 {
		c.before = before
	}
	c.blamed, c.judge = loss, c.hold+judgeTime
	return true
}

// reduce sets the target to a share of what the way carries, if that is less.
func (c *control) reduce(e evidence, carries, share float64) bool {
	c.hold = e.now + e.rtt + settle
	goal := max(carries*share, boldest*min(e.sent, c.target), minTarget)
	if goal >= c.target {
		return false
	}
	c.target, c.capacity = goal, carries
	return true
}

func (c *control) raise(e evidence, elapsed time.Duration) {
	if !c.limited() {
		return
	}
	if e.now > c.hold+time.Second && cmp.Or(e.steadily, e.received) > near*c.capacity {
		c.capacity = 0 // the way has become wider
	}
	goal := c.target * math.Pow(farStep, elapsed.Seconds())
	switch usual := c.capacity * backOff; {
	case c.target < usual: // it carried that a moment ago
		goal = min(c.target*math.Pow(againStep, elapsed.Seconds()), usual)
	case c.target < near*c.capacity:
		goal = c.target + nearStep*c.capacity*elapsed.Seconds()
	}
	goal = min(goal, headroom*e.sent+headStart, Unlimited)
	c.target = max(c.target, goal)
}

// judgeLoss looks whether the reduction that was made for a loss has cured it.
func (c *control) judgeLoss(e evidence) {
	if c.tolerated > 0 && e.now > c.forget {
		c.tolerated = 0
	}
	if c.blamed == 0 || c.told < judgePackets && e.now < c.judge {
		return
	}
	loss := c.lost / max(c.told, judgePackets)
	cured, worse := loss <= uncured*c.blamed, loss >= c.blamed/uncured || loss > mostTolerated
	switch {
	case cured || e.now >= c.judge:
		c.blamed = 0
	case !worse && !e.congested:
		c.tolerated, c.forget = loss, e.now+forgiven
		c.target, c.capacity = max(c.target, c.before), 0
		c.lost, c.told, c.blamed = 0, 0, 0
	}
}
