package whiptest

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// session is one client.
type session struct {
	id     string
	number int
	pc     *webrtc.PeerConnection

	mu       sync.Mutex // of signalling
	offer    string
	ufrag    string
	etag     string
	trickled int
}

func (s *Server) newETag() string {
	switch s.rules.ETag {
	case "":
		return `"` + rand.Text() + `"`
	case "none":
		return ""
	}
	return s.rules.ETag
}

// newSession answers an offer.
func (s *Server) newSession(offer string) (*session, string, error) {
	if s.rules.Deaf {
		offer = candidateLines.ReplaceAllString(offer, "")
	}
	api, err := s.newAPI()
	if err != nil {
		return nil, "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	s.made++
	sess := &session{id: rand.Text(), number: s.made, pc: pc, offer: offer, etag: s.newETag()}
	s.mu.Unlock()
	sess.ufrag, _, _ = parseFragment(offer)
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		s.ended.Go(func() { s.receive(sess, track) })
	})
	answer, err := sess.answer()
	if err != nil {
		_ = pc.Close()
		return nil, "", err
	}
	s.mu.Lock()
	s.sessions[sess.id] = sess
	s.mu.Unlock()
	return sess, answer, nil
}

var (
	candidateLines = regexp.MustCompile(`a=(candidate:[^\r]*|end-of-candidates)\r\n`)
	ufragLine      = regexp.MustCompile(`a=ice-ufrag:[^\r]*`)
	pwdLine        = regexp.MustCompile(`a=ice-pwd:[^\r]*`)
)

func (s *Server) newAPI() (*webrtc.API, error) {
	m := &webrtc.MediaEngine{}
	for pt, profile := range map[webrtc.PayloadType]string{102: "42e01f", 104: "64001f"} {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			PayloadType: pt,
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
				SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile,
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
			},
		}, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	resend, err := nack.NewGeneratorInterceptor()
	if err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	registry.Add(reports)
	registry.Add(resend)
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	if s.rules.Settings != nil {
		s.rules.Settings(&e)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(e)), nil
}

// answer answers the offer as it is now.
func (sess *session) answer() (string, error) {
	if err := sess.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sess.offer}); err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(sess.pc)
	answer, err := sess.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	if err := sess.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return sess.pc.LocalDescription().SDP, nil
}

// add adds candidates of the client. sess.mu is held.
func (sess *session) add(candidates []string) error {
	mid := "0"
	for _, c := range candidates {
		if err := sess.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: "candidate:" + c, SDPMid: &mid}); err != nil {
			return err
		}
	}
	return nil
}

// restart restarts ICE and returns the fragment to answer. sess.mu is held.
func (sess *session) restart(ufrag, pwd string, candidates []string) (string, error) {
	text := candidateLines.ReplaceAllString(sess.offer, "")
	text = ufragLine.ReplaceAllString(text, "a=ice-ufrag:"+ufrag)
	sess.offer = pwdLine.ReplaceAllString(text, "a=ice-pwd:"+pwd)
	answer, err := sess.answer()
	if err != nil {
		return "", err
	}
	sess.ufrag, sess.trickled = ufrag, 0
	if err := sess.add(candidates); err != nil {
		return "", err
	}
	newUfrag, newPwd, own := parseFragment(answer)
	var b strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", newUfrag, newPwd)
	for _, c := range own {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String(), nil
}

func (sess *session) close() { _ = sess.pc.Close() }

// receive puts pictures together until the track ends.
func (s *Server) receive(sess *session, track *webrtc.TrackRemote) {
	var payload codecs.H264Packet
	whole, key, next := true, false, uint16(0)
	for first := true; ; first = false {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if !first && packet.SequenceNumber != next {
			// A hole: ask for a picture to go on with, as a decoder would.
			whole = false
			_ = sess.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
		}
		next = packet.SequenceNumber + 1
		data, err := payload.Unmarshal(packet.Payload)
		if err != nil {
			s.fault("payload: %v", err)
		}
		key = key || hasIDR(data)
		if !packet.Marker {
			continue
		}
		if whole {
			s.arrived(Picture{time.Now(), sess.number, key, packet.Timestamp})
		}
		whole, key = true, false
	}
}

// hasIDR looks for an IDR slice in NAL units with start codes.
func hasIDR(annexB []byte) bool {
	for i := 0; i+4 < len(annexB); i++ {
		if annexB[i] == 0 && annexB[i+1] == 0 && annexB[i+2] == 1 && annexB[i+3]&0x1f == 5 {
			return true
		}
	}
	return false
}
