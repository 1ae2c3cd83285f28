package webrtc_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lenscast/lenscast/capture/h264"
)

// refused names the streams of which not all pictures are shown, and why. The
// others must arrive whole.
var refused = map[string]string{
	"bframes.264":               "turn B-frames off",
	"high10.264":                "10-bit video",
	"high422.264":               "4:2:2 video",
	"BA_MW_D_P_LOST.264":        "picture 2 came where 1 should",
	"BA_MW_D_IDR_LOST.264":      "", // it begins in the middle of a group
	"sps_subsetsps_bothVUI.264": "", // parameter sets only
	"Cisco_Men_whisper_640x320_CABAC_Bframe_9.264": "turn B-frames off",
}

// TestStreamsArriveWhole plays streams of many encoders, as files, through all
// of the way to a viewer. What the viewer puts together again is, byte for
// byte, what the source gave, and ffmpeg decodes it to the pictures of the file.
func TestStreamsArriveWhole(t *testing.T) {
	files, err := filepath.Glob("../../capture/h264/testdata/*.264")
	if err != nil || len(files) == 0 {
		t.Fatalf("no streams: %v", err)
	}
	media := os.Getenv("LENSCAST_MEDIA")
	if media == "" {
		t.Log("only the streams of this repository are played: LENSCAST_MEDIA does not name a folder of media")
	} else {
		more, err := filepath.Glob(filepath.Join(media, "h264", "*"))
		if err != nil || len(more) == 0 {
			t.Fatalf("no streams in LENSCAST_MEDIA: %v", err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			units, refusal := assemble(t, in)
			reason, cut := refused[name]
			if reason != "" && (refusal == nil || !strings.Contains(refusal.Error(), reason)) || reason == "" && refusal != nil {
				t.Errorf("refused with %v, want %q", refusal, reason)
			}
			if len(units) == 0 {
				if !cut {
					t.Error("there are no pictures")
				}
				return
			}
			var want []byte
			for _, au := range units {
				want = h264.AppendAnnexB(want, withoutDelimiters(au.NALUs))
			}
			got := transmit(t, units)
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrived that are not the %d sent", len(got), len(want))
			}
			if cut {
				in = want
			}
			shown, original := framemd5(t, got), framemd5(t, in)
			if len(shown) != len(units) || !slices.Equal(shown, original) {
				t.Errorf("the viewer decodes %d other pictures than the %d of the source", len(shown), len(original))
			}
		})
	}
}

// withoutDelimiters leaves out what means nothing in RTP.
func withoutDelimiters(nalus [][]byte) (kept [][]byte) {
	for _, n := range nalus {
		if typ := h264.TypeOf(n); typ != h264.NALUAUD && typ != h264.NALUFiller {
			kept = append(kept, n)
		}
	}
	return kept
}

// transmit returns what arrives of pictures at a viewer, as annex B.
func transmit(t *testing.T, units []*h264.AccessUnit) []byte {
	t.Helper()
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	v := watch(t, web, viewerOptions{})
	waitFor(t, "the session", func() bool { return s.Sessions()[0].State == "waiting" })
	// Some ahead, so that the sockets hold them. The first goes alone: of a
	// backlog a viewer gets only the newest group.
	ahead := 0
	for i, au := range units {
		waitFor(t, "pictures", func() bool { n, _ := v.pictures(); return n >= i-ahead })
		cam.mu.Lock()
		cam.publishLocked(au)
		cam.mu.Unlock()
		if i > 0 {
			ahead = 8
		}
	}
	waitFor(t, "all pictures", func() bool { n, missing := v.pictures(); return n == len(units) && missing == 0 })

	packets := v.received()
	first := packets[0].SequenceNumber
	slices.SortStableFunc(packets, func(a, b *rtp.Packet) int {
		return int(int16(a.SequenceNumber-first)) - int(int16(b.SequenceNumber-first))
	})
	packets = slices.CompactFunc(packets, func(a, b *rtp.Packet) bool { return a.SequenceNumber == b.SequenceNumber })
	var reader codecs.H264Packet
	var stream []byte
	for _, p := range packets {
		part, err := reader.Unmarshal(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, part...)
	}
	return stream
}

// framemd5 returns what ffmpeg decodes a byte stream to, a sum for each
// picture.
func framemd5(t *testing.T, stream []byte) (sums []string) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "h264", "-i", "-", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	cmd.Stdin = bytes.NewReader(stream)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, ","); !strings.HasPrefix(line, "#") && len(f) == 6 {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return sums
}
