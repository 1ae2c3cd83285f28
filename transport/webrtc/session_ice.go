package webrtc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// What a PATCH may fail with.
var (
	errNoMatch      = errors.New("If-Match is missing")
	errStaleMatch   = errors.New("If-Match is stale")
	errWrongSession = errors.New("its credentials are those of another ICE session")
)

// patch applies a fragment: trickled candidates, or an ICE restart, whose
// answer and new ETag it returns. match is the If-Match header.
func (s *session) patch(ctx context.Context, match string, f *fragment) (body, etag string, err error) {
	s.signalling.Lock()
	defer s.signalling.Unlock()
	remote := s.remoteUfrag()
	restart := f.ufrag != "" && f.ufrag != remote
	switch match {
	case "":
		return "", "", errNoMatch
	case "*", `"*"`:
	case s.etag:
		if restart {
			// A client that mixes up sessions, or is late: a restart says "*".
			return "", "", errWrongSession
		}
	default:
		return "", "", errStaleMatch
	}
	if restart {
		return s.restart(ctx, f)
	}
	for _, c := range f.candidates {
		if err := s.addCandidate(c); err != nil {
			return "", "", err
		}
	}
	return "", "", nil
}

func (s *session) addCandidate(c candidate) error {
	if len(s.trickled) == maxCandidates {
		return fmt.Errorf("more than %d candidates", maxCandidates)
	}
	s.trickled = append(s.trickled, c.value)
	init := webrtc.ICECandidateInit{Candidate: "candidate:" + c.value}
	if c.mid != "" {
		init.SDPMid = &c.mid
	}
	if err := s.pc.AddICECandidate(init); err != nil {
		return fmt.Errorf("add candidate: %w", err)
	}
	return nil
}

// restart restarts ICE with the viewer's new credentials. Media goes on; if it
// fails, the session stays as it is.
func (s *session) restart(ctx context.Context, f *fragment) (body, etag string, err error) {
	text, err := restartOffer(s.offer.sdp, f)
	if err != nil {
		return "", "", err
	}
	answer, err := s.exchange(ctx, text)
	if err != nil {
		return "", "", err
	}
	s.offer.sdp, s.answer, s.etag, s.trickled = text, answer, newETag(), nil
	for _, c := range f.candidates {
		if err := s.addCandidate(c); err != nil {
			return "", "", err
		}
	}
	return answer.fragment(), s.etag, nil
}

func (s *session) remoteUfrag() string {
	for line := range strings.Lines(s.offer.sdp) {
		if ufrag, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			return strings.TrimSpace(ufrag)
		}
	}
	return ""
}

// status tells what is known of the viewer.
func (s *session) status(now time.Time) SessionStatus {
	st := SessionStatus{
		ID: s.id, Camera: s.camera, Since: s.since, State: s.state(now),
		PacketsSent: s.out.packets.Load(), PacketsResent: s.out.resent.Load(),
		NACKs: s.back.nacks.Load(), PLIs: s.back.plis.Load(), DroppedPictures: s.dropped.Load(),
	}
	st.RTT, st.Loss = s.back.quality()
	if st.State == "live" {
		st.Bitrate = float64(s.bitrate.Load())
	}
	if p := s.pair.Load(); p != nil {
		st.Transport = p.Remote.Protocol.String()
		st.Remote = remoteAddress(p)
	}
	if r := s.reader.Load(); r != nil {
		if counter, ok := (*r).(interface{ Dropped() uint64 }); ok {
			st.DroppedPictures += counter.Dropped()
		}
	}
	return st
}

func (s *session) state(now time.Time) string {
	last := s.lastPicture.Load()
	connected := false
	select {
	case <-s.up:
		connected = true
	default:
	}
	switch {
	case !connected:
		return "connecting"
	case s.interrupted.Load():
		return "interrupted"
	case last == 0 || now.Sub(time.UnixMilli(last)) > silence:
		return "waiting"
	}
	return "live"
}

func remoteAddress(p *webrtc.ICECandidatePair) string {
	return fmt.Sprintf("%s:%d", p.Remote.Address, p.Remote.Port)
}

func (s *session) logStart() {
	var path, local string
	if p := s.pair.Load(); p != nil {
		local = fmt.Sprintf("%s:%d", p.Local.Address, p.Local.Port)
		path = remoteAddress(p)
	}
	s.log.Info("viewer connected", "remote", path, "local", local, "transport", s.status(time.Now()).Transport,
		"after", time.Since(s.since).Round(time.Millisecond))
}

// logEnd says why the session ended. When the viewer never connected, it says
// what was tried: mostly a port is not open.
func (s *session) logEnd(err error) {
	select {
	case <-s.up:
		st := s.status(time.Now())
		s.log.Info("viewer gone", "reason", reason(err), "remote", st.Remote, "after", time.Since(s.since).Round(time.Second),
			"packets", st.PacketsSent, "resent", st.PacketsResent, "dropped_pictures", st.DroppedPictures)
		return
	default:
	}
	if errors.Is(err, errStopping) || errors.Is(err, errViewerDeleted) {
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
		errViewerLeft, errViewerLost, errViewerDeleted, errNeverConnected, errStopping, errCameraClosed,
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
