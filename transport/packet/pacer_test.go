package packet_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
)

// sendPaced sends a picture of size bytes and returns when its groups left and
// how large they were.
func sendPaced(t *testing.T, p *packet.Pacer, pts time.Duration, size int) (at []time.Duration, groups []int) {
	t.Helper()
	pic := packet.NewPacketizer(testPayload).Picture(&h264.AccessUnit{NALUs: [][]byte{nalu(0x61, size)}, PTS: pts})
	start, group := time.Now(), 0
	p.Begin(pic)
	for _, payload := range pic.Payloads {
		for !p.Allow(len(payload)) {
			at, groups = append(at, time.Since(start)), append(groups, group)
			group = 0
			if err := p.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		group += len(payload)
	}
	return append(at, time.Since(start)), append(groups, group)
}

func TestSmallPicturesNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock packet.Clock
		p := packet.NewPacer(&clock)
		for n := range 120 { // 8 Mbit/s at 60 fps
			if at, _ := sendPaced(t, p, time.Duration(n)*time.Second/60, 16_600); at[len(at)-1] != 0 {
				t.Fatalf("picture %d took %v", n, at[len(at)-1])
			}
			time.Sleep(time.Second / 60)
		}
	})
}

// A queue of 75 KB that drains at 30 Mbit/s must hold a keyframe of 200 KB of
// a stream of 7 Mbit/s.
func TestKeyframeFitsTheBottleneck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock packet.Clock
		p := packet.NewPacer(&clock)
		const drain, room = 30e6 / 8, 75_000
		for n := range 240 {
			size := 12_000
			if n%60 == 0 {
				size = 200_000
			}
			at, groups := sendPaced(t, p, time.Duration(n)*time.Second/60, size)
			queue, last := 0.0, time.Duration(0)
			for i := range at {
				queue = max(0, queue-(at[i]-last).Seconds()*drain) + float64(groups[i])
				if last = at[i]; queue > room {
					t.Fatalf("picture %d: %.0f bytes wait in the bottleneck after %v", n, queue, at[i])
				}
			}
			if last > 110*time.Millisecond {
				t.Errorf("picture %d of %d bytes took %v", n, size, last)
			}
			time.Sleep(max(0, time.Second/60-last))
		}
	})
}

// A stream of 120 Mbit/s at 30 fps must not fall behind, however many groups its
// pictures leave in.
func TestFastStreamKeepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock packet.Clock
		p := packet.NewPacer(&clock)
		for n := range 240 {
			at, groups := sendPaced(t, p, time.Duration(n)*time.Second/30, 500_000)
			if took := at[len(at)-1]; n > 60 && took > 25*time.Millisecond {
				t.Fatalf("picture %d took %v", n, took)
			}
			if most := slices.Max(groups); most > 66_000 {
				t.Fatalf("picture %d: %d bytes left at once", n, most)
			}
			time.Sleep(max(0, time.Second/30-at[len(at)-1]))
		}
	})
}

func TestOneTickWakesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock packet.Clock
		a := clock.Next()
		time.Sleep(time.Millisecond)
		b := clock.Next()
		start := time.Now()
		<-a
		<-b
		if d := time.Since(start); d != time.Millisecond {
			t.Errorf("waited %v, want the 1 ms left of the tick", d)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	var clock packet.Clock
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	clock.Next() // runs already
	if err := packet.NewPacer(&clock).Wait(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Where the way is known to be narrow, a keyframe leaves hardly faster than it
// carries, so that a queue of 12.5 KB (50 ms of 2 Mbit/s) holds it.
func TestKeyframeFitsNarrowWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock packet.Clock
		p := packet.NewPacer(&clock)
		p.Limit(1_700_000)
		const drain, room = 2e6 / 8, 12_500
		for n := range 60 {
			size := 6000
			if n%30 == 0 {
				size = 30_000
			}
			at, groups := sendPaced(t, p, time.Duration(n)*time.Second/30, size)
			queue, last := 0.0, time.Duration(0)
			for i := range at {
				queue = max(0, queue-drain*(at[i]-last).Seconds()) + float64(groups[i])
				if last = at[i]; queue > room {
					t.Fatalf("picture %d: the queue reaches %.0f bytes", n, queue)
				}
			}
			if took := at[len(at)-1]; took > 150*time.Millisecond {
				t.Fatalf("picture %d takes %v", n, took)
			}
			time.Sleep(max(0, time.Second/30-at[len(at)-1]))
		}
	})
}
