package udp

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// historySize is how many packets can be sent again: 1.3 s of 8 Mbit/s.
	historySize = 1024

	// resendShare bounds what is sent again, as a share of what is sent, and
	// resendBurst how much of that may come at once: a receiver that asks
	// for everything must not clog its own way.
	resendShare = 0.5
	resendBurst = 256 // packets

	// resendPause is the least time between two copies of a packet. Those
	// who ask more often than their round trip takes get no more for it.
	resendPause = 20 * time.Millisecond
)

// history remembers the packets of an RTP stream for receivers that ask for
// those they miss (RFC 4585 section 6.2.1). The payloads are shared with the
// packetizer, not copied.
type history struct {
	mu      sync.Mutex
	packets [historySize]sentPacket
	credit  float64 // packets that may be sent again now
}

type sentPacket struct {
	header  [rtpHeader]byte
	payload []byte // nil when there is none
	resent  time.Time
}

// add remembers a packet.
func (h *history) add(header, payload []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.packets[sequence(header)%historySize]
	copy(p.header[:], header)
	p.payload, p.resent = payload, time.Time{}
	h.credit = min(h.credit+resendShare, resendBurst)
}

// appendPacket appends the packet of a number to b, and nothing when it is too
// old, was sent again just now, or too much was.
func (h *history) appendPacket(b []byte, number uint16, now time.Time) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.packets[number%historySize]
	if p.payload == nil || sequence(p.header[:]) != number || now.Sub(p.resent) < resendPause || h.credit < 1 {
		return b
	}
	p.resent = now
	h.credit--
	return append(append(b, p.header[:]...), p.payload...)
}

// sequence returns the sequence number of an RTP header.
func sequence(header []byte) uint16 { return binary.BigEndian.Uint16(header[2:]) }
