package main

import (
	"cmp"
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
	mu        sync.Mutex
	at        time.Time
	live      yield.Live
	receivers map[string]receiverFeel
}

// receiverFeel is what is remembered of one viewer or push.
type receiverFeel struct {
	best    time.Duration // round trip
	dropped uint64
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
	s.mu.Lock()
	rtc, pushes := s.rtc, s.allPushes()
	reduced := false
	for _, c := range s.cameras {
		reduced = reduced || reduction(c.stream.Stats()) != ""
	}
	s.mu.Unlock()
	before := f.receivers
	f.receivers, f.live = make(map[string]receiverFeel), yield.Live{Dropped: f.live.Dropped, Reduced: reduced}
	if rtc != nil {
		for _, v := range rtc.server.Sessions() {
			f.live.Reduced = f.live.Reduced || v.LeavesOut
			dropped := v.DroppedPictures
			if v.Transport != "udp" {
				dropped = 0 // they wait for the viewer, not for this machine
			}
			f.add(before, "viewer "+v.ID, v.Bitrate, v.RTT, v.Loss, dropped)
		}
	}
	for _, p := range pushes {
		if st := p.push.Status(); isLive(st.State) {
			f.live.Reduced = f.live.Reduced || st.Feedback.LeavesOut
			f.add(before, "push of "+st.Camera+" to "+st.Destination, st.Bitrate, st.Feedback.RTT, st.Feedback.Loss, st.DroppedPictures)
		}
	}
	return f.live
}

// add counts in one receiver. before is what was remembered of all.
func (f *feel) add(before map[string]receiverFeel, name string, bitrate float64, rtt time.Duration, loss float64, dropped uint64) {
	was, known := before[name]
	now := receiverFeel{best: rtt, dropped: dropped}
	if was.best > 0 {
		now.best = min(was.best, cmp.Or(rtt, was.best))
	}
	f.receivers[name] = now
	f.live.Active = true
	f.live.Bitrate += bitrate
	f.live.Loss = max(f.live.Loss, loss)
	if rtt > 0 {
		// Receivers are near and far. What counts is how much longer than at
		// its best it takes; 0 would mean that nothing is known.
		f.live.RTT = max(f.live.RTT, rtt-now.best+time.Millisecond)
	}
	if known && dropped > was.dropped {
		f.live.Dropped += dropped - was.dropped
	}
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
		if st := p.push.Status(); isLive(st.State) {
			return fmt.Sprintf("camera %s is pushed to %s", st.Camera, st.Destination)
		}
	}
	return ""
}

// isLive tells whether a push has a receiver, or is about to have it back.
func isLive(s push.State) bool { return s == push.Sending || s == push.Interrupted }

// allPushes returns the pushes of all cameras, in their order. The caller holds
// the mutex.
func (s *supervisor) allPushes() []*runningPush {
	var all []*runningPush
	for _, c := range s.cfg.Cameras {
		if running := s.cameras[c.Name]; running != nil {
			all = append(all, running.pushes...)
		}
	}
	return all
}
