package mpegts

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// unit is an access unit as it came: a byte stream with start codes. The bytes
// are reused after the call that hands it over.
type unit struct {
	stream  []byte
	pts     uint64    // 33 bits of a 90 kHz clock
	arrived time.Time // when its first packet did
}

// provenUnits is how many access units must have ended as foreseen before one
// is handed over at its foreseen end.
const provenUnits = 15

// unitBuilder makes access units of the PES packets (section 2.4.3.6) of one
// track: of one each, or of several when only the first has a PTS.
//
// An access unit surely ends where the next one begins. Waiting for that costs
// a whole frame time, so the end is foreseen by PES_packet_length or, as most
// muxers leave that at 0 for video, by the packet that is stuffed: a muxer has
// reason to stuff only the last one. That this one does so is not taken for
// granted but watched first. Should it be wrong later, that costs the group of
// pictures and ends it for good.
type unitBuilder struct {
	emit func(unit)
	lost func(reason string)

	head   []byte // header of a PES packet while it is not complete
	inHead bool
	begun  time.Time // arrival of what is in head
	left   int       // bytes to come by PES_packet_length, -1 when it is 0

	unit     unit
	open     bool // unit is being collected
	foreseen bool // unit has reached its foreseen end
	ready    bool // unit is to be handed over there
	emitted  bool // unit was handed over there

	proven int  // units that ended as foreseen, up to provenUnits
	never  bool // the end can't be foreseen with this muxer
}

// reset drops what was collected.
func (u *unitBuilder) reset() {
	u.inHead, u.open, u.foreseen, u.ready, u.emitted = false, false, false, false, false
}

func (u *unitBuilder) fail(reason string) {
	u.reset()
	u.lost(reason)
}

// add takes the next packet of the track.
func (u *unitBuilder) add(p packet, arrived time.Time) {
	data := p.payload
	if p.start {
		if u.inHead {
			u.fail("a PES packet ended in its header")
		}
		u.head, u.inHead, u.begun = u.head[:0], true, arrived
	}
	switch {
	case u.inHead:
		u.head = append(u.head, data...)
		h, err := parsePESHeader(u.head)
		if errors.Is(err, errShortHeader) {
			return
		}
		u.inHead = false
		if err != nil {
			u.fail(err.Error())
			return
		}
		if h.hasPTS {
			u.finish()
			u.unit = unit{stream: u.unit.stream[:0], pts: h.pts, arrived: u.begun}
			u.open = true
		} else if !u.goesOn() {
			return
		} else if u.left > 0 {
			u.fail(errShortPES.Error())
			return
		}
		data, u.left = u.head[h.size:], h.left
	case !u.goesOn():
		return
	}

	if u.left >= 0 {
		data = data[:min(len(data), u.left)]
		u.left -= len(data)
	}
	if len(u.unit.stream)+len(data) > h264.MaxAccessUnitSize {
		u.fail("an access unit was too large")
		return
	}
	u.unit.stream = append(u.unit.stream, data...)
	if u.left == 0 || u.left < 0 && p.stuffed {
		u.foreseen = true
		u.ready = u.proven == provenUnits && !u.never
	}
}

// goesOn reports whether the unit takes more, and learns that it does behind
// its foreseen end.
func (u *unitBuilder) goesOn() bool {
	if u.foreseen {
		u.never, u.foreseen, u.ready = true, false, false
	}
	if u.emitted {
		u.fail("the end of a picture was mistaken")
	}
	return u.open
}

// flush hands the unit over if it has reached its foreseen end.
func (u *unitBuilder) flush() {
	if u.ready {
		u.ready, u.emitted = false, true
		u.emit(u.unit)
	}
}

// finish hands the unit over, now that another begins.
func (u *unitBuilder) finish() {
	if !u.open {
		return
	}
	if u.left > 0 {
		u.fail(errShortPES.Error())
		return
	}
	if u.foreseen && u.proven < provenUnits {
		u.proven++
	}
	done := u.emitted
	u.reset()
	if !done {
		u.emit(u.unit)
	}
}

// pesHeader is what the header of a PES packet says.
type pesHeader struct {
	size   int // of the header, in bytes
	left   int // bytes behind it, -1 when it is not said
	hasPTS bool
	pts    uint64
}

var (
	errShortHeader = errors.New("a PES header is not complete")
	errShortPES    = errors.New("the end of a picture is missing")
	errPESHeader   = errors.New("a PES header was damaged")
)

func parsePESHeader(b []byte) (h pesHeader, err error) {
	if len(b) < 9 {
		return h, errShortHeader
	}
	// packet_start_code_prefix, and the '10' of a stream with a long header
	if b[0] != 0 || b[1] != 0 || b[2] != 1 || b[6]&0xc0 != 0x80 {
		return h, errPESHeader
	}
	h.size = 9 + int(b[8])
	h.left = -1
	if n := int(binary.BigEndian.Uint16(b[4:])); n > 0 {
		if h.left = 6 + n - h.size; h.left < 0 {
			return h, errPESHeader
		}
	}
	if len(b) < h.size {
		return h, errShortHeader
	}
	if h.hasPTS = b[7]&0x80 != 0; !h.hasPTS {
		return h, nil
	}
	if h.size < 14 || b[9]&1 == 0 || b[11]&1 == 0 || b[13]&1 == 0 { // marker bits
		return h, errPESHeader
	}
	h.pts = uint64(b[9]>>1&7)<<30 | uint64(b[10])<<22 | uint64(b[11]>>1)<<15 | uint64(b[12])<<7 | uint64(b[13]>>1)
	return h, nil
}
