package webrtc_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// viewer is a WHEP player made of pion.
type viewer struct {
	pc       *webrtc.PeerConnection
	location string
	etag     string
	answer   string
	posted   time.Time
	clock    *webrtc.DataChannel

	candidates *regexp.Regexp // as in viewerOptions

	mu       sync.Mutex
	packets  []*rtp.Packet
	at       []time.Time
	reports  []*rtcp.SenderReport
	messages []string
	ssrc     webrtc.SSRC

	seen            map[int]struct{} // sequence numbers, not wrapped
	lowest, highest int              // of seen
	ended           int              // markers among them
}

// viewerOptions change how a viewer behaves.
type viewerOptions struct {
	audioFirst bool
	tcpOnly    bool
	data       bool
	extensions []string
	rtx        bool
	deaf       bool // reads nothing
	mute       bool // reports nothing by itself

	candidates *regexp.Regexp // those of the answer that it hears of, nil: all
}

func watch(t testing.TB, web *httptest.Server, o viewerOptions) *viewer {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}},
		}, PayloadType: 108,
	}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	if o.rtx {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: "apt=108"},
			PayloadType:        109,
		}, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	if o.audioFirst {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, PayloadType: 111,
		}, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	for _, uri := range o.extensions {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			t.Fatal(err)
		}
	}
	e := webrtc.SettingEngine{}
	e.SetIncludeLoopbackCandidate(true)
	e.DisableSRTPReplayProtection(true) // to see what is resent without having been lost
	if o.tcpOnly {
		e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	options := []func(*webrtc.API){webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e)}
	if o.mute {
		options = append(options, webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	}
	pc, err := webrtc.NewAPI(options...).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	v := &viewer{pc: pc, candidates: o.candidates}
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	if o.audioFirst {
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, recvonly); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, recvonly); err != nil {
		t.Fatal(err)
	}
	if !o.deaf {
		pc.OnTrack(v.read)
	}
	if o.data {
		dc, err := pc.CreateDataChannel("clock", nil)
		if err != nil {
			t.Fatal(err)
		}
		v.clock = dc
		dc.OnMessage(func(m webrtc.DataChannelMessage) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.messages = append(v.messages, string(m.Data))
		})
	}
	v.post(t, web)
	return v
}

func (v *viewer) post(t testing.TB, web *httptest.Server) {
	t.Helper()
	offer, err := v.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	v.posted = time.Now()
	resp := request(t, web, http.MethodPost, "/whep/cam", "application/sdp", v.pc.LocalDescription().SDP, nil)
	v.answer = bodyOf(t, resp)
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST: %s %s", resp.Status, v.answer)
	}
	v.location, v.etag = resp.Header.Get("Location"), resp.Header.Get("ETag")
	heard := regexp.MustCompile(`a=candidate:.*\r\n`).ReplaceAllStringFunc(v.answer, func(line string) string {
		if v.candidates == nil || v.candidates.MatchString(line) {
			return line
		}
		return ""
	})
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: heard}); err != nil {
		t.Fatal(err)
	}
}

func (v *viewer) read(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	v.mu.Lock()
	v.ssrc = track.SSRC()
	v.mu.Unlock()
	go func() {
		for {
			packets, _, err := receiver.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if sr, ok := p.(*rtcp.SenderReport); ok {
					v.mu.Lock()
					v.reports = append(v.reports, sr)
					v.mu.Unlock()
				}
			}
		}
	}()
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.mu.Lock()
		v.packets = append(v.packets, p)
		v.at = append(v.at, time.Now())
		v.count(p)
		v.mu.Unlock()
	}
}

func (v *viewer) received() []*rtp.Packet {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]*rtp.Packet(nil), v.packets...)
}

// pictures returns how many pictures have come to their end, and how many
// packets are missing. A packet that was late may well come twice.
func (v *viewer) pictures() (ended, missing int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.seen) == 0 {
		return 0, 0
	}
	return v.ended, v.highest - v.lowest + 1 - len(v.seen)
}

// count counts a packet for pictures.
func (v *viewer) count(p *rtp.Packet) {
	if v.seen == nil {
		v.seen = make(map[int]struct{})
		v.lowest, v.highest = int(p.SequenceNumber), int(p.SequenceNumber)
	}
	n := v.highest + int(int16(p.SequenceNumber-uint16(v.highest)))
	if _, again := v.seen[n]; again {
		return
	}
	v.seen[n] = struct{}{}
	v.lowest, v.highest = min(v.lowest, n), max(v.highest, n)
	if p.Marker {
		v.ended++
	}
}
