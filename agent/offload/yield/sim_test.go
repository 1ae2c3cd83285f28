package yield

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// network is a bottleneck in virtual time: a first-in-first-out queue that
// live pictures, the transfer and other traffic share. The transfer is TCP as
// far as the controller sees it: pairs of segments at the paced rate, one
// acknowledgement for each pair, and the kernel's smoothing.
type network struct {
	rate   float64       // bit/s
	buffer int           // bytes
	path   time.Duration // round trip without a queue
	live   float64       // bit/s at 30 pictures a second
	other  float64       // bit/s of smooth cross traffic
	jitter time.Duration // mean of what acknowledgements are late, exponential
	loss   float64       // of packets at random
	stall  time.Duration // mean of what acknowledgements stop for now and then
	every  time.Duration // mean time between two stalls
	held   time.Duration // until when this machine does something else, and sends nothing

	report Live // what the live streams feel beside their bitrate

	c    *Controller
	rand *rand.Rand
	now  time.Duration

	queue  []packet
	queued int
	credit float64 // bytes that the link can still take in this step

	nextPicture, nextOther time.Duration
	stalled, nextStall     time.Duration // the end of a stall, the begin of the next
	pacing                 float64       // bit/s of the kernel, 0: none
	nextPair               time.Duration // when the kernel sends again
	info                   filetransfer.TCPInfo
	srtt                   float64 // seconds
	acks                   []ack   // on their way, in order

	waits     []time.Duration // of live packets since the last result
	lost      int
	delivered int // bytes of the transfer
	from      time.Duration
}

type packet struct {
	size int
	kind int
	at   time.Duration
	last bool // of a pair
}

const (
	livePacket = iota
	bulkPacket
	otherPacket
)

type ack struct {
	at, sent time.Duration
	bytes    int
}

const (
	simStep = 100 * time.Microsecond
	segment = 1448
	headers = 66
)

func newNetwork(rate float64) *network {
	n := &network{rate: rate, buffer: int(rate / 8 / 4), path: 2 * time.Millisecond, live: 4e6, rand: rand.New(rand.NewPCG(3, 4))}
	n.info.SegmentBytes, n.info.MinRTT = segment, n.path
	n.report.Active = true
	n.c = New(Params{
		Live: func() Live {
			l := n.report
			l.Bitrate = n.live
			return l
		},
		Path: func() (filetransfer.TCPInfo, bool) { return n.info, n.info.Acked > 0 || n.now > 0 },
		Set:  func(rate int64) { n.pacing = float64(rate) },
	})
	n.c.bucket.at = epoch
	return n
}

// epoch is when virtual time begins.
var epoch = time.Unix(1_000_000, 0)

// run lets d pass.
func (n *network) run(d time.Duration) {
	for end := n.now + d; n.now < end; n.now += simStep {
		if n.now%tick == 0 {
			n.c.step(epoch.Add(n.now))
		}
		n.arrive()
		n.serve()
		n.acknowledge()
	}
}

func (n *network) enqueue(p packet) bool {
	if n.queued+p.size > n.buffer || n.rand.Float64() < n.loss {
		return false
	}
	p.at = n.now
	n.queue = append(n.queue, p)
	n.queued += p.size
	return true
}

func (n *network) arrive() {
	if n.now < n.held {
		return
	}
	if n.live > 0 && n.now >= n.nextPicture {
		n.nextPicture += time.Second / 30
		for bytes := n.live / 8 / 30; bytes > 0; bytes -= 1200 {
			if !n.enqueue(packet{size: 1242, kind: livePacket}) {
				n.lost++
			}
		}
	}
	if n.other > 0 && n.now >= n.nextOther {
		n.enqueue(packet{size: 1514, kind: otherPacket})
		n.nextOther = n.now + time.Duration(1514*8/n.other*(0.5+n.rand.Float64())*1e9)
	}
	pacing := n.pacing
	if pacing == 0 {
		pacing = 50e6
	}
	// Cubic would hold so much under way at most; the queue is what limits it.
	for inFlight := n.info.Sent - n.info.Acked; n.now >= n.nextPair && inFlight < 400_000; {
		if n.c.bucket.wait(epoch.Add(n.now)) > 0 {
			break
		}
		n.c.bucket.spend(epoch.Add(n.now), 2*segment)
		for i := range 2 {
			n.info.Sent += segment
			if !n.enqueue(packet{size: segment + headers, kind: bulkPacket, last: i == 1}) {
				n.info.Resent += segment
				n.info.Acked += segment // sent again at once, for simplicity
			}
		}
		n.nextPair = max(n.nextPair, n.now-simStep) + time.Duration(2*segment*8/pacing*1e9)
	}
}

func (n *network) serve() {
	step := n.rate / 8 * simStep.Seconds()
	n.credit = min(n.credit, 1514) + step
	for len(n.queue) > 0 && n.credit >= float64(n.queue[0].size) {
		p := n.queue[0]
		n.queue = n.queue[1:]
		n.queued -= p.size
		n.credit -= float64(p.size)
		switch p.kind {
		case livePacket:
			n.waits = append(n.waits, n.now-p.at)
		case bulkPacket:
			n.delivered += segment
			at := n.now + n.path
			if n.jitter > 0 {
				at += time.Duration(n.rand.ExpFloat64() * float64(n.jitter))
			}
			if k := len(n.acks); k > 0 {
				at = max(at, n.acks[k-1].at)
			}
			n.acks = append(n.acks, ack{at: at, sent: p.at, bytes: segment})
		}
	}
}

func (n *network) acknowledge() {
	if n.stall > 0 {
		if n.now >= n.nextStall {
			n.stalled = n.now + time.Duration(n.rand.ExpFloat64()*float64(n.stall))
			n.nextStall = n.now + time.Duration(n.rand.ExpFloat64()*float64(n.every))
		}
		if n.now < n.stalled {
			return
		}
	}
	for len(n.acks) > 1 && n.acks[1].at <= n.now {
		rtt := (n.now - n.acks[0].sent).Seconds()
		n.info.Acked += 2 * segment
		n.info.Segments++
		n.acks = n.acks[2:]
		if n.srtt == 0 {
			n.srtt = rtt
		}
		n.srtt += (rtt - n.srtt) / 8
		n.info.RTT = time.Duration(n.srtt*1e6) * time.Microsecond
		n.info.MinRTT = min(n.info.MinRTT, time.Duration(rtt*1e6)*time.Microsecond)
	}
}

// result is what the live picture felt, and what the transfer got.
type result struct {
	waits     []time.Duration
	lost      int
	delivered int // bytes
	time      time.Duration
}

// result returns that since the last one.
func (n *network) result() result {
	r := result{n.waits, n.lost, n.delivered, n.now - n.from}
	n.waits, n.lost, n.delivered, n.from = nil, 0, 0, n.now
	return r
}

// settle runs the network for a while that is not judged.
func (n *network) settle(d time.Duration) {
	n.run(d)
	n.result()
}

// and joins two results.
func (r result) and(o result) result {
	return result{append(r.waits, o.waits...), r.lost + o.lost, r.delivered + o.delivered, r.time + o.time}
}

// wait returns how long the share q of the live packets waits at most.
func (r result) wait(q float64) time.Duration {
	slices.Sort(r.waits)
	return r.waits[int(q*float64(len(r.waits)-1))]
}

// bulk is in bit/s.
func (r result) bulk() float64 { return float64(r.delivered) * 8 / r.time.Seconds() }

// alone returns what the live picture feels on such a link without a transfer.
func alone(like *network, d time.Duration) result {
	n := newNetwork(like.rate)
	n.buffer, n.live, n.other = like.buffer, like.live, like.other
	n.report.Reduced = true // a trickle is as good as nothing
	n.run(d)
	return n.result()
}
