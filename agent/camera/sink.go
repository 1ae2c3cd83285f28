package camera

import (
	"errors"
	"time"

	"github.com/lenscast/lenscast/capture"
	"github.com/lenscast/lenscast/capture/aac"
	"github.com/lenscast/lenscast/capture/h264"
)

// sink is the camera as its source sees it.
type sink struct{ c *Camera }

var _ capture.AudioSink = sink{}

// Opened implements capture.Sink.
func (s sink) Opened(info capture.Info) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run.opened = time.Now()
	c.status.Mode, c.status.Detail, c.status.Audio = info.Mode, info.Detail, ""
	c.enter(Opening, "")
}

// Write implements capture.Sink.
func (s sink) Write(au *h264.AccessUnit) {
	s.c.arrived(au)
	s.c.p.Stream.Publish(au)
}

// WriteAudio implements capture.AudioSink. Sound is moved by as much as the
// pictures are, so before the first of those there is no place for it.
func (s sink) WriteAudio(f *aac.Frame) {
	c := s.c
	c.mu.Lock()
	begun := !c.run.first.IsZero()
	f.PTS += c.clock.offset
	c.mu.Unlock()
	if begun {
		c.p.Stream.PublishAudio(f)
	}
}

// DescribeAudio implements capture.AudioSink.
func (s sink) DescribeAudio(text string) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.status.Audio = text
}

// Trouble implements capture.Sink.
func (s sink) Trouble(err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run.trouble = true
	c.enter(stateOf(err), err.Error())
}

// Lost implements capture.Sink.
func (s sink) Lost(reason string) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Lost++
	c.losses.since++
	if now := time.Now(); c.losses.at.IsZero() || now.Sub(c.losses.at) >= lossLogInterval {
		c.log.Warn("pictures lost", "reason", reason, "times", c.losses.since)
		c.losses.at, c.losses.since = now, 0
	}
}

// arrived notes a picture and moves it to the stream's clock.
func (c *Camera) arrived(au *h264.AccessUnit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.run.first.IsZero() {
		c.run.first = now
		c.clock.restart()
	}
	c.run.last, c.run.trouble = now, false
	c.status.LastPicture = now
	au.PTS = c.clock.rebase(au.PTS, now)
	if c.status.State != Live {
		c.enter(Live, "")
	}
}

// begin forgets the source's last Run.
func (c *Camera) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run = run{}
}

// ended notes why the source's Run returned. It reports whether pictures had
// come for long enough to call the run a success.
func (c *Camera) ended(err error) (steady bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = errors.New("the camera's source ended without a reason")
	}
	c.status.Restarts++
	c.enter(stateOf(err), err.Error())
	return c.run.last.Sub(c.run.first) >= steadyAfter
}

// watch looks whether the running source is quiet. It reports whether it is
// dead, and when to look again.
func (c *Camera) watch() (dead bool, next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.run.opened.IsZero() || c.run.trouble {
		return false, quietAfter // it takes its time, or told why
	}
	delivered := !c.run.first.IsZero()
	since, reason := c.run.opened, "the camera is connected, but sends no picture"
	if delivered {
		since, reason = c.run.last, "the camera stopped sending pictures"
	}
	quiet := time.Since(since)
	switch {
	case quiet < quietAfter:
		return false, quietAfter - quiet
	case delivered && quiet >= deadAfter:
		return true, stuckAfter
	}
	c.enter(NoSignal, reason)
	if delivered {
		return false, deadAfter - quiet
	}
	return false, quietAfter
}

// enter changes the state. It logs what is news: not the opening, and not what
// was said before it. A stream that is not live any more keeps no pictures for
// viewers to come: they would take old ones for live.
func (c *Camera) enter(state State, reason string) {
	if c.status.State == Live && state != Live {
		c.p.Stream.Interrupt()
	}
	if c.status.State != state {
		c.status.Since = time.Now()
	}
	c.status.State, c.status.Reason = state, reason
	if state == Opening || state == c.told.state && reason == c.told.reason {
		return
	}
	c.told.state, c.told.reason = state, reason
	if state == Live {
		c.log.Info("camera is live", "mode", c.status.Mode, "detail", c.status.Detail, "restarts", c.status.Restarts)
		return
	}
	c.log.Warn("camera is not live", "state", state, "reason", reason, "restarts", c.status.Restarts)
}

func (c *Camera) setStuck(stuck bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.Stuck == stuck {
		return
	}
	c.status.Stuck = stuck
	if stuck {
		c.log.Error("source was told to stop and does not", "waited", stuckAfter)
	} else {
		c.log.Info("source has stopped after all")
	}
}

// clock makes one time line of those of all runs of the source.
type clock struct {
	offset  time.Duration // from the source's PTS to the stream's
	last    time.Duration // PTS of the newest picture on the stream
	arrived time.Time     // of that picture
	fresh   bool          // the next picture is the first of a run
}

func (k *clock) restart() { k.fresh = true }

// rebase returns the PTS on the stream of a picture that arrives now. Where a
// run begins, and where a source breaks its word that PTS grows, the stream
// goes on by as much time as has really passed.
func (k *clock) rebase(pts time.Duration, now time.Time) time.Duration {
	switch {
	case k.arrived.IsZero():
		k.offset = -pts // the stream begins at 0
	case k.fresh || pts+k.offset <= k.last:
		k.offset = k.last + max(now.Sub(k.arrived), time.Millisecond) - pts
	}
	k.fresh, k.arrived, k.last = false, now, pts+k.offset
	return k.last
}
