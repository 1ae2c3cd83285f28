// Package h264 is the vocabulary that everything in lenscast shares: the
// access unit, its NAL units and its parameter sets (ITU-T Rec. H.264).
//
// Sources hand the NAL units they received to an [Assembler], which returns
// access units that any decoder can start from: parameter sets stand before
// every IDR, and nothing is let through that a live viewer cannot show
// (B-frames, damaged groups of pictures, slices out of order).
//
// It is a leaf: it imports nothing else of lenscast.
package h264

import "time"

// AccessUnit holds the NAL units of one picture (H.264 section 7.4.1.2).
//
// Once published an access unit is immutable: it is shared, not copied, by
// every reader, so neither the struct nor the bytes may be written again.
type AccessUnit struct {
	// NALUs are in decoding order, without start codes or length prefixes.
	// SPS and PPS precede every IDR. Never empty.
	NALUs [][]byte

	// PTS is the presentation time on the capture clock: the clock of the
	// kernel, the camera or the stream. Its origin is arbitrary, but it is
	// monotonic and continuous for as long as a stream lives, also across a
	// restart of its source. There are no B-frames, so it is also the
	// decoding time.
	PTS time.Duration

	// Captured is the wall-clock time at which the picture was taken, as
	// well as the source knows it. It may jump when the system clock is
	// set: use it for names and NTP fields, never for durations.
	Captured time.Time

	// Key reports that the picture is an IDR: decoding can start here.
	Key bool
}

// Size returns the number of bytes in all NAL units.
func (au *AccessUnit) Size() int {
	n := 0
	for _, nalu := range au.NALUs {
		n += len(nalu)
	}
	return n
}

// NALUType is nal_unit_type (H.264 table 7-1).
type NALUType uint8

// The NAL unit types that lenscast handles by name.
const (
	NALUSlice  NALUType = 1
	NALUIDR    NALUType = 5
	NALUSEI    NALUType = 6
	NALUSPS    NALUType = 7
	NALUPPS    NALUType = 8
	NALUAUD    NALUType = 9
	NALUFiller NALUType = 12

	naluPartitionA NALUType = 2 // of Extended profile, which is refused
)

// TypeOf returns the type of a NAL unit, 0 (unspecified) for an empty one.
func TypeOf(nalu []byte) NALUType {
	if len(nalu) == 0 {
		return 0
	}
	return NALUType(nalu[0] & 0x1f)
}

// ParameterSets returns the sequence and picture parameter sets of the access
// unit. An IDR has both; another picture has at most a PPS that changed.
func (au *AccessUnit) ParameterSets() (sps, pps [][]byte) {
	for _, nalu := range au.NALUs {
		switch TypeOf(nalu) {
		case NALUSPS:
			sps = append(sps, nalu)
		case NALUPPS:
			pps = append(pps, nalu)
		}
	}
	return sps, pps
}
