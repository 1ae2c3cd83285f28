package testpattern

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

var sizes = []struct{ w, h int }{
	{1280, 720}, {1920, 1080}, {640, 480}, {720, 1280}, {322, 242}, {126, 128}, {64, 64}, {64, 4096}, {4096, 64}, {2000, 200},
}

func paintedAt(n int) time.Time {
	return time.Date(2026, 3, 29, 23, 59, 58, 0, time.UTC).Add(time.Duration(n) * 33 * time.Millisecond)
}

// TestPaintingOnlyWhatChanges compares a canvas that was painted on many times
// with a new one: what isn't painted again must be what is there.
func TestPaintingOnlyWhatChanges(t *testing.T) {
	for _, size := range sizes {
		p, err := newPainter(Params{Name: "hero · Küche 日本", Width: size.w, Height: size.h, FPS: 30})
		if err != nil {
			t.Fatal(err)
		}
		used := p.newCanvas()
		for _, n := range []int{0, 1, 2, 9, 10, 99, 100, 65535, 65536, 99999, 100000, 12345678} {
			p.paint(used, n, paintedAt(n))
			fresh := p.newCanvas()
			p.paint(fresh, n, paintedAt(n))
			if !bytes.Equal(used.y, fresh.y) || !bytes.Equal(used.u, fresh.u) || !bytes.Equal(used.v, fresh.v) {
				t.Fatalf("%dx%d, frame %d: traces of the frames before are left", size.w, size.h, n)
			}
			if p.block == 0 {
				continue // no room for the code
			}
			code, err := ReadCode(corner(used), size.w)
			if err != nil || code != n%65536 {
				t.Errorf("%dx%d, frame %d: the code reads %d, %v", size.w, size.h, n, code, err)
			}
		}
	}
}

// corner cuts out what Decode would return.
func corner(c *canvas) []byte {
	w, h := codeSize(c.width)
	var luma []byte
	for y := range h {
		luma = append(luma, c.y[y*c.width:][:w]...)
	}
	return luma
}

func TestEveryFrameMoves(t *testing.T) {
	p, err := newPainter(Params{Width: 640, Height: 360, FPS: 120})
	if err != nil {
		t.Fatal(err)
	}
	c := p.newCanvas()
	p.paint(c, 0, paintedAt(0))
	still := 0
	for n := 1; n < 8*120; n++ {
		before := c.ball
		p.paint(c, n, paintedAt(n))
		if c.ball == before {
			still++
		}
	}
	if still > 8 {
		t.Errorf("the ball stands still in %d of %d frames", still, 8*120)
	}
}

func TestScheduleDoesNotDrift(t *testing.T) {
	start := time.Now()
	s := newSchedule(start, 30000./1001)
	now := start
	for want := range 100_000 {
		n, wait, missed := s.next(now)
		if n != want || missed != 0 {
			t.Fatalf("frame %d, %d missed; want frame %d", n, missed, want)
		}
		now = now.Add(wait + time.Duration(want%7)*time.Millisecond) // late, as timers are
	}
	if got, want := now.Sub(start), 99_999*1001*time.Second/30000; (got - want).Abs() > 8*time.Millisecond {
		t.Errorf("100,000 frames took %v, want %v", got, want)
	}
}

func TestScheduleLeavesOutWhatIsTooLate(t *testing.T) {
	start := time.Now()
	s := newSchedule(start, 10)
	for _, tt := range []struct {
		at        time.Duration
		n, missed int
		wait      time.Duration
	}{
		{0, 0, 0, 0},
		{10 * time.Millisecond, 1, 0, 90 * time.Millisecond},
		{250 * time.Millisecond, 2, 0, 0}, // late, but still its turn
		{590 * time.Millisecond, 5, 2, 0},
		{600 * time.Millisecond, 6, 0, 0},
	} {
		n, wait, missed := s.next(start.Add(tt.at))
		if n != tt.n || missed != tt.missed || (wait-tt.wait).Abs() > time.Microsecond {
			t.Errorf("at %v: frame %d after %v, %d missed; want %d after %v, %d", tt.at, n, wait, missed, tt.n, tt.wait, tt.missed)
		}
	}
}

func BenchmarkPaint(b *testing.B) {
	for _, size := range sizes[:3] {
		b.Run(fmt.Sprintf("%dx%d", size.w, size.h), func(b *testing.B) {
			p, err := newPainter(Params{Name: "hero", Width: size.w, Height: size.h, FPS: 30})
			if err != nil {
				b.Fatal(err)
			}
			c := p.newCanvas()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				p.paint(c, n, paintedAt(n))
			}
		})
	}
}
