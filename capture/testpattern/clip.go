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
	pictures, err := h264.ReadAll(strings.NewReader(clipStream))
	if err != nil {
		return fmt.Errorf("open clip: %w", err)
	}
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
		au := *pictures[i%len(pictures)]
		au.PTS, au.Captured = ticks.at(n), time.Now()
		sink.Write(&au)
	}
}
