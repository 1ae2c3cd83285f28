package webrtc

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	text, err := restarted(s.offer.sdp, f)
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
	return answer.fragment(answer.candidates), s.etag, nil
}

func (s *session) remoteUfrag() string {
	for line := range strings.Lines(s.offer.sdp) {
		if ufrag, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok {
			return strings.TrimSpace(ufrag)
		}
	}
	return ""
}
