package webrtc

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

// rtxMemory is how many of the packets that were sent again are remembered until
// feedback tells of them: a second of what a bad network loses.
const rtxMemory = 256

// resent is a packet that was sent again, and is one of its own to transport-wide
// feedback.
type resent struct {
	known     bool
	sequence  uint16 // of the packet that it repeats
	transport uint16
}

// resend sends again those packets that are still known, as repair wants: as
// RTX (RFC 4588) when the viewer can take that, else exactly as they were.
func (o *outgoing) resend(sequences []uint16) {
	o.route.batch.Hold()
	defer o.route.batch.Flush() //nolint:errcheck // it is asked for again
	var scratch [maxDatagram]byte
	now := time.Now()
	for _, seq := range sequences {
		header, payload, ok := o.packet(seq)
		if !ok {
			continue
		}
		if o.rtxType != 0 {
			header.SSRC, header.PayloadType = o.rtxSSRC, o.rtxType
			var number uint16
			header.SequenceNumber, number = o.nextRTX(seq)
			binary.BigEndian.PutUint16(scratch[:], seq)
			payload = scratch[:2+copy(scratch[2:], payload)]
			if o.transportID != 0 { // a packet like any other
				_ = header.SetExtension(o.transportID, binary.BigEndian.AppendUint16(nil, number))
				o.estimator.Sent(number, len(payload), now)
			}
		}
		if _, err := o.writer.WriteRTP(&header, payload); err == nil {
			o.again.Add(1)
		}
	}
}

// nextRTX returns the next sequence numbers, of RTX and transport-wide, for a
// packet to be sent again.
func (o *outgoing) nextRTX(sequence uint16) (rtx, transport uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rtxSeq++
	o.transport++
	o.rtx[o.rtxSeq%rtxMemory] = resent{true, sequence, o.transport - 1}
	return o.rtxSeq, o.transport - 1
}

// packet looks up a packet that was sent, the newest pictures first. On a narrow
// way nothing before the newest IDR is worth sending again.
func (o *outgoing) packet(seq uint16) (rtp.Header, []byte, bool) {
	narrow := o.affordable.Load() > 0
	o.mu.Lock()
	defer o.mu.Unlock()
	for back := 1; back <= historyLength; back++ {
		s := &o.history[(o.next-back+historyLength)%historyLength]
		if s.payloads == nil {
			break
		}
		i := int(seq - s.first)
		if i >= len(s.payloads) {
			if narrow && s.key {
				break
			}
			continue
		}
		// Byte for byte what it was: the same nonce of AES-GCM must never
		// protect anything else.
		number := binary.BigEndian.AppendUint16(nil, s.transport+uint16(i))
		h := o.plain(s.timestamp, number)
		if i == 0 && s.extended {
			h = o.extended(s.captured, s.timestamp, number)
		}
		h.SequenceNumber = seq
		h.Marker = i == len(s.payloads)-1
		return h, s.payloads[i], true
	}
	return rtp.Header{}, nil, false
}

// missing returns what nothing is on its way for any more, of packets that
// transport-wide feedback calls lost. It tells of what was sent again, too: often
// sooner than the receiver asks another time, and when its wish was lost.
func (o *outgoing) missing(lost []uint16) (sequences []uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, number := range lost {
		if sequence, later, ok := o.origin(number); ok && !o.resentLately(sequence, later) {
			sequences = append(sequences, sequence)
		}
	}
	return sequences
}

// origin finds out which packet had a transport-wide number, and how many of those
// that were sent again came later. o.mu is held.
func (o *outgoing) origin(number uint16) (sequence uint16, later int, ok bool) {
	for back := 1; back <= historyLength; back++ {
		s := &o.history[(o.next-back+historyLength)%historyLength]
		if s.payloads == nil {
			break
		}
		if i := number - s.transport; int(i) < len(s.payloads) {
			return s.first + i, rtxMemory, true
		}
	}
	for back := range rtxMemory {
		if r := o.resentBefore(back); r.known && r.transport == number {
			return r.sequence, back, true
		}
	}
	return 0, 0, false
}

// resentLately tells whether a packet is among the last n that were sent again.
// o.mu is held.
func (o *outgoing) resentLately(sequence uint16, n int) bool {
	for back := range n {
		if r := o.resentBefore(back); r.known && r.sequence == sequence {
			return true
		}
	}
	return false
}

// resentBefore returns the packet that was sent again last, or so many before it.
// o.mu is held.
func (o *outgoing) resentBefore(back int) resent {
	return o.rtx[(o.rtxSeq-uint16(back))%rtxMemory]
}
