package congestion

import (
	"encoding/binary"
	"errors"
	"time"
)

// Fields of a transport-wide feedback packet
// (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
const (
	feedbackHeader = 20                    // bytes before the chunks
	referenceUnit  = 64 * time.Millisecond // of the reference time
	deltaUnit      = 250 * time.Microsecond

	vectorChunk = 0x8000 // bit of a status vector, else it is a run length
	twoBitChunk = 0x4000 // bit of a vector of two bits each
)

// Packet status symbols (section 3.1.1).
const (
	notReceived = iota
	smallDelta  // one byte, not negative
	largeDelta  // two bytes, signed
	reserved
)

// Feedback is refused as a whole for these reasons, which only a faulty
// receiver causes.
var (
	errShort    = errors.New("transport-wide feedback is cut short")
	errTooMany  = errors.New("transport-wide feedback tells of more packets than are remembered")
	errReserved = errors.New("transport-wide feedback has a reserved symbol")
)

// report is a transport-wide feedback packet as it was read. Its arrays are
// used again for the next one.
type report struct {
	base      uint16
	reference uint32 // 24 bits, in referenceUnit
	symbols   []uint8
	deltas    []byte // not read yet
}

// parse reads an RTCP packet of type 205, format 15, from its header on. It
// checks that there is a delta for each packet that needs one.
func (r *report) parse(b []byte) error {
	if len(b) < feedbackHeader {
		return errShort
	}
	r.base = binary.BigEndian.Uint16(b[12:])
	count := int(binary.BigEndian.Uint16(b[14:]))
	r.reference = binary.BigEndian.Uint32(b[16:]) >> 8
	if count > historyLength {
		return errTooMany
	}
	r.symbols = r.symbols[:0]
	b = b[feedbackHeader:]
	for len(r.symbols) < count {
		if len(b) < 2 {
			return errShort
		}
		r.chunk(binary.BigEndian.Uint16(b), count)
		b = b[2:]
	}
	need := 0
	for _, s := range r.symbols {
		if s == reserved {
			return errReserved
		}
		need += int(s) // a small delta has one byte, a large one two
	}
	if need > len(b) {
		return errShort
	}
	r.deltas = b[:need]
	return nil
}

// chunk appends the symbols of one chunk, but not more than count in all: the
// last chunk is filled up.
func (r *report) chunk(c uint16, count int) {
	left := count - len(r.symbols)
	switch {
	case c&vectorChunk == 0:
		for range min(int(c&0x1fff), left) {
			r.symbols = append(r.symbols, uint8(c>>13&3))
		}
	case c&twoBitChunk != 0:
		for i := range min(7, left) {
			r.symbols = append(r.symbols, uint8(c>>(12-2*i)&3))
		}
	default:
		for i := range min(14, left) {
			r.symbols = append(r.symbols, uint8(c>>(13-i)&1))
		}
	}
}

// delta takes the next arrival time, relative to the one before.
func (r *report) delta(symbol uint8) time.Duration {
	if symbol == smallDelta {
		d := r.deltas[0]
		r.deltas = r.deltas[1:]
		return time.Duration(d) * deltaUnit
	}
	d := int16(binary.BigEndian.Uint16(r.deltas))
	r.deltas = r.deltas[2:]
	return time.Duration(d) * deltaUnit
}
