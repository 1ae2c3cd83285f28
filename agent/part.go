package main

import "context"

// part is a component that runs in a goroutine of its own until it is stopped.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
}

// startPart runs a component until stop: the end of ctx does not end it, so
// that all parts are ended in order and waited for. A component that ends
// before it is stopped has failed, which failed is told.
func startPart(ctx context.Context, name string, run func(context.Context) error, failed func(name string, err error)) *part {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		err := run(ctx)
		if ctx.Err() == nil {
			failed(name, err)
		}
	}()
	return p
}

// stop ends the component and waits for it until ctx ends.
func (p *part) stop(ctx context.Context) error {
	p.cancel()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
