package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/lenscast/lenscast/agent/config"
	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/mpegts"
	"github.com/lenscast/lenscast/capture/testpattern"
)

// newSource makes the source that a camera's table describes. Every kind of
// config.SourceKind has its line here.
func newSource(c config.Camera, log *slog.Logger) (capture.Source, error) {
	switch c.Source {
	case config.SourceTest:
		return testpattern.New(testpattern.Params{
			Name:             c.Name,
			Width:            c.Size.Width,
			Height:           c.Size.Height,
			FPS:              float64(c.FPS),
			Bitrate:          int(c.Bitrate),
			KeyframeInterval: time.Duration(c.KeyframeInterval),
		}), nil
	case config.SourceMPEGTS:
		return mpegts.New(mpegts.Params{Listen: c.Listen.String(), Log: log})
	default:
		return nil, fmt.Errorf("this build has no source %q", c.Source)
	}
}
