package testpattern_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"sync"
	"testing"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/h264"
)

// recorder is a sink that keeps what it gets and calls back.
type recorder struct {
	mu    sync.Mutex
	info  capture.Info
	units []*h264.AccessUnit
	wrote func(n int) // after the nth picture
}

func (r *recorder) Opened(info capture.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info = info
}

func (r *recorder) Write(au *h264.AccessUnit) {
	r.mu.Lock()
	r.units = append(r.units, au)
	n := len(r.units)
	r.mu.Unlock()
	if r.wrote != nil {
		r.wrote(n)
	}
}

func (r *recorder) Lost(string)   {}
func (r *recorder) Trouble(error) {}

// record runs src until it has made n pictures.
func record(t *testing.T, src capture.Source, n int, wrote func(n int)) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{}
	r.wrote = func(i int) {
		if wrote != nil {
			wrote(i)
		}
		if i >= n {
			cancel()
		}
	}
	if err := src.Run(ctx, r); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if len(r.units) < n {
		t.Fatalf("the source ended after %d pictures, want %d", len(r.units), n)
	}
	r.units = r.units[:n]
	return r
}

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

// decode lets ffmpeg decode the pictures and returns the luma of each.
func decode(t *testing.T, units []*h264.AccessUnit, width, height int) [][]byte {
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

// readCode reads the frame number as the package comment lays it down.
func readCode(luma []byte, width int) (int, error) {
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
