package congestion

import "time"

const (
	// burst is how far apart packets may be sent and count as one group
	// (draft-ietf-rmcat-gcc-02 section 5.2).
	burst = 5 * time.Millisecond

	// trendTime and trendGroups are what the trend is taken over: more makes
	// it slow, fewer makes it jump.
	trendTime   = 600 * time.Millisecond
	trendGroups = 40
	leastGroups = 4

	// The threshold of the trend adapts, so that jitter of the way itself is
	// not taken for a queue (section 5.4, with the factors of
	// draft-ietf-rmcat-gcc-02 table 1 for one millisecond).
	firstThreshold = 12.5 // ms
	leastThreshold = 6
	mostThreshold  = 100
	thresholdUp    = 0.0087
	thresholdDown  = 0.039
	outlier        = 15 // ms over the threshold that it does not adapt to

	// leastQueue is what a queue must hold to be one. longQueue is one that
	// has to go, whether it grows or not.
	leastQueue = 12 * time.Millisecond
	leastWait  = 6 * time.Millisecond // of one packet
	longQueue  = 60 * time.Millisecond

	// standTime is how long a queue must be there without a pause to be one
	// that stands: jitter has pauses.
	standTime = 500 * time.Millisecond

	// patience is how often a long queue is answered, and stubborn how many
	// answers may not help until the delay is taken for the way's own: it
	// has another route, or others keep its queue full.
	patience = time.Second
	stubborn = 3

	// baseWindow is what the delay without a queue is looked for in, twice.
	baseWindow = 10 * time.Second

	// jump is a change of delay that only a clock can make.
	jump = 3 * time.Second
)

// delay watches the time that packets take. Both clocks are unknown, so only
// changes mean anything.
//
// Packets that were sent together are one group, and the fastest of it stands
// for all: what the others waited for is the group itself.
type delay struct {
	started bool
	sent    time.Duration // of the group's first packet
	least   time.Duration // delay in the group

	bases     [2]time.Duration // least delay of this window and the one before
	baseUntil time.Duration

	groups  [trendGroups]group
	next, n int

	threshold float64
	over      int // groups in a row that were over it

	queue     time.Duration
	clear     time.Duration // when there was none last
	congested bool
	draining  bool

	answered time.Duration // when a long queue was answered last
	answers  int
	answerTo time.Duration // the queue it was given to
}

type group struct {
	sent  time.Duration
	queue float64 // ms
}

func newDelay() delay { return delay{threshold: firstThreshold} }

// packet takes a packet that has arrived, and reports whether it waited in a
// queue. Packets come in the order in which they were sent; late ones are left
// out of the groups.
func (d *delay) packet(sent, arrived time.Duration) (waited bool) {
	took := arrived - sent
	switch {
	case d.fresh(took):
		d.begin(sent, took)
	case sent < d.sent:
	case sent-d.sent <= burst:
		d.least = min(d.least, took)
	default:
		d.close()
		d.sent, d.least = sent, took
	}
	return took-min(d.bases[0], d.bases[1]) > leastWait
}

// sample takes a delay that was measured as such.
func (d *delay) sample(at, took time.Duration) {
	if d.fresh(took) {
		d.begin(at, took)
	}
	d.sent, d.least = at, took
	d.close()
}

// fresh tells whether there is nothing to compare a delay with.
func (d *delay) fresh(took time.Duration) bool {
	return !d.started || (took-d.bases[0]).Abs() > jump
}

func (d *delay) begin(sent, took time.Duration) {
	*d = delay{threshold: d.threshold, started: true, sent: sent, least: took, clear: sent}
	d.bases = [2]time.Duration{took, took}
	d.baseUntil = sent + baseWindow
}

// close adds the newest group to the trend.
func (d *delay) close() {
	if d.sent > d.baseUntil {
		d.bases = [2]time.Duration{d.least, d.bases[0]}
		d.baseUntil = d.sent + baseWindow
	}
	d.bases[0] = min(d.bases[0], d.least)
	d.queue = d.least - min(d.bases[0], d.bases[1])
	if d.queue < leastQueue {
		d.clear = d.sent
	}
	last := d.groups[(d.next-1+trendGroups)%trendGroups].sent
	d.groups[d.next] = group{d.sent, milliseconds(d.queue)}
	d.next = (d.next + 1) % trendGroups
	d.n = min(d.n+1, trendGroups)
	d.judge(d.sent - last)
}

// judge decides whether there is a queue. elapsed is the time between the last
// two groups.
//
// After a stall of a radio, or of a machine, everything that waited arrives at
// once: each group was faster than the one before it. A queue that is too long
// is not like that, so what falls is no reason.
func (d *delay) judge(elapsed time.Duration) {
	growth := d.growth()
	queue := milliseconds(d.queue)
	grows := growth > d.threshold && d.queue > leastQueue && queue > growth/2
	falls := queue < d.at(1).queue-milliseconds(elapsed)/4
	switch {
	case falls:
		d.over = 0
	case grows, d.queue > longQueue:
		d.over++
	default:
		d.over = 0
	}
	d.draining = growth < -d.threshold
	if d.queue < longQueue/2 {
		d.answers = 0
	}
	answerable := d.sent-d.answered > patience
	d.congested = d.over >= 2 && !d.draining && (grows || answerable)
	if d.congested && d.queue > longQueue && answerable {
		d.answer()
	}
	d.adapt(growth, elapsed)
}

// stands tells whether there has been a queue for a while.
func (d *delay) stands() bool { return d.sent-d.clear > standTime }

// answer counts a reduction that is made for a long queue. When none of them
// makes it shorter it is the new normal.
func (d *delay) answer() {
	if d.answers > 0 && d.queue > d.answerTo*3/4 {
		d.answers++
	} else {
		d.answers = 1
	}
	d.answered, d.answerTo = d.sent, d.queue
	if d.answers > stubborn {
		d.bases = [2]time.Duration{d.least, d.least}
		d.n, d.next, d.answers, d.over = 0, 0, 0, 0
		d.queue, d.clear, d.congested = 0, d.sent, false
	}
}

// growth returns by how many milliseconds the queue grew over the last groups,
// by linear regression.
func (d *delay) growth() float64 {
	newest := d.at(0)
	n, meanX, meanY := 0, 0.0, 0.0
	for ; n < d.n && newest.sent-d.at(n).sent <= trendTime; n++ {
		meanX += milliseconds(d.at(n).sent - newest.sent)
		meanY += d.at(n).queue
	}
	if n < leastGroups {
		return 0
	}
	meanX, meanY = meanX/float64(n), meanY/float64(n)
	var xx, xy float64
	for i := range n {
		x := milliseconds(d.at(i).sent-newest.sent) - meanX
		xx += x * x
		xy += x * (d.at(i).queue - meanY)
	}
	return xy / xx * milliseconds(newest.sent-d.at(n-1).sent)
}

// at returns the group that is so many before the newest.
func (d *delay) at(back int) group {
	return d.groups[(d.next-1-back+2*trendGroups)%trendGroups]
}

func (d *delay) adapt(growth float64, elapsed time.Duration) {
	size := max(growth, -growth)
	if size > d.threshold+outlier {
		return
	}
	k := thresholdDown
	if size > d.threshold {
		k = thresholdUp
	}
	d.threshold += k * (size - d.threshold) * min(milliseconds(elapsed), 100)
	d.threshold = min(max(d.threshold, leastThreshold), mostThreshold)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
