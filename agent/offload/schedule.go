package offload

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/lenscast/lenscast/transport/netwatch"
)

const (
	// lookEvery is how often the rules are looked at.
	lookEvery = time.Second

	// smoothing is the weight of the last second in the rate that is shown.
	smoothing = 0.25

	// settle is how long the live picture must have been quiet: who looks in
	// again after a moment should not meet a transfer.
	settle = 10 * time.Second

	// clockPatience is how long a queue with windows waits for a clock that is
	// known to be right. NTP takes seconds, once there is a network at all. If
	// it does not come then it is blocked, and a recording that is sent at the
	// wrong hour is better than one that is never sent.
	clockPatience = 10 * time.Minute

	// stalled is how long a transfer must have stood still to be begun anew
	// when the network changes, instead of waiting for TCP to try again.
	stalled = 3 * time.Second
)

// Window is a time of day, every day. It may go over midnight.
type Window struct{ From, To time.Duration } // since midnight

func (w Window) has(t time.Duration) bool {
	if w.From < w.To {
		return t >= w.From && t < w.To
	}
	return t >= w.From || t < w.To
}

func (w Window) String() string {
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.From/time.Hour, w.From%time.Hour/time.Minute, w.To/time.Hour, w.To%time.Hour/time.Minute)
}

// Network tells what this machine is connected by.
type Network interface {
	// Watch returns a channel that gets a value when the network has changed,
	// until ctx ends.
	Watch(ctx context.Context) (<-chan struct{}, error)
	// Connected returns nil when an interface is up and has an address.
	Connected(name string) error
}

// schedule tells when recordings may be sent. It has one user at a time.
type schedule struct {
	p     *Params
	began time.Time // when it was first asked
	quiet time.Time // when the live picture was busy last, zero: never
}

func newSchedule(p *Params) *schedule { return &schedule{p: p} }

// closed tells in words why nothing may be sent now; empty when it may.
func (s *schedule) closed(now time.Time) string {
	s.began = cmp.Or(s.began, now)
	if reason := s.outside(now); reason != "" {
		return reason
	}
	if s.p.Interface != "" {
		if err := s.p.Network.Connected(s.p.Interface); err != nil {
			return err.Error()
		}
	}
	if s.p.Busy == nil {
		return ""
	}
	if reason := s.p.Busy(); reason != "" {
		s.quiet = now
		return reason
	}
	if !s.quiet.IsZero() && now.Sub(s.quiet) < settle {
		return "the live picture was on until just now"
	}
	return ""
}

// outside tells that it is not the time of day.
func (s *schedule) outside(now time.Time) string {
	if len(s.p.Windows) == 0 {
		return ""
	}
	clock, trusted := s.p.Clock()
	if !trusted {
		if now.Sub(s.began) < clockPatience {
			return "it has hours, and the clock of this machine is not set yet"
		}
		return ""
	}
	clock = clock.Local()
	// By the clock on the wall: a day may have 23 or 25 hours.
	day := time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute + time.Duration(clock.Second())*time.Second
	var hours []string
	for _, w := range s.p.Windows {
		if w.has(day) {
			return ""
		}
		hours = append(hours, w.String())
	}
	return fmt.Sprintf("it is %s, and its hours are %s", clock.Format("15:04"), strings.Join(hours, ", "))
}

// watch looks at the rules, and at the network when it changes, until ctx ends.
func (q *Queue) watch(ctx context.Context) {
	changes, err := q.p.Network.Watch(ctx)
	if err != nil {
		q.p.Log.Warn("changes of the network are not noticed", "error", err)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
			now := time.Now()
			q.look(now)
			q.networkChanged(now)
		case now := <-ticker.C:
			q.look(now)
			q.measure()
		}
	}
}

// look applies the rules.
func (q *Queue) look(now time.Time) {
	closed := q.rules.closed(now)
	q.mu.Lock()
	defer q.mu.Unlock()
	if closed != "" && q.current != nil {
		q.current.cut(&heldError{closed})
	}
	if q.held != "" && closed == "" {
		q.Wake()
	}
	q.held = closed
}

// measure is called every lookEvery.
func (q *Queue) measure() {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.current
	if c == nil {
		return
	}
	rate := float64(c.progress.Sent-c.measured) * 8 / lookEvery.Seconds()
	if c.rate > 0 {
		rate = c.rate + (rate-c.rate)*smoothing
	}
	c.rate, c.measured = rate, c.progress.Sent
}

// networkChanged ends the pauses, and a transfer that stands still.
func (q *Queue) networkChanged(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.servers {
		if !s.refused {
			s.again()
		}
	}
	if c := q.current; c != nil && now.Sub(c.moved) > stalled {
		c.cut(errNetwork)
	}
	q.Wake()
}

// systemNetwork asks the kernel.
type systemNetwork struct{}

// Watch implements Network.
func (systemNetwork) Watch(ctx context.Context) (<-chan struct{}, error) { return netwatch.Watch(ctx) }

// Connected implements Network.
func (systemNetwork) Connected(name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return fmt.Errorf("there is no network interface %s", name)
	}
	addrs, _ := i.Addrs() // none of one that has just gone
	usable := func(a net.Addr) bool {
		ip, ok := a.(*net.IPNet)
		return ok && !ip.IP.IsLinkLocalUnicast()
	}
	if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 || !slices.ContainsFunc(addrs, usable) {
		return fmt.Errorf("%s is not connected", name)
	}
	return nil
}
