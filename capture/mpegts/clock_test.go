package mpegts

import (
	"math/rand/v2"
	"testing"
	"time"
)

const frame = 3000 // ticks of 90 kHz: 30 fps

func TestClockWraps(t *testing.T) {
	var c clock
	now := time.Now()
	raw := uint64(1<<33 - 10*frame)
	for i := range 20 {
		pts, jumped := c.next(raw, now)
		if jumped || pts.Round(time.Millisecond) != (time.Duration(i)*time.Second/30).Round(time.Millisecond) {
			t.Fatalf("picture %d: pts %v, jumped %v", i, pts, jumped)
		}
		raw, now = (raw+frame)&(1<<33-1), now.Add(time.Second/30)
	}
}

func TestClockJumps(t *testing.T) {
	tests := []struct {
		name   string
		raw    int64         // PTS moves by
		passed time.Duration // meanwhile
		jumped bool
		want   time.Duration // media time moves by
	}{
		{"next picture", frame, time.Second / 30, false, time.Second / 30},
		{"held up on the way", frame, 3 * time.Second, false, time.Second / 30},
		{"a burst", frame, 0, false, time.Second / 30},
		{"the sender paused", 60 * 90000, time.Minute, false, time.Minute},
		{"the sender began anew", -100 * 90000, 2 * time.Second, true, 2 * time.Second},
		{"the same PTS again", 0, 40 * time.Millisecond, true, 40 * time.Millisecond},
		{"leap", 3600 * 90000, 40 * time.Millisecond, true, 40 * time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var c clock
			now := time.Now()
			raw := int64(200 * 90000)
			c.next(uint64(raw), now)
			pts, jumped := c.next(uint64(raw+test.raw), now.Add(test.passed))
			if jumped != test.jumped || (pts-test.want).Abs() > time.Millisecond {
				t.Errorf("pts %v, jumped %v; want %v, %v", pts, jumped, test.want, test.jumped)
			}
		})
	}
}

// TestClockCaptured sends a minute of pictures through a network that delays
// them by 0 to 30 ms, from a camera whose clock runs 100 ppm too fast.
func TestClockCaptured(t *testing.T) {
	var c clock
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	var worst, jitter, last time.Duration
	for i := range 30 * 60 {
		taken := start.Add(time.Duration(i) * time.Second / 30)
		raw := uint64(float64(i) * frame * 1.0001)
		c.next(raw, taken.Add(time.Duration(random.Int64N(int64(30*time.Millisecond)))))
		off := c.captured().Sub(taken.Round(0))
		if i > 30*5 {
			worst = max(worst, off.Abs())
			jitter = max(jitter, (off - last).Abs())
		}
		last = off
	}
	if worst > 5*time.Millisecond || jitter > time.Millisecond {
		t.Errorf("captured is off by up to %v, and by %v from one picture to the next", worst, jitter)
	}
}
