package webrtc

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// status tells what is known of the viewer.
func (s *session) status(now time.Time) SessionStatus {
	st := SessionStatus{
		ID: s.id, Camera: s.camera, Since: s.since, State: s.state(now),
		PacketsSent: s.out.packets.Load(), PacketsResent: s.out.again.Load(),
		NACKs: s.back.nacks.Load(), PLIs: s.back.plis.Load(), DroppedPictures: s.droppedPictures(),
		Affordable: s.affordable(), LeavesOut: s.leavesOut(),
	}
	st.RTT, st.Loss = s.back.quality()
	if st.State == "live" {
		st.Bitrate = float64(s.bitrate.Load())
	}
	if p := s.pair.Load(); p != nil {
		st.Transport = p.Remote.Protocol.String()
		st.Remote = hostPort(p.Remote)
	}
	return st
}

func (s *session) state(now time.Time) string {
	last := s.lastPicture.Load()
	switch {
	case !s.up.isSet():
		return "connecting"
	case !closed(s.link.isUp()):
		return "interrupted"
	case last == 0 || now.Sub(time.UnixMilli(last)) > silence:
		return "waiting"
	}
	return "live"
}

func hostPort(c *webrtc.ICECandidate) string {
	return net.JoinHostPort(c.Address, strconv.Itoa(int(c.Port)))
}

func (s *session) logStart() {
	var remote, local string
	if p := s.pair.Load(); p != nil {
		local, remote = hostPort(p.Local), hostPort(p.Remote)
	}
	s.log.Info("viewer connected", "remote", remote, "local", local, "transport", s.status(time.Now()).Transport,
		"after", time.Since(s.since).Round(time.Millisecond))
}

// logEnd says why the session ended. When the viewer never connected, it says
// what was tried: mostly a port is not open.
func (s *session) logEnd(err error) {
	if s.up.isSet() {
		st := s.status(time.Now())
		s.log.Info("viewer gone", "reason", reason(err), "remote", st.Remote, "after", time.Since(s.since).Round(time.Second),
			"packets", st.PacketsSent, "resent", st.PacketsResent, "dropped_pictures", st.DroppedPictures)
		return
	}
	if errors.Is(err, errStopping) || errors.Is(err, errDeleted) {
		s.log.Info("viewer gone before it connected", "reason", reason(err))
		return
	}
	s.signalling.Lock()
	defer s.signalling.Unlock()
	s.log.Warn("viewer could not connect", "reason", reason(err),
		"hint", fmt.Sprintf("open UDP port %d (and TCP port %d) from the viewer to this machine", s.route.ports.port, s.route.ports.port),
		"our_candidates", addresses(s.answer.candidates), "its_candidates", addresses(append(offerCandidates(s.offer.sdp), s.trickled...)))
}

// reason leaves out the wrapped cause, which is pion's.
func reason(err error) string {
	for _, known := range []error{
		errLeft, errLost, errDeleted, errNeverConnected, errStopping, errCameraClosed,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

// addresses shortens candidates to "udp 192.0.2.1:8555".
func addresses(candidates []string) []string {
	var all []string
	for _, c := range candidates {
		if f := strings.Fields(c); len(f) > 5 {
			all = append(all, fmt.Sprintf("%s %s:%s", strings.ToLower(f[2]), f[4], f[5]))
		}
	}
	return all
}

func offerCandidates(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if c, ok := strings.CutPrefix(line, "a=candidate:"); ok {
			all = append(all, strings.TrimSpace(c))
		}
	}
	return all
}
