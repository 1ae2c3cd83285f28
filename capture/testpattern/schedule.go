package testpattern

import "time"

// schedule says when each frame is due. Frame n is due at n/fps after the
// start, computed anew for each, so that neither rounding nor a late frame
// adds up to a drift.
type schedule struct {
	start time.Time // with monotonic clock reading
	fps   float64
	last  int // frame that next returned, -1 before the first
}

func newSchedule(start time.Time, fps float64) *schedule {
	return &schedule{start: start, fps: fps, last: -1}
}

// at returns when frame n is due, from the start.
func (s *schedule) at(n int) time.Duration {
	return time.Duration(float64(n) * float64(time.Second) / s.fps)
}

// wall returns when frame n was due by the wall clock, which may have been set
// since the start.
func (s *schedule) wall(n int, now time.Time) time.Time {
	return now.Add(s.at(n) - now.Sub(s.start))
}

// next returns the next frame, how long to wait for it, and how many frames
// were missed before it: those whose successor is due already.
func (s *schedule) next(now time.Time) (n int, wait time.Duration, missed int) {
	elapsed := now.Sub(s.start)
	n = s.last + 1
	if due := int(elapsed.Seconds() * s.fps); due > n {
		n, missed = due, due-n
	}
	s.last = n
	return n, max(s.at(n)-elapsed, 0), missed
}
