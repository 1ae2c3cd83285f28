package congestion

import (
	"sync"
	"time"
)

const (
	// historyLength is how many packets are remembered until they are
	// reported: a second of 20 Mbit/s, two of what cameras make. A power of
	// two.
	historyLength = 2048

	// receivedWindow is what the rate that arrived is measured over: short,
	// so that what came before the way became narrow is soon forgotten.
	receivedWindow = 200 * time.Millisecond
	sentWindow     = time.Second

	// silence is how long feedback may be missing while packets are sent. A
	// receiver sends it several times a second.
	silence = time.Second
)

// Estimator estimates what the way to one receiver carries from transport-wide
// feedback. It is safe for use by several goroutines.
type Estimator struct {
	mu      sync.Mutex
	start   time.Time // what all other times are since
	control control
	delay   delay

	history [historyLength]sentPacket
	sent    meter
	arrived meter // by the receiver's clock
	full    busy  // by the receiver's clock

	report    report
	lost      []uint16      // as reported by the newest feedback for the first time
	reference int64         // of the newest feedback, unwrapped
	expected  uint16        // the number after the highest that was reported
	heard     bool          // feedback has come
	unheard   time.Duration // when the first packet was sent since
	waiting   bool          // there was one
	silent    bool          // feedback is missing
	before    control       // what was known before that

	rtt time.Duration
}

// sentPacket is what is remembered of a packet.
type sentPacket struct {
	sent   time.Duration
	size   int32 // bytes, 0 when the slot is empty
	number uint16
	lost   bool // reported as not received
}

// NewEstimator makes an Estimator that knows nothing: its target is Unlimited.
func NewEstimator() *Estimator {
	return &Estimator{control: newControl(), delay: newDelay()}
}

// Sent tells that a packet of so many bytes was sent with a transport-wide
// sequence number. Numbers are of one sequence.
func (e *Estimator) Sent(number uint16, size int, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.since(at)
	e.history[number%historyLength] = sentPacket{sent: now, size: int32(size), number: number}
	e.sent.add(now, size)
	switch {
	case !e.waiting:
		e.waiting, e.unheard = true, now
	case e.heard && now-e.unheard > silence+e.rtt:
		// Either nothing arrives there, or nothing comes back.
		if e.unheard = now; !e.silent {
			e.silent, e.before = true, e.control
		}
		if rate := e.sent.rate(sentWindow); rate > 0 {
			e.control.reduce(evidence{now: now}, min(e.control.target, rate), leastBackOff)
		}
	}
}

// Feedback reads an RTCP packet of type 205, format 15, and returns the numbers
// of packets that it tells are missing, if none has told so before. They may
// still come. The slice is valid until the next call. The error says what is wrong
// with the packet; then nothing of it counts.
func (e *Estimator) Feedback(packet []byte, at time.Time) (lost []uint16, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.report.parse(packet); err != nil {
		return nil, err
	}
	now := e.since(at)
	e.waiting = false
	received := e.read(now)
	if !received && !e.heard {
		return nil, nil
	}
	e.heard = true
	if e.silent && received {
		e.resume(now)
	}
	e.control.update(evidence{
		now: now, congested: e.delay.congested, draining: e.delay.draining, stands: e.delay.stands(), queue: e.delay.queue, rtt: e.rtt,
		received: e.arrived.rate(receivedWindow), capacity: e.full.rate(receivedWindow), sent: e.sent.rate(sentWindow),
		steadily: e.arrived.rate(sentWindow),
	})
	return e.lost, nil
}

// resume ends a silence. To send less was a precaution: the silence was that of
// a radio, a machine or a cable more often than that of a way that is full. What
// was lost meanwhile says nothing of what comes now, and if there is a queue, its
// delay does.
func (e *Estimator) resume(now time.Duration) {
	e.silent, e.control = false, e.before
	e.control.last, e.control.hold = now, now+e.rtt+settle
	e.arrived.reset()
	e.full.skip()
}

// Reset tells that packets leave by another way from now on, of which nothing is
// known.
func (e *Estimator) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.control, e.delay = newControl(), newDelay()
	e.history = [historyLength]sentPacket{} // feedback about the old way comes to nothing
	e.sent.reset()
	e.arrived.reset()
	e.full.reset()
	e.heard, e.waiting, e.silent, e.rtt = false, false, false, 0
}

// read takes in what the parsed report tells. It reports whether it told of
// any packet that is remembered.
func (e *Estimator) read(now time.Duration) (received bool) {
	e.lost = e.lost[:0]
	arrival := time.Duration(e.unwrap(e.report.reference)) * referenceUnit
	for i, symbol := range e.report.symbols {
		if symbol != notReceived {
			arrival += e.report.delta(symbol)
		}
		number := e.report.base + uint16(i)
		p := &e.history[number%historyLength]
		if p.size == 0 || p.number != number {
			continue // reported before, or forgotten
		}
		gap := int16(number-e.expected) > 0
		if int16(number-e.expected) >= 0 {
			e.expected = number + 1
		}
		if gap && e.heard { // a report was lost, and what arrived with it is not known
			e.arrived.reset()
			e.full.skip()
		}
		if symbol == notReceived {
			if !p.lost {
				p.lost = true
				e.lost = append(e.lost, number)
				e.control.count(1, 1)
			}
			continue
		}
		received = true
		if p.lost { // it was only late
			e.control.count(-1, 0)
		} else {
			e.control.count(0, 1)
		}
		e.rtt = now - p.sent
		waited := e.delay.packet(p.sent, arrival)
		e.arrived.add(arrival, int(p.size))
		e.full.add(arrival, int(p.size), waited)
		p.size = 0
	}
	return received
}

// unwrap continues the reference time, which has 24 bits. After a gap that no
// network makes, what is measured by the receiver's clock begins anew.
func (e *Estimator) unwrap(reference uint32) int64 {
	step := int64(int32((reference-uint32(e.reference))<<8) >> 8)
	if far := int64(jump / referenceUnit); e.heard && (step > far || step < -far) {
		e.arrived.reset()
		e.full.reset()
	}
	next := e.reference + step
	e.reference = max(e.reference, next)
	if step < -int64(jump/referenceUnit) {
		e.reference = next
	}
	return next
}

// since returns the time since the first call.
func (e *Estimator) since(at time.Time) time.Duration {
	if e.start.IsZero() {
		e.start = at
	}
	return at.Sub(e.start)
}

// Target returns what the sender may send, in bit/s. It is Unlimited until the
// way was seen to be full.
func (e *Estimator) Target() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int(e.control.target)
}
