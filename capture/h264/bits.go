package h264

import "errors"

var errShort = errors.New("ends too early")

// bitReader reads the bits of a NAL unit and skips its emulation prevention
// bytes (H.264 section 7.3.1) on the way, so nothing is copied. The first
// error sticks; values read after it are 0.
type bitReader struct {
	nalu  []byte
	pos   int // the byte that the next bit is in
	bit   int // bits of it already read, 0 to 7
	zeros int // zero bytes right before it
	err   error
}

// newBitReader starts behind the header byte of the NAL unit.
func newBitReader(nalu []byte) bitReader {
	return bitReader{nalu: nalu, pos: 1}
}

func (r *bitReader) u1() uint32 {
	if r.err != nil {
		return 0
	}
	if r.bit == 0 && r.zeros >= 2 && r.pos < len(r.nalu) && r.nalu[r.pos] == 3 {
		r.pos++
		r.zeros = 0
	}
	if r.pos >= len(r.nalu) {
		r.err = errShort
		return 0
	}
	b := r.nalu[r.pos]
	v := uint32(b>>(7-r.bit)) & 1
	r.bit++
	if r.bit == 8 {
		r.bit = 0
		r.pos++
		if b == 0 {
			r.zeros++
		} else {
			r.zeros = 0
		}
	}
	return v
}

func (r *bitReader) flag() bool { return r.u1() == 1 }

// u reads n bits, 0 to 32.
func (r *bitReader) u(n int) uint32 {
	var v uint32
	for range n {
		v = v<<1 | r.u1()
	}
	return v
}

// ue reads an unsigned Exp-Golomb code of at most 32 bits (section 9.1).
func (r *bitReader) ue() uint32 {
	n := 0
	for r.u1() == 0 {
		if r.err != nil {
			return 0
		}
		if n++; n > 31 {
			r.err = errors.New("has an Exp-Golomb code that is too long")
			return 0
		}
	}
	return 1<<n - 1 + r.u(n)
}

// se reads a signed Exp-Golomb code (section 9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}
