package testpattern

import (
	"context"

	"github.com/lenscast/lenscast/capture"
)

type clip struct{}

func (clip) Run(ctx context.Context, sink capture.Sink) error { <-ctx.Done(); return ctx.Err() }
