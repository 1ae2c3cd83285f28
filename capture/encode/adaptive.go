package encode

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/lenscast/lenscast/capture/h264"
)

// smallPictures are shrunk in turn: one waits for the encoder, one is being
// encoded, and one is free.
const smallPictures = 3

// keyShare is the share of the bitrate that an IDR is told when that is less than
// was asked for: openh264 makes one of four pictures' size of the whole, which
// takes 140 ms where the bitrate is all that the network carries.
const keyShare = 0.7

// Adaptive is an Encoder whose pictures stay watchable when there is little
// bitrate: it then encodes fewer pictures, evenly left out, and where that is
// not enough smaller ones. Another size begins with an IDR and parameter sets
// of its own.
type Adaptive struct {
	open    func(Params) (Encoder, error)
	p       Params
	bitrate atomic.Int64
	wanted  atomic.Bool // an IDR
	ladder  *ladder

	// Of the goroutine that calls Encode.
	rung    rung
	applied int          // bitrate that the encoder was told
	phase   float64      // shows when a picture is due
	sinceIR int          // pictures since the last IDR, those left out included
	small   chan *shrunk // free ones, nil while nothing is shrunk

	mu      sync.Mutex
	encoder Encoder
	closed  bool
}

// NewAdaptive opens an encoder with open, and later others of smaller pictures.
// p is what was asked for: it is never exceeded.
func NewAdaptive(open func(Params) (Encoder, error), p Params) (*Adaptive, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	encoder, err := open(p)
	if err != nil {
		return nil, err
	}
	a := &Adaptive{open: open, p: p, ladder: newLadder(p), encoder: encoder, applied: p.Bitrate}
	a.rung = a.ladder.rungs[0]
	a.bitrate.Store(int64(p.Bitrate))
	return a, nil
}

// Encode implements Encoder. A change of size waits for the picture that is
// being encoded.
func (a *Adaptive) Encode(p Picture) error {
	if err := p.check(a.p.Width, a.p.Height); err != nil {
		return err
	}
	if err := a.follow(&p); err != nil {
		return err
	}
	if a.sinceIR++; a.sinceIR >= a.p.KeyframeInterval {
		a.wanted.Store(true) // an IDR that the encoder makes by itself comes without being told its size
	}
	if a.phase += a.rung.rate; a.phase < a.p.FPS {
		p.release()
		return nil
	}
	a.phase -= a.p.FPS
	encoder := a.current()
	a.instruct(encoder)
	if a.rung.shrink == 1 {
		return encoder.Encode(p)
	}
	var s *shrunk
	select {
	case s = <-a.small:
	default:
		return ErrBusy
	}
	free := a.small
	small := s.shrink(&p, a.rung.shrink)
	small.Release = func() { free <- s }
	if err := encoder.Encode(small); err != nil {
		free <- s
		return err
	}
	p.release()
	return nil
}

// follow changes how to encode when the bitrate is another.
func (a *Adaptive) follow(p *Picture) error {
	bitrate := int(a.bitrate.Load())
	rung := a.ladder.step(bitrate, p.PTS)
	if rung.shrink != a.rung.shrink {
		if err := a.resize(rung, bitrate); err != nil {
			return err
		}
	}
	a.rung = rung
	return nil
}

// instruct tells the encoder what to make of the next picture.
//
// Encoders divide the bitrate by the frame rate they were opened with: when they
// get fewer pictures, they are told more. But not for an IDR. It gets a multiple
// of what other pictures get, and where the network is slow it is on its way for
// as long, and all that follow it wait: there it is told less than all others.
func (a *Adaptive) instruct(encoder Encoder) {
	told := int(a.bitrate.Load())
	switch {
	case !a.wanted.Swap(false):
		told = int(float64(told) * a.p.FPS / a.rung.rate)
	default:
		encoder.ForceKeyframe()
		a.sinceIR = 0
		if told < a.p.Bitrate {
			told = int(keyShare * float64(told))
		}
	}
	if told != a.applied {
		encoder.SetBitrate(told)
		a.applied = told
	}
}

// resize goes on with an encoder of another size. What the old one has still
// to deliver comes first.
func (a *Adaptive) resize(r rung, bitrate int) error {
	p := a.p
	p.Width, p.Height, p.Bitrate = shrunkSide(p.Width, r.shrink), shrunkSide(p.Height, r.shrink), bitrate
	encoder, err := a.open(p)
	if err != nil {
		return err
	}
	a.applied, a.phase = bitrate, a.p.FPS
	a.wanted.Store(true) // its first is one
	a.small = nil
	if r.shrink > 1 {
		a.small = make(chan *shrunk, smallPictures)
		for range smallPictures {
			a.small <- newShrunk(p.Width, p.Height)
		}
	}
	a.mu.Lock()
	old := a.encoder
	if a.closed {
		old = encoder
	} else {
		a.encoder = encoder
	}
	a.mu.Unlock()
	return old.Close()
}

func (a *Adaptive) current() Encoder {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.encoder
}

// Next implements Encoder.
func (a *Adaptive) Next(ctx context.Context) (*h264.AccessUnit, error) {
	for {
		encoder := a.current()
		au, err := encoder.Next(ctx)
		if errors.Is(err, ErrClosed) && a.current() != encoder {
			continue // it was replaced
		}
		return au, err
	}
}

// ForceKeyframe implements Encoder.
func (a *Adaptive) ForceKeyframe() { a.wanted.Store(true) }

// SetBitrate implements Encoder: what was asked for is the most.
func (a *Adaptive) SetBitrate(bitsPerSecond int) {
	a.bitrate.Store(int64(min(max(bitsPerSecond, 10_000), a.p.Bitrate)))
}

// Close implements Encoder.
func (a *Adaptive) Close() error {
	a.mu.Lock()
	encoder := a.encoder
	a.closed = true
	a.mu.Unlock()
	return encoder.Close()
}

// shrunk is memory for a picture of a smaller size, in the layout YUV420 or
// NV12.
type shrunk struct {
	width, height int
	y, c          []byte
}

func newShrunk(width, height int) *shrunk {
	return &shrunk{width, height, make([]byte, width*height), make([]byte, width*height/2)}
}

// shrunkSide returns the side of a picture divided by n, even.
func shrunkSide(side, n int) int { return side / n &^ 1 }

// shrink makes each pixel the mean of n x n.
func (s *shrunk) shrink(p *Picture, n int) Picture {
	w, h := s.width, s.height
	out := Picture{Layout: p.Layout, PTS: p.PTS, Captured: p.Captured}
	average(s.y, p.Planes[0], p.Strides[0], w, h, n, 1)
	out.Planes[0], out.Strides[0] = s.y, w
	if p.Layout == NV12 {
		average(s.c, p.Planes[1], p.Strides[1], w/2, h/2, n, 2)
		average(s.c[1:], p.Planes[1][1:], p.Strides[1], w/2, h/2, n, 2)
		out.Planes[1], out.Strides[1] = s.c, w
		return out
	}
	u, v := s.c[:w*h/4], s.c[w*h/4:]
	average(u, p.Planes[1], p.Strides[1], w/2, h/2, n, 1)
	average(v, p.Planes[2], p.Strides[2], w/2, h/2, n, 1)
	out.Planes[1], out.Strides[1] = u, w/2
	out.Planes[2], out.Strides[2] = v, w/2
	return out
}

// average fills a plane of w x h samples with the means of n x n samples of
// src. Samples are step bytes apart in both.
func average(dst, src []byte, stride, w, h, n, step int) {
	half, area := uint(n*n/2), uint(n*n)
	for y := range h {
		row := dst[y*w*step:]
		for x := range w {
			sum := half
			for dy := range n {
				from := src[(y*n+dy)*stride+x*n*step:]
				for dx := range n {
					sum += uint(from[dx*step])
				}
			}
			row[x*step] = byte(sum / area)
		}
	}
}
