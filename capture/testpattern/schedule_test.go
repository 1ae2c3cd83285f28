package testpattern

import (
	"testing"
	"time"
)

func TestScheduleTellsWhenAFrameWasDue(t *testing.T) {
	start := time.Now()
	s := newSchedule(start, 25)
	for _, late := range []time.Duration{0, 35 * time.Millisecond, time.Second} {
		if got := s.wall(50, start.Add(2*time.Second+late)).Sub(start); got != 2*time.Second {
			t.Errorf("frame 50 painted %v late was due %v after the start, want 2s", late, got)
		}
	}
}
