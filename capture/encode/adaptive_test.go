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

// told is an encoder that notes what it is told of each picture.
type told struct {
	encode.Encoder
	bitrate int
	key     bool
	notes   []note
}

type note struct {
	bitrate int
	key     bool
}

func (e *told) SetBitrate(bitsPerSecond int) { e.bitrate = bitsPerSecond }
func (e *told) ForceKeyframe()               { e.key = true }
func (e *told) Encode(encode.Picture) error {
	e.notes = append(e.notes, note{e.bitrate, e.key})
	e.key = false
	return nil
}

// With half of the pictures each gets twice as much, but not a keyframe, of
// itself or forced: where the network is slow that gets less than all others.
func TestAdaptiveKeepsKeyframesSmall(t *testing.T) {
	for name, tt := range map[string]struct {
		bitrate, pictures int // bit/s; of 4 intervals
		other, key        int // bit/s that the encoder is told
	}{
		"as asked for":         {params.Bitrate, 4 * params.KeyframeInterval, params.Bitrate, params.Bitrate},
		"slow":                 {params.Bitrate * 4 / 5, 4 * params.KeyframeInterval, params.Bitrate * 4 / 5, params.Bitrate * 4 * 7 / 50},
		"slow, fewer pictures": {250_000, 2 * params.KeyframeInterval, 500_000, 175_000},
	} {
		t.Run(name, func(t *testing.T) {
			encoder := &told{bitrate: params.Bitrate}
			e, err := encode.NewAdaptive(func(encode.Params) (encode.Encoder, error) { return encoder, nil }, params)
			if err != nil {
				t.Fatal(err)
			}
			e.SetBitrate(tt.bitrate)
			for n := range 4 * params.KeyframeInterval {
				if n == params.KeyframeInterval/2 {
					e.ForceKeyframe()
				}
				if err := e.Encode(scene(n)); err != nil {
					t.Fatal(err)
				}
			}
			if len(encoder.notes) != tt.pictures {
				t.Fatalf("%d pictures are encoded, want %d", len(encoder.notes), tt.pictures)
			}
			keys := 0
			for n, is := range encoder.notes {
				want := tt.other
				if is.key {
					keys++
					want = tt.key
				}
				if is.bitrate != want {
					t.Errorf("of picture %d it is told %+v, want %d bit/s", n, is, want)
				}
			}
			if keys != 4 {
				t.Errorf("%d keyframes, want one forced and 3 in the 3.5 intervals after it", keys)
			}
		})
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
