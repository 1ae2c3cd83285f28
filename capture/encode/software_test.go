//go:build cgo && ((linux && (amd64 || arm64 || arm)) || (darwin && (amd64 || arm64)))

package encode_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/encode"
	"github.com/lenscast/lenscast/capture/h264"
)

const (
	width, height = 640, 360
	fps           = 30
)

var params = encode.Params{Width: width, Height: height, FPS: fps, Bitrate: 1_500_000, KeyframeInterval: 45}

func open(tb testing.TB, p encode.Params) encode.Encoder {
	tb.Helper()
	e, err := encode.NewSoftware(p)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

// scene returns the nth picture of a textured plane that moves by a few
// pixels, with some noise: work for an encoder, but not too much.
func scene(n int) encode.Picture {
	noise := uint32(n + 1)
	p := flat(width, height)
	for y := range height {
		row := p.Planes[0][y*width:][:width]
		for x := range row {
			noise = noise*1664525 + 1013904223
			v := (x+3*n)*(y+2*n)/97 + (x+3*n)/5*7
			row[x] = byte(40+v/2%150) + byte(noise>>31)
		}
	}
	for i := range p.Planes[1] {
		p.Planes[1][i], p.Planes[2][i] = byte(100+i/2000), byte(160-i/2000)
	}
	p.PTS = time.Duration(n) * time.Second / fps
	return p
}

// flat returns a black picture.
func flat(w, h int) encode.Picture {
	return encode.Picture{
		Planes:  [3][]byte{make([]byte, w*h), bytes.Repeat([]byte{128}, w*h/4), bytes.Repeat([]byte{128}, w*h/4)},
		Strides: [3]int{w, w / 2, w / 2},
	}
}

// encodeOne returns the access unit of p, nil when the encoder left it out.
func encodeOne(tb testing.TB, e encode.Encoder, p encode.Picture) *h264.AccessUnit {
	tb.Helper()
	released := make(chan struct{})
	p.Release = func() { close(released) }
	if err := e.Encode(p); err != nil {
		tb.Fatal(err)
	}
	<-released // by then its unit is in the output queue
	return takeOut(e)
}

// takeOut returns the next access unit if there is one.
func takeOut(e encode.Encoder) *h264.AccessUnit {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	au, _ := e.Next(ctx)
	return au
}

func TestSoftwareMakesWhatViewersCanShow(t *testing.T) {
	e := open(t, params)
	var stream []byte
	var size, count int
	const frames = 180
	for n := range frames {
		au := encodeOne(t, e, scene(n))
		if au == nil {
			continue // left out to hold the bitrate
		}
		if want := time.Duration(n) * time.Second / fps; au.PTS != want {
			t.Fatalf("picture at %v came out at %v", want, au.PTS)
		}
		count, size = count+1, size+au.Size()
		for _, nalu := range au.NALUs {
			stream = append(binary.BigEndian.AppendUint32(stream, 1), nalu...)
		}
	}
	if count < frames*3/4 {
		t.Errorf("%d of %d pictures came out", count, frames)
	}
	rate := float64(size) * 8 * fps / frames
	t.Logf("%d of %d pictures, %.0f bit/s", count, frames, rate)
	if rate < 0.85*float64(params.Bitrate) || rate > 1.15*float64(params.Bitrate) {
		t.Errorf("%.0f bit/s, want %d within 15 %%", rate, params.Bitrate)
	}

	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is not installed")
	}
	cmd := exec.Command("ffprobe", "-v", "error", "-of", "json", "-f", "h264",
		"-show_entries", "stream=profile,level,width,height,has_b_frames:frame=pict_type,key_frame", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffprobe: %v\n%s", err, stderr.String())
	}
	var probe struct {
		Frames []struct {
			Type string `json:"pict_type"`
			Key  int    `json:"key_frame"`
		}
		Streams []struct {
			Profile       string
			Width, Height int
			BFrames       int `json:"has_b_frames"`
		}
	}
	if err := json.Unmarshal(out, &probe); err != nil || len(probe.Streams) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	if s := probe.Streams[0]; s.Profile != "Constrained Baseline" || s.Width != width || s.Height != height || s.BFrames != 0 {
		t.Errorf("stream %+v", s)
	}
	if len(probe.Frames) != count {
		t.Errorf("ffprobe sees %d of %d pictures", len(probe.Frames), count)
	}
	last := 0
	for i, f := range probe.Frames {
		if f.Type != "I" && f.Type != "P" {
			t.Errorf("picture %d is of type %s", i, f.Type)
		}
		if f.Key == 1 {
			if i > 0 && i-last > params.KeyframeInterval {
				t.Errorf("keyframe %d comes %d pictures after the one before", i, i-last)
			}
			last = i
		}
	}
	if len(probe.Frames)-last > params.KeyframeInterval {
		t.Errorf("no keyframe among the last %d pictures", len(probe.Frames)-last)
	}
}

func TestSoftwareForcedKeyframeIsTheNextPicture(t *testing.T) {
	p := params
	p.KeyframeInterval = 10_000
	e := open(t, p)
	for n := range 60 {
		forced := n == 20 || n == 50
		if forced {
			e.ForceKeyframe()
		}
		au := encodeOne(t, e, flat(width, height))
		if au == nil {
			t.Fatalf("picture %d was left out", n)
		}
		if au.Key != (forced || n == 0) {
			t.Errorf("picture %d: key %v, forced %v", n, au.Key, forced)
		}
		sps, pps := au.ParameterSets()
		if au.Key && (len(sps) != 1 || len(pps) != 1) {
			t.Errorf("keyframe %d has %d SPS and %d PPS", n, len(sps), len(pps))
		}
	}
}

func TestSoftwareFollowsTheBitrate(t *testing.T) {
	e := open(t, params)
	measure := func(from, to int) float64 {
		size := 0
		for n := from; n < to; n++ {
			if au := encodeOne(t, e, scene(n)); au != nil {
				size += au.Size()
			}
		}
		return float64(size) * 8 * fps / float64(to-from)
	}
	before := measure(0, 90)
	e.SetBitrate(params.Bitrate * 2 / 3)
	measure(90, 100) // on its way
	after := measure(100, 190)
	t.Logf("%.0f, then %.0f bit/s", before, after)
	if want := float64(params.Bitrate) * 2 / 3; after < 0.85*want || after > 1.15*want {
		t.Errorf("%.0f bit/s, want %.0f within 15 %%", after, want)
	}
}

func TestSoftwareTakesNV12(t *testing.T) {
	planar := scene(0)
	nv12 := planar
	nv12.Layout = encode.NV12
	const stride = width + 16
	uv := make([]byte, stride*height/2)
	for y := range height / 2 {
		for x := range width / 2 {
			uv[y*stride+2*x], uv[y*stride+2*x+1] = planar.Planes[1][y*width/2+x], planar.Planes[2][y*width/2+x]
		}
	}
	nv12.Planes[1], nv12.Planes[2] = uv, nil
	nv12.Strides[1], nv12.Strides[2] = stride, 0

	want := encodeOne(t, open(t, params), planar)
	got := encodeOne(t, open(t, params), nv12)
	for i := range want.NALUs {
		if !bytes.Equal(got.NALUs[i], want.NALUs[i]) {
			t.Fatalf("NAL unit %d differs from that of the same planar picture", i)
		}
	}
}

func TestSoftwareIsBusyAndReleasesEverything(t *testing.T) {
	e := open(t, params)
	var taken, released atomic.Int64
	// Nobody calls Next: the queues fill, and Encode never waits.
	busy := false
	for n := 0; n < 1000 && !busy; n++ {
		p := scene(0)
		p.Release = func() { released.Add(1) }
		switch err := e.Encode(p); {
		case err == nil:
			taken.Add(1)
		case errors.Is(err, encode.ErrBusy):
			// The encoder may only be slow: wait until it takes no more.
			if released.Load() < 5 {
				time.Sleep(time.Millisecond)
				continue
			}
			busy = true
		default:
			t.Fatal(err)
		}
	}
	if !busy {
		t.Fatal("the encoder took 1000 pictures and nobody took any out")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if taken.Load() != released.Load() {
		t.Errorf("%d pictures taken, %d released", taken.Load(), released.Load())
	}
	if err := e.Encode(scene(0)); !errors.Is(err, encode.ErrClosed) {
		t.Errorf("Encode after Close: %v", err)
	}
	for { // what is coded may still be taken out
		if _, err := e.Next(t.Context()); err != nil {
			if !errors.Is(err, encode.ErrClosed) {
				t.Errorf("Next after Close: %v", err)
			}
			return
		}
	}
}

func TestSoftwareRefusesWhatItCannotRead(t *testing.T) {
	e := open(t, params)
	for name, spoil := range map[string]func(p *encode.Picture){
		"short luma":      func(p *encode.Picture) { p.Planes[0] = p.Planes[0][:width*height-1] },
		"no chroma":       func(p *encode.Picture) { p.Planes[2] = nil },
		"narrow rows":     func(p *encode.Picture) { p.Strides[0] = width - 1 },
		"negative stride": func(p *encode.Picture) { p.Strides[1], p.Strides[2] = -width, -width },
		"two strides":     func(p *encode.Picture) { p.Strides[2]++ },
		"short NV12":      func(p *encode.Picture) { p.Layout, p.Strides[1] = encode.NV12, width },
		"unknown layout":  func(p *encode.Picture) { p.Layout = 7 },
	} {
		p := scene(0)
		p.Release = func() { t.Errorf("%s: released although it was refused", name) }
		spoil(&p)
		if err := e.Encode(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, p := range []encode.Params{
		{},
		{Width: 641, Height: 360, FPS: 30, Bitrate: 1e6, KeyframeInterval: 1},
		{Width: 640, Height: 360, FPS: 0, Bitrate: 1e6, KeyframeInterval: 1},
		{Width: 640, Height: 360, FPS: 30, Bitrate: 1, KeyframeInterval: 1},
		{Width: 640, Height: 360, FPS: 30, Bitrate: 1e6},
		{Width: 8192, Height: 360, FPS: 30, Bitrate: 1e6, KeyframeInterval: 1},
	} {
		if e, err := encode.NewSoftware(p); err == nil {
			e.Close()
			t.Errorf("%+v: no error", p)
		}
	}
}

func BenchmarkSoftware(b *testing.B) {
	e := open(b, params)
	pictures := make([]encode.Picture, 30)
	for n := range pictures {
		pictures[n] = scene(n)
	}
	b.ReportAllocs()
	released := make(chan struct{}, 1)
	for n := 0; b.Loop(); n++ {
		p := pictures[n%len(pictures)]
		p.Release = func() { released <- struct{}{} }
		if err := e.Encode(p); err != nil {
			b.Fatal(err)
		}
		<-released
		takeOut(e)
	}
}
