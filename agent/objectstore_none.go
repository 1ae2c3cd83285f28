//go:build nos3

package main

import (
	"context"
	"log/slog"
	"time"
)

func (o *storeOptions) open(context.Context, string, string, time.Duration, *slog.Logger) (receiveStore, error) {
	return nil, usageError("this build has no object store: use -dir, or run the receiver from the amd64 build or one without -tags nos3")
}
