// Package clip makes real H.264 for the tests of the senders, with ffmpeg.
package clip

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// Params describe a clip.
type Params struct {
	Size    string // such as "640x360"
	FPS     int
	Frames  int
	GOP     int // pictures
	Bitrate int // bit/s
}

// Encode returns the access units of a moving test picture. It skips the test
// when there is no ffmpeg.
func Encode(tb testing.TB, p Params) []*h264.AccessUnit {
	tb.Helper()
	NeedTool(tb, "ffmpeg")
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi",
		"-i", fmt.Sprintf("testsrc2=size=%s:rate=%d", p.Size, p.FPS),
		"-frames:v", fmt.Sprint(p.Frames), "-pix_fmt", "yuv420p",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0",
		"-b:v", fmt.Sprint(p.Bitrate), "-x264-params", fmt.Sprintf("aud=1:keyint=%d:min-keyint=%d:scenecut=0:repeat-headers=1", p.GOP, p.GOP),
		"-f", "h264", "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stream, err := cmd.Output()
	if err != nil {
		tb.Fatalf("encode clip: %v: %s", err, stderr.Bytes())
	}
	aus := read(tb, stream, time.Second/time.Duration(p.FPS))
	if len(aus) != p.Frames {
		tb.Fatalf("clip has %d pictures, want %d", len(aus), p.Frames)
	}
	return aus
}

// Footage returns the access units of a film of 29.97 pictures a second.
func Footage(tb testing.TB, path string) []*h264.AccessUnit {
	tb.Helper()
	NeedTool(tb, "ffmpeg")
	stream, err := exec.Command("ffmpeg", "-v", "error", "-i", path, "-an", "-c:v", "copy", "-f", "h264", "-").Output()
	if err != nil {
		tb.Fatalf("read %s: %v", path, err)
	}
	return read(tb, stream, time.Second*1001/30_000)
}

// read returns the access units of a byte stream, with their times.
func read(tb testing.TB, stream []byte, frame time.Duration) []*h264.AccessUnit {
	tb.Helper()
	aus, err := h264.ReadAll(bytes.NewReader(stream))
	if err != nil {
		tb.Fatalf("read clip: %v", err)
	}
	for i, au := range aus {
		au.PTS = time.Duration(i) * frame
		au.Captured = time.Unix(1_700_000_000, 0).Add(au.PTS)
	}
	return aus
}

// NeedTool skips the test when a program is not installed.
func NeedTool(tb testing.TB, name string) {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		tb.Skipf("%s is not installed: it is the judge of this test", name)
	}
}

// Synthetic returns n access units that no decoder accepts but every sender
// carries: NAL units of size bytes, an IDR of keySize bytes every gop.
func Synthetic(n, fps, gop, size, keySize int) []*h264.AccessUnit {
	aus := make([]*h264.AccessUnit, n)
	for i := range aus {
		au := &h264.AccessUnit{PTS: time.Duration(i) * time.Second / time.Duration(fps)}
		if i%gop == 0 {
			au.Key = true
			au.NALUs = [][]byte{{0x67, 0x42, 0xc0, 0x1f, 1}, {0x68, 1, 2, 3}, filled(0x65, keySize)}
		} else {
			au.NALUs = [][]byte{filled(0x41, size)}
		}
		aus[i] = au
	}
	return aus
}

func filled(header byte, size int) []byte {
	b := bytes.Repeat([]byte{0x5a}, size)
	b[0] = header
	return b
}
