package udp

import (
	"context"
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

// Reader is where the pictures come from; *stream.Reader is one.
//
// The first picture is an IDR, and there is no hole between two IDRs: when
// the reader has to drop, it drops everything up to the next IDR.
type Reader interface {
	// Next returns the next picture, waiting for it until ctx ends.
	Next(ctx context.Context) (*h264.AccessUnit, error)

	// Len returns how many pictures Next would return without waiting.
	Len() int

	// RequestKeyframe asks the source for an IDR. It never blocks, and may
	// be called from another goroutine than Next.
	RequestKeyframe()

	// Close ends the reader; a Next that waits returns an error.
	Close()
}

// picture is an access unit and the time to send it under.
type picture struct {
	*h264.AccessUnit
	pts time.Duration
}

// catchUpStep is the time between two pictures that only lead up to the
// present.
const catchUpStep = time.Millisecond

// pump reads pictures in a goroutine of its own, so that a sender can wait for
// the next one, for its socket and for its timers at the same time.
type pump struct {
	pictures chan picture
	failed   chan error // holds the error of Next
	reader   Reader
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

func startPump(ctx context.Context, r Reader) *pump {
	ctx, cancel := context.WithCancel(ctx)
	p := &pump{pictures: make(chan picture), failed: make(chan error, 1), reader: r, cancel: cancel}
	p.done.Go(func() { p.failed <- p.run(ctx) })
	return p
}

// stop closes the reader and waits for the goroutine.
func (p *pump) stop() {
	p.cancel()
	p.reader.Close()
	p.done.Wait()
}

func (p *pump) run(ctx context.Context) error {
	first, err := p.catchUp(ctx)
	if err != nil {
		return err
	}
	for _, pic := range first {
		if err := p.put(ctx, pic); err != nil {
			return err
		}
	}
	first = nil // holds a whole group of pictures
	for {
		au, err := p.reader.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.put(ctx, picture{au, au.PTS}); err != nil {
			return err
		}
	}
}

// catchUp returns what waits at the beginning: an IDR and, when it was taken
// some time ago, all that came since. These get times just before the newest
// one's, so that the receiver shows the present and does not lag behind by as
// much for ever.
func (p *pump) catchUp(ctx context.Context) ([]picture, error) {
	au, err := p.reader.Next(ctx)
	if err != nil {
		return nil, err
	}
	pictures := []picture{{au, au.PTS}}
	for range p.reader.Len() {
		if au, err = p.reader.Next(ctx); err != nil {
			return nil, err
		}
		pictures = append(pictures, picture{au, au.PTS})
	}
	for i := range pictures {
		pictures[i].pts = au.PTS - time.Duration(len(pictures)-1-i)*catchUpStep
	}
	return pictures, nil
}

func (p *pump) put(ctx context.Context, pic picture) error {
	select {
	case p.pictures <- pic:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
