package webrtc

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/transport/v4/packetio"

	"github.com/lenscast/lenscast/transport/packet"
)

// Transport-wide feedback in the header of an RTCP packet
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
const (
	rtcpHeader        = 4 // bytes
	transportFeedback = 205
	formatTransportCC = 15
)

// maxHeard is how many streams the other end may send or report about, RTP and
// RTCP of one SSRC being two. There is ours, and that of what is resent.
const maxHeard = 64

// feedback is what the other end reports (RFC 3550, RFC 4585, RFC 5104), heard
// by one goroutine.
type feedback struct {
	nacks, plis atomic.Uint64

	mu   sync.Mutex
	rtt  time.Duration
	loss float64
}

// wisher takes what the other end wishes. It never blocks.
type wisher interface {
	requestKeyframe()
	afford(bitsPerSecond int) // 0 is no known limit
}

// incoming takes what the other end sends about one SSRC, which pion/srtp has
// decrypted and would otherwise keep until somebody reads it. A packet is handled
// in the goroutine that decrypts, so that none has to be woken for it, and
// nothing waits in memory.
type incoming func(raw []byte)

func (hear incoming) Write(raw []byte) (int, error) {
	hear(raw)
	return len(raw), nil
}

// Read says that there is nothing to read, ever.
func (hear incoming) Read([]byte) (int, error) { return 0, io.EOF }

func (hear incoming) Close() error { return nil }

// incoming is the BufferFactory of the peer connection. Whoever only receives
// should not send media; if it does, that goes nowhere. pion keeps something of
// each SSRC it has heard of, so who has too many has to leave.
func (s *sender) incoming(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	if s.heard.Add(1) > maxHeard {
		s.end(errUnwanted)
	}
	if kind != packetio.RTCPBufferPacket {
		return incoming(func([]byte) {})
	}
	return incoming(func(raw []byte) {
		// Transport-wide feedback is of all that is sent, and names the stream
		// of whatever came last: where much is lost that is often RTX.
		if !closed(s.out.bound) || ssrc != s.out.ssrc && !transportWide(raw) {
			return
		}
		s.lastReport.Store(time.Now().UnixMilli())
		s.back.handle(raw, s.out, s)
	})
}

// handle reads a compound packet about stream o, answers NACKs, and passes on
// what the other end wishes. A packet that cannot be read is
// skipped: it was authenticated, so it is the other end's mistake.
func (f *feedback) handle(raw []byte, o *outgoing, to wisher) {
	for len(raw) >= rtcpHeader {
		size := rtcpHeader * (1 + int(binary.BigEndian.Uint16(raw[2:])))
		if size > len(raw) {
			return
		}
		if transportWide(raw) {
			// Several a second, of every packet: not for a parser that
			// makes an object of each.
			o.hear(raw[:size], to)
		} else if packets, err := rtcp.Unmarshal(raw[:size]); err == nil {
			f.handlePacket(packets[0], o, to)
		}
		raw = raw[size:]
	}
}

// transportWide tells whether an RTCP packet is transport-wide feedback.
func transportWide(raw []byte) bool {
	return len(raw) >= rtcpHeader && raw[1] == transportFeedback && raw[0]&0x1f == formatTransportCC
}

func (f *feedback) handlePacket(p rtcp.Packet, o *outgoing, to wisher) {
	switch p := p.(type) {
	case *rtcp.ReceiverReport:
		f.report(p.Reports, o, to)
	case *rtcp.SenderReport:
		f.report(p.Reports, o, to)
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC != o.ssrc {
			return
		}
		for _, pair := range p.Nacks {
			lost := pair.PacketList()
			f.nacks.Add(uint64(len(lost)))
			o.repair.Asked(lost, time.Now())
		}
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		f.plis.Add(1)
		if o.wantsKey(time.Now()) {
			to.requestKeyframe()
		}
	}
}

// report takes loss and round-trip time from the block about our stream
// (RFC 3550 section 6.4.1).
func (f *feedback) report(blocks []rtcp.ReceptionReport, o *outgoing, to wisher) {
	for _, b := range blocks {
		if b.SSRC != o.ssrc {
			continue
		}
		f.mu.Lock()
		f.loss = float64(b.FractionLost) / 256
		if b.LastSenderReport != 0 {
			now := uint32(ntpTime(time.Now()) >> 16)
			// In units of 1/65536 s; a set clock makes it negative or huge.
			if rtt := int32(now - b.LastSenderReport - b.Delay); rtt >= 0 && rtt < 60<<16 {
				f.rtt = time.Duration(rtt) * time.Second >> 16
			}
		}
		told := packet.Feedback{At: time.Now(), Loss: f.loss, RTT: f.rtt}
		f.mu.Unlock()
		o.repair.RoundTrip(told.RTT)
		o.hearReport(told, to)
	}
}

func (f *feedback) quality() (rtt time.Duration, loss float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rtt, f.loss
}

// senderReport maps RTP to wall-clock time (RFC 3550 section 6.4.1). Both are
// of the moment of sending, moved there on the capture clock, so that the
// viewer computes capture times and round-trip times from it.
func (o *outgoing) senderReport(timestamp uint32, captured time.Time) *rtcp.SenderReport {
	now := time.Now()
	if captured.IsZero() {
		captured = now
	}
	age := now.Round(0).Sub(captured.Round(0)) // on the wall clock
	return &rtcp.SenderReport{
		SSRC: o.ssrc, NTPTime: ntpTime(now), RTPTime: timestamp + uint32(int64(age.Seconds()*clockRate)),
		PacketCount: uint32(o.packets.Load()), OctetCount: uint32(o.octets.Load()),
	}
}
