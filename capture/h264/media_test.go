package h264_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// passage is what came of a byte stream that went through Reader and
// Assembler.
type passage struct {
	units   []*h264.AccessUnit
	stream  []byte // the units, as annex B
	lost    int
	waiting int
	last    error // the last error but ErrNoPicture and ErrWaiting
}

func pass(t testing.TB, in io.Reader) passage {
	t.Helper()
	var p passage
	var a h264.Assembler
	r := h264.NewReader(in)
	for n := 0; ; n++ {
		nalus, err := r.Next()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		au, err := a.Assemble(nalus, time.Duration(n)*time.Second/30, time.Time{})
		switch {
		case err == nil:
			p.units = append(p.units, au)
			p.stream = h264.AppendAnnexB(p.stream, au.NALUs)
		case errors.Is(err, h264.ErrWaiting):
			p.waiting++
		case errors.Is(err, h264.ErrLost):
			p.lost++
			p.last = err
		case !errors.Is(err, h264.ErrNoPicture):
			p.last = err
		}
	}
}

// decode returns what ffmpeg makes of a byte stream: a line a picture, and
// what it complains of.
func decode(t testing.TB, stream []byte) (pictures []string, complaints string) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stream), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Logf("ffmpeg: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") && len(f) == 6 {
			pictures = append(pictures, strings.TrimSpace(f[4])+" "+strings.TrimSpace(f[5]))
		}
	}
	return pictures, stderr.String()
}

// TestStreams lets whole streams through reader and assembler. ffmpeg must
// decode what comes out to the same pictures, without a complaint.
func TestStreams(t *testing.T) {
	tests := []struct {
		name  string // of testdata, or of the h264 folder of LENSCAST_MEDIA
		units int
		cut   bool   // what comes out is not all that goes in
		err   string // part of the last error
	}{
		{name: "baseline.264", units: 30},
		{name: "high.264", units: 30},
		{name: "slices.264", units: 30},
		{name: "interlaced.264", units: 30}, // frames of both fields
		{name: "intrarefresh.264", units: 30},
		{name: "bframes.264", units: 2, cut: true, err: "turn B-frames off"},
		{name: "high10.264", cut: true, err: "10-bit video"},
		{name: "high422.264", cut: true, err: "4:2:2 video"},

		{name: "BA1_FT_C.264", units: 299},
		{name: "BA_MW_D.264", units: 100},
		{name: "BA_MW_D_IDR_LOST.264", units: 70, cut: true},
		{name: "BA_MW_D_P_LOST.264", units: 71, cut: true, err: "picture 2 came where 1 should"},
		{name: "Cisco_Men_whisper_640x320_CABAC_Bframe_9.264", units: 2, cut: true, err: "turn B-frames off"},
		{name: "MIDR_MW_D.264", units: 100},
		{name: "MPS_MW_A.264", units: 150}, // several SPS and PPS
		{name: "NL1_Sony_D.jsv", units: 17},
		{name: "NRF_MW_E.264", units: 100}, // pictures that none refers to
		{name: "QCIF_2P_I_allIPCM.264", units: 2},
		{name: "SVA_BA1_B.264", units: 17},
		{name: "SVA_FM1_E.264", units: 17},
		{name: "SarVui.264", units: 17},
		{name: "Static.264", units: 10},
		{name: "Zhling_1280x720.264", units: 19},
		{name: "jm_1080p_allslice.264", units: 1}, // a slice for each macroblock
		{name: "sps_subsetsps_bothVUI.264"},       // parameter sets only
		{name: "test_qcif_cabac.264", units: 30},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := readStream(t, test.name)
			p := pass(t, bytes.NewReader(in))
			if len(p.units) != test.units {
				t.Errorf("%d access units came through, want %d", len(p.units), test.units)
			}
			if test.err == "" && p.last != nil || test.err != "" && (p.last == nil || !strings.Contains(p.last.Error(), test.err)) {
				t.Errorf("error %q, want %q", p.last, test.err)
			}
			if len(p.units) == 0 {
				return
			}
			got, complaints := decode(t, p.stream)
			if complaints != "" {
				t.Errorf("ffmpeg complains: %s", complaints)
			}
			if len(got) != test.units {
				t.Errorf("ffmpeg decodes %d pictures, want %d", len(got), test.units)
			}
			if want, _ := decode(t, in); !test.cut && !slices.Equal(got, want) {
				t.Error("ffmpeg decodes other pictures than those of the original")
			}
		})
	}
}

func readStream(t testing.TB, name string) []byte {
	t.Helper()
	in, err := os.ReadFile(filepath.Join("testdata", name))
	if errors.Is(err, os.ErrNotExist) {
		media := os.Getenv("LENSCAST_MEDIA")
		if media == "" {
			t.Skip("LENSCAST_MEDIA does not name a folder of media")
		}
		in, err = os.ReadFile(filepath.Join(media, "h264", name))
	}
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestGroupsDecodeAlone cuts at every IDR: each group of pictures must decode
// without what was before it.
func TestGroupsDecodeAlone(t *testing.T) {
	for _, name := range []string{"baseline.264", "slices.264", "MIDR_MW_D.264", "MPS_MW_A.264"} {
		t.Run(name, func(t *testing.T) {
			in := readStream(t, name)
			p := pass(t, bytes.NewReader(in))
			want, _ := decode(t, in)
			for i := 0; i < len(p.units); {
				end := i + 1
				for end < len(p.units) && !p.units[end].Key {
					end++
				}
				var group []byte
				for _, au := range p.units[i:end] {
					group = h264.AppendAnnexB(group, au.NALUs)
				}
				if got, complaints := decode(t, group); complaints != "" || !slices.Equal(got, want[i:end]) {
					t.Errorf("pictures %d to %d decode to something else (%s)", i, end, complaints)
				}
				i = end
			}
		})
	}
}
