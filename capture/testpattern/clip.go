package testpattern

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/h264"
)

// The clip is the pattern as this package paints it, 8 s after which all
// motion is where it began. It has an IDR every second. Its frames are numbered
// from 0, and its clock shows the time in the clip.
const (
	clipWidth, clipHeight = 1280, 720
	clipFPS               = 30
	clipFrames            = 8 * clipFPS
)

//go:generate go test -run ^TestClip$ -update .

//go:embed clip.h264
var clipStream string // H.264 annex B

// clip plays the clip in a loop. It can't be asked for a keyframe.
type clip struct{}

// Run implements capture.Source.
func (clip) Run(ctx context.Context, sink capture.Sink) error {
	pictures := clipPictures()
	sink.Opened(capture.Info{
		Mode: capture.Clip,
		Detail: fmt.Sprintf("this build has no encoder: playing a recorded clip of %dx%d at %d fps",
			clipWidth, clipHeight, clipFPS),
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticks := newSchedule(time.Now(), clipFPS)
	for i := 0; ; i++ {
		// A picture that is late is late: the next one builds on it.
		n, wait, _ := ticks.next(time.Now())
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		au := pictures[i%len(pictures)]
		au.PTS, au.Captured = ticks.at(n), time.Now()
		sink.Write(&au)
	}
}

// clipPictures takes the clip apart. A picture begins with the parameter sets
// of an IDR, or else with the slice of its first macroblock.
func clipPictures() []h264.AccessUnit {
	var pictures []h264.AccessUnit
	sliced := true // the picture has a slice, so parameter sets begin another
	for _, s := range strings.Split(clipStream, "\x00\x00\x00\x01")[1:] {
		nalu := []byte(s)
		kind := h264.TypeOf(nalu)
		slice := kind == h264.NALUSlice || kind == h264.NALUIDR
		first := slice && nalu[1]&0x80 != 0 // first_mb_in_slice is 0
		if sliced && (first || !slice) {
			pictures = append(pictures, h264.AccessUnit{})
			sliced = false
		}
		sliced = sliced || slice
		au := &pictures[len(pictures)-1]
		au.NALUs = append(au.NALUs, nalu)
		au.Key = au.Key || kind == h264.NALUIDR
	}
	return pictures
}
