//go:build cgo && ((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode

import (
	"context"
	"fmt"
	"image"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/codec/openh264"
	"github.com/pion/mediadevices/pkg/prop"

	"github.com/lenscast/lenscast/capture/h264"
)

// HaveSoftware says whether this build has the software encoder.
const HaveSoftware = true

const (
	// queued pictures wait for the encoder beside the one it works on, so
	// that it never idles between two. Each is latency.
	queued = 1

	// coded access units wait for Next before the encoder does.
	coded = 8
)

// software is openh264 through the binding of pion/mediadevices. What the
// binding lacks is made up for here:
//   - it pulls pictures in Read and encodes them there: one goroutine does
//     that between the two queues;
//   - its keyframe and bitrate calls are not safe beside Read: the wishes are
//     kept and granted between two pictures;
//   - it numbers parameter sets anew with every IDR, see zeroIDs.
//
// What it can't be kept from: it opens the encoder before anybody could set its
// trace level, so a line about its QP range goes to stderr.
type software struct {
	p       Params
	coder   codec.ReadCloser
	picture image.YCbCr // what coder reads next
	chroma  []byte      // U and V of an NV12 picture, taken apart

	in  chan Picture
	out chan *h264.AccessUnit

	keyframe atomic.Bool
	bitrate  atomic.Int64 // wished and not yet granted, 0 without a wish

	quit func()          // ends run
	over <-chan struct{} // closed by quit
	done chan struct{}   // closed when run has returned
	err  error           // why it did, valid after done

	mu    sync.Mutex // guards in against a picture that comes after the end
	ended bool
}

// NewSoftware opens the software encoder (openh264).
func NewSoftware(p Params) (Encoder, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("open software encoder: %w", err)
	}
	s := &software{
		p:    p,
		in:   make(chan Picture, queued),
		out:  make(chan *h264.AccessUnit, coded),
		done: make(chan struct{}),
	}
	ctx, quit := context.WithCancel(context.Background())
	s.over, s.quit = ctx.Done(), quit
	s.picture.Rect = image.Rect(0, 0, p.Width, p.Height)
	s.picture.SubsampleRatio = image.YCbCrSubsampleRatio420
	o, err := openh264.NewParams()
	if err != nil {
		return nil, fmt.Errorf("open software encoder: %w", err)
	}
	o.BitRate = p.Bitrate
	// With the leave to skip pictures, a bitrate that is too low for the
	// scene costs smoothness and is held (within 5 % where it can be);
	// without it, it is exceeded up to threefold.
	o.EnableFrameSkip = true
	o.IntraPeriod = uint(p.KeyframeInterval)
	// A slice for each core, so that all encode the same picture, but none
	// so small that openh264 refuses it.
	o.SliceMode, o.SliceNum = openh264.SMSingleSlice, 1
	if n := min(runtime.NumCPU(), 4, p.Height/180); n > 1 {
		o.SliceMode, o.SliceNum = openh264.SMFixedslcnumSlice, uint(n)
	}
	o.MultipleThreadIdc = int(o.SliceNum)

	var media prop.Media
	media.Width, media.Height, media.FrameRate = p.Width, p.Height, float32(p.FPS)
	s.coder, err = o.BuildVideoEncoder(s, media)
	if err != nil {
		return nil, fmt.Errorf("open software encoder for %dx%d: %w", p.Width, p.Height, err)
	}
	go s.run()
	return s, nil
}

func (s *software) Encode(p Picture) error {
	if err := p.check(s.p.Width, s.p.Height); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrClosed
	}
	select {
	case s.in <- p:
		return nil
	default:
		return ErrBusy
	}
}

func (s *software) Next(ctx context.Context) (*h264.AccessUnit, error) {
	select {
	case au := <-s.out:
		return au, nil
	default:
	}
	select {
	case au := <-s.out:
		return au, nil
	case <-s.done:
		return nil, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *software) ForceKeyframe() { s.keyframe.Store(true) }

func (s *software) SetBitrate(bitsPerSecond int) {
	s.bitrate.Store(int64(min(max(bitsPerSecond, 10_000), 1<<31-1)))
}

func (s *software) Close() error {
	s.quit()
	<-s.done
	return nil
}

// run moves pictures from in to out until Close, or until the encoder fails.
func (s *software) run() {
	defer close(s.done)
	s.err = s.encodeAll()
	if err := s.coder.Close(); err != nil && s.err == nil {
		s.err = fmt.Errorf("close software encoder: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for len(s.in) > 0 {
		p := <-s.in
		p.release()
	}
}

func (s *software) encodeAll() error {
	for {
		select {
		case <-s.over:
			return ErrClosed
		case p := <-s.in:
			au, err := s.encode(&p)
			if err == nil && au != nil { // nil: left out to hold the bitrate
				err = s.put(au)
			}
			p.release()
			if err != nil {
				return err
			}
		}
	}
}

func (s *software) put(au *h264.AccessUnit) error {
	select {
	case s.out <- au:
		return nil
	case <-s.over:
		return ErrClosed
	}
}

func (s *software) encode(p *Picture) (*h264.AccessUnit, error) {
	if s.keyframe.Swap(false) {
		if err := s.coder.Controller().(codec.KeyFrameController).ForceKeyFrame(); err != nil {
			return nil, fmt.Errorf("force keyframe: %w", err)
		}
	}
	if rate := s.bitrate.Swap(0); rate != 0 {
		if err := s.coder.Controller().(codec.BitRateController).SetBitRate(int(rate)); err != nil {
			return nil, fmt.Errorf("set bitrate: %w", err)
		}
	}
	s.load(p)
	annexB, free, err := s.coder.Read()
	defer free()
	if err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	if len(annexB) == 0 {
		return nil, nil
	}
	nalus, err := h264.SplitAnnexB(nil, annexB)
	if err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	au := &h264.AccessUnit{PTS: p.PTS, Captured: p.Captured}
	for _, nalu := range nalus {
		au.NALUs = append(au.NALUs, zeroIDs(nalu))
		au.Key = au.Key || h264.TypeOf(nalu) == h264.NALUIDR
	}
	return au, nil
}

// load makes p what coder reads next.
func (s *software) load(p *Picture) {
	img := &s.picture
	img.Y, img.YStride = p.Planes[0], p.Strides[0]
	if p.Layout == YUV420 {
		img.Cb, img.Cr, img.CStride = p.Planes[1], p.Planes[2], p.Strides[1]
		return
	}
	w, h := s.p.Width/2, s.p.Height/2
	if s.chroma == nil {
		s.chroma = make([]byte, 2*w*h)
	}
	img.Cb, img.Cr, img.CStride = s.chroma[:w*h], s.chroma[w*h:], w
	for y := range h {
		from := p.Planes[1][y*p.Strides[1]:][:2*w]
		u, v := img.Cb[y*w:][:w], img.Cr[y*w:][:w]
		for x := range w {
			u[x], v[x] = from[2*x], from[2*x+1]
		}
	}
}

// Read hands the loaded picture to coder. It makes software a video.Reader.
func (s *software) Read() (image.Image, func(), error) {
	return &s.picture, func() {}, nil
}
