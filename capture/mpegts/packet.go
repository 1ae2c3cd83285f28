package mpegts

import "errors"

// ISO/IEC 13818-1 (H.222.0) section 2.4.3.2.
const (
	packetSize = 188
	syncByte   = 0x47
	pidPAT     = 0x0000
	pidNull    = 0x1fff
)

// packet is a transport packet. Its payload shares memory with what it was
// parsed from.
type packet struct {
	pid       uint16
	start     bool // payload_unit_start_indicator
	scrambled bool
	counter   uint8 // continuity_counter
	stuffed   bool  // the adaptation field fills room that the payload left
	payload   []byte
}

var errDamaged = errors.New("damaged transport packet")

// parsePacket reads the packetSize bytes of b.
func parsePacket(b []byte) (packet, error) {
	if len(b) != packetSize || b[0] != syncByte || b[1]&0x80 != 0 { // transport_error_indicator
		return packet{}, errDamaged
	}
	p := packet{
		start:     b[1]&0x40 != 0,
		pid:       uint16(b[1]&0x1f)<<8 | uint16(b[2]),
		scrambled: b[3]&0xc0 != 0,
		counter:   b[3] & 0x0f,
	}
	b, control := b[4:], b[3]>>4&3
	if control&2 != 0 {
		n := int(b[0])
		if n > 183 || control == 3 && n > 182 {
			return packet{}, errDamaged
		}
		var err error
		if p.stuffed, err = isStuffed(b[1 : 1+n]); err != nil {
			return packet{}, err
		}
		b = b[1+n:]
	}
	if control&1 != 0 {
		p.payload = b
	}
	return p, nil
}

// isStuffed reports whether an adaptation field is longer than what it says
// (section 2.4.3.4). One without any flag is there for its length only.
func isStuffed(field []byte) (bool, error) {
	if len(field) == 0 || field[0] == 0 {
		return true, nil
	}
	flags := field[0]
	used := 1
	for _, optional := range []struct {
		flag byte
		size int // 0: the next byte tells
	}{
		{0x10, 6}, // PCR
		{0x08, 6}, // OPCR
		{0x04, 1}, // splice_countdown
		{0x02, 0}, // transport_private_data
		{0x01, 0}, // adaptation_field_extension
	} {
		if flags&optional.flag == 0 {
			continue
		}
		if optional.size == 0 {
			if used >= len(field) {
				return false, errDamaged
			}
			used += int(field[used])
			optional.size = 1
		}
		used += optional.size
	}
	if used > len(field) {
		return false, errDamaged
	}
	return used < len(field), nil
}

// syncer finds the transport packets in what arrives. Datagrams usually hold
// whole packets; those of a sender that cuts its byte stream anywhere are put
// together again.
type syncer struct {
	rest []byte // beginning of a packet whose end has not come
}

// split calls each with every packet that data completes, and returns how many
// there were.
func (s *syncer) split(data []byte, each func(b []byte)) int {
	n := 0
	if need := packetSize - len(s.rest); len(s.rest) > 0 {
		switch {
		case len(data) < need:
			s.rest = append(s.rest, data...)
			return 0
		case len(data) == need || data[need] == syncByte:
			s.rest = append(s.rest, data[:need]...)
			each(s.rest)
			data = data[need:]
			n++
		}
		s.rest = s.rest[:0]
	}
	for {
		i := findSync(data)
		if i < 0 {
			return n
		}
		if data = data[i:]; len(data) < packetSize {
			s.rest = append(s.rest, data...)
			return n
		}
		each(data[:packetSize])
		data = data[packetSize:]
		n++
	}
}

// findSync returns where the first packet begins, -1 if there is none. A sync
// byte counts when the next packet, if there is room for one, has one too.
func findSync(data []byte) int {
	for i, b := range data {
		if b == syncByte && (i+packetSize >= len(data) || data[i+packetSize] == syncByte) {
			return i
		}
	}
	return -1
}

// stripRTP returns what an RTP packet (RFC 3550 section 5.1) that carries
// transport packets (RFC 2250 section 2) carries, and its sequence number.
func stripRTP(data []byte) (payload []byte, sequence uint16, ok bool) {
	if len(data) < 12 || data[0]>>6 != 2 {
		return nil, 0, false
	}
	at := 12 + 4*int(data[0]&0x0f)
	if data[0]&0x10 != 0 { // header extension
		if len(data) < at+4 {
			return nil, 0, false
		}
		at += 4 + 4*(int(data[at+2])<<8|int(data[at+3]))
	}
	end := len(data)
	if data[0]&0x20 != 0 { // padding
		end -= int(data[end-1])
	}
	if at >= end || data[at] != syncByte || (end-at)%packetSize != 0 {
		return nil, 0, false
	}
	return data[at:end], uint16(data[2])<<8 | uint16(data[3]), true
}
