package testpattern_test

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/encode"
	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/capture/testpattern"
)

// recorder is a sink that keeps what it gets and calls back.
type recorder struct {
	mu    sync.Mutex
	info  capture.Info
	units []*h264.AccessUnit
	wrote func(n int) // after the nth picture
}

func (r *recorder) Opened(info capture.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info = info
}

func (r *recorder) Write(au *h264.AccessUnit) {
	r.mu.Lock()
	r.units = append(r.units, au)
	n := len(r.units)
	r.mu.Unlock()
	if r.wrote != nil {
		r.wrote(n)
	}
}

func (r *recorder) Lost(string)   {}
func (r *recorder) Trouble(error) {}

// record runs src until it has made n pictures.
func record(t *testing.T, src capture.Source, n int, wrote func(n int)) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{}
	r.wrote = func(i int) {
		if wrote != nil {
			wrote(i)
		}
		if i >= n {
			cancel()
		}
	}
	if err := src.Run(ctx, r); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	if len(r.units) < n {
		t.Fatalf("the source ended after %d pictures, want %d", len(r.units), n)
	}
	r.units = r.units[:n]
	return r
}

func needEncoder(t *testing.T) {
	if !encode.HaveSoftware {
		t.Skip("this build has no encoder (built without cgo)")
	}
}

func TestLiveNumbersEveryFrame(t *testing.T) {
	needEncoder(t)
	for _, p := range []testpattern.Params{
		{Name: "hero", Width: 1280, Height: 720, FPS: 30},
		{Name: "hero", Width: 320, Height: 240, FPS: 60000. / 1001},
	} {
		r := record(t, testpattern.New(p), 45, nil)
		if r.info.Mode != capture.Software {
			t.Errorf("mode %q, want software", r.info.Mode)
		}
		interval := time.Duration(float64(time.Second) / p.FPS)
		pictures := testpattern.Decode(t, r.units, p.Width)
		if len(pictures) != len(r.units) {
			t.Fatalf("ffmpeg decoded %d of %d pictures", len(pictures), len(r.units))
		}
		for i, luma := range pictures {
			n, err := testpattern.ReadCode(luma, p.Width)
			if err != nil {
				t.Fatalf("%dx%d, picture %d: %v", p.Width, p.Height, i, err)
			}
			// The number and the time both follow the schedule.
			if due := time.Duration(float64(n) * float64(time.Second) / p.FPS); r.units[i].PTS != due {
				t.Errorf("picture %d is frame %d at %v, want it at %v", i, n, r.units[i].PTS, due)
			}
			if i > 0 && r.units[i].PTS < r.units[i-1].PTS+interval-1 {
				t.Errorf("picture %d at %v follows one at %v", i, r.units[i].PTS, r.units[i-1].PTS)
			}
		}
	}
}

func TestLiveTakesAnySize(t *testing.T) {
	needEncoder(t)
	for _, size := range []struct{ w, h int }{{64, 64}, {4096, 128}, {64, 4096}, {1366, 768}, {322, 242}} {
		src := testpattern.New(testpattern.Params{Width: size.w, Height: size.h, FPS: 120, Bitrate: 4_000_000})
		r := record(t, src, 3, nil)
		if n := len(testpattern.Decode(t, r.units, size.w)); n != 3 {
			t.Errorf("%dx%d: ffmpeg decoded %d of 3 pictures", size.w, size.h, n)
		}
	}
}

func TestLiveRefusesWhatItCannotPaint(t *testing.T) {
	needEncoder(t)
	for _, p := range []testpattern.Params{
		{Width: 641, Height: 480},
		{Width: 640},
		{Width: 62, Height: 480},
		{Width: 640, Height: 4098},
		{FPS: 0.5},
		{FPS: 121},
		{FPS: math.NaN()},
		{FPS: math.Inf(1)},
		{Bitrate: -1},
		{KeyframeInterval: -time.Second},
	} {
		if err := testpattern.New(p).Run(t.Context(), &recorder{}); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

func TestLiveRunsAgain(t *testing.T) {
	needEncoder(t)
	src := testpattern.New(testpattern.Params{Width: 320, Height: 240, FPS: 60})
	for range 3 {
		r := record(t, src, 5, nil)
		if !r.units[0].Key || r.units[0].PTS != 0 {
			t.Errorf("a run begins with key %v at %v, want an IDR at 0", r.units[0].Key, r.units[0].PTS)
		}
		src.(capture.KeyframeForcer).ForceKeyframe() // harmless while it does not run
		src.(capture.BitrateSetter).SetBitrate(500_000)
	}
}

func TestLiveForcedKeyframeIsOneOfTheNextTwo(t *testing.T) {
	needEncoder(t)
	src := testpattern.New(testpattern.Params{Width: 320, Height: 240, FPS: 60, KeyframeInterval: time.Hour})
	forced := []int{20, 45, 46, 70}
	r := record(t, src, 90, func(n int) {
		for _, f := range forced {
			if n == f {
				src.(capture.KeyframeForcer).ForceKeyframe()
			}
		}
	})
	var keys []int
	for i, au := range r.units {
		if au.Key {
			keys = append(keys, i+1)
		}
	}
	for _, f := range forced {
		found := false
		for _, k := range keys {
			found = found || k > f && k <= f+2
		}
		if !found {
			t.Errorf("forced after picture %d, keyframes are %v", f, keys)
		}
	}
	if keys[0] != 1 || len(keys) > 1+len(forced) {
		t.Errorf("keyframes are %v, want the first picture and those forced after %v", keys, forced)
	}
}

func TestLiveParameterSetsNeverChange(t *testing.T) {
	needEncoder(t)
	r := record(t, testpattern.New(testpattern.Params{Width: 320, Height: 240, FPS: 60, KeyframeInterval: 100 * time.Millisecond}), 60, nil)
	var first string
	for i, au := range r.units {
		if !au.Key {
			continue
		}
		sps, pps := au.ParameterSets()
		if len(sps) != 1 || len(pps) != 1 {
			t.Fatalf("keyframe %d has %d SPS and %d PPS", i, len(sps), len(pps))
		}
		sets := string(sps[0]) + string(pps[0])
		if first == "" {
			first = sets
			if f, err := h264.ParseFormat(sps[0]); err != nil || f.Profile != "Constrained Baseline" || f.Width != 320 || f.Height != 240 {
				t.Errorf("format %+v, %v", f, err)
			}
		}
		if sets != first {
			t.Errorf("keyframe %d has other parameter sets than the first", i)
		}
	}
}
