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

// Decode lets ffmpeg decode the pictures and returns the luma of each.
func Decode(t *testing.T, units []*h264.AccessUnit, width, height int) [][]byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-")
	cmd.Stdin = bytes.NewReader(annexB(units))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	raw, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, stderr.String())
	}
	size := width * height * 3 / 2
	if len(raw)%size != 0 {
		t.Fatalf("ffmpeg made %d bytes, which are not pictures of %dx%d", len(raw), width, height)
	}
	var lumas [][]byte
	for ; len(raw) > 0; raw = raw[size:] {
		lumas = append(lumas, raw[:width*height])
	}
	return lumas
}

// ReadCode reads the frame number as the package comment lays it down.
func ReadCode(luma []byte, width int) (int, error) {
	side := (max(8, width/80) + 1) &^ 1
	bit := func(column, row int) (int, error) {
		x, y := column*side+side/2, row*side+side/2
		switch v := luma[y*width+x]; {
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
