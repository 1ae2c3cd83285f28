package congestion

import (
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// Reports estimates what the way to one receiver carries from what the
// receiver sums up: loss, round-trip time and the rate that arrived. It sees
// less and later than an Estimator, as late as the receiver reports. It is
// safe for use by several goroutines.
type Reports struct {
	mu      sync.Mutex
	start   time.Time
	control control
	delay   delay
	sent    meter
	bytes   uint64 // sent at the last report

	last     time.Duration // when that was
	steadily float64       // bit/s received, the mean of about a second
}

// packetSize is about how many bytes the packets have that reports are about.
const packetSize = 1200

// NewReports makes a Reports that knows nothing: its target is Unlimited.
func NewReports() *Reports { return &Reports{control: newControl(), delay: newDelay()} }

// Feedback takes what a receiver told, and how many bytes had been sent to it
// until then.
func (r *Reports) Feedback(f packet.Feedback, sent uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.start.IsZero() {
		r.start, r.bytes = f.At, sent
	}
	now := f.At.Sub(r.start)
	packets := float64(sent-r.bytes) / packetSize
	r.sent.add(now, int(sent-r.bytes))
	r.bytes = sent
	r.control.count(f.Loss*packets, packets)
	if f.RTT > 0 {
		r.delay.sample(now, f.RTT)
	}
	rate := r.sent.rate(sentWindow)
	received := f.ReceiveRate
	if received == 0 {
		received = rate * (1 - f.Loss)
	}
	elapsed := (now - r.last).Seconds()
	r.last = now
	r.steadily += (received - r.steadily) * min(elapsed, 1)
	reduced := r.control.update(evidence{
		now: now, congested: r.delay.congested, draining: r.delay.draining, stands: r.delay.stands(), queue: r.delay.queue, rtt: f.RTT,
		received: received, steadily: r.steadily, sent: rate,
	})
	if reduced {
		r.steadily = received
	}
}

// Reset tells that packets leave by another way from now on, of which nothing is
// known.
func (r *Reports) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.control, r.delay = newControl(), newDelay()
	r.sent.reset()
	r.steadily = 0
}

// Target returns what the sender may send, in bit/s. It is Unlimited until the
// way was seen to be full.
func (r *Reports) Target() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.control.target)
}
