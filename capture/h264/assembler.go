package h264

import (
	"errors"
	"fmt"
	"time"
)

// Why an [Assembler] returned no access unit. Errors wrap these or are an
// [UnsupportedError].
var (
	// ErrNoPicture: the NAL units hold no slice. Nothing is wrong.
	ErrNoPicture = errors.New("no picture")
	// ErrWaiting: the picture is dropped because no IDR came before it, or
	// none since the last loss.
	ErrWaiting = errors.New("waiting for a keyframe")
	// ErrLost: pictures before this one are missing or this one is damaged.
	// It is dropped, and so is all that follows up to the next IDR.
	ErrLost = errors.New("pictures lost")
)

// UnsupportedError says why a stream cannot be shown live although it arrives
// whole, and what the user can do about it.
type UnsupportedError struct {
	Reason string
}

// Error returns the reason.
func (e *UnsupportedError) Error() string { return e.Reason }

var (
	errBFrames     = &UnsupportedError{"the camera sends B-frames, which cannot be shown live: turn B-frames off (x264: bframes=0)"}
	errInterlaced  = &UnsupportedError{"the camera sends interlaced fields, which browsers cannot show: set it to progressive video"}
	errSliceGroups = &UnsupportedError{"the camera sends slice groups (FMO), which browsers cannot show: set it to Constrained Baseline, Main or High"}
	errSliceOrder  = &UnsupportedError{"the camera sends slices in arbitrary order (ASO), which browsers cannot show: set it to Constrained Baseline, Main or High"}
	errPartitions  = &UnsupportedError{"the camera sends data partitions, which browsers cannot show: set it to Constrained Baseline, Main or High"}
	errSwitching   = &UnsupportedError{"the camera sends SP or SI slices, which browsers cannot show: set it to Constrained Baseline, Main or High"}

	errNoIDR         = &UnsupportedError{"the camera has sent no keyframe for 10 s: set its keyframe interval to 2 s or less"}
	errRecoveryPoint = &UnsupportedError{"the camera refreshes the picture without keyframes, so no viewer can begin: make it send IDR pictures (x264: no intra-refresh, no open-gop)"}
	errNoSets        = &UnsupportedError{"the camera sends keyframes without SPS and PPS: make it repeat them (x264: repeat-headers=1)"}
)

const (
	// maxWait is how long pictures may come without an IDR before that is
	// called unsupported, and not waiting.
	maxWait = 10 * time.Second
	// maxStrikes is the number of groups of pictures that must break at the
	// same place before frame_num is taken for wrong by design.
	maxStrikes = 3
)

// Assembler makes access units of the NAL units that a source received. What
// it hands out can be decoded from each IDR on without a gap:
//
//   - The first picture is an IDR, and so is the first one after a loss. The
//     transport tells of losses with [Assembler.Lost]; the assembler finds
//     those the transport can't see by the gap in frame_num.
//   - The SPS and all PPS that belong to it precede every IDR; a PPS that
//     changes in between is in the first access unit after the change.
//   - Delimiters, fillers, redundant slices, and layers of other views or
//     scales are left out. SEI stay.
//   - What browsers can't show is refused with an [UnsupportedError]. A
//     stream that was refused is taken back at an IDR with another SPS, or
//     after a group of pictures that had nothing to refuse. B-frames are told
//     by their slices, so the pictures before the first one come through once.
//
// Streams that refresh gradually, with recovery points and no IDR, are
// refused after 10 s: WebRTC receivers accept nothing but an IDR to begin
// with.
//
// The zero value is ready to use. It is for one goroutine.
type Assembler struct {
	sets   parameterSets
	active *sps // of the current group of pictures, nil when there is none

	refusal  *UnsupportedError // why nothing is let through, nil if all is well
	offended bool              // there was something to refuse since the last IDR
	offender *sps              // of the picture that was refused last

	waiting  bool
	waitFrom time.Duration // PTS
	recovery bool          // a recovery point came while waiting
	keyCame  bool          // an IDR came while waiting, but its parameter sets not

	counter frameCounter
}

// unit is an access unit with room for the usual number of NAL units, so that
// both are one allocation.
type unit struct {
	AccessUnit
	room [6][]byte
}

// Lost tells that the source lost something before the next NAL units.
// Everything up to the next IDR is dropped.
func (a *Assembler) Lost() { a.active = nil }

// Assemble makes an access unit of the NAL units of one picture, given in
// decoding order without start codes. pts must not be behind that of the
// picture before, else the wait for an IDR is counted anew; captured is passed
// on as it is.
//
// It returns an access unit or an error, never both. The access unit shares
// the bytes of the NAL units, but the slice nalus can be used again.
func (a *Assembler) Assemble(nalus [][]byte, pts time.Duration, captured time.Time) (*AccessUnit, error) {
	pic, err := a.examine(nalus)
	switch {
	case errors.Is(err, ErrNoPicture):
		return nil, err
	case err != nil && a.active == nil && !pic.key:
		return nil, a.wait(pic, pts) // it may well refer to what was before
	case pic.key && errors.Is(err, errNoParameterSets):
		a.active, a.keyCame = nil, true
		return nil, a.wait(pic, pts)
	case err != nil:
		a.active = nil
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}

	if err := a.refuse(pic); err != nil {
		a.active = nil
		return nil, err
	}
	if pic.key {
		a.begin(&pic.first)
	} else if a.active == nil {
		return nil, a.wait(pic, pts)
	} else if err := a.follow(&pic.first); err != nil {
		a.active = nil
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}

	u := &unit{AccessUnit: AccessUnit{PTS: pts, Captured: captured, Key: pic.key}}
	u.NALUs = a.sets.appendTo(u.room[:0], pic.key, a.active)
	for _, nalu := range nalus {
		if pic.keeps(nalu, &a.sets) {
			u.NALUs = append(u.NALUs, nalu)
		}
	}
	return &u.AccessUnit, nil
}

// picture is what examine found in the NAL units of one access unit.
type picture struct {
	first     slice // its first slice
	key       bool
	redundant bool // has redundant slices
	recovery  bool // has a recovery point SEI
	refusal   *UnsupportedError
}

// examine takes in the parameter sets and looks at all slice headers.
func (a *Assembler) examine(nalus [][]byte) (pic picture, err error) {
	slices := 0
	lastMb := uint32(0)
	for _, nalu := range nalus {
		t := TypeOf(nalu)
		pic.key = pic.key || t == NALUIDR
		switch t {
		case NALUSPS, NALUPPS:
			if e := a.sets.add(nalu); e != nil && err == nil {
				err = e
			}
		case NALUSEI:
			pic.recovery = pic.recovery || (a.active == nil && isRecoveryPoint(nalu))
		case naluPartitionA:
			pic.refusal = errPartitions
			slices++
		case NALUSlice, NALUIDR:
			var s slice
			if e := s.parse(nalu, &a.sets); e != nil {
				slices++
				if err == nil {
					err = e
				}
				continue
			}
			if s.redundant > 0 {
				pic.redundant = true
				continue
			}
			if pic.refusal == nil {
				pic.refusal = s.refusal()
			}
			switch {
			case slices == 0:
				pic.first = s
			case err != nil || pic.refusal != nil:
			case s.startsPicture(&pic.first):
				err = errors.New("two pictures came as one")
			case s.firstMb < lastMb:
				pic.refusal = errSliceOrder
			case s.firstMb == lastMb:
				err = errors.New("a slice came twice")
			}
			lastMb = s.firstMb
			slices++
		}
	}
	switch {
	case slices == 0:
		return pic, ErrNoPicture
	case pic.refusal != nil:
		err = nil // a refusal is more than any damage
	case err == nil && pic.first.firstMb != 0:
		err = errors.New("the beginning of a picture is missing")
	}
	return pic, err
}

// refusal says what browsers can't show in a slice, nil when they can.
func (s *slice) refusal() *UnsupportedError {
	switch {
	case s.kind == sliceB:
		return errBFrames
	case s.pps.sliceGroups > 0:
		return errSliceGroups
	case s.field:
		return errInterlaced
	case s.kind == sliceSP || s.kind == sliceSI:
		return errSwitching
	case s.idr:
		return s.sps.refusal
	}
	return nil
}

// refuse returns why the picture can't be let through, nil when it can.
func (a *Assembler) refuse(pic picture) error {
	if pic.refusal != nil {
		a.refusal, a.offended, a.offender = pic.refusal, true, pic.first.sps
		return a.refusal
	}
	if a.refusal == nil {
		return nil
	}
	if pic.key && (!a.offended || pic.first.sps != a.offender) {
		a.refusal = nil
		return nil
	}
	if pic.key {
		a.offended = false
	}
	return a.refusal
}

// begin starts a group of pictures at an IDR.
func (a *Assembler) begin(s *slice) {
	if a.counter.sps != s.sps {
		a.counter = frameCounter{sps: s.sps}
	}
	a.counter.begin(s)
	a.active = s.sps
	a.waiting, a.recovery, a.keyCame = false, false, false
}

// follow checks that a picture follows the one before without a gap.
func (a *Assembler) follow(s *slice) error {
	if s.sps != a.active {
		return errors.New("the SPS changed without a keyframe")
	}
	return a.counter.next(s)
}

// wait returns why a picture is dropped for want of an IDR.
func (a *Assembler) wait(pic picture, pts time.Duration) error {
	if !a.waiting || pts < a.waitFrom {
		a.waiting, a.waitFrom = true, pts
	}
	a.recovery = a.recovery || pic.recovery
	switch {
	case pts-a.waitFrom < maxWait:
		return ErrWaiting
	case a.keyCame:
		return errNoSets
	case a.recovery:
		return errRecoveryPoint
	}
	return errNoIDR
}

// keeps reports whether a NAL unit belongs into an access unit, beside the
// parameter sets, which come from the cache.
func (pic *picture) keeps(nalu []byte, sets *parameterSets) bool {
	switch TypeOf(nalu) {
	case NALUSEI:
		return true
	case NALUSlice, NALUIDR:
		if !pic.redundant {
			return true
		}
		var s slice
		return s.parse(nalu, sets) == nil && s.redundant == 0
	}
	return false
}

// appendTo appends the parameter sets that a decoder needs before a picture:
// for an IDR all of the active SPS, else the PPS that are new.
func (p *parameterSets) appendTo(nalus [][]byte, key bool, active *sps) [][]byte {
	if !key && !p.unsent {
		return nalus
	}
	if key {
		nalus = append(nalus, active.nalu)
	}
	p.unsent = false
	for _, s := range p.pps {
		if s != nil && p.sps[s.sps] == active && (key || !s.sent) {
			nalus = append(nalus, s.nalu)
			s.sent = true
		}
	}
	return nalus
}

// frameCounter finds lost reference pictures by their frame_num (section
// 7.4.3): after a reference picture it is one more, modulo a power of two.
// Losing a picture that no other refers to leaves no gap and does no harm.
type frameCounter struct {
	sps  *sps
	prev uint32 // PrevRefFrameNum

	// Some encoders do not count as they should. They are told from a lossy
	// network by that no group of pictures ever gets beyond the same place.
	steps   int // pictures since the IDR that were counted right
	proven  int // the most there ever were
	strikes int // groups that broke there
}

func (c *frameCounter) begin(s *slice) {
	c.prev, c.steps = 0, 0
	c.set(s)
}

func (c *frameCounter) next(s *slice) error {
	want := (c.prev + 1) & (1<<c.sps.log2MaxFrameNum - 1)
	switch {
	case c.sps.gapsAllowed || c.strikes == maxStrikes:
	case s.frameNum != want:
		if c.steps == c.proven {
			c.strikes++
		}
		return fmt.Errorf("picture %d came where %d should (modulo %d)", s.frameNum, want, 1<<c.sps.log2MaxFrameNum)
	default:
		if c.steps++; c.steps > c.proven {
			c.proven, c.strikes = c.steps, 0
		}
	}
	c.set(s)
	return nil
}

// set remembers a reference picture.
func (c *frameCounter) set(s *slice) {
	if s.resetsNums {
		c.prev = 0
	} else if s.reference {
		c.prev = s.frameNum
	}
}

// isRecoveryPoint reports whether an SEI holds a recovery point (section
// D.1.8).
func isRecoveryPoint(nalu []byte) bool {
	r := newBitReader(nalu)
	number := func() (n uint32) {
		for r.err == nil {
			b := r.u(8)
			if n += b; b != 0xff {
				break
			}
		}
		return n
	}
	for r.err == nil {
		kind, size := number(), number()
		if r.err == nil && kind == 6 {
			return true
		}
		for i := uint32(0); i < size && r.err == nil; i++ {
			r.u(8)
		}
	}
	return false
}
