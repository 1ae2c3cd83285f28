package congestion

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// reported simulates a way of which only reports come back, and returns the
// target at each report.
func reported(rate func(time.Duration) float64, buffer, interval time.Duration, loss float64, rtt bool, length time.Duration) []sample {
	const asked = 7.5e6
	r := NewReports()
	epoch := time.Unix(1_700_000_000, 0)
	var samples []sample
	var backlog, got, lost, sent, total float64 // bytes
	var waited time.Duration
	encoder := asked
	for now := time.Duration(0); now < length; now += step {
		capacity := rate(now)
		bytes := encoder / 8 * step.Seconds()
		sent += bytes
		total += bytes
		lost += bytes * loss
		backlog += bytes * (1 - loss)
		carried := min(backlog, capacity/8*step.Seconds())
		got += carried
		backlog -= carried
		if over := backlog - capacity/8*buffer.Seconds(); over > 0 {
			lost += over
			backlog -= over
		}
		if now%interval != 0 || now == 0 {
			continue
		}
		f := packet.Feedback{At: epoch.Add(now), Loss: lost / sent, ReceiveRate: got * 8 / interval.Seconds()}
		queue := time.Duration(backlog * 8 / capacity * float64(time.Second))
		if rtt { // of a sender report some time ago
			f.RTT = 40*time.Millisecond + waited
		}
		waited = queue
		sent, lost, got = 0, 0, 0
		r.Feedback(f, uint64(total))
		target := min(float64(r.Target()), asked)
		samples = append(samples, sample{now, target, encoder, queue})
		encoder = target
	}
	return samples
}

// The way carries 8, then 2, then 8 Mbit/s again.
func TestReportsFollowSteps(t *testing.T) {
	const down, up = 10 * time.Second, 30 * time.Second
	for _, buffer := range []time.Duration{50 * time.Millisecond, 250 * time.Millisecond} {
		for _, rtt := range []bool{true, false} {
			t.Run(fmt.Sprint(buffer, " ", rtt), func(t *testing.T) {
				samples := reported(steps(8e6, down, 2e6, up, 8e6), buffer, 200*time.Millisecond, 0, rtt, 60*time.Second)
				if got := mean(after(samples, 0, down)); got < 0.9*7.5e6 {
					t.Errorf("a way that is wide enough gives %.2f Mbit/s", got/1e6)
				}
				if at := lastWhere(after(samples, down, 2*time.Second), func(s sample) bool { return s.encoder > 2e6 }); at > down+time.Second {
					t.Errorf("the encoder is above 2 Mbit/s until %v after the step", at-down)
				}
				if got := mean(after(samples, down+3*time.Second, up-down-3*time.Second)); got < 0.7*2e6 || got > 2.3e6 {
					t.Errorf("2 Mbit/s give %.2f Mbit/s", got/1e6)
				}
				if got := mean(after(samples, up+15*time.Second, time.Hour)); got < 0.8*7.5e6 {
					t.Errorf("15 s after the step back there are %.2f Mbit/s", got/1e6)
				}
			})
		}
	}
}

// Loss that no queue makes is no reason to slow down.
func TestReportsTolerateRandomLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05, 0.10, 0.20} {
		samples := reported(constant(20e6), 250*time.Millisecond, 200*time.Millisecond, loss, true, 60*time.Second)
		if got := mean(after(samples, 5*time.Second, time.Hour)); got < 0.85*7.5e6 {
			t.Errorf("with a loss of %v the target is %.2f Mbit/s on the mean", loss, got/1e6)
		}
	}
}

// A twentieth is lost while the target is limited. Beside a queue that stands
// that is the queue's, which must go; without one it is the radio's.
func TestLossBesideQueueIsReason(t *testing.T) {
	const target = 2e6
	for _, stands := range []bool{true, false} {
		c := newControl()
		c.target, c.capacity = target, target
		for now := time.Duration(0); now < 10*time.Second && c.target >= target; now += 100 * time.Millisecond {
			c.count(1, 20)
			c.update(evidence{now: now, stands: stands, queue: 45 * time.Millisecond, received: 0.95 * target, steadily: 0.95 * target, sent: target})
			if stands && c.target > target {
				t.Fatalf("with a queue the target is raised to %.2f Mbit/s", c.target/1e6)
			}
		}
		if stands != (c.target < target) {
			t.Errorf("with a queue (%v) the target is %.2f Mbit/s after 10 s", stands, c.target/1e6)
		}
	}
}

// A loss that has become worse, but is a radio's, holds nothing up.
func TestWorseLossIsForgotten(t *testing.T) {
	const asked = 2e6
	c := newControl()
	c.target, c.capacity = asked, asked
	for now := time.Duration(0); now < 20*time.Second; now += 100 * time.Millisecond {
		stands, lost := c.target >= asked && c.blamed == 0, 1.0
		if c.blamed > 0 {
			lost = 2 // of 20, and no queue any more
		}
		c.count(lost, 20)
		c.update(evidence{now: now, stands: stands, received: 0.9 * c.target, steadily: 0.9 * c.target, sent: c.target})
	}
	if c.blamed != 0 || c.target < 0.8*asked {
		t.Errorf("the target is %.2f Mbit/s, a loss of %v is blamed", c.target/1e6, c.blamed)
	}
}

// Of the few packets that a report is about chance loses many or none.
func TestReportsIgnoreChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, interval := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second} {
		r := NewReports()
		at, sent := time.Unix(1_700_000_000, 0), uint64(0)
		packets := int(5e6 / 8 / packetSize * interval.Seconds())
		for range int(10 * time.Minute / interval) {
			lost := 0
			for range packets {
				if random.Float64() < 0.1 {
					lost++
				}
			}
			at, sent = at.Add(interval), sent+uint64(packets*packetSize)
			r.Feedback(packet.Feedback{At: at, Loss: float64(lost) / float64(packets), RTT: 40 * time.Millisecond}, sent)
		}
		if got := r.Target(); got != Unlimited {
			t.Errorf("with reports every %v the target is %.2f Mbit/s", interval, float64(got)/1e6)
		}
	}
}

// More than three tenths is never tolerated, but the target comes back when the
// loss goes.
func TestReportsTolerateNoHeavyLoss(t *testing.T) {
	loss := func(now time.Duration) float64 { return steps(0, 5*time.Second, 0.5, 15*time.Second, 0.0)(now) }
	r := NewReports()
	epoch, sent, rate := time.Unix(1_700_000_000, 0), 0.0, 6e6
	for now := time.Duration(0); now < 35*time.Second; now += 200 * time.Millisecond {
		sent += rate / 8 / 5
		r.Feedback(packet.Feedback{At: epoch.Add(now), Loss: loss(now), RTT: 40 * time.Millisecond, ReceiveRate: rate * (1 - loss(now))}, uint64(sent))
		rate = min(max(float64(r.Target()), 0.3e6), 6e6) // what the camera makes at least
		if now > 8*time.Second && now < 15*time.Second && rate > 2e6 {
			t.Fatalf("at %v, with half of it lost, the target is %.2f Mbit/s", now, rate/1e6)
		}
	}
	if rate < 0.8*6e6 {
		t.Errorf("20 s after that the target is %.2f Mbit/s", rate/1e6)
	}
}

// A receiver that reports every 5 s, as the RFC's rule gives for few
// receivers, is followed as well, only later.
func TestReportsThatAreSeldom(t *testing.T) {
	samples := reported(steps(8e6, 20*time.Second, 2e6), 250*time.Millisecond, 5*time.Second, 0, true, 60*time.Second)
	if got := mean(after(samples, 31*time.Second, time.Hour)); got < 0.5*2e6 || got > 2.4e6 {
		t.Errorf("2 Mbit/s give %.2f Mbit/s", got/1e6)
	}
}
