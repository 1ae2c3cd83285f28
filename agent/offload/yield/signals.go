package yield

import (
	"fmt"
	"time"
)

const (
	// liveWait is how much longer than at its best the live streams' own round
	// trip may take. Receivers report it about once a second.
	liveWait = 30 * time.Millisecond
	// liveLoss is the loss of live packets beyond the usual that counts.
	liveLoss = 0.01
	// usualTime is how long a loss takes to become usual: a link that loses
	// packets with and without the transfer.
	usualTime = 15 * time.Second
)

// signals is what the live streams themselves complain of.
type signals struct {
	last  Live
	at    time.Time
	base  extremum
	usual float64 // loss
}

// step returns what is wrong since the last look, for people; empty for
// nothing. A complaint counts once, when it is new.
func (s *signals) step(now time.Time, live Live) (harm string) {
	last, first := s.last, s.at.IsZero()
	if first {
		s.base = extremum{slots: make([]time.Duration, 60)}
		last = live
		last.RTT, last.Loss = 0, 0
	}
	elapsed := now.Sub(s.at)
	s.last, s.at = live, now
	s.base.advance(now)
	if live.RTT > 0 {
		s.base.add(live.RTT)
	}
	allowed := liveLoss + 2*s.usual
	if !first {
		s.usual += (live.Loss - s.usual) * min(elapsed.Seconds()/usualTime.Seconds(), 1)
	}
	switch {
	case live.Dropped > last.Dropped:
		return "this machine could not send all live packets"
	case live.Loss != last.Loss && live.Loss > allowed:
		return fmt.Sprintf("%.1f %% of the live packets are lost", 100*live.Loss)
	case live.RTT != last.RTT && live.RTT > s.base.value()+liveWait:
		return fmt.Sprintf("live packets wait %v in the network", (live.RTT - s.base.value()).Round(time.Millisecond))
	}
	return ""
}
