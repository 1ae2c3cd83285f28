package testpattern

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"testing"

	"github.com/lenscast/lenscast/capture/h264"
)

// annexB returns the byte stream of H.264 annex B.
func annexB(units []*h264.AccessUnit) []byte {
	var b []byte
	for _, au := range units {
		for _, nalu := range au.NALUs {
			b = binary.BigEndian.AppendUint32(b, 1)
			b = append(b, nalu...)
		}
	}
	return b
}

// codeSize returns the size in pixels of the code in a picture, or of the part
// of the picture that there is where the code does not fit.
func codeSize(width int) (w, h int) {
	side := (max(8, width/80) + 1) &^ 1
	return min(16*side, width), 2 * side
}

// Decode lets ffmpeg decode the pictures and returns of each the luma of the
// corner with the code.
func Decode(t *testing.T, units []*h264.AccessUnit, width int) [][]byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	w, h := codeSize(width)
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-fps_mode", "passthrough",
		"-vf", fmt.Sprintf("crop=%d:%d:0:0", w, h), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	cmd.Stdin = bytes.NewReader(annexB(units))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, stderr.String())
	}
	size := w * h * 3 / 2
	if len(raw)%size != 0 {
		t.Fatalf("ffmpeg made %d bytes, which are not pictures of %dx%d", len(raw), w, h)
	}
	var lumas [][]byte
	for ; len(raw) > 0; raw = raw[size:] {
		lumas = append(lumas, raw[:w*h])
	}
	return lumas
}

// ReadCode reads the frame number as the package comment lays it down, from
// what Decode returned for a picture of this width.
func ReadCode(corner []byte, width int) (int, error) {
	w, h := codeSize(width)
	side := h / 2
	bit := func(column, row int) (int, error) {
		x, y := column*side+side/2, row*side+side/2
		switch v := corner[y*w+x]; {
		case v >= 180:
			return 1, nil
		case v <= 70:
			return 0, nil
		default:
			return 0, fmt.Errorf("block %d of row %d is grey: Y is %d", column, row, v)
		}
	}
	n := 0
	for column := range 16 {
		upper, err := bit(column, 0)
		if err != nil {
			return 0, err
		}
		lower, err := bit(column, 1)
		if err != nil {
			return 0, err
		}
		if upper == lower {
			return 0, fmt.Errorf("block %d is %d in both rows", column, upper)
		}
		n = n<<1 | upper
	}
	return n, nil
}
