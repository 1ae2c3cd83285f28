package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/offload/yield"
	"github.com/lenscast/lenscast/agent/push"
)

// feelEvery is how often viewers and pushes are asked how they fare; what asks
// for it does so more often.
const feelEvery = 100 * time.Millisecond

// feel remembers for a moment how the live picture fares.
type feel struct {
	mu      sync.Mutex
	at      time.Time
	live    yield.Live
	dropped uint64 // by those who are there
}

// live tells how the live picture fares, at viewers and pushes together. It may
// be called by any goroutine, as often as it likes.
func (s *supervisor) live() yield.Live {
	f := &s.feel
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.at) < feelEvery {
		return f.live
	}
	f.at = time.Now()
	now := yield.Live{Dropped: f.live.Dropped}
	var dropped uint64
	add := func(bitrate float64, rtt time.Duration, loss float64, pictures uint64) {
		now.Active = true
		now.Bitrate += bitrate
		now.RTT, now.Loss = max(now.RTT, rtt), max(now.Loss, loss)
		dropped += pictures
	}
	s.mu.Lock()
	rtc, pushes := s.rtc, s.allPushes()
	for _, c := range s.cameras {
		now.Reduced = now.Reduced || reduction(c.stream.Stats()) != ""
	}
	s.mu.Unlock()
	if rtc != nil {
		for _, v := range rtc.server.Sessions() {
			now.Reduced = now.Reduced || v.LeavesOut
			add(v.Bitrate, v.RTT, v.Loss, v.DroppedPictures)
		}
	}
	for _, p := range pushes {
		if st := p.push.Status(); st.State == push.Sending {
			now.Reduced = now.Reduced || st.Feedback.LeavesOut
			add(st.Bitrate, st.Feedback.RTT, st.Feedback.Loss, st.DroppedPictures)
		}
	}
	// Who leaves takes a count along.
	if dropped > f.dropped {
		now.Dropped += dropped - f.dropped
	}
	f.live, f.dropped = now, dropped
	return now
}

// busy tells that somebody watches or a push runs; empty when none does.
func (s *supervisor) busy() string {
	s.mu.Lock()
	rtc, pushes := s.rtc, s.allPushes()
	s.mu.Unlock()
	if rtc != nil {
		for _, v := range rtc.server.Sessions() {
			return fmt.Sprintf("somebody watches camera %s", v.Camera)
		}
	}
	for _, p := range pushes {
		if st := p.push.Status(); st.State == push.Sending {
			return fmt.Sprintf("camera %s is pushed to %s", st.Camera, st.Destination)
		}
	}
	return ""
}

// allPushes returns the pushes of all cameras. The caller holds the mutex.
func (s *supervisor) allPushes() []*runningPush {
	var all []*runningPush
	for _, c := range s.cameras {
		all = append(all, c.pushes...)
	}
	return all
}
