package encode

import (
	"bytes"
	"testing"
	"time"
)

var asked = Params{Width: 1280, Height: 720, FPS: 30, Bitrate: 8_000_000, KeyframeInterval: 60}

// hold lets the bitrate be for a while, and returns the rung at the end and
// how often it changed.
func hold(l *ladder, at *time.Duration, bitrate int, length time.Duration) (r rung, changes int) {
	r = l.rungs[l.now]
	for end := *at + length; *at < end; *at += time.Second / 30 {
		next := l.step(bitrate, *at)
		if next != r {
			changes++
		}
		r = next
	}
	return r, changes
}

func TestLadderGivesUpRateBeforeSize(t *testing.T) {
	l, at := newLadder(asked), time.Duration(0)
	for _, step := range []struct {
		bitrate int
		shrink  int
		rate    float64
	}{
		{8_000_000, 1, 30},
		{2_000_000, 1, 30},
		{1_000_000, 1, 15},
		{500_000, 2, 30},
		{200_000, 2, 15},
		{100_000, 4, 30},
		{50_000, 4, 15},
		{10_000, 4, 15},
		{75_000, 4, 15}, // not enough more
		{300_000, 2, 15},
		{8_000_000, 1, 30},
	} {
		r, changes := hold(l, &at, step.bitrate, 15*time.Second)
		if r.shrink != step.shrink || r.rate != step.rate {
			t.Errorf("%d bit/s: %d fps of size 1/%d, want %v of 1/%d", step.bitrate, int(r.rate), r.shrink, step.rate, step.shrink)
		}
		if changes > 2 {
			t.Errorf("%d bit/s: %d changes", step.bitrate, changes)
		}
	}
}

// A short dip costs frame rate and not size, and so no file of a recording.
func TestLadderSitsOutADip(t *testing.T) {
	l, at := newLadder(asked), time.Duration(0)
	for range 5 {
		if r, _ := hold(l, &at, 300_000, time.Second); r.shrink != 1 || r.rate != 15 {
			t.Errorf("in a dip: %v fps of size 1/%d", r.rate, r.shrink)
		}
		if r, _ := hold(l, &at, 3_000_000, 5*time.Second); r.shrink != 1 || r.rate != 30 {
			t.Errorf("after it: %v fps of size 1/%d", r.rate, r.shrink)
		}
	}
}

// A bitrate that wavers does not make the size waver.
func TestLadderDoesNotOscillate(t *testing.T) {
	l, at := newLadder(asked), time.Duration(0)
	hold(l, &at, 400_000, 5*time.Second)
	shrink, resized := l.rungs[l.now].shrink, 0
	for i := range 60 {
		r, _ := hold(l, &at, 500_000+i%2*500_000, 5*time.Second)
		if r.shrink != shrink {
			resized++
		}
		shrink = r.shrink
	}
	if resized > 1 {
		t.Errorf("%d sizes in 5 minutes", resized)
	}
}

// Whoever asks for little gets what was asked for.
func TestLadderTakesTheUsersWord(t *testing.T) {
	p := asked
	p.Bitrate = 200_000
	l, at := newLadder(p), time.Duration(0)
	if r, changes := hold(l, &at, p.Bitrate, 20*time.Second); r != l.rungs[0] || changes > 0 {
		t.Errorf("%v fps of size 1/%d", r.rate, r.shrink)
	}
}

// Shrinking takes means, of all planes and in both layouts alike.
func TestShrink(t *testing.T) {
	const w, h = 32, 16
	planar := Picture{Strides: [3]int{w, w / 2, w / 2}}
	for i, size := range []int{w * h, w * h / 4, w * h / 4} {
		planar.Planes[i] = make([]byte, size)
		for j := range planar.Planes[i] {
			planar.Planes[i][j] = byte(50*i + j%16)
		}
	}
	paired := Picture{Layout: NV12, Planes: [3][]byte{planar.Planes[0]}, Strides: [3]int{w, w}}
	for i := range planar.Planes[1] {
		paired.Planes[1] = append(paired.Planes[1], planar.Planes[1][i], planar.Planes[2][i])
	}
	a := newShrunk(w/2, h/2).shrink(&planar, 2)
	b := newShrunk(w/2, h/2).shrink(&paired, 2)
	if err := a.check(w/2, h/2); err != nil {
		t.Error(err)
	}
	if err := b.check(w/2, h/2); err != nil {
		t.Error(err)
	}
	if got, want := a.Planes[0][0], byte(1); got != want { // of 0, 1, 0 and 1, rounded up
		t.Errorf("the first pixel is %d, want %d", got, want)
	}
	if !bytes.Equal(a.Planes[0], b.Planes[0]) {
		t.Error("the luma differs")
	}
	for i := range a.Planes[1] {
		if a.Planes[1][i] != b.Planes[1][2*i] || a.Planes[2][i] != b.Planes[1][2*i+1] {
			t.Fatalf("the chroma of pixel %d differs", i)
		}
	}
}
