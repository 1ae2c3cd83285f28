package main

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// viewer is a WHEP client that counts packets and notes keyframes.
type viewer struct {
	pc      *webrtc.PeerConnection
	posted  time.Time // when the offer was
	packets atomic.Uint64
	closed  atomic.Bool

	keys  chan time.Time // when the last packet of an IDR came
	inKey bool           // it is still to come
}

// watch plays a camera.
func (a *testAgent) watch(camera, token string) *viewer {
	a.t.Helper()
	var engine webrtc.SettingEngine
	engine.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine), webrtc.WithMediaEngine(mediaEngine(a.t))).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { pc.Close() })
	v := &viewer{pc: pc, keys: make(chan time.Time, 64)}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s >= webrtc.PeerConnectionStateDisconnected {
			v.closed.Store(true)
		}
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			v.packets.Add(1)
			v.note(p)
		}
	})
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		a.t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		a.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		a.t.Fatal(err)
	}
	<-gathered
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+"/whep/"+camera, strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	v.posted = time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		a.t.Fatalf("POST /whep/%s: %s %s %v", camera, resp.Status, answer, err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		a.t.Fatal(err)
	}
	return v
}

func mediaEngine(t testing.TB) *webrtc.MediaEngine {
	t.Helper()
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	return m
}

// awaitPackets waits until the viewer has received n more packets.
func (v *viewer) awaitPackets(t testing.TB, n uint64) {
	t.Helper()
	until := v.packets.Load() + n
	for deadline := time.Now().Add(20 * time.Second); v.packets.Load() < until; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the viewer got %d packets, want %d", v.packets.Load(), until)
		}
	}
}

func (v *viewer) awaitEnd(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !v.closed.Load(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the viewer's session goes on")
		}
	}
}

// note looks for IDRs: they begin with a STAP-A (RFC 6184 section 5.7.1) of
// their parameter sets.
func (v *viewer) note(p *rtp.Packet) {
	const stapA, sps = 24, 7
	if len(p.Payload) > 3 && p.Payload[0]&0x1f == stapA && p.Payload[3]&0x1f == sps {
		v.inKey = true
	}
	if p.Marker && v.inKey {
		v.inKey = false
		select {
		case v.keys <- time.Now():
		default: // nobody wants to know
		}
	}
}

// awaitKey waits for an IDR and returns when it was complete.
func (v *viewer) awaitKey(t testing.TB) time.Time {
	t.Helper()
	select {
	case at := <-v.keys:
		return at
	case <-time.After(20 * time.Second):
		t.Fatal("no IDR came")
		return time.Time{}
	}
}

// askForKey sends a picture loss indication (RFC 4585 section 6.3.1).
func (v *viewer) askForKey(t testing.TB) {
	t.Helper()
	ssrc := v.pc.GetReceivers()[0].Track().SSRC()
	if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(ssrc)}}); err != nil {
		t.Fatal(err)
	}
}
