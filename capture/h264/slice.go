package h264

import (
	"errors"
	"fmt"
)

// Slice types modulo 5 (table 7-6).
const (
	sliceP  = 0
	sliceB  = 1
	sliceI  = 2
	sliceSP = 3
	sliceSI = 4
)

// slice is what lenscast needs of a slice header (section 7.3.3).
type slice struct {
	sps *sps
	pps *pps

	firstMb    uint32
	kind       uint32 // slice_type modulo 5
	ppsID      uint32
	frameNum   uint32
	field      bool // field_pic_flag
	bottom     bool
	idr        bool
	idrPicID   uint32
	reference  bool // nal_ref_idc is not 0
	pocLsb     uint32
	deltaPOC   [2]int32
	redundant  uint32 // redundant_pic_cnt
	resetsNums bool   // memory_management_control_operation 5: frame_num starts anew
}

// parse reads the header of a slice, of partition A, or of an IDR slice. What
// follows a B slice's redundant_pic_cnt or slice groups is left unread: both
// are refused.
func (s *slice) parse(nalu []byte, sets *parameterSets) error {
	r := newBitReader(nalu)
	*s = slice{
		idr:       TypeOf(nalu) == NALUIDR,
		reference: nalu[0]&0x60 != 0,
	}
	s.firstMb = r.ue()
	s.kind = r.ue()
	s.ppsID = r.ue()
	if r.err != nil {
		return fmt.Errorf("a slice header %w", r.err)
	}
	if s.kind > 9 {
		return errors.New("a slice has an unknown type")
	}
	s.kind %= 5
	var err error
	if s.sps, s.pps, err = sets.get(s.ppsID); err != nil {
		return err
	}
	if s.sps.separateColourPlane {
		r.u(2)
	}
	s.frameNum = r.u(s.sps.log2MaxFrameNum)
	if !s.sps.frameMbsOnly {
		if s.field = r.flag(); s.field {
			s.bottom = r.flag()
		}
	}
	if s.idr {
		s.idrPicID = r.ue()
	}
	switch {
	case s.sps.pocType == 0:
		s.pocLsb = r.u(s.sps.log2MaxPOCLsb)
		if s.pps.bottomFieldPOC && !s.field {
			s.deltaPOC[1] = r.se()
		}
	case s.sps.pocType == 1 && !s.sps.deltaPOCAlwaysZero:
		s.deltaPOC[0] = r.se()
		if s.pps.bottomFieldPOC && !s.field {
			s.deltaPOC[1] = r.se()
		}
	}
	if s.pps.redundantPicPresent {
		s.redundant = r.ue()
	}
	if s.kind != sliceB && s.pps.sliceGroups == 0 && s.reference && !s.idr {
		s.parseMarking(&r)
	}
	if r.err != nil {
		return fmt.Errorf("a slice header %w", r.err)
	}
	return nil
}

// parseMarking reads on to the decoded reference picture marking (section
// 7.3.3.3) to see whether it resets frame_num.
func (s *slice) parseMarking(r *bitReader) {
	const most = 66 // commands; each of 32 fields may be named twice
	refs := uint32(0)
	if s.kind == sliceP || s.kind == sliceSP {
		if refs = s.pps.refsL0; r.flag() {
			refs = r.ue() + 1
		}
		if r.flag() { // ref_pic_list_modification_flag_l0
			for n := 0; r.ue() != 3 && r.err == nil; n++ {
				if r.ue(); n > most {
					r.err = errors.New("has too many list modifications")
				}
			}
		}
	}
	if refs > 32 {
		r.err = errors.New("has too many references")
		return
	}
	if s.pps.weightedPred && refs > 0 {
		s.skipWeights(r, refs)
	}
	if !r.flag() { // adaptive_ref_pic_marking_mode_flag
		return
	}
	for n := 0; r.err == nil; n++ {
		switch op := r.ue(); op {
		case 0:
			return
		case 1, 2, 4, 6:
			r.ue()
		case 3:
			r.ue()
			r.ue()
		case 5:
			s.resetsNums = true
		default:
			r.err = errors.New("has an unknown marking command")
		}
		if n > most && r.err == nil {
			r.err = errors.New("has too many marking commands")
		}
	}
}

// skipWeights reads over a pred_weight_table (section 7.3.3.2).
func (s *slice) skipWeights(r *bitReader, refs uint32) {
	r.ue() // luma_log2_weight_denom
	if !s.sps.monochrome {
		r.ue()
	}
	for range refs {
		if r.flag() {
			r.se()
			r.se()
		}
		if !s.sps.monochrome && r.flag() {
			for range 4 {
				r.se()
			}
		}
	}
}

// startsPicture reports whether s begins another primary coded picture than
// the one that first belongs to (section 7.4.1.2.4).
func (s *slice) startsPicture(first *slice) bool {
	return s.frameNum != first.frameNum ||
		s.ppsID != first.ppsID ||
		s.field != first.field || s.bottom != first.bottom ||
		s.reference != first.reference ||
		s.idr != first.idr || s.idrPicID != first.idrPicID ||
		s.pocLsb != first.pocLsb || s.deltaPOC != first.deltaPOC
}
