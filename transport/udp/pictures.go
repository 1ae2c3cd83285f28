package udp

import (
	"context"
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

	// Direct lets take have the pictures that come while Next waits, on the
	// goroutine that makes them. take reports whether it took the picture; if
	// not, Next returns it. take never waits, and calls nothing of the reader
	// but RequestKeyframe.
	Direct(take func(au *h264.AccessUnit) bool)

	// Len returns how many pictures Next would return without waiting.
	Len() int

	// RequestKeyframe asks the source for an IDR. It never blocks, and may
	// be called from another goroutine than Next.
	RequestKeyframe()

	// Afford tells what the way to the receiver carries in bit/s, 0 when
	// there is no known limit. It never blocks, and may be called from
	// another goroutine than Next.
	Afford(bitsPerSecond int)

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

// catchUp returns what waits at the beginning: an IDR and, when it was taken
// some time ago, all that came since. These get times just before the newest
// one's, so that the receiver shows the present and does not lag behind by as
// much for ever.
func catchUp(ctx context.Context, r Reader) ([]picture, error) {
	au, err := r.Next(ctx)
	if err != nil {
		return nil, err
	}
	pictures := []picture{{au, au.PTS}}
	for range r.Len() {
		if au, err = r.Next(ctx); err != nil {
			return nil, err
		}
		pictures = append(pictures, picture{au, au.PTS})
	}
	for i := range pictures {
		pictures[i].pts = au.PTS - time.Duration(len(pictures)-1-i)*catchUpStep
	}
	return pictures, nil
}
