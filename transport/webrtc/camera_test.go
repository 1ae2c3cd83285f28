package webrtc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// camera is a source of pictures for tests: it fans out to any number of
// readers, keeps the group of pictures, and drops to the next IDR when a
// reader's queue is full.
type camera struct {
	queue int // pictures that may wait for a reader
	onKey func()

	mu      sync.Mutex
	gop     []*h264.AccessUnit
	readers map[*reader]struct{}
	wishes  int
	n       int
	start   time.Time // of the first picture
}

func newCamera() *camera { return &camera{queue: 120, readers: make(map[*reader]struct{})} }

const frameTime = time.Second / 30

// picture makes a picture of about size bytes, numbered in its bytes, with
// parameter sets when it is an IDR.
func picture(n, size int, key bool) *h264.AccessUnit {
	au := &h264.AccessUnit{PTS: time.Duration(n) * frameTime, Key: key}
	slice := make([]byte, size)
	for i := range slice {
		slice[i] = byte(i*7 + n)
	}
	slice[0] = 0x61
	if key {
		slice[0] = 0x65
		sps := []byte{0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84}
		au.NALUs = append(au.NALUs, sps, []byte{0x68, 0xcb, 0x83, 0xcb, 0x20})
	}
	au.NALUs = append(au.NALUs, slice)
	return au
}

func (c *camera) publish(size int, key bool) *h264.AccessUnit {
	c.mu.Lock()
	defer c.mu.Unlock()
	au := picture(c.n, size, key)
	c.n++
	c.publishLocked(au)
	return au
}

// publishLocked gives a picture to all readers. It was captured when it was
// due by its PTS, however late it is.
func (c *camera) publishLocked(au *h264.AccessUnit) {
	if c.start.IsZero() {
		c.start = time.Now().Add(-au.PTS)
	}
	au.Captured = c.start.Add(au.PTS)
	if au.Key {
		c.gop = nil
	}
	c.gop = append(c.gop, au)
	for r := range c.readers {
		r.push(au)
	}
}

// run publishes at 30 fps until ctx ends; every gop'th picture is an IDR, and
// the one after a wish.
func (c *camera) run(ctx context.Context, size, keySize, gop int) {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	answered := 0
	for n := 0; ; n++ {
		c.mu.Lock()
		wished := c.wishes > answered
		answered = c.wishes
		c.mu.Unlock()
		c.skipMissed(frameTime)
		if key := n%gop == 0 || wished && c.onKey != nil; key {
			c.publish(keySize, true)
		} else {
			c.publish(size, false)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// skipMissed leaves out the pictures whose time has passed on a busy machine, so
// that the next one is captured now.
func (c *camera) skipMissed(frame time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.start.IsZero() {
		c.n = max(c.n, int(time.Since(c.start)/frame))
	}
}

func (c *camera) keyframeWishes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wishes
}

func (c *camera) open() lenscast.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &reader{camera: c, ready: make(chan struct{}, 1), closed: make(chan struct{}), limit: c.queue + len(c.gop)}
	for _, au := range c.gop {
		r.push(au)
	}
	c.readers[r] = struct{}{}
	return r
}

type reader struct {
	camera *camera
	limit  int
	afford atomic.Int64 // bit/s, what it was told last
	ready  chan struct{}
	closed chan struct{}

	mu      sync.Mutex
	queue   []*h264.AccessUnit
	needKey bool
	dropped uint64
}

func (r *reader) push(au *h264.AccessUnit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= r.limit {
		r.dropped += uint64(len(r.queue))
		r.queue, r.needKey = nil, true
	}
	if r.needKey = r.needKey && !au.Key; r.needKey {
		r.dropped++
		return
	}
	r.queue = append(r.queue, au)
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *reader) Next(ctx context.Context) (*h264.AccessUnit, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			au := r.queue[0]
			r.queue = r.queue[1:]
			r.mu.Unlock()
			return au, nil
		}
		r.mu.Unlock()
		select {
		case <-r.ready:
		case <-r.closed:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *reader) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

func (r *reader) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

func (r *reader) Afford(bitsPerSecond int) { r.afford.Store(int64(bitsPerSecond)) }

func (r *reader) RequestKeyframe() {
	r.camera.mu.Lock()
	defer r.camera.mu.Unlock()
	r.camera.wishes++
	if r.camera.onKey != nil {
		r.camera.onKey()
	}
}

func (r *reader) Close() {
	r.camera.mu.Lock()
	defer r.camera.mu.Unlock()
	if _, ok := r.camera.readers[r]; ok {
		delete(r.camera.readers, r)
		close(r.closed)
	}
}

// runCamera runs a camera until the test ends.
func runCamera(t *testing.T, cam *camera, size, keySize, gop int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cam.run(ctx, size, keySize, gop)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// encode makes size pictures of a moving test pattern with ffmpeg.
func encode(t *testing.T, seconds, fps, gop int, size string) []*h264.AccessUnit {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size="+size+":rate="+strconv.Itoa(fps),
		"-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline",
		"-b:v", "3M", "-pix_fmt", "yuv420p", "-x264-params", "keyint="+strconv.Itoa(gop)+":scenecut=0:slices=1", "-f", "h264", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	units, refusal := assemble(t, out)
	if refusal != nil {
		t.Fatal(refusal)
	}
	return units
}

// assemble returns the access units of a byte stream, and the last reason for
// which some were refused.
func assemble(t *testing.T, in []byte) (units []*h264.AccessUnit, refusal error) {
	t.Helper()
	var a h264.Assembler
	r := h264.NewReader(bytes.NewReader(in))
	for {
		nalus, err := r.Next()
		if errors.Is(err, io.EOF) {
			return units, refusal
		}
		if err != nil {
			t.Fatal(err)
		}
		au, err := a.Assemble(nalus, time.Duration(len(units))*frameTime, time.Now())
		switch {
		case err == nil:
			units = append(units, au)
		case !errors.Is(err, h264.ErrNoPicture) && !errors.Is(err, h264.ErrWaiting):
			refusal = err
		}
	}
}

// loop publishes encoded pictures at their rate until ctx ends, back and forth
// never: after the last comes the first, which is an IDR.
func (c *camera) loop(ctx context.Context, units []*h264.AccessUnit, fps int) {
	frame := time.Second / time.Duration(fps)
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for n := 0; ; n++ {
		c.skipMissed(frame)
		c.mu.Lock()
		au := *units[n%len(units)]
		au.PTS = time.Duration(c.n) * frame
		c.n++
		c.publishLocked(&au)
		c.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
