package packet

import (
	"sync"
	"time"
)

const (
	// repairMemory is how many of the packets that were asked for are
	// remembered, and repairSpan for how long at most: then the number may be
	// another packet's.
	repairMemory = 512
	repairSpan   = 5 * time.Second

	// repairPause is the least time between two answers about one packet, as
	// is repairTrip of a round trip: who asks more often knows nothing new.
	repairPause = 20 * time.Millisecond
	repairTrip  = 0.75

	// repairShare bounds what is sent again, as a share of what is sent, and
	// repairBurst how much of that may come at once, in bytes: a receiver that
	// asks for everything must not clog its own way. Of a way that is known to
	// be limited it is a share of what that carries: what is full loses much,
	// and what is sent again makes it fuller, so beyond that a keyframe is the
	// cheaper repair.
	repairShare   = 0.5
	repairBurst   = 320_000
	limitedRepair = 0.2
	limitedPeriod = 500 * time.Millisecond // of limitedRepair at once

	// A packet is sent so often that no more than bearable of them are lost
	// every time, and mostCopies times at most. copyShare of the packets may
	// be second and third copies. Where a round trip takes farTrip or more, one
	// try more is a freeze, and worth more copies.
	bearable     = 0.03
	mostCopies   = 3
	copyShare    = 0.15
	copyBurst    = 64 // packets
	farTrip      = 100 * time.Millisecond
	farBearable  = 0.003
	farCopyShare = 0.25

	// copyGap is the time between two copies: what takes one often takes its
	// neighbours, too.
	copyGap = 8 * time.Millisecond

	// lossMemory is over how many packets loss is measured at most. It is half
	// of it at least: a few that are lost at the beginning mean nothing.
	lossMemory = 1000

	// ample is times the bitrate: a way that carries more than that does not
	// lose packets because it is full.
	ample = 1.5
)

// Repair decides what is sent again of what one receiver misses (RFC 4585
// section 6.2.1), and how often.
//
// What is sent again is lost as easily as anything else, and a receiver that
// asks three or four times until a picture is due has no more tries than that.
// So where many packets are lost, those that are asked for are sent twice, and
// once more when they are asked for again, a few milliseconds apart; where the
// next try takes long, even where some are lost, and three times where many are.
// Where few are lost, and where the way is full, they are sent once: there is
// nothing to gain by it, or much to lose.
//
// It is safe for use by several goroutines. Close ends it.
type Repair struct {
	resend func(numbers []uint16)

	mu      sync.Mutex
	answers [repairMemory]answer
	rtt     time.Duration // 0 when not known
	limit   float64       // bit/s that the way carries, 0 when not known

	packets, missed float64 // sent lately; of these, asked for
	size            float64 // bytes of a packet, on the mean
	rate            float64 // bit/s over the last second, 0 before
	since           time.Time
	bytes           int // sent since

	room     float64   // bytes that may be sent again now
	roomAt   time.Time // when that was computed, of a limited way
	copyRoom float64   // second and third copies that may be sent now

	due    []uint16 // used again by each call
	later  []laterCopy
	timer  *time.Timer // of later
	closed bool
}

// answer is that a packet was sent again.
type answer struct {
	number uint16
	at     time.Time // zero: there was none
}

// laterCopy is a packet that is to be sent so many times more.
type laterCopy struct {
	number uint16
	left   int
	at     time.Time
}

// NewRepair makes a Repair that calls resend with the numbers of packets to be
// sent again now, one call at a time. It may be called by a timer. It must not
// call the Repair, nor keep the slice.
func NewRepair(resend func(numbers []uint16)) *Repair {
	r := &Repair{resend: resend}
	r.timer = time.AfterFunc(time.Hour, r.sendLater)
	r.timer.Stop()
	return r
}

// Close ends all resending. It may be called more than once.
func (r *Repair) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.timer.Stop()
}

// Limit tells how many bit/s the way carries, 0 when that is not known.
func (r *Repair) Limit(bitsPerSecond int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = float64(bitsPerSecond)
}

// RoundTrip tells how long an answer takes, 0 when that is not known.
func (r *Repair) RoundTrip(rtt time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtt = rtt
}

// Sent tells that so many new packets were sent, with so many bytes together.
func (r *Repair) Sent(packets, bytes int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if packets == 0 {
		return
	}
	if r.packets += float64(packets); r.packets > lossMemory {
		r.packets, r.missed = r.packets/2, r.missed/2
	}
	if mean := float64(bytes) / float64(packets); r.size == 0 {
		r.size = mean
	} else {
		r.size += (mean - r.size) / 16
	}
	share := copyShare
	if r.far() {
		share = farCopyShare
	}
	r.copyRoom = min(r.copyRoom+share*float64(packets), copyBurst)
	if r.limit == 0 {
		r.room = min(r.room+repairShare*float64(bytes), repairBurst)
	}
	r.bytes += bytes
	switch elapsed := now.Sub(r.since).Seconds(); {
	case r.since.IsZero():
		r.since, r.bytes = now, 0
	case elapsed >= 1:
		r.rate = float64(r.bytes) * 8 / elapsed
		r.since, r.bytes = now, 0
	}
}

// Asked tells that the receiver asked for packets.
func (r *Repair) Asked(numbers []uint16, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer(numbers, now)
}

// Missed tells that packets did not arrive, as the sender has found out by
// itself. Where the way is full that is for the receiver to decide.
func (r *Repair) Missed(numbers []uint16, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wide() {
		r.answer(numbers, now)
	}
}

// answer sends what may be sent again. r.mu is held.
func (r *Repair) answer(numbers []uint16, now time.Time) {
	if r.closed {
		return
	}
	r.due = r.due[:0]
	for _, number := range numbers {
		last := &r.answers[number%repairMemory]
		again := last.number == number && !last.at.IsZero() && now.Sub(last.at) < repairSpan
		if again && now.Sub(last.at) < max(repairPause, time.Duration(repairTrip*float64(r.rtt))) {
			continue
		}
		if !again {
			r.missed++
		}
		if !r.spend(now) {
			continue
		}
		*last = answer{number, now}
		r.due = append(r.due, number)
		if more := r.copies(again) - 1; more > 0 {
			r.later = append(r.later, laterCopy{number, more, now.Add(copyGap)})
		}
	}
	if len(r.due) > 0 {
		r.resend(r.due)
	}
	r.startTimer(now)
}

// wide tells whether the way carries more than is sent. r.mu is held.
func (r *Repair) wide() bool { return r.limit == 0 || r.rate > 0 && r.limit > ample*r.rate }

// far tells whether it takes long to hear whether a packet has come. r.mu is held.
func (r *Repair) far() bool { return r.rtt >= farTrip }

// copies returns how often a packet is to be sent now. r.mu is held.
func (r *Repair) copies(again bool) int {
	if !r.wide() {
		return 1
	}
	n, loss, borne := 1, r.missed/max(r.packets, lossMemory/2), bearable
	if r.far() {
		borne = farBearable
	}
	for left := loss; left > borne && n < mostCopies; left *= loss {
		n++
	}
	if again {
		n++
	}
	return min(n, mostCopies)
}

// spend takes the room for a packet, if there is any. r.mu is held.
func (r *Repair) spend(now time.Time) bool {
	if r.limit > 0 {
		share := limitedRepair * r.limit / 8
		r.room = min(r.room+share*now.Sub(r.roomAt).Seconds(), share*limitedPeriod.Seconds())
		r.roomAt = now
	}
	if r.room < r.size {
		return false
	}
	r.room -= r.size
	return true
}

// startTimer lets sendLater come when there is something to do. r.mu is held.
func (r *Repair) startTimer(now time.Time) {
	if len(r.later) == 0 || r.closed {
		return
	}
	first := r.later[0].at
	for _, c := range r.later[1:] {
		if c.at.Before(first) {
			first = c.at
		}
	}
	r.timer.Reset(first.Sub(now))
}

// sendLater sends the copies whose time has come. It is called by the timer.
func (r *Repair) sendLater() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	now := time.Now()
	r.due = r.due[:0]
	waiting := r.later[:0]
	for _, c := range r.later {
		switch {
		case c.at.After(now):
		case r.copyRoom < 1 || !r.wide() || !r.spend(now):
			continue // its room is gone
		default:
			r.copyRoom--
			r.due = append(r.due, c.number)
			c.left, c.at = c.left-1, now.Add(copyGap)
		}
		if c.left > 0 {
			waiting = append(waiting, c)
		}
	}
	r.later = waiting
	if len(r.due) > 0 {
		r.resend(r.due)
	}
	r.startTimer(now)
}
