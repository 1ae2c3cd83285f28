// Package yield keeps a transfer below a fixed rate.
package yield

import (
	"context"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

type Live struct {
	Active  bool
	Bitrate float64
	RTT     time.Duration
	Loss    float64
	Reduced bool
	Dropped uint64
}
type Params struct {
	Cap  int64
	Live func() Live
	Path func() (filetransfer.TCPInfo, bool)
	Set  func(bitsPerSecond int64)
}
type Status struct {
	Rate   int64
	Paused bool
	Reason string
}
type Controller struct{ p Params }

func New(p Params) *Controller { return &Controller{p} }
func (c *Controller) Run(ctx context.Context) error {
	c.p.Set(c.p.Cap)
	<-ctx.Done()
	return ctx.Err()
}
func (c *Controller) Pace(ctx context.Context, n int) error { return ctx.Err() }
func (c *Controller) Status() Status                        { return Status{Rate: c.p.Cap} }
