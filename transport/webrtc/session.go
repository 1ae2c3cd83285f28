package webrtc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/transport/packet"
)

// gatherTimeout bounds the wait for STUN and TURN servers before the answer,
// which is the last word: a WHEP server can't trickle. Host candidates are
// there at once, but a relay may be the only way, and over TLS and a mobile
// network it takes 5 round trips of 0.1 to 0.2 s. So a server that is down
// costs every viewer this long.
const gatherTimeout = 1500 * time.Millisecond

// Why a session is ended from here, as its log line says it.
var (
	errDeleted  = errors.New("the viewer closed the session")
	errStopping = errors.New("the agent stops")
)

// session is one viewer of one camera.
//
//	connecting ──► live ◄──► waiting       (pictures come, or none for 3 s)
//	     │          ▲ │
//	     │          │ ▼
//	     │       interrupted               (ICE hears nothing from the viewer)
//	     ▼            ▼
//	  ended         ended                  (any state: DELETE, viewer left, agent stops)
type session struct {
	*sender
	id     string // for people
	secret string // in the session URL
	camera string
	log    *slog.Logger
	since  time.Time
	done   chan struct{} // closed when everything of the session is gone

	signalling sync.Mutex // one PATCH at a time; guards the fields below
	offer      *offer
	answer     *description
	etag       string
	trickled   []string // remote candidates, for the log
}

// sessionParams is what a session needs of its server.
type sessionParams struct {
	camera          string
	offer           *offer
	ports           *ports
	packets         *packet.Packetizer
	pacing          *packet.Clock
	configuration   webrtc.Configuration
	publicAddresses []netip.Addr
	log             *slog.Logger
	end             context.CancelCauseFunc // of the context that run gets
}

// newSession makes a session and its answer. run has to be called on it.
func newSession(ctx context.Context, p sessionParams) (*session, error) {
	s := &session{
		id: rand.Text()[:8], secret: rand.Text(), camera: p.camera, since: time.Now(),
		offer: p.offer, done: make(chan struct{}), etag: newETag(),
	}
	s.log = p.log.With("camera", p.camera, "viewer", s.id)
	media, err := p.offer.mediaEngine()
	if err != nil {
		return nil, err
	}
	route := &route{ports: p.ports}
	settings, err := p.settings(route)
	if err != nil {
		return nil, err
	}
	s.sender, err = newSender(senderParams{
		route: route, packets: p.packets, pacing: p.pacing, configuration: p.configuration,
		media: media, settings: settings, end: p.end,
	})
	if err != nil {
		return nil, err
	}
	if s.answer, err = s.exchange(ctx, s.offer.sdp); err != nil {
		return nil, errors.Join(err, s.pc.GracefulClose())
	}
	return s, nil
}

// exchange applies an offer and returns the answer with all candidates.
func (s *session) exchange(ctx context.Context, offerSDP string) (*description, error) {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offerSDP}); err != nil {
		return nil, fmt.Errorf("apply offer: %w", err)
	}
	// What is offered beside the video is accepted as inactive: told that
	// something will be sent, a player may wait for it.
	for _, t := range s.pc.GetTransceivers() {
		if t.Sender() == s.rtp {
			continue
		}
		if err := t.Stop(); err != nil {
			return nil, fmt.Errorf("make %s inactive: %w", t.Kind(), err)
		}
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	local, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return nil, fmt.Errorf("make answer: %w", err)
	}
	if err := s.pc.SetLocalDescription(local); err != nil {
		return nil, fmt.Errorf("apply answer: %w", err)
	}
	timeout := time.NewTimer(gatherTimeout)
	defer timeout.Stop()
	select {
	case <-gathered:
	case <-timeout.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return makeAnswer(s.pc.LocalDescription().SDP, s.offer.video)
}

// run plays until the session ends. It takes the session down, and returns
// when nothing is left of it.
func (s *session) run(ctx context.Context, open func() Reader) {
	defer close(s.done)
	s.logEnd(s.sender.run(ctx, open, s.logStart, s.log))
}

func newETag() string { return `"` + rand.Text()[:16] + `"` }
