package webrtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
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

	// reportInterval is the time between sender reports, and between header
	// extensions and clock messages. Receivers interpolate.
	reportInterval = time.Second

	// silence is how long a camera may send nothing before its receivers are
	// said to wait.
	silence = 3 * time.Second
)

// Why sending ends by itself.
var (
	errLeft           = errors.New("the other end closed the connection")
	errLost           = errors.New("the other end does not answer any more")
	errNeverConnected = errors.New("the other end never connected")
	errCameraClosed   = errors.New("the camera was removed")
	errUnwanted       = errors.New("the other end sends streams that nobody wants")
)

// errInterrupted means that the other end is not heard for now.
var errInterrupted = errors.New("the connection is interrupted")

// sender sends a camera's pictures over one peer connection, and hears what
// the other end reports. A WHEP session and a WHIP push each have one; how the
// two ends found each other is their business.
type sender struct {
	pc      *webrtc.PeerConnection
	rtp     *webrtc.RTPSender
	route   *route
	out     *outgoing
	packets *packet.Packetizer
	back    feedback
	heard   atomic.Int32 // streams of the other end
	clock   clockChannel

	end   context.CancelCauseFunc // of the context that play gets; only the first cause counts
	link  link
	up    event         // ICE and DTLS are, or were
	shown time.Duration // when the picture sent last is to be shown; of the goroutine that sends

	reader      atomic.Pointer[Reader]
	pair        atomic.Pointer[webrtc.ICECandidatePair]
	lastPicture atomic.Int64  // Unix ms of the last one sent, 0 before
	lastReport  atomic.Int64  // Unix ms of the last RTCP packet that came, 0 before
	bitrate     atomic.Uint64 // bit/s
	pictures    atomic.Uint64
	dropped     atomic.Uint64 // pictures dropped here, because TCP was full, and by readers before this one
}

// senderParams is what a sender needs, all of it.
type senderParams struct {
	route         *route
	packets       *packet.Packetizer
	pacing        *packet.Clock
	configuration webrtc.Configuration
	media         *webrtc.MediaEngine
	settings      webrtc.SettingEngine
	end           context.CancelCauseFunc // of the context that play gets
}

// newSender makes a peer connection that sends one video.
func newSender(p senderParams) (*sender, error) {
	s := &sender{
		route: p.route, out: newOutgoing(p.route, p.pacing), packets: p.packets, end: p.end,
		link: newLink(), up: event{c: make(chan struct{})}, shown: math.MinInt64,
	}
	p.settings.BufferFactory = s.incoming
	var err error
	if s.pc, err = newAPI(p.media, p.settings).NewPeerConnection(p.configuration); err != nil {
		return nil, fmt.Errorf("make peer connection: %w", err)
	}
	transceiver, err := s.pc.AddTransceiverFromTrack(s.out, webrtc.RTPTransceiverInit{
		Direction: webrtc.RTPTransceiverDirectionSendonly,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("add video: %w", err), s.pc.GracefulClose())
	}
	s.rtp = transceiver.Sender()
	s.pc.OnDataChannel(s.clock.attach)
	s.pc.OnICEConnectionStateChange(s.onICEState)
	s.pc.OnConnectionStateChange(s.onState)
	s.rtp.Transport().ICETransport().OnSelectedCandidatePairChange(s.onPair)
	return s, nil
}

func (s *sender) onICEState(state webrtc.ICEConnectionState) {
	s.link.set(state == webrtc.ICEConnectionStateConnected || state == webrtc.ICEConnectionStateCompleted)
}

// onPair takes the way to the other end that ICE has chosen.
func (s *sender) onPair(pair *webrtc.ICECandidatePair) {
	before := s.pair.Swap(pair)
	if before != nil && !(sameAddress(before.Local, pair.Local) && sameAddress(before.Remote, pair.Remote)) {
		s.out.moved(s)
	}
}

func sameAddress(a, b *webrtc.ICECandidate) bool {
	return a.Protocol == b.Protocol && a.Address == b.Address && a.Port == b.Port
}

func (s *sender) onState(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		s.up.set()
	case webrtc.PeerConnectionStateFailed:
		if s.up.isSet() {
			s.end(errLost)
		} else {
			s.end(errNeverConnected)
		}
	case webrtc.PeerConnectionStateClosed:
		s.end(errLeft)
	}
}

// run sends until ctx ends and returns its cause, or why it ended by itself.
// It calls connected before the first picture. The peer connection is closed
// when it returns, and the other end was told so.
func (s *sender) run(ctx context.Context, open func() Reader, connected func(), log *slog.Logger) error {
	defer s.out.close()
	err := s.play(ctx, open, connected)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	// The other end hears of it by a DTLS alert. GracefulClose waits for all
	// of pion's goroutines.
	if closeErr := s.pc.GracefulClose(); closeErr != nil {
		log.Debug("close peer connection", "error", closeErr)
	}
	return err
}

func (s *sender) play(ctx context.Context, open func() Reader, connected func()) error {
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	if err := await(ctx, s.link.isUp(), timeout.C); err != nil {
		return err
	}
	// While DTLS shakes hands the camera may already make the IDR.
	s.openReader(open)
	defer s.closeReader()
	for _, c := range []chan struct{}{s.up.c, s.out.bound} {
		if err := await(ctx, c, timeout.C); err != nil {
			return err
		}
	}
	connected()

	err := s.sendWhileUp(ctx)
	for errors.Is(err, errInterrupted) {
		// What was sent to nobody is a gap: begin anew when there is
		// somebody, as for one that just came.
		s.closeReader()
		if err = await(ctx, s.link.isUp(), nil); err == nil {
			s.openReader(open)
			err = s.sendWhileUp(ctx)
		}
	}
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

// openReader makes the reader that pictures are sent from.
func (s *sender) openReader(open func() Reader) {
	reader := open()
	reader.Afford(s.affordable()) // what the one before it was told
	s.reader.Store(&reader)
}

// closeReader closes it, if there is one, and keeps what it counted.
func (s *sender) closeReader() {
	if reader := s.reader.Swap(nil); reader != nil {
		(*reader).Close()
		s.dropped.Add(droppedBy(*reader))
	}
}

// sendWhileUp sends until the other end is not heard any more, which is
// errInterrupted, or as long as sendPictures does.
func (s *sender) sendWhileUp(ctx context.Context) error {
	sending, cancel := s.link.whileUp(ctx)
	defer cancel()
	err := s.sendPictures(sending, *s.reader.Load())
	if ctx.Err() == nil && sending.Err() != nil {
		return errInterrupted
	}
	return err
}

// sendPictures sends until the reader, the connection or ctx ends.
func (s *sender) sendPictures(ctx context.Context, reader Reader) error {
	playout := &playout{reader: reader, after: s.shown}
	var pause tcpPause
	var reports reports
	for {
		au, show, err := playout.next(ctx)
		if err != nil {
			return fmt.Errorf("%w: %w", errCameraClosed, err)
		}
		now := time.Now()
		admitted, ask := pause.admit(au.Key, now)
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
		s.shown = show
		s.lastPicture.Store(now.UnixMilli())
		s.pictures.Add(1)
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
			pause.hit(now)
		}
	}
}

// reports decides when the other end is told again which capture time belongs
// to which RTP timestamp: every second, and when one has jumped against the
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

// requestKeyframe and afford pass on what the other end wishes, to the reader
// there is.
func (s *sender) requestKeyframe() {
	if reader := s.reader.Load(); reader != nil {
		(*reader).RequestKeyframe()
	}
}

func (s *sender) afford(bitsPerSecond int) {
	if reader := s.reader.Load(); reader != nil {
		(*reader).Afford(bitsPerSecond)
	}
}

// affordable returns what the way to the other end carries in bit/s, 0 while it
// was never seen to be full.
func (s *sender) affordable() int { return int(s.out.affordable.Load()) }

// leavesOut tells whether pictures are left out because that is too little.
func (s *sender) leavesOut() bool {
	if r := s.reader.Load(); r != nil {
		if l, ok := (*r).(interface{ Late() bool }); ok {
			return l.Late()
		}
	}
	return false
}

// droppedPictures counts those dropped here and in the readers.
func (s *sender) droppedPictures() uint64 {
	n := s.dropped.Load()
	if reader := s.reader.Load(); reader != nil {
		n += droppedBy(*reader)
	}
	return n
}

// droppedBy returns what a reader has dropped, if it tells.
func droppedBy(r Reader) uint64 {
	if counter, ok := r.(interface{ Dropped() uint64 }); ok {
		return counter.Dropped()
	}
	return 0
}
