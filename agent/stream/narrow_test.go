package stream_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/stream"
	"github.com/lenscast/lenscast/capture/h264"
)

// seen is what a viewer behind a narrow way saw of a camera that can't follow.
type seen struct {
	pictures, freezes int
	frozen            time.Duration
	p50, p99          time.Duration // age of pictures when their last byte came
}

// watch sends a camera of 5.2 Mbit/s, a keyframe of 76 KB each second, through a
// way of so many bit/s, as a paced sender does, and tells what arrives in a minute.
func watch(t *testing.T, rate float64) (v seen) {
	t.Helper()
	const (
		minute = 60 * time.Second
		freeze = 200 * time.Millisecond
		back   = 0.85 // of the rate is what the sender believes
		paced  = 1.4  // of that is how fast it sends
		far    = 20 * time.Millisecond
	)
	synctest.Test(t, func(t *testing.T) {
		s := stream.New()
		r := s.Subscribe(stream.AtOnce, 120).As(stream.Push, "push")
		defer r.Close()
		r.Afford(int(back * rate))
		begun := time.Now()
		go func() {
			for n := range int(minute / interval) {
				time.Sleep(time.Until(begun.Add(time.Duration(n) * interval)))
				nalu := make([]byte, 19_000)
				nalu[0] = byte(h264.NALUSlice)
				key := n%30 == 0
				if key {
					nalu = make([]byte, 76_000)
					nalu[0] = byte(h264.NALUIDR)
				}
				s.Publish(&h264.AccessUnit{NALUs: [][]byte{nalu}, PTS: time.Duration(n) * interval, Key: key})
			}
			s.Close()
		}()
		free := begun // when the way has sent all that it was given
		last := begun
		var ages []time.Duration
		for {
			au, err := r.Next(t.Context())
			if err != nil {
				break
			}
			bits := float64(au.Size()) * 8
			if au.PTS > 2*time.Second { // the stream knows its own rate by then
				time.Sleep(time.Duration(bits / (back * paced * rate) * float64(time.Second)))
			}
			if now := time.Now(); free.Before(now) {
				free = now
			}
			// What is sent begins to leave while it is sent.
			free = free.Add(time.Duration(bits / rate * float64(time.Second) * (1 - 1/(back*paced))))
			if au.PTS < 4*time.Second {
				last = free
				continue
			}
			v.pictures++
			ages = append(ages, free.Add(far).Sub(begun.Add(au.PTS)))
			if gap := free.Sub(last); gap >= freeze {
				v.freezes++
				v.frozen += gap
			}
			last = free
		}
		slices.Sort(ages)
		v.p50, v.p99 = ages[len(ages)/2], ages[len(ages)*99/100]
	})
	return v
}

// A way that carries a little less than the camera makes costs the end of each
// group of pictures, and never a freeze; one that carries much less shows what is
// of the present.
func TestCameraThatCannotFollow(t *testing.T) {
	for _, tt := range []struct {
		rate     float64       // bit/s
		pictures int           // of 1680, at least
		freezes  int           // at most
		p99      time.Duration // at most
	}{
		{2e6, 400, 60, 550 * time.Millisecond},
		{3e6, 1100, 0, 450 * time.Millisecond},
		{4e6, 1550, 0, 250 * time.Millisecond},
		{5e6, 1670, 0, 150 * time.Millisecond},
		{6e6, 1670, 0, 150 * time.Millisecond},
	} {
		v := watch(t, tt.rate)
		t.Logf("%.0f Mbit/s: %d pictures, %d freezes of %.1f s, p50 %v, p99 %v", tt.rate/1e6,
			v.pictures, v.freezes, v.frozen.Seconds(), v.p50.Round(time.Millisecond), v.p99.Round(time.Millisecond))
		if v.pictures < tt.pictures || v.freezes > tt.freezes || v.p99 > tt.p99 {
			t.Errorf("%.0f Mbit/s: want %d pictures, %d freezes at most, and p99 of %v", tt.rate/1e6, tt.pictures, tt.freezes, tt.p99)
		}
	}
}
