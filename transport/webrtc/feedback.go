package webrtc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
)

// feedback is what one viewer reports (RFC 3550, RFC 4585, RFC 5104), read by
// one goroutine.
type feedback struct {
	nacks, plis atomic.Uint64

	mu   sync.Mutex
	rtt  time.Duration
	loss float64
}

// handle reads a compound packet from the viewer of stream o, answers NACKs
// and calls keyframe when a keyframe is asked for. A packet that cannot be
// read is skipped: it was authenticated, so it is the viewer's mistake.
func (f *feedback) handle(raw []byte, o *outgoing, keyframe func()) {
	packets, err := rtcp.Unmarshal(raw)
	if err != nil {
		return
	}
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.ReceiverReport:
			f.report(p.Reports, o.ssrc)
		case *rtcp.SenderReport:
			f.report(p.Reports, o.ssrc)
		case *rtcp.TransportLayerNack:
			if p.MediaSSRC != o.ssrc {
				continue
			}
			for _, pair := range p.Nacks {
				lost := pair.PacketList()
				f.nacks.Add(uint64(len(lost)))
				o.resend(lost)
			}
		case *rtcp.PictureLossIndication:
			f.plis.Add(1)
			keyframe()
		case *rtcp.FullIntraRequest:
			f.plis.Add(1)
			keyframe()
		}
	}
}

// report takes loss and round-trip time from the block about our stream
// (RFC 3550 section 6.4.1).
func (f *feedback) report(blocks []rtcp.ReceptionReport, ssrc uint32) {
	for _, b := range blocks {
		if b.SSRC != ssrc {
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
		f.mu.Unlock()
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
