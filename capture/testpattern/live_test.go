package testpattern_test

import (
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/encode"
	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/capture/testpattern"
)

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
		r := record(t, testpattern.New(p), 90, nil)
		if r.info.Mode != capture.Software {
			t.Errorf("mode %q, want software", r.info.Mode)
		}
		interval := time.Duration(float64(time.Second) / p.FPS)
		pictures := decode(t, r.units, p.Width, p.Height)
		if len(pictures) != len(r.units) {
			t.Fatalf("ffmpeg decoded %d of %d pictures", len(pictures), len(r.units))
		}
		for i, luma := range pictures {
			n, err := readCode(luma, p.Width)
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
