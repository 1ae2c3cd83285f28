package webrtc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/transport/netwatch"
	"github.com/lenscast/lenscast/transport/webrtc/whip"
)

const (
	// ICE timeouts of a push. A check every 0.4 s, and nothing heard for 2 s:
	// a dead server is noticed in less than 3 s, and a network that loses
	// every third packet is not taken for one.
	pushDisconnected = 2 * time.Second
	pushFailed       = 15 * time.Second // after that; sessions do not wait for it
	pushKeepalive    = 400 * time.Millisecond

	// How long better candidates are waited for before a pair with a relay,
	// or with an address that only the other end knows, is taken. pion's 1
	// and 2 s are most of what it takes to connect.
	relayWait     = 500 * time.Millisecond
	reflexiveWait = 200 * time.Millisecond

	// firstGather is how long the offer waits for candidates. Those of this
	// machine come at once; the rest is trickled.
	firstGather = 100 * time.Millisecond

	// joinTimeout is what ICE and DTLS may take together, relayPatience how
	// long they may take before a relay is tried that was not known before.
	joinTimeout   = 8 * time.Second
	relayPatience = 1500 * time.Millisecond

	// restartTimeout is how long ICE may take after a restart.
	restartTimeout = 4 * time.Second

	// reportSilence is how long a server that reports may be silent, where
	// its ICE still answers. RTCP may be 7.5 s apart (RFC 3550 section 6.2).
	reportSilence = 12 * time.Second

	lookInterval = 500 * time.Millisecond
)

var errNoReports = errors.New("the server answers, but it does not report on the video any more")

// pushSession is one WHIP session. Its signalling is done by one goroutine.
//
//	offered ──► connecting ──► connected ──► ended
//	               ▲             │    ▲        (server gone, DELETE, agent stops)
//	               │             ▼    │
//	               └────────── restarting      (silence, or another network)
type pushSession struct {
	*sender
	pusher  *Pusher
	profile string // of the stream, as h264.Format names it
	network <-chan struct{}

	whip   *whip.Session
	offer  *description // the last one that was sent
	answer string       // the server's, as applied last
	source netip.Addr   // where packets to the server leave
	relays bool         // there are ICE servers that were not used yet

	candidates atomic.Pointer[triedCandidates]
	restarts   atomic.Uint64
	why        atomic.Pointer[error] // of the last restart
}

// triedCandidates are in short form, for people.
type triedCandidates struct{ local, remote []string }

// runSession runs one session from the offer to its end.
func (p *Pusher) runSession(ctx context.Context, network <-chan struct{}, receivers func(int)) error {
	format, err := p.p.awaitFormat(ctx)
	if err != nil {
		return err
	}
	if p.askFirst {
		// Not worth an error: an offer works without.
		if servers, err := p.client.Options(ctx); err == nil {
			p.learn(servers)
		}
	}
	own, err := openOwnPort(ctx, pionLogs{p.log})
	if err != nil {
		return err
	}
	defer own.close()
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	s := &pushSession{pusher: p, profile: format.Profile, network: network}
	if s.sender, err = p.newSender(own, offeredFormats(format), end); err != nil {
		return err
	}
	p.begin(s)
	defer p.end(s)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		// Why it ends is what end was called with, or else this.
		end(s.run(running, p.p.Open, func() { receivers(1) }, p.log))
	}()
	if err := s.join(running); err != nil {
		end(err)
	} else {
		s.keep(running)
	}
	ending := time.Now()
	if s.whip != nil && s.whip.HasURL() {
		// The server need not wait for silence to know.
		if err := s.whip.Delete(ctx); err != nil {
			p.log.Debug("end WHIP session", "error", err)
		}
	}
	wait(sent, closeTimeout-time.Since(ending))
	own.close() // as does Server.Run, and for the same reason
	wait(sent, closeGrace)
	cause := context.Cause(running)
	p.askFirst = errors.Is(cause, errNeverConnected)
	return cause
}

func (p *Pusher) newSender(own *ports, formats []codec, end context.CancelCauseFunc) (*sender, error) {
	media, err := pushMedia(formats)
	if err != nil {
		return nil, err
	}
	route := &route{ports: own}
	settings := newSettings(route, p.log)
	settings.SetICETimeouts(pushDisconnected, pushFailed, pushKeepalive)
	settings.SetSrflxAcceptanceMinWait(reflexiveWait)
	settings.SetPrflxAcceptanceMinWait(reflexiveWait)
	settings.SetRelayAcceptanceMinWait(relayWait)
	// Looked up each time: a restart is for other addresses.
	settings.SetIPFilter(func(ip net.IP) bool { return contains(own.addresses(), ip) })
	configuration := p.configuration
	configuration.ICEServers = p.iceServers()
	return newSender(senderParams{
		route: route, packets: p.packets, pacing: p.p.Clock, configuration: configuration,
		media: media, settings: settings, end: end,
	})
}

// join makes an offer and applies the answer. A change of the network makes
// the request useless, and ends it.
func (s *pushSession) join(ctx context.Context) error {
	patience := firstGather
	if s.pusher.noTrickle {
		patience = gatherTimeout
	}
	if err := s.makeOffer(ctx, nil, patience); err != nil {
		return err
	}
	var err error
	err = s.request(ctx, func(ctx context.Context) error {
		s.whip, err = s.pusher.client.Post(ctx, s.offer.sdp)
		return err
	})
	if err != nil {
		return err
	}
	if !s.whip.HasURL() {
		s.pusher.log.Warn("the server gives the session no address: it can be neither changed nor ended from here")
	}
	if s.relays = s.pusher.learn(s.whip.ICEServers); s.relays {
		// They count from the next restart of ICE on.
		configuration := s.pusher.configuration
		configuration.ICEServers = s.pusher.iceServers()
		if err := s.pc.SetConfiguration(configuration); err != nil {
			s.pusher.log.Debug("use the server's ICE servers", "error", err)
		}
	}
	return s.applyAnswer(s.whip.Answer)
}

// request does what may take long, and ends it when the network changes.
func (s *pushSession) request(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-s.network:
		cancel()
		<-done //nolint:errcheck // an error is what cancel is for
		return errNetworkChanged
	}
}

// makeOffer makes an offer and waits for its candidates, but not longer than
// patience.
func (s *pushSession) makeOffer(ctx context.Context, options *webrtc.OfferOptions, patience time.Duration) error {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	local, err := s.pc.CreateOffer(options)
	if err != nil {
		return fmt.Errorf("make offer: %w", err)
	}
	if err := s.pc.SetLocalDescription(local); err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	wait(gathered, patience)
	s.offer, err = makeOffer(s.pc.LocalDescription().SDP, closed(gathered))
	return errors.Join(err, ctx.Err())
}

// applyAnswer applies the server's answer to the last offer.
func (s *pushSession) applyAnswer(text string) error {
	answer, err := readAnswer(text, s.profile)
	if err != nil {
		return err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("apply the server's answer: %w", err)
	}
	s.answer = answer
	s.noteCandidates(s.offer.candidates, offerCandidates(answer))
	return nil
}

func (s *pushSession) noteCandidates(local, remote []string) {
	// Servers may name each twice, for RTP and for RTCP.
	s.candidates.Store(&triedCandidates{slices.Compact(addresses(local)), slices.Compact(addresses(remote))})
}

// keep trickles, watches and restarts until ctx ends. What it can't mend ends
// the session.
func (s *pushSession) keep(ctx context.Context) {
	err := s.trickle(ctx)
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	joined := time.Now()
	up := s.up.c
	var down <-chan struct{} // once it was up
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case <-up:
			up, down = nil, s.link.isDown()
			s.noteSource()
		case <-down:
			err = s.restart(ctx, errLost)
			down = s.link.isDown()
		case <-s.network:
			if s.moved() {
				err = s.restart(ctx, errNetworkChanged)
				if down != nil {
					down = s.link.isDown()
				}
			}
		case now := <-look.C:
			switch waited := now.Sub(joined); {
			case up == nil:
				err = s.checkReports(now)
			case s.relays && waited > relayPatience:
				s.relays = false
				err = s.restart(ctx, errOtherOffer)
			case waited > joinTimeout:
				err = errNeverConnected
			}
		}
	}
	s.end(err)
}

// trickle sends the candidates that were found after the offer, all in one
// request. Without it, the server may still find us by our checks.
func (s *pushSession) trickle(ctx context.Context) error {
	gathered := webrtc.GatheringCompletePromise(s.pc)
	timeout := time.NewTimer(gatherTimeout)
	defer timeout.Stop()
	select {
	case <-gathered:
	case <-timeout.C:
	case <-s.up.c: // what comes now is not needed any more
		return nil
	case <-ctx.Done():
		return nil
	}
	all, err := makeOffer(s.pc.LocalDescription().SDP, true)
	if err != nil {
		return err
	}
	late := slices.DeleteFunc(slices.Clone(all.candidates), func(c string) bool { return slices.Contains(s.offer.candidates, c) })
	if len(late) == 0 || s.pusher.noTrickle {
		return nil
	}
	s.noteCandidates(all.candidates, offerCandidates(s.answer))
	err = s.request(ctx, func(ctx context.Context) error { return s.whip.Trickle(ctx, s.offer.fragment(late)) })
	switch {
	case err == nil, errors.Is(err, errNetworkChanged):
		return err
	case errors.Is(err, whip.ErrUnsupported):
		s.pusher.noTrickle = true // all candidates are in the next offer
	}
	s.pusher.log.Debug("send late candidates", "error", err)
	return nil
}

// restart restarts ICE because of why: with other credentials and from the
// addresses that this machine has now. Where the server can't, the session
// ends, and another one follows.
func (s *pushSession) restart(ctx context.Context, why error) error {
	if !s.whip.HasURL() {
		return why
	}
	s.pusher.log.Info("push restarts ICE", "reason", why)
	s.restarts.Add(1)
	s.why.Store(&why)
	s.link.set(false) // what is sent from here on reaches nobody
	for {
		err := s.makeOffer(ctx, &webrtc.OfferOptions{ICERestart: true}, s.restartGather())
		if err != nil {
			return err
		}
		var text string
		err = s.request(ctx, func(ctx context.Context) error {
			var err error
			text, err = s.whip.Restart(ctx, s.offer.fragment(s.offer.candidates))
			return err
		})
		switch {
		case errors.Is(err, errNetworkChanged):
			continue // the answer to this offer does not count any more
		case errors.Is(err, whip.ErrUnsupported):
			s.pusher.log.Debug("restart ICE", "error", err)
			return why
		case err != nil:
			return fmt.Errorf("%w: %w", why, err)
		}
		if err := s.applyRestart(text); err != nil {
			return fmt.Errorf("%w: %w", why, err)
		}
		return s.awaitUp(ctx, why)
	}
}

// restartGather is how long a restart waits for candidates, which go with it:
// most servers take no others later.
func (s *pushSession) restartGather() time.Duration {
	if len(s.pc.GetConfiguration().ICEServers) == 0 {
		return firstGather
	}
	return gatherTimeout
}

// applyRestart applies the server's side of an ICE restart.
func (s *pushSession) applyRestart(text string) error {
	f, err := parseFragment(text)
	if err != nil {
		return err
	}
	if f.ufrag == "" {
		return errors.New("the server's answer to the ICE restart has no credentials")
	}
	answer, err := restarted(s.answer, f)
	if err != nil {
		return err
	}
	if err := s.applyAnswer(answer); err != nil {
		return err
	}
	var remote []string
	for _, c := range f.candidates {
		init := webrtc.ICECandidateInit{Candidate: "candidate:" + c.value, SDPMid: &s.offer.mid}
		if err := s.pc.AddICECandidate(init); err != nil {
			return fmt.Errorf("add candidate: %w", err)
		}
		remote = append(remote, c.value)
	}
	s.noteCandidates(s.offer.candidates, remote)
	return nil
}

// awaitUp waits until ICE works again, or has had its time.
func (s *pushSession) awaitUp(ctx context.Context, why error) error {
	timeout := time.NewTimer(restartTimeout)
	defer timeout.Stop()
	select {
	case <-s.link.isUp():
		s.noteSource()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.network:
		return errNetworkChanged
	case <-timeout.C:
		return why
	}
}

// noteSource remembers which way packets leave.
func (s *pushSession) noteSource() {
	if remote := s.remote(); remote.IsValid() {
		s.source = netwatch.Source(remote)
	}
}

// moved tells whether packets leave another way than before, or none.
func (s *pushSession) moved() bool {
	remote := s.remote()
	return !remote.IsValid() || netwatch.Source(remote) != s.source
}

// remote returns the server's address, invalid while there is none.
func (s *pushSession) remote() netip.Addr {
	pair := s.pair.Load()
	if pair == nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(pair.Remote.Address)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// checkReports notices a server that answers ICE but does nothing else.
func (s *pushSession) checkReports(now time.Time) error {
	report, picture := s.lastReport.Load(), s.lastPicture.Load()
	if report == 0 || now.Sub(time.UnixMilli(report)) < reportSilence || now.Sub(time.UnixMilli(picture)) > lookInterval {
		return nil
	}
	return errNoReports
}
