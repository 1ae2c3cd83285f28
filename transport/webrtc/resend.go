package webrtc

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

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
func (o *outgoing) nextRTX(sequence uint16) (rtx, number uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rtxSeq++
	return o.rtxSeq, o.numbers.take(sequence)
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
		if i >= s.left {
			if narrow && s.key {
				break
			}
			continue
		}
		// Byte for byte what it was, or RTX: the same nonce of AES-GCM must
		// never protect anything else.
		last, known := o.numbers.last(seq)
		if !known && o.rtxType == 0 {
			break
		}
		number := binary.BigEndian.AppendUint16(nil, last)
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
	return o.numbers.missing(lost)
}
