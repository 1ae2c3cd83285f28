// Package encode turns raw pictures into H.264.
//
// An [Encoder] is two independent queues, as the hardware encoders of V4L2
// are: pictures go into one, access units come out of the other, and nobody
// waits for the picture just put in.
package encode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

var (
	// ErrNoEncoder says that this build or this machine can't encode.
	ErrNoEncoder = errors.New("no H.264 encoder")

	// ErrBusy says that the input queue is full: the encoder is slower than
	// the pictures come. The caller drops the picture.
	ErrBusy = errors.New("encoder is busy")

	// ErrClosed is what an encoder returns after Close.
	ErrClosed = errors.New("encoder is closed")
)

// Layout says how the planes of a picture lie in memory. All are YUV 4:2:0
// with 8 bits a sample.
type Layout int

// The layouts, named like the V4L2 formats (linux/videodev2.h).
const (
	YUV420 Layout = iota // three planes: Y, U, V, the last two with equal strides ("I420")
	NV12                 // two planes: Y, then U and V alternating
)

// Picture is a raw picture of the size the encoder was opened for.
type Picture struct {
	Layout  Layout
	Planes  [3][]byte // the third is unused in NV12
	Strides [3]int    // bytes from one row to the next

	PTS      time.Duration // on the capture clock, greater than the one before
	Captured time.Time     // wall clock

	// Release is called once, from any goroutine, when the encoder has no
	// more use for the planes. It may be nil.
	Release func()
}

// Encoder makes H.264 access units that a live viewer can show: constrained
// baseline, no B-frames, parameter sets before every IDR. They come in the
// order of the pictures; to hold the bitrate an encoder may leave one out.
//
// Encode and Next are for one goroutine each, which may be two; everything
// else may be called by any.
type Encoder interface {
	// Encode puts a picture in the input queue and never waits. The
	// encoder owns it until it calls p.Release, which it does for every
	// picture it accepted. The error is ErrBusy, ErrClosed or what is wrong
	// with the picture; then the caller still owns it.
	Encode(p Picture) error

	// Next returns the next access unit; it waits for one until ctx ends.
	// The error is ErrClosed, the context's, or what made the encoder fail
	// for good. When nobody calls Next, the input queue fills.
	Next(ctx context.Context) (*h264.AccessUnit, error)

	// ForceKeyframe makes the next picture that is taken from the input
	// queue an IDR.
	ForceKeyframe()

	// SetBitrate changes the target in bit/s with the next picture.
	SetBitrate(bitsPerSecond int)

	// Close ends the encoder and waits for its goroutines. Pictures that
	// wait are released and not encoded.
	Close() error
}

// Params are what an encoder is opened with.
type Params struct {
	Width, Height    int     // pixels, even, 16 to 4096
	FPS              float64 // nominal, 1 to 240
	Bitrate          int     // bit/s, at least 10,000
	KeyframeInterval int     // pictures from one IDR to the next, at least 1
}

func (p Params) check() error {
	switch {
	case p.Width < 16 || p.Width > 4096 || p.Height < 16 || p.Height > 4096 || p.Width%2+p.Height%2 != 0:
		return fmt.Errorf("size %dx%d is not even or not within 16x16 and 4096x4096", p.Width, p.Height)
	case !(p.FPS >= 1 && p.FPS <= 240): // NaN too
		return fmt.Errorf("%v pictures per second are not within 1 and 240", p.FPS)
	case p.Bitrate < 10_000 || p.Bitrate > math.MaxInt32:
		return fmt.Errorf("bitrate of %d bit/s is not within 10 kbit/s and 2 Gbit/s", p.Bitrate)
	case p.KeyframeInterval < 1:
		return fmt.Errorf("keyframe interval of %d pictures is less than 1", p.KeyframeInterval)
	}
	return nil
}

func (p *Picture) release() {
	if p.Release != nil {
		p.Release()
	}
}

// check makes sure that the planes hold a picture of the given size, so that
// no encoder reads beyond them.
func (p *Picture) check(width, height int) error {
	rows := [3]int{height, height / 2, height / 2}
	row := [3]int{width, width / 2, width / 2}
	planes := 3
	switch p.Layout {
	case YUV420:
	case NV12:
		planes, row[1] = 2, width
	default:
		return fmt.Errorf("picture has the unknown layout %d", p.Layout)
	}
	if p.Layout == YUV420 && p.Strides[1] != p.Strides[2] {
		return fmt.Errorf("planes 1 and 2 of the picture have rows of %d and %d bytes", p.Strides[1], p.Strides[2])
	}
	for i := range planes {
		if p.Strides[i] < row[i] || len(p.Planes[i]) < (rows[i]-1)*p.Strides[i]+row[i] {
			return fmt.Errorf("plane %d of the picture has %d bytes in rows of %d: too few for %dx%d",
				i, len(p.Planes[i]), p.Strides[i], width, height)
		}
	}
	return nil
}
