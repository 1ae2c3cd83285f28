package h264

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
)

// maxParameterSet bounds one parameter set in bytes. Scaling lists and VUI
// together stay below 1 kB.
const maxParameterSet = 2048

// sps is what slices, and the choice whether browsers can show the pictures,
// depend on in a sequence parameter set.
type sps struct {
	nalu []byte

	log2MaxFrameNum     int
	pocType             uint32
	log2MaxPOCLsb       int
	deltaPOCAlwaysZero  bool
	frameMbsOnly        bool
	gapsAllowed         bool // in frame_num, such as with temporal layers
	separateColourPlane bool
	monochrome          bool

	refusal *UnsupportedError // why browsers can't show it, nil if they can
}

// pps is what slice headers depend on in a picture parameter set.
type pps struct {
	nalu []byte
	sps  uint32
	sent bool // in an access unit that was handed out

	bottomFieldPOC      bool // bottom_field_pic_order_in_frame_present_flag
	sliceGroups         uint32
	refsL0              uint32 // num_ref_idx_l0_default_active_minus1 + 1
	weightedPred        bool
	redundantPicPresent bool
}

// parameterSets holds the newest parameter set of every id.
type parameterSets struct {
	sps    [32]*sps
	pps    [256]*pps
	unsent bool // some PPS is not sent yet
}

// add takes an SPS or a PPS. It copies what is new, and costs nothing for what
// it has already.
func (p *parameterSets) add(nalu []byte) error {
	if len(nalu) > maxParameterSet {
		return fmt.Errorf("a parameter set of %d bytes is too large", len(nalu))
	}
	r := newBitReader(nalu)
	if TypeOf(nalu) == NALUSPS {
		r.u(24) // profile, constraints, level
		id := r.ue()
		if r.err != nil || id >= uint32(len(p.sps)) {
			return errors.New("an SPS is broken")
		}
		if old := p.sps[id]; old != nil && bytes.Equal(old.nalu, nalu) {
			return nil
		}
		s, err := parseSPS(bytes.Clone(nalu))
		if err != nil {
			return err
		}
		p.sps[id] = s
		return nil
	}
	id := r.ue()
	if r.err != nil || id >= uint32(len(p.pps)) {
		return errors.New("a PPS is broken")
	}
	if old := p.pps[id]; old != nil && bytes.Equal(old.nalu, nalu) {
		return nil
	}
	s, err := parsePPS(bytes.Clone(nalu))
	if err != nil {
		return err
	}
	p.pps[id], p.unsent = s, true
	return nil
}

// get returns the picture parameter set of the id and the sequence parameter
// set it refers to.
func (p *parameterSets) get(id uint32) (*sps, *pps, error) {
	if id >= uint32(len(p.pps)) {
		return nil, nil, fmt.Errorf("PPS %d does not exist", id)
	}
	pp := p.pps[id]
	if pp == nil {
		return nil, nil, errNoParameterSets
	}
	sp := p.sps[pp.sps]
	if sp == nil {
		return nil, nil, errNoParameterSets
	}
	return sp, pp, nil
}

var errNoParameterSets = errors.New("SPS or PPS has not come")

// unmarshalSPS reads all of an SPS but a VUI that is broken, as those of some
// cameras are: nothing that matters here comes behind it.
func unmarshalSPS(nalu []byte) (*h264.SPS, error) {
	var s h264.SPS
	if err := s.Unmarshal(nalu); err != nil && s.VUI == nil {
		return nil, fmt.Errorf("parse SPS: %w", err)
	}
	// Tables 7-1, A-1 and the widest level there is (6.2) bound these.
	if s.Log2MaxFrameNumMinus4 > 12 || s.Log2MaxPicOrderCntLsbMinus4 > 12 ||
		s.ChromaFormatIdc > 3 || s.MaxNumRefFrames > 16 ||
		s.PicWidthInMbsMinus1 >= 1024 || s.PicHeightInMapUnitsMinus1 >= 1024 {
		return nil, errors.New("parse SPS: a value is out of range")
	}
	if w, h := s.Width(), s.Height(); w <= 0 || h <= 0 || w > 16<<10 || h > 32<<10 { // or wrapped
		return nil, errors.New("parse SPS: cropping leaves no picture")
	}
	return &s, nil
}

func parseSPS(nalu []byte) (*sps, error) {
	s, err := unmarshalSPS(nalu)
	if err != nil {
		return nil, err
	}
	return &sps{
		nalu:                nalu,
		log2MaxFrameNum:     int(s.Log2MaxFrameNumMinus4) + 4,
		pocType:             s.PicOrderCntType,
		log2MaxPOCLsb:       int(s.Log2MaxPicOrderCntLsbMinus4) + 4,
		deltaPOCAlwaysZero:  s.DeltaPicOrderAlwaysZeroFlag,
		frameMbsOnly:        s.FrameMbsOnlyFlag,
		gapsAllowed:         s.GapsInFrameNumValueAllowedFlag,
		separateColourPlane: s.SeparateColourPlaneFlag,
		monochrome:          s.ChromaFormatIdc == 0 || s.SeparateColourPlaneFlag,
		refusal:             refuseSPS(s),
	}, nil
}

// refuseSPS says why a browser can't show what the SPS describes: WebRTC in
// browsers decodes the 8-bit 4:2:0 profiles only (RFC 6184 profile-level-id as
// they offer it).
func refuseSPS(s *h264.SPS) *UnsupportedError {
	switch {
	case s.BitDepthLumaMinus8 != 0 || s.BitDepthChromaMinus8 != 0:
		return &UnsupportedError{fmt.Sprintf("the camera sends %d-bit video, which browsers cannot show: set it to 8 bit",
			8+max(s.BitDepthLumaMinus8, s.BitDepthChromaMinus8))}
	case s.ChromaFormatIdc != 1:
		return &UnsupportedError{fmt.Sprintf("the camera sends %s video, which browsers cannot show: set it to 4:2:0",
			[]string{"monochrome", "", "4:2:2", "4:4:4"}[s.ChromaFormatIdc])}
	case s.ProfileIdc != 66 && s.ProfileIdc != 77 && s.ProfileIdc != 88 && s.ProfileIdc != 100:
		return &UnsupportedError{fmt.Sprintf("the camera sends H.264 of profile %d, which browsers cannot show: set it to High, Main or Baseline",
			s.ProfileIdc)}
	}
	return nil
}

// parsePPS follows section 7.3.2.2 as far as slice headers need it. Slice
// groups are refused, so what is behind them does not matter.
func parsePPS(nalu []byte) (*pps, error) {
	r := newBitReader(nalu)
	p := &pps{nalu: nalu}
	r.ue() // its id
	p.sps = r.ue()
	r.u1() // entropy_coding_mode_flag
	p.bottomFieldPOC = r.flag()
	p.sliceGroups = r.ue()
	if p.sliceGroups == 0 {
		p.refsL0 = r.ue() + 1
		r.ue() // num_ref_idx_l1_default_active_minus1
		p.weightedPred = r.flag()
		r.u(2) // weighted_bipred_idc
		r.se() // pic_init_qp_minus26
		r.se() // pic_init_qs_minus26
		r.se() // chroma_qp_index_offset
		r.u(2) // deblocking_filter_control_present_flag, constrained_intra_pred_flag
		p.redundantPicPresent = r.flag()
	}
	if r.err != nil {
		return nil, fmt.Errorf("parse PPS: %w", r.err)
	}
	if p.sps > 31 || p.sliceGroups > 7 || p.refsL0 > 32 {
		return nil, errors.New("parse PPS: a value is out of range")
	}
	return p, nil
}
