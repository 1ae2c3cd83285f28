package udp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/lenscast/lenscast/transport/packet"
)

// reportInterval is the time between two sender reports: what RFC 3550 section
// 6.2 allows for video of 1.4 Mbit/s (360 s divided by the bandwidth in
// kbit/s), and often enough to see a queue grow by the round trips.
const reportInterval = 250 * time.Millisecond

// firstReport is when the first one is sent: soon, so that receivers
// synchronize, but not before they have caught up with the present.
// stillInterval is the time between two while no pictures come.
const (
	firstReport   = 50 * time.Millisecond
	stillInterval = time.Second
)

// ntpEpoch is 1900 in Unix time (RFC 3550 section 4).
const ntpEpoch = 2_208_988_800

// ntpTime returns NTP's seconds since 1900 as a fixed point number, 32.32.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// senderReports makes the RTCP sender reports of an RTP stream, and reads what
// receivers report back.
type senderReports struct {
	ssrc uint32

	mu        sync.Mutex
	started   bool
	timestamp uint32    // of the newest picture
	captured  time.Time // when it was taken, by the wall clock
	sentAt    time.Time // when it was sent
	packets   uint32
	octets    uint32

	// history finds the report that a receiver answers by the middle bits of
	// its NTP time (RFC 3550 section 6.4.1, LSR).
	history [16]sentReport
	next    int

	received map[uint32]reception // by receiver
}

type sentReport struct {
	lsr uint32
	at  time.Time
}

// reception is what a receiver had got at its last report.
type reception struct {
	at      time.Time
	highest uint32
	lost    int64
}

// maxReceivers bounds what is remembered: of a multicast group anybody may
// send reports. The one that was silent for longest is forgotten.
const maxReceivers = 64

func newSenderReports(ssrc uint32) *senderReports {
	return &senderReports{ssrc: ssrc, received: make(map[uint32]reception)}
}

// sent tells of a picture in so many packets with so many bytes of payload.
func (r *senderReports) sent(timestamp uint32, captured time.Time, packets, octets int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.started, r.timestamp, r.captured, r.sentAt = true, timestamp, captured, time.Now()
	r.packets += uint32(packets)
	r.octets += uint32(octets)
}

// report returns the next sender report, nil before the first picture. Its two
// times are those of the same instant, now: so a receiver learns when each
// picture was captured.
func (r *senderReports) report(now time.Time, cname string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started {
		return nil
	}
	age := now.Sub(r.captured)
	if age < 0 || age > 10*time.Second {
		age = now.Sub(r.sentAt) // the clock was set meanwhile, or the time of capture is not known
	}
	ntp := ntpTime(now)
	r.history[r.next] = sentReport{uint32(ntp >> 16), now}
	r.next = (r.next + 1) % len(r.history)
	b, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.SenderReport{
			SSRC: r.ssrc, NTPTime: ntp,
			RTPTime:     r.timestamp + uint32(int64(age)*9/100_000),
			PacketCount: r.packets, OctetCount: r.octets,
		},
		rtcp.NewCNAMESourceDescription(r.ssrc, cname),
	})
	if err != nil {
		return nil // only a name of more than 255 bytes could cause it
	}
	return b
}

// feedback turns a reception report into what is known of the way there. ok
// is false for reports that are not about this stream.
func (r *senderReports) feedback(from uint32, rr rtcp.ReceptionReport, now time.Time) (f packet.Feedback, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rr.SSRC != r.ssrc || !r.started {
		return f, false
	}
	f = packet.Feedback{
		At:     now,
		Loss:   float64(rr.FractionLost) / 256,
		Jitter: time.Duration(rr.Jitter) * time.Second / 90_000,
	}
	for _, s := range r.history {
		if rr.LastSenderReport != 0 && s.lsr == rr.LastSenderReport {
			delay := time.Duration(rr.Delay) * time.Second / 65536
			f.RTT = max(now.Sub(s.at)-delay, 0)
		}
	}
	lost := int64(int32(rr.TotalLost<<8) >> 8) // 24 bits, signed
	last, known := r.received[from]
	if !known && len(r.received) == maxReceivers {
		delete(r.received, slices.MinFunc(slices.Collect(maps.Keys(r.received)), func(a, b uint32) int {
			return r.received[a].at.Compare(r.received[b].at)
		}))
	}
	r.received[from] = reception{now, rr.LastSequenceNumber, lost}
	if dt := now.Sub(last.at).Seconds(); known && dt > 0 && r.packets > 0 {
		// Sequence numbers tell packets; their mean size makes bytes of them.
		got := int64(int32(rr.LastSequenceNumber-last.highest)) - (lost - last.lost)
		mean := float64(r.octets)/float64(r.packets) + rtpHeader
		f.ReceiveRate = max(float64(got), 0) * mean * 8 / dt
	}
	return f, true
}

// reporter sends the sender reports of an RTP stream. It does so with a picture,
// when the processor is awake anyway.
type reporter struct {
	stream *rtpStream
	conn   *packet.Conn
	to     netip.AddrPort
	cname  string

	mu   sync.Mutex
	next time.Time // the next report is not sent before
}

func newReporter(s *rtpStream, conn *packet.Conn, to netip.AddrPort, now time.Time) *reporter {
	return &reporter{
		stream: s, conn: conn, to: to, cname: fmt.Sprintf("%08x@lenscast", s.reports.ssrc),
		next: now.Add(firstReport),
	}
}

// report sends a report if one is due.
func (r *reporter) report(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.next) {
		return
	}
	if b := r.stream.reports.report(now, r.cname); b != nil {
		r.next = now.Add(reportInterval)
		// Whether anybody listens for reports is not known.
		_, _ = r.conn.WriteToAddrPort(b, r.to)
	}
}

// reportRTP sends reports when no pictures come, and tells what became of the
// session description, until ctx ends.
func (p *Pusher) reportRTP(ctx context.Context, r *reporter) {
	ticker := time.NewTicker(stillInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			r.report(now)
		}
		if err := p.rtp.fileError(); err != nil {
			p.p.Log.Warn("session description not written", "error", err)
		}
	}
}

// resend sends packets again that a receiver misses.
func (p *Pusher) resend(conn *packet.Conn, to netip.AddrPort, numbers []uint16) {
	var room [1500]byte
	for _, number := range numbers {
		b := p.rtp.history.appendPacket(room[:0], number)
		if len(b) == 0 {
			continue
		}
		if _, err := conn.WriteToAddrPort(b, to); err != nil {
			return // it is asked for again
		}
		p.count.packets.Add(1)
		p.count.bytes.Add(uint64(len(b)))
	}
}

// receiveRTCP reads what a receiver sent: reports, wishes for a keyframe, and
// the numbers of packets it misses. Of a multicast group nobody is followed: one
// receiver must not spoil the picture for the others.
func (p *Pusher) receiveRTCP(b []byte, to *follower) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		return // not RTCP: receivers may send anything to open their firewall
	}
	now := time.Now()
	for _, pkt := range packets {
		var from uint32
		var reports []rtcp.ReceptionReport
		switch pkt := pkt.(type) {
		case *rtcp.ReceiverReport:
			from, reports = pkt.SSRC, pkt.Reports
		case *rtcp.SenderReport:
			from, reports = pkt.SSRC, pkt.Reports
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			to.reader.RequestKeyframe()
		case *rtcp.TransportLayerNack:
			if pkt.MediaSSRC != p.rtp.reports.ssrc {
				continue
			}
			for _, pair := range pkt.Nacks {
				p.rtp.repair.Asked(pair.PacketList(), now)
			}
		}
		for _, rr := range reports {
			f, ok := p.rtp.reports.feedback(from, rr, now)
			if !ok {
				continue
			}
			if !p.rtp.multicast() {
				f = to.hear(f, p.count.bytes.Load())
				p.rtp.repair.Limit(f.Affordable)
				p.rtp.repair.RoundTrip(f.RTT)
			}
			p.setFeedback(f)
		}
	}
}
