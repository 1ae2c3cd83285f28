package webrtc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
)

const (
	// connectTimeout is what ICE and DTLS may take together.
	connectTimeout = 15 * time.Second

	// gatherTimeout bounds the wait for STUN and TURN servers before the
	// answer; host candidates are there at once.
	gatherTimeout = 1500 * time.Millisecond

	// reportInterval is the time between sender reports, and between header
	// extensions and clock messages. Receivers interpolate.
	reportInterval = time.Second

	// silence is how long a camera may send nothing before its viewers are
	// said to wait.
	silence = 3 * time.Second
)

// Why a session ends, as its log line says it.
var (
	errViewerLeft     = errors.New("the viewer left")
	errViewerLost     = errors.New("the viewer does not answer any more")
	errViewerDeleted  = errors.New("the viewer closed the session")
	errNeverConnected = errors.New("the viewer never connected")
	errStopping       = errors.New("the agent stops")
	errCameraClosed   = errors.New("the camera was removed")
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
	id     string // for people
	secret string // in the session URL
	camera string
	log    *slog.Logger
	since  time.Time

	pc      *webrtc.PeerConnection
	sender  *webrtc.RTPSender
	route   *route
	out     *outgoing
	packets *packet.Packetizer
	back    feedback
	clock   clockChannel

	cancel    context.CancelCauseFunc
	done      chan struct{} // closed when everything of the session is gone
	iceUp, up event

	signalling sync.Mutex // one PATCH at a time; guards the fields below
	offer      *offer
	answer     *answer
	etag       string
	trickled   []string // remote candidates, for the log

	reader      atomic.Pointer[Reader]
	pair        atomic.Pointer[webrtc.ICECandidatePair]
	interrupted atomic.Bool
	lastPicture atomic.Int64  // Unix ms of the last one sent, 0 before
	bitrate     atomic.Uint64 // bit/s
	dropped     atomic.Uint64 // pictures dropped here, because TCP was full
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
	cancel          context.CancelCauseFunc // of the context that run gets
}

// newSession makes a session and its answer. run has to be called on it.
func newSession(ctx context.Context, p sessionParams) (*session, error) {
	s := &session{
		id: rand.Text()[:8], secret: rand.Text(), camera: p.camera, since: time.Now(),
		route: &route{ports: p.ports}, packets: p.packets, offer: p.offer, cancel: p.cancel,
		done: make(chan struct{}), iceUp: event{c: make(chan struct{})}, up: event{c: make(chan struct{})},
		etag: newETag(),
	}
	s.log = p.log.With("camera", p.camera, "viewer", s.id)
	s.out = newOutgoing(s.route, p.pacing)
	api, err := p.newAPI(s.route)
	if err != nil {
		return nil, err
	}
	if s.pc, err = api.NewPeerConnection(p.configuration); err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	if s.answer, err = s.negotiate(ctx); err != nil {
		return nil, errors.Join(err, s.pc.GracefulClose())
	}
	return s, nil
}

// negotiate applies the first offer and makes the answer.
func (s *session) negotiate(ctx context.Context) (*answer, error) {
	transceiver, err := s.pc.AddTransceiverFromTrack(s.out, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionSendonly,
	})
	if err != nil {
		return nil, fmt.Errorf("add video: %w", err)
	}
	s.sender = transceiver.Sender()
	s.pc.OnDataChannel(s.clock.attach)
	s.pc.OnICEConnectionStateChange(s.onICEState)
	s.pc.OnConnectionStateChange(s.onState)
	s.sender.Transport().ICETransport().OnSelectedCandidatePairChange(func(p *webrtc.ICECandidatePair) { s.pair.Store(p) })
	return s.exchange(ctx, s.offer.sdp)
}

// exchange applies an offer and returns the answer with all candidates.
func (s *session) exchange(ctx context.Context, offerSDP string) (*answer, error) {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offerSDP}); err != nil {
		return nil, fmt.Errorf("apply offer: %w", err)
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

func (s *session) onICEState(state webrtc.ICEConnectionState) {
	s.interrupted.Store(state == webrtc.ICEConnectionStateDisconnected)
	if state == webrtc.ICEConnectionStateConnected {
		s.iceUp.set()
	}
}

func (s *session) onState(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.up.set()
	case webrtc.PeerConnectionStateFailed:
		if s.up.isSet() {
			s.end(errViewerLost)
		} else {
			s.end(errNeverConnected)
		}
	case webrtc.PeerConnectionStateClosed:
		s.end(errViewerLeft)
	}
}

// event is something that happens once.
type event struct {
	once sync.Once
	c    chan struct{} // closed when it has happened
}

func (e *event) set() { e.once.Do(func() { close(e.c) }) }

func (e *event) isSet() bool {
	select {
	case <-e.c:
		return true
	default:
		return false
	}
}

// end makes run return. Only the first cause counts.
func (s *session) end(cause error) { s.cancel(cause) }

// run plays until the session ends. It takes the session down, and returns
// when nothing is left of it.
func (s *session) run(ctx context.Context, open func() Reader) {
	defer close(s.done)
	err := s.play(ctx, open)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	// Tells the browser by a DTLS alert. GracefulClose waits for all of
	// pion's goroutines.
	if closeErr := s.pc.GracefulClose(); closeErr != nil {
		s.log.Debug("close peer connection", "error", closeErr)
	}
	s.logEnd(err)
}

func (s *session) play(ctx context.Context, open func() Reader) error {
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	if err := await(ctx, s.iceUp.c, timeout.C); err != nil {
		return err
	}
	// While DTLS shakes hands the camera may already make the IDR.
	reader := open()
	defer reader.Close()
	s.reader.Store(&reader)
	for _, c := range []chan struct{}{s.up.c, s.out.bound} {
		if err := await(ctx, c, timeout.C); err != nil {
			return err
		}
	}
	s.logStart()

	feedbackDone := make(chan struct{})
	go func() {
		defer close(feedbackDone)
		s.readFeedback(reader)
	}()
	err := s.sendPictures(ctx, reader)
	_ = s.sender.Stop() // ends readFeedback
	<-feedbackDone
	return err
}

func await(ctx context.Context, c <-chan struct{}, timeout <-chan time.Time) error {
	select {
	case <-c:
		return nil
	case <-timeout:
		return errNeverConnected
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendPictures sends until the reader, the connection or ctx ends.
func (s *session) sendPictures(ctx context.Context, reader Reader) error {
	playout := &playout{reader: reader}
	var congestion congestion
	var reports reports
	for {
		au, show, err := playout.next(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errCameraClosed, err)
		}
		now := time.Now()
		admitted, ask := congestion.admit(au.Key, now)
		if ask {
			reader.RequestKeyframe()
		}
		if !admitted {
			s.dropped.Add(1)
			continue
		}
		report := playout.live && reports.due(now, au)
		timestamp := s.out.timestamp(show)
		if err := s.out.send(ctx, s.packets.Picture(au), timestamp, report || au.Key); err != nil {
			return err
		}
		s.lastPicture.Store(now.UnixMilli())
		if report {
			// An error is a lost packet, like those of media.
			_ = s.pc.WriteRTCP([]rtcp.Packet{s.out.senderReport(timestamp, au.Captured)})
			s.bitrate.Store(reports.made(now, au, s.out.octets.Load()))
		}
		if playout.live {
			s.clock.sync(timestamp, au.Captured, report)
		}
		if s.route.congested.Swap(false) {
			// Part of a picture is lost on TCP, where nothing is asked
			// for again.
			congestion.hit(now)
		}
	}
}

// reports decides when a viewer is told again which capture time belongs to
// which RTP timestamp: every second, and when one has jumped against the
// other.
type reports struct {
	last     time.Time     // of the last report, zero before the first
	captured time.Time     // of its picture
	pts      time.Duration // of its picture
	octets   uint64        // sent until then
}

// mappingJump is more than the jitter of a capture clock.
const mappingJump = 100 * time.Millisecond

func (r *reports) due(now time.Time, au *h264.AccessUnit) bool {
	if now.Sub(r.last) >= reportInterval {
		return true
	}
	drift := au.Captured.Round(0).Sub(r.captured.Round(0)) - (au.PTS - r.pts)
	return drift.Abs() > mappingJump
}

// made notes a report, and returns the bitrate since the one before.
func (r *reports) made(now time.Time, au *h264.AccessUnit, octets uint64) uint64 {
	var bitrate uint64
	if !r.last.IsZero() {
		bitrate = uint64(float64(octets-r.octets) * 8 / now.Sub(r.last).Seconds())
	}
	*r = reports{now, au.Captured, au.PTS, octets}
	return bitrate
}

// readFeedback reads RTCP until the sender is stopped.
func (s *session) readFeedback(reader Reader) {
	buf := make([]byte, 1500)
	for {
		n, _, err := s.sender.Read(buf)
		if err != nil {
			return
		}
		s.back.handle(buf[:n], s.out, reader.RequestKeyframe)
	}
}

func newETag() string { return `"` + rand.Text()[:16] + `"` }
