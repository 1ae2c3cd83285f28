// Package testpattern is the camera that is always there: a moving picture for
// people and for programs.
//
// People see colour bars, the wall clock with milliseconds, the number of the
// frame and a ball that bounces at the full frame rate. Programs read the
// number from black and white blocks in the top left corner:
//
//   - each block is a square of max(8, width/80) pixels, rounded up to an even
//     number: 16 at 1280x720;
//   - the first row is the number modulo 65536, 16 blocks, the most
//     significant bit first, white (Y at least 180) for 1 and black (Y at most
//     70) for 0;
//   - the second row, right below, is the same inverted, as a check.
//
// The number is the index of the frame in the schedule, so a frame left out
// because the machine was too slow is a number left out.
//
// An encoder needs little for all this. Where it is given more than a bitrate
// that suits the picture, snow beside the text uses it up, so that a network
// can be tried with as much as is asked for.
//
// A picture that the blocks don't fit in, such as one narrower than 128 pixels,
// carries no code.
package testpattern

import (
	"fmt"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/encode"
)

// Params describe the picture and its H.264. Zero values stand for 1280x720,
// 30 fps, a bitrate that suits both, and a keyframe every 2 s.
type Params struct {
	Name             string        // shown in the picture
	Width, Height    int           // pixels, even, 64 to 4096
	FPS              float64       // 1 to 120
	Bitrate          int           // bit/s, at least 10,000
	KeyframeInterval time.Duration // between two IDRs that nobody asked for
}

// New makes a test pattern. Where this build has an encoder the picture is
// encoded live, and the source is also a capture.KeyframeForcer,
// capture.BitrateSetter and capture.SkipCounter. Where it has none, the source
// plays a recorded clip, whatever the size. Run tells when p is out of range.
func New(p Params) capture.Source {
	if encode.HaveSoftware {
		return newLive(p)
	}
	return clip{}
}

func (p Params) withDefaults() Params {
	if p.Width == 0 && p.Height == 0 {
		p.Width, p.Height = 1280, 720
	}
	if p.FPS == 0 {
		p.FPS = 30
	}
	if p.Bitrate == 0 {
		p.Bitrate = p.suitable()
	}
	if p.KeyframeInterval == 0 {
		p.KeyframeInterval = 2 * time.Second
	}
	return p
}

// suitable returns the bitrate that suits the picture: 0.1 bit a pixel, which
// is 2.8 Mbit/s for 1280x720 at 30 fps.
func (p Params) suitable() int {
	return max(int(0.1*float64(p.Width*p.Height)*p.FPS), 100_000)
}

// snows tells whether there is snow in the picture.
func (p Params) snows() bool { return 2*p.Bitrate > 3*p.suitable() }

func (p Params) check() error {
	switch {
	case p.Width < 64 || p.Width > 4096 || p.Height < 64 || p.Height > 4096 || p.Width%2+p.Height%2 != 0:
		return fmt.Errorf("the size %dx%d is not even or not within 64x64 and 4096x4096", p.Width, p.Height)
	case !(p.FPS >= 1 && p.FPS <= 120): // NaN too
		return fmt.Errorf("%v frames per second are not within 1 and 120", p.FPS)
	case p.KeyframeInterval < 0:
		return fmt.Errorf("the keyframe interval %v is negative", p.KeyframeInterval)
	}
	return nil
}
