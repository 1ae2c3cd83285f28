//go:build cgo && ((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode

import (
	"bytes"

	"github.com/lenscast/lenscast/capture/h264"
)

// zeroIDs returns a copy of the NAL unit in which the parameter sets have the
// number 0.
//
// openh264 gives the parameter sets of each IDR the next number (its strategy
// INCREASING_ID, which the binding leaves no choice of). Legal, but to a
// recording each keyframe then begins another format.
func zeroIDs(nalu []byte) []byte {
	switch h264.TypeOf(nalu) {
	case h264.NALUSPS: // profile, constraints, level; seq_parameter_set_id
		return zeroCodes(nalu, 4, 0, 1)
	case h264.NALUPPS: // pic_parameter_set_id, seq_parameter_set_id
		return zeroCodes(nalu, 1, 0, 2)
	case h264.NALUSlice, h264.NALUIDR: // first_mb, slice_type; pic_parameter_set_id
		return zeroCodes(nalu, 1, 2, 1)
	}
	return bytes.Clone(nalu)
}

// zeroCodes returns a copy of the NAL unit in which the n Exp-Golomb codes
// (H.264 section 9.1) that follow fixed bytes and keep other codes are 0, and
// so a single 1 bit each. All that follows moves up: nothing in parameter sets
// and CAVLC slices is aligned.
func zeroCodes(nalu []byte, fixed, keep, n int) []byte {
	raw := unescape(nalu)
	from := 8 * fixed
	for range keep {
		from = skipCode(raw, from)
	}
	to := from
	for range n {
		to = skipCode(raw, to)
	}
	if to > 8*len(raw) || to == from+n { // damaged, or 0 already
		return bytes.Clone(nalu)
	}
	for bit := to - n; bit < to; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	raw = removeBits(raw, from, to-n-from)
	return escape(bytes.TrimRight(raw, "\x00")) // the stop bit may have left the last byte
}

// removeBits cuts n bits out of raw, in place, from bit from on.
func removeBits(raw []byte, from, n int) []byte {
	first, skip := from/8, n/8
	before := ^(byte(0xff) >> (from % 8)) // bits of the first byte that stay
	head := raw[first] & before
	for i := first; i+skip < len(raw); i++ {
		raw[i] = raw[i+skip] << (n % 8)
		if i+skip+1 < len(raw) {
			raw[i] |= byte(uint(raw[i+skip+1]) >> (8 - n%8))
		}
	}
	raw[first] = head | raw[first]&^before
	return raw[:len(raw)-skip]
}

// skipCode returns the position, in bits, after the Exp-Golomb code at pos.
func skipCode(raw []byte, pos int) int {
	zeros := 0
	for at := pos; at < 8*len(raw) && raw[at/8]&(0x80>>(at%8)) == 0; at++ {
		zeros++
	}
	return pos + 2*zeros + 1
}

// unescape returns a copy of the NAL unit without emulation prevention bytes
// (H.264 section 7.4.1).
func unescape(nalu []byte) []byte {
	raw := make([]byte, 0, len(nalu))
	zeros := 0
	for _, b := range nalu {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		raw = append(raw, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return raw
}

// escape is the inverse of unescape.
func escape(raw []byte) []byte {
	nalu := make([]byte, 0, len(raw)+len(raw)/64)
	zeros := 0
	for _, b := range raw {
		if zeros >= 2 && b <= 3 {
			nalu = append(nalu, 3)
			zeros = 0
		}
		nalu = append(nalu, b)
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return nalu
}
