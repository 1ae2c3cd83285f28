package h264_test

import (
	"testing"

	"github.com/lenscast/lenscast/capture/h264"
)

func TestParseFormat(t *testing.T) {
	const constrained = "Constrained Baseline"
	for _, test := range []struct {
		name string
		want h264.Format
	}{
		{"baseline.264", h264.Format{Width: 96, Height: 80, FPS: 15, Profile: constrained, ProfileIDC: 66, Constraints: 0xc0, LevelIDC: 10}},
		{"high.264", h264.Format{Width: 96, Height: 80, FPS: 15, Profile: "High", ProfileIDC: 100, LevelIDC: 10}},
		{"slices.264", h264.Format{Width: 96, Height: 80, FPS: 15, Profile: "Main", ProfileIDC: 77, Constraints: 0x40, LevelIDC: 10}},
		{"high10.264", h264.Format{Width: 96, Height: 80, FPS: 15, Profile: "profile 110", ProfileIDC: 110, LevelIDC: 10}},
		{"interlaced.264", h264.Format{Width: 96, Height: 80, FPS: 15, Profile: "High", ProfileIDC: 100, LevelIDC: 21}},
		{"Static.264", h264.Format{Width: 152, Height: 100, Profile: "Baseline", ProfileIDC: 66, LevelIDC: 13}}, // cropped
	} {
		t.Run(test.name, func(t *testing.T) {
			au := h264.AccessUnit{NALUs: pictures(t, test.name)[0]}
			sps, _ := au.ParameterSets()
			got, err := h264.ParseFormat(sps[0])
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseFormatBroken(t *testing.T) {
	au := h264.AccessUnit{NALUs: pictures(t, "baseline.264")[0]}
	sps, pps := au.ParameterSets()
	for i := range sps[0] {
		f, err := h264.ParseFormat(sps[0][:i])
		if err == nil && (f.Width != 96 || f.Height != 80) { // only the VUI is missing
			t.Errorf("%d bytes of an SPS: %+v", i, f)
		}
	}
	if _, err := h264.ParseFormat(pps[0]); err == nil {
		t.Error("a PPS was taken for an SPS")
	}
}
