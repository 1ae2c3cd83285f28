package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// whipServer is a WHIP server (RFC 9725) made of pion that only receives. Its
// one candidate is the relay: what it is told of the sender's candidates it
// forgets, and sends to where checks come from.
//
// It reports and gives transport-wide feedback by pion's interceptors. Missing
// packets it asks for as the receiver of plain RTP does: pion's own NACKs are
// blind to what RTX brings, and would ask for it again and again.
type whipServer struct {
	api      *webrtc.API
	relay    int // port
	judge    *judge
	patience time.Duration
}

// serveWHIP answers offers at a TCP port until ctx ends. Media come to c, and
// are sent to the UDP port of the same number.
func serveWHIP(ctx context.Context, port int, c *net.UDPConn, j *judge, patience time.Duration) error {
	media, interceptors := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := errors.Join(
		media.RegisterDefaultCodecs(),
		webrtc.ConfigureRTCPReports(interceptors),
		webrtc.ConfigureTWCCSender(media, interceptors),
	); err != nil {
		return err
	}
	quiet := &logging.DefaultLoggerFactory{} // it would tell of the end
	settings := webrtc.SettingEngine{LoggerFactory: quiet}
	settings.SetICEUDPMux(ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: c, Logger: quiet.NewLogger("ice")}))
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	s := &whipServer{
		api:   webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings)),
		relay: port, judge: j, patience: patience,
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusNoContent) // candidates, or the end
			return
		}
		offer, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
		var answer string
		if err == nil {
			answer, err = s.answer(ctx, string(offer))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "/session")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	})}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}

// answer makes a session that lasts until ctx ends.
func (s *whipServer) answer(ctx context.Context, offer string) (string, error) {
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = pc.Close() })
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		go readReports(receiver)
		newRTPReceiver(s.judge, s.patience, whipTrack{pc, track}).run()
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: withCandidate(offer, "")}); err != nil {
		return "", err
	}
	d, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	<-gathered
	return withCandidate(pc.LocalDescription().SDP, fmt.Sprintf("a=candidate:1 1 udp 2130706431 127.0.0.1 %d typ host\r\n", s.relay)), nil
}

// readReports reads what the sender reports, until the receiver ends: pion sees
// nothing of it otherwise, and its own reports would tell no round trip.
func readReports(receiver *webrtc.RTPReceiver) {
	for {
		if _, _, err := receiver.ReadRTCP(); err != nil {
			return
		}
	}
}

// withCandidate returns a description that has the given line in the place of
// its candidates.
func withCandidate(sdp, line string) string {
	var b strings.Builder
	for l := range strings.Lines(sdp) {
		if !strings.HasPrefix(l, "a=candidate:") {
			b.WriteString(l)
			continue
		}
		b.WriteString(line)
		line = ""
	}
	return b.String()
}

// whipTrack is a track of a session.
type whipTrack struct {
	pc    *webrtc.PeerConnection
	track *webrtc.TrackRemote
}

// rtxInterval is how often a track is read when nothing comes: pion looks for
// what RTX brought only then.
const rtxInterval = 2 * time.Millisecond

func (t whipTrack) read() (*rtp.Packet, error) {
	if err := t.track.SetReadDeadline(time.Now().Add(rtxInterval)); err != nil {
		return nil, err
	}
	p, _, err := t.track.ReadRTP()
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return nil, nil
	}
	return p, err
}

func (t whipTrack) answer(packets []rtcp.Packet) { _ = t.pc.WriteRTCP(packets) }
