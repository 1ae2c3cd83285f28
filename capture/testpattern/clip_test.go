package testpattern

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/encode"
	"github.com/lenscast/lenscast/capture/h264"
)

var update = flag.Bool("update", false, "make clip.h264 anew")

// TestClip plays the embedded clip, two and a half times in fake time, and
// looks at what comes.
func TestClip(t *testing.T) {
	if *update {
		makeClip(t)
		return // what is embedded is still the old one
	}
	if len(clipStream) > 400_000 {
		t.Errorf("the clip has %d bytes, want at most 400 kB", len(clipStream))
	}
	const loops = clipFrames * 5 / 2
	r := &clipSink{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), loops*time.Second/clipFPS-time.Millisecond)
		defer cancel()
		if err := (clip{}).Run(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
	})
	if r.info.Mode != capture.Clip || !strings.Contains(r.info.Detail, "no encoder") {
		t.Errorf("info %+v", r.info)
	}
	if len(r.units) != loops {
		t.Fatalf("%d pictures in %d frames' time", len(r.units), loops)
	}
	for i, au := range r.units {
		if want := time.Duration(i) * time.Second / clipFPS; (au.PTS - want).Abs() > time.Microsecond {
			t.Fatalf("picture %d at %v, want %v", i, au.PTS, want)
		}
		if key := i%clipFrames%clipFPS == 0; au.Key != key {
			t.Errorf("picture %d: key %v, want %v", i, au.Key, key)
		}
	}
	sps, _ := r.units[0].ParameterSets()
	if f, err := h264.ParseFormat(sps[0]); err != nil || f.Profile != "Constrained Baseline" {
		t.Errorf("format %+v, %v", f, err)
	}
	for i, luma := range Decode(t, r.units[:clipFrames+2*clipFPS], clipWidth) {
		if n, err := ReadCode(luma, clipWidth); err != nil || n != i%clipFrames {
			t.Fatalf("picture %d of the loop is frame %d, %v", i%clipFrames, n, err)
		}
	}
}

type clipSink struct {
	info  capture.Info
	units []*h264.AccessUnit
}

func (s *clipSink) Opened(info capture.Info)  { s.info = info }
func (s *clipSink) Write(au *h264.AccessUnit) { s.units = append(s.units, au) }
func (s *clipSink) Lost(string)               {}
func (s *clipSink) Trouble(error)             {}

// makeClip writes clip.h264.
func makeClip(t *testing.T) {
	painter, err := newPainter(Params{Name: "recorded clip", Width: clipWidth, Height: clipHeight, FPS: clipFPS})
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := encode.NewSoftware(encode.Params{
		Width: clipWidth, Height: clipHeight, FPS: clipFPS, Bitrate: 280_000, KeyframeInterval: clipFrames,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	c := painter.newCanvas()
	ticks := newSchedule(time.Time{}, clipFPS)
	var stream bytes.Buffer
	for n := range clipFrames {
		painter.paint(c, n, time.Time{}.Add(ticks.at(n)))
		au := encodeNow(t, encoder, c, n%clipFPS == 0)
		for _, nalu := range au.NALUs {
			stream.WriteString("\x00\x00\x00\x01")
			stream.Write(nalu)
		}
	}
	if err := os.WriteFile("clip.h264", stream.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("clip.h264 has %d bytes", stream.Len())
}

// encodeNow encodes the canvas, as often as the encoder leaves it out to hold
// the bitrate.
func encodeNow(t *testing.T, encoder encode.Encoder, c *canvas, key bool) *h264.AccessUnit {
	for range 100 {
		if key {
			encoder.ForceKeyframe()
		}
		done := make(chan struct{})
		if err := encoder.Encode(c.picture(0, time.Time{}, func() { close(done) })); err != nil {
			t.Fatal(err)
		}
		<-done
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what comes of it is out already
		au, err := encoder.Next(ctx)
		if err == nil {
			return au
		}
	}
	t.Fatal("the bitrate is too low for the clip")
	return nil
}
