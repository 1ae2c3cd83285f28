package testpattern

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/encode"
)

// canvases are painted in turn: one waits for the encoder, one is being
// encoded, and one is free to paint on.
const canvases = 3

// live paints the pattern on time and encodes it.
type live struct {
	p       Params
	skipped atomic.Uint64

	mu      sync.Mutex
	encoder encode.Encoder // nil while Run is not running
	bitrate int
}

func newLive(p Params) *live {
	p = p.withDefaults()
	return &live{p: p, bitrate: p.Bitrate}
}

// ForceKeyframe implements capture.KeyframeForcer.
func (l *live) ForceKeyframe() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.encoder != nil {
		l.encoder.ForceKeyframe()
	}
}

// SetBitrate implements capture.BitrateSetter.
func (l *live) SetBitrate(bitsPerSecond int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bitrate = bitsPerSecond
	if l.encoder != nil {
		l.encoder.SetBitrate(bitsPerSecond)
	}
}

// Skipped implements capture.SkipCounter.
func (l *live) Skipped() uint64 { return l.skipped.Load() }

// Run implements capture.Source.
func (l *live) Run(ctx context.Context, sink capture.Sink) error {
	if err := l.p.check(); err != nil {
		return fmt.Errorf("open test pattern: %w", err)
	}
	encoder, err := l.open()
	if err != nil {
		return fmt.Errorf("open test pattern: %w", err)
	}
	defer l.close(encoder)
	sink.Opened(capture.Info{
		Mode:   capture.Software,
		Detail: fmt.Sprintf("test pattern of %dx%d at %g fps, encoded by openh264", l.p.Width, l.p.Height, l.p.FPS),
	})

	ctx, cancel := context.WithCancel(ctx)
	delivered := make(chan error, 1)
	go func() {
		defer cancel() // a broken encoder ends the painting
		delivered <- deliver(ctx, encoder, sink)
	}()
	err = l.paint(ctx, encoder)
	cancel()
	return errors.Join(err, <-delivered)
}

func (l *live) open() (encode.Encoder, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	encoder, err := encode.NewAdaptive(encode.NewSoftware, encode.Params{
		Width: l.p.Width, Height: l.p.Height, FPS: l.p.FPS, Bitrate: l.p.Bitrate,
		KeyframeInterval: max(int(math.Round(l.p.KeyframeInterval.Seconds()*l.p.FPS)), 1),
	})
	if err != nil {
		return nil, err
	}
	encoder.SetBitrate(l.bitrate)
	l.encoder = encoder
	return encoder, nil
}

func (l *live) close(encoder encode.Encoder) {
	l.mu.Lock()
	l.encoder = nil
	l.mu.Unlock()
	_ = encoder.Close()
}

// deliver moves access units from the encoder to the sink until ctx ends or
// the encoder fails.
func deliver(ctx context.Context, encoder encode.Encoder, sink capture.Sink) error {
	for {
		au, err := encoder.Next(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop, whatever the encoder says of it
		}
		if err != nil {
			return fmt.Errorf("encode test pattern: %w", err)
		}
		sink.Write(au)
	}
}

// paint paints a picture for each tick of the schedule until ctx ends.
func (l *live) paint(ctx context.Context, encoder encode.Encoder) error {
	painter, err := newPainter(l.p)
	if err != nil {
		return fmt.Errorf("paint test pattern: %w", err)
	}
	free := make(chan *canvas, canvases)
	for range canvases {
		free <- painter.newCanvas()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	ticks := newSchedule(time.Now(), l.p.FPS)
	for {
		n, wait, missed := ticks.next(time.Now())
		l.skipped.Add(uint64(missed))
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		var c *canvas
		select {
		case c = <-free:
		default: // the encoder has them all
			l.skipped.Add(1)
			continue
		}
		// The picture shows, and says of itself, the time at which it was
		// due, so that capture time and PTS go together however late it is.
		captured := ticks.wall(n, time.Now())
		painter.paint(c, n, captured)
		err := encoder.Encode(c.picture(ticks.at(n), captured, func() { free <- c }))
		switch {
		case errors.Is(err, encode.ErrBusy):
			free <- c
			l.skipped.Add(1)
		case errors.Is(err, encode.ErrClosed): // deliver tells why
			return nil
		case err != nil:
			return fmt.Errorf("encode test pattern: %w", err)
		}
	}
}
