package udp

import (
	"encoding/binary"
	"sync"
)

// historySize is how many packets can be sent again: 1.3 s of 8 Mbit/s.
const historySize = 1024

// history remembers the packets of an RTP stream for receivers that ask for
// those they miss (RFC 4585 section 6.2.1). The payloads are shared with the
// packetizer, not copied.
type history struct {
	mu      sync.Mutex
	packets [historySize]sentPacket
}

type sentPacket struct {
	header  [rtpHeader]byte
	payload []byte // nil when there is none
}

// add remembers a packet. h.mu is held.
func (h *history) add(header, payload []byte) {
	p := &h.packets[sequence(header)%historySize]
	copy(p.header[:], header)
	p.payload = payload
}

// appendPacket appends the packet of a number to b, and nothing when it is too
// old.
func (h *history) appendPacket(b []byte, number uint16) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.packets[number%historySize]
	if p.payload == nil || sequence(p.header[:]) != number {
		return b
	}
	return append(append(b, p.header[:]...), p.payload...)
}

// sequence returns the sequence number of an RTP header.
func sequence(header []byte) uint16 { return binary.BigEndian.Uint16(header[2:]) }
