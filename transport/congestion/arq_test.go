package congestion

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// arq is a simulated connection that repairs losses as SRT does, in virtual
// time: what the receiver misses it asks for at once, and again and again until
// it comes or its latency is over, and all of that is sent again, through the
// same bottleneck.
type arq struct {
	rate    func(t time.Duration) float64 // bit/s that the bottleneck carries
	buffer  time.Duration                 // of the queue, at the rate of the moment
	latency time.Duration
	loss    float64
}

const (
	arqPacket   = packetSize             // bytes
	arqWay      = 5 * time.Millisecond   // one way, without the queue
	arqAsks     = 20 * time.Millisecond  // time between two requests
	arqReport   = 100 * time.Millisecond // time between two looks at the statistics
	arqSmoothes = 0.125                  // of a round trip in the mean of them (RFC 6298)
)

// arqSample is a tenth of a second.
type arqSample struct {
	sample
	delivered float64 // bit/s that came in time
}

// follow runs the connection, with a camera that makes what it is told, and
// returns what happened.
func (a arq) follow(asked float64, length time.Duration) []arqSample {
	type flight struct {
		number int
		at     time.Duration
	}
	type media struct {
		sent         time.Duration
		lost, got    bool // reported as lost; arrived
		acknowledged bool
	}
	var (
		r        = NewReports()
		epoch    = time.Unix(1_700_000_000, 0)
		random   = rand.New(rand.NewPCG(1, 2))
		packets  []media
		queue    []int // numbers in front of the bottleneck
		arriving []flight
		asking   []flight // on their way back
		first    int      // not acknowledged
		highest  = -1     // that has arrived
		made     float64  // bytes of the next packet
		carried  float64  // bytes that the bottleneck may let out
		rtt      = 2 * arqWay
		rateNow  = asked
		samples  []arqSample

		sent, lost, left, delivered int // packets since the last look
		total                       uint64
		received                    float64
	)
	put := func(number int, capacity float64) {
		if room := capacity / 8 * a.buffer.Seconds(); float64(len(queue)*arqPacket) <= room && random.Float64() >= a.loss {
			queue = append(queue, number)
		}
	}
	for now := time.Duration(0); now < length; now += step {
		capacity := a.rate(now)
		for made += rateNow / 8 * step.Seconds(); made >= arqPacket; made -= arqPacket {
			packets = append(packets, media{sent: now})
			sent++
			put(len(packets)-1, capacity)
		}
		for ; len(asking) > 0 && asking[0].at <= now; asking = asking[1:] {
			p := &packets[asking[0].number]
			if !p.lost {
				p.lost = true
				lost++
			}
			if !p.acknowledged {
				put(asking[0].number, capacity)
			}
		}
		for carried += capacity / 8 * step.Seconds(); carried >= arqPacket && len(queue) > 0; carried -= arqPacket {
			arriving = append(arriving, flight{queue[0], now + arqWay})
			queue = queue[1:]
		}
		if len(queue) == 0 {
			carried = min(carried, arqPacket)
		}
		for ; len(arriving) > 0 && arriving[0].at <= now; arriving = arriving[1:] {
			n := arriving[0].number
			for missing := highest + 1; missing < n; missing++ {
				asking = append(asking, flight{missing, now + arqWay})
			}
			highest = max(highest, n)
			if p := &packets[n]; !p.got && now < p.sent+a.latency {
				p.got = true
				delivered++
			}
		}
		for ; first <= highest && (packets[first].got || now >= packets[first].sent+a.latency); first++ {
			packets[first].acknowledged = true
			left++
		}
		if now%arqAsks == 0 {
			for n := first; n < highest; n++ {
				if !packets[n].got {
					asking = append(asking, flight{n, now + arqWay})
				}
			}
		}
		if now%(10*time.Millisecond) == 0 {
			queued := time.Duration(float64(len(queue)*arqPacket) * 8 / capacity * float64(time.Second))
			rtt += time.Duration(arqSmoothes * float64(2*arqWay+queued-rtt))
		}
		if now%arqReport != 0 || now == 0 {
			continue
		}
		share := min(float64(lost)/float64(max(sent, 1)), 1)
		total += uint64(sent * arqPacket)
		got := float64(left) - share*float64(sent)
		received += (got*arqPacket*8/arqReport.Seconds() - received) / 2
		r.Feedback(packet.Feedback{At: epoch.Add(now), Loss: share, RTT: rtt, ReceiveRate: max(received, 1)}, total)
		samples = append(samples, arqSample{
			sample{now, min(float64(r.Target()), asked), rateNow, rtt - 2*arqWay},
			float64(delivered*arqPacket) * 8 / arqReport.Seconds(),
		})
		sent, lost, left, delivered = 0, 0, 0, 0
		rateNow = samples[max(0, len(samples)-2)].target // the encoder follows after a tenth of a second
	}
	return samples
}

// delivers returns bit/s that came in time on the mean.
func delivers(samples []arqSample, from, to time.Duration) float64 {
	sum, n := 0.0, 0
	for _, s := range samples {
		if s.at >= from && s.at < to {
			sum += s.delivered
			n++
		}
	}
	return sum / float64(n)
}

// The way carries 8, then 2, then 8 Mbit/s again. What is sent again fills the
// narrow way with copies, so that much is lost even of less than it carries:
// only going further down ends that.
func TestReportsFollowStepsOfRepairedWay(t *testing.T) {
	const asked, down, up, length = 6.5e6, 10 * time.Second, 30 * time.Second, 50 * time.Second
	for _, buffer := range []time.Duration{20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond} {
		t.Run(buffer.String(), func(t *testing.T) {
			a := arq{rate: steps(8e6, down, 2e6, up, 8e6), buffer: buffer, latency: 120 * time.Millisecond}
			samples := a.follow(asked, length)
			var last, back time.Duration
			for _, s := range samples {
				t.Logf("%5.1f s: told %.2f, made %.2f, delivered %.2f Mbit/s, queue %v", s.at.Seconds(), s.target/1e6, s.encoder/1e6, s.delivered/1e6, s.queue.Round(time.Millisecond))
				if s.at < down+3*time.Second && s.target > 2e6 {
					last = s.at
				}
				if s.at > up && s.target >= 0.8*asked && back == 0 {
					back = s.at
				}
			}
			if got := delivers(samples, 0, down); got < 0.95*asked {
				t.Errorf("a way that is wide enough delivers %.2f Mbit/s", got/1e6)
			}
			if last > down+time.Second {
				t.Errorf("the encoder is told more than 2 Mbit/s until %v after the step", last-down)
			}
			if got := delivers(samples, down+3*time.Second, up); got < 0.6*2e6 {
				t.Errorf("2 Mbit/s deliver %.2f", got/1e6)
			}
			if back == 0 || back > up+15*time.Second {
				t.Errorf("back at 80 %% at %v", back)
			}
		})
	}
}

// What is lost at random and comes when it is asked for again is no reason to
// slow down.
func TestReportsTolerateRepairedLoss(t *testing.T) {
	for _, loss := range []float64{0.01, 0.05, 0.10} {
		a := arq{rate: constant(20e6), buffer: 250 * time.Millisecond, latency: 120 * time.Millisecond, loss: loss}
		for _, s := range a.follow(5e6, 120*time.Second) {
			if s.target < 5e6 {
				t.Fatalf("with a loss of %v the target is %.2f Mbit/s at %v", loss, s.target/1e6, s.at)
			}
		}
	}
}
