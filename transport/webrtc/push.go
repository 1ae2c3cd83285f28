package webrtc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/netwatch"
	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/webrtc/whip"
)

// PusherParams are the parameters of NewPusher.
type PusherParams struct {
	Endpoint   whip.Endpoint
	ICEServers []ICEServer // beside those that the server tells of

	// Open makes a reader that starts at once: at a cached IDR, or at one
	// it has asked for. The Pusher closes it.
	Open func() Reader

	// Format tells what the pictures are like, zero while there are none.
	// Nothing is offered before it is known.
	Format func() h264.Format

	Clock *packet.Clock // shared by all senders of the program
	Log   *slog.Logger  // nil means no log

	policy webrtc.ICETransportPolicy // of tests
}

// Pusher is a WHIP client (RFC 9725): it sends the pictures of one camera to a
// server. Its methods are safe for concurrent use, but Run runs once at a
// time.
type Pusher struct {
	p             PusherParams
	log           *slog.Logger
	configuration webrtc.Configuration
	client        *whip.Client
	packets       *packet.Packetizer

	// What was learnt of the server, for the next session; used by Run only.
	linked    []whip.ICEServer // that it told of
	noTrickle bool             // it takes no candidates after the offer
	askFirst  bool             // ICE failed: it may tell of ICE servers before the offer

	mu      sync.Mutex
	stats   packet.Stats // of the sessions before this one
	session *pushSession // nil between two
	last    ICEStatus    // of the session before this one
}

// ICEStatus is how far a push has come to its server, for people.
type ICEStatus struct {
	State            string   // of ICE, as browsers name it: "new", "checking", "connected", "disconnected", "failed"
	Local, Remote    string   // the pair in use, such as "udp 192.0.2.1:8189 (host)", empty without one
	LocalCandidates  []string // that were tried
	RemoteCandidates []string
	Restarts         uint64 // of ICE, since the start
}

// NewPusher checks the parameters. It opens nothing: Run does.
func NewPusher(p PusherParams) (*Pusher, error) {
	if p.Open == nil || p.Format == nil || p.Clock == nil || p.Endpoint.String() == "" {
		return nil, errors.New("make WHIP push: endpoint, reader, format and clock are needed")
	}
	for _, server := range p.ICEServers {
		if _, err := stun.ParseURI(server.URL); err != nil {
			return nil, fmt.Errorf("ICE server %q: %w", server.URL, err)
		}
	}
	certificates, err := newCertificates()
	if err != nil {
		return nil, err
	}
	return &Pusher{
		p: p, log: cmp.Or(p.Log, slog.New(slog.DiscardHandler)),
		configuration: webrtc.Configuration{
			Certificates: certificates, BundlePolicy: webrtc.BundlePolicyMaxBundle, ICETransportPolicy: p.policy,
		},
		client:  whip.NewClient(p.Endpoint),
		packets: packet.NewPacketizer(maxPayload),
		last:    ICEStatus{State: webrtc.ICEConnectionStateNew.String()},
	}, nil
}

// Why a session ends that is followed by another one at once.
var (
	errNetworkChanged = errors.New("the network changed")
	errOtherOffer     = errors.New("the server needs another offer")
)

// Run makes a session and sends until ctx ends, which returns the context's
// error, or until the session is lost, which it says why. It calls receivers
// with 1 when the server takes pictures. Before it returns it ends the
// session, in less than 2 s.
func (p *Pusher) Run(ctx context.Context, receivers func(n int)) error {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	network, err := netwatch.Watch(watching)
	if err != nil {
		p.log.Warn("changes of the network are not noticed at once", "error", err)
	}
	for {
		err := p.runSession(ctx, network, receivers)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errNetworkChanged), errors.Is(err, errOtherOffer):
			p.log.Info("push begins anew", "reason", err)
		default:
			return fmt.Errorf("push to %s: %w", p.p.Endpoint, err)
		}
	}
}

// Stats returns what was sent, in all runs together.
func (p *Pusher) Stats() packet.Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return p.stats
	}
	return p.session.addTo(p.stats)
}

// ICE returns how far the push has come, or had come when it failed.
func (p *Pusher) ICE() ICEStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return p.last
	}
	return p.session.iceStatus(p.last.Restarts)
}

// Interrupted returns why nothing gets through at the moment, nil when it does
// or never did in this session.
func (p *Pusher) Interrupted() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.session; s != nil && s.up.isSet() && !closed(s.link.isUp()) {
		why := errLost
		if restart := s.why.Load(); restart != nil {
			why = *restart
		}
		return fmt.Errorf("push to %s: %w", p.p.Endpoint, why)
	}
	return nil
}

func (p *Pusher) begin(s *pushSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = s
}

// end keeps what a session has counted.
func (p *Pusher) end(s *pushSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats, p.last, p.session = s.addTo(p.stats), s.iceStatus(p.last.Restarts), nil
	p.stats.Receivers = 0
}

// iceServers returns those to use, in pion's form.
func (p *Pusher) iceServers() []webrtc.ICEServer {
	var all []webrtc.ICEServer
	add := func(url, username, credential string) {
		if slices.ContainsFunc(all, func(s webrtc.ICEServer) bool { return s.URLs[0] == url }) {
			return
		}
		all = append(all, webrtc.ICEServer{URLs: []string{url}, Username: username, Credential: credential})
	}
	for _, s := range p.linked { // their credentials are the newest
		add(s.URL, s.Username, s.Credential)
	}
	for _, s := range p.p.ICEServers {
		add(s.URL, s.Username, s.Credential)
	}
	return all
}

// learn takes note of the ICE servers that the server tells of, and returns
// whether there are any that were not used yet.
func (p *Pusher) learn(servers []whip.ICEServer) (isNew bool) {
	for _, s := range servers {
		isNew = isNew || !slices.ContainsFunc(p.linked, func(old whip.ICEServer) bool { return old.URL == s.URL })
	}
	if len(servers) > 0 {
		p.linked = servers
	}
	return isNew
}

// addTo adds what this session has sent.
func (s *pushSession) addTo(st packet.Stats) packet.Stats {
	const headers = 12 + 16 // of RTP, and the tag of SRTP
	packets := s.out.packets.Load() + s.out.again.Load()
	st.Pictures += s.pictures.Load()
	st.Packets += packets
	st.Bytes += s.out.octets.Load() + headers*packets
	st.DroppedPictures += s.droppedPictures()
	if ms := s.lastPicture.Load(); ms != 0 {
		st.LastPicture = time.UnixMilli(ms)
	}
	if s.up.isSet() {
		st.Receivers = 1
	}
	if ms := s.lastReport.Load(); ms != 0 {
		st.Feedback.At = time.UnixMilli(ms)
		st.Feedback.RTT, st.Feedback.Loss = s.back.quality()
		st.Feedback.Affordable, st.Feedback.LeavesOut = s.affordable(), s.leavesOut()
	}
	return st
}

func (s *pushSession) iceStatus(restarts uint64) ICEStatus {
	st := ICEStatus{State: s.pc.ICEConnectionState().String(), Restarts: restarts + s.restarts.Load()}
	if c := s.candidates.Load(); c != nil {
		st.LocalCandidates, st.RemoteCandidates = c.local, c.remote
	}
	if pair := s.pair.Load(); pair != nil {
		st.Local, st.Remote = describeCandidate(pair.Local), describeCandidate(pair.Remote)
	}
	return st
}

func describeCandidate(c *webrtc.ICECandidate) string {
	return fmt.Sprintf("%s %s (%s)", c.Protocol, hostPort(c), c.Typ)
}
