package h264

import "fmt"

// Format is what a sequence parameter set says of the pictures.
type Format struct {
	Width, Height int     // pixels, after cropping
	FPS           float64 // from the timing information, 0 when there is none
	Profile       string  // such as "Constrained Baseline"
	ProfileIDC    uint8
	Constraints   uint8 // constraint_set0_flag is the highest bit
	LevelIDC      uint8 // 10 times the level: 31 is level 3.1
}

// ParseFormat reads a sequence parameter set (H.264 section 7.3.2.1.1).
func ParseFormat(sps []byte) (Format, error) {
	if TypeOf(sps) != NALUSPS || len(sps) < 4 {
		return Format{}, fmt.Errorf("parse SPS: not a sequence parameter set (%d bytes)", len(sps))
	}
	s, err := unmarshalSPS(sps)
	if err != nil {
		return Format{}, err
	}
	f := Format{
		Width: s.Width(), Height: s.Height(),
		ProfileIDC: sps[1], Constraints: sps[2], LevelIDC: sps[3],
	}
	if s.VUI != nil && s.VUI.TimingInfo != nil && s.VUI.TimingInfo.NumUnitsInTick > 0 {
		f.FPS = s.FPS()
	}
	f.Profile = profileName(f.ProfileIDC, f.Constraints)
	return f, nil
}

// profileName follows H.264 annex A.2.
func profileName(idc, constraints uint8) string {
	switch {
	case idc == 66 && constraints&0x40 != 0:
		return "Constrained Baseline"
	case idc == 66:
		return "Baseline"
	case idc == 77:
		return "Main"
	case idc == 88:
		return "Extended"
	case idc == 100 && constraints&0x0c == 0x0c:
		return "Constrained High"
	case idc == 100:
		return "High"
	}
	return fmt.Sprintf("profile %d", idc)
}
