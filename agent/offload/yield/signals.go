package yield

import (
	"fmt"
	"time"
)

const (
	// liveWait is how much longer than at its best the live streams' own round
	// trip may take, and liveLoss the loss of live packets, both beyond the
	// usual.
	liveWait = 30 * time.Millisecond
	liveLoss = 0.01
	// lateReports in a row are more than a receiver that was busy itself.
	lateReports = 2
	// usualTime is how long a complaint takes to become usual: a viewer whose
	// own link is bad has it with and without the transfer.
	usualTime = 15 * time.Second
)

// signals is what the live streams themselves complain of. It finds what the
// transfer does to the air of a wireless network, where its own packets may
// pass well and those to a viewer may not.
type signals struct {
	last  Live
	at    time.Time // of last, zero before the first
	base  extremum  // the least round trips
	late  int       // reports in a row of a long round trip
	loss  float64   // usual
	delay float64   // usual, in seconds above base
}

// step returns what is wrong since the last look, for people; empty for
// nothing. A report counts once, when it is new.
func (s *signals) step(now time.Time, live Live) (complaint string) {
	if s.at.IsZero() {
		*s = signals{last: Live{Dropped: live.Dropped}, at: now, base: newExtremum(baseSeconds, false)}
	}
	last, elapsed := s.last, now.Sub(s.at)
	s.last, s.at = live, now
	s.base.advance(now)
	if live.RTT > 0 {
		s.base.add(live.RTT)
	}
	delay := max(live.RTT-s.base.value(), 0)
	loss, usual := s.loss, time.Duration(s.delay*float64(time.Second))
	share := min(elapsed.Seconds()/usualTime.Seconds(), 1)
	s.loss += (live.Loss - s.loss) * share
	s.delay += (delay.Seconds() - s.delay) * share
	if live.RTT != last.RTT {
		s.late++
		if delay <= liveWait+2*usual {
			s.late = 0
		}
	}
	switch {
	case live.Dropped > last.Dropped:
		return "this machine could not send all live packets"
	case live.Loss != last.Loss && live.Loss > liveLoss+2*loss:
		return fmt.Sprintf("%.1f %% of the live packets are lost", 100*live.Loss)
	case s.late == lateReports:
		s.late = 0
		return fmt.Sprintf("live packets wait %v in the network", delay.Round(time.Millisecond))
	}
	return ""
}
