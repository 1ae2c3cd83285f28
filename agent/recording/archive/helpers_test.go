package archive_test

import (
	"context"
	"log/slog"

	"github.com/lenscast/lenscast/agent/recording/archive"
)

// once is a context that ends when it is waited for: Run does what there is
// to do, and returns instead of waiting for more.
type once struct {
	context.Context
	done chan struct{}
}

func (o *once) Done() <-chan struct{} {
	select {
	case <-o.done:
	default:
		close(o.done)
	}
	return o.done
}

var quiet = slog.New(slog.DiscardHandler)

// finish ends and finishes a recording.
func finish(w *archive.Writer) error {
	if err := w.End(0); err != nil {
		w.Abandon()
		return err
	}
	return w.Finish()
}
