//go:build cgo && ((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/encode"
	"github.com/lenscast/lenscast/capture/h264"
)

// The bitrate goes down and comes back. The encoder holds each, with fewer and
// then smaller pictures, and everything it makes can be decoded.
func TestAdaptiveFollowsBitrate(t *testing.T) {
	e, err := encode.NewAdaptive(encode.NewSoftware, params)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	stages := []struct {
		bitrate, seconds int
		width            int
		fps              int
	}{
		{params.Bitrate, 3, width, fps},
		{250_000, 4, width, fps / 2},
		{110_000, 6, width / 2, fps},
		{params.Bitrate, 14, width, fps},
	}
	var stream []byte
	n, made := 0, 0
	for _, stage := range stages {
		e.SetBitrate(stage.bitrate)
		var units []*h264.AccessUnit
		for range stage.seconds * fps {
			p := scene(n)
			n++
			for err := e.Encode(p); err != nil; err = e.Encode(p) {
				if !errors.Is(err, encode.ErrBusy) {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond) // a camera would leave it out
			}
			for au := takeOut(e); au != nil; au = takeOut(e) {
				units = append(units, au)
			}
		}
		bytes := 0
		last := units[len(units)-1].PTS - 2*time.Second
		pictures, wide := 0, 0
		for _, au := range units {
			made++
			if sps, _ := au.ParameterSets(); len(sps) > 0 {
				f, err := h264.ParseFormat(sps[0])
				if err != nil {
					t.Fatal(err)
				}
				wide = f.Width
			}
			for _, nalu := range au.NALUs {
				stream = append(binary.BigEndian.AppendUint32(stream, 1), nalu...)
			}
			if au.PTS > last {
				pictures++
				bytes += au.Size()
			}
		}
		t.Logf("%d bit/s: %d of %d pictures a second %d wide, %d bit/s", stage.bitrate, pictures/2, stage.fps, wide, bytes*8/2)
		if wide != 0 && wide != stage.width {
			t.Errorf("%d bit/s: the picture is %d wide, want %d", stage.bitrate, wide, stage.width)
		}
		if pictures/2 > stage.fps+1 || pictures < 4 {
			t.Errorf("%d bit/s: %d pictures a second, want %d", stage.bitrate, pictures/2, stage.fps)
		}
		// The size has just changed: an IDR is part of it.
		if rate := bytes * 8 / 2; rate > stage.bitrate*7/4 {
			t.Errorf("%d bit/s are %d", stage.bitrate, rate)
		}
	}
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is not installed")
	}
	cmd := exec.Command("ffprobe", "-v", "error", "-f", "h264", "-show_entries", "frame=width", "-of", "csv=p=0", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffprobe: %v\n%s", err, stderr.String())
	}
	if got := len(strings.Fields(string(out))); got != made {
		t.Errorf("ffprobe decoded %d of %d pictures", got, made)
	}
}

// Whatever the stage, Close ends it and Next says so.
func TestAdaptiveCloses(t *testing.T) {
	e, err := encode.NewAdaptive(encode.NewSoftware, params)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Encode(scene(0)); !errors.Is(err, encode.ErrClosed) {
		t.Errorf("Encode after Close: %v", err)
	}
	if _, err := e.Next(t.Context()); !errors.Is(err, encode.ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}
