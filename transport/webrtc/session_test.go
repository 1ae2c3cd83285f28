package webrtc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

func TestViewerSeesPictures(t *testing.T) {
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 60)
	for name, c := range map[string]struct {
		options   viewerOptions
		transport string
	}{
		"video only":   {viewerOptions{}, "udp"},
		"audio first":  {viewerOptions{audioFirst: true}, "udp"},
		"TCP":          {viewerOptions{tcpOnly: true}, "tcp"},
		"RTX and data": {viewerOptions{rtx: true, data: true}, "udp"},
	} {
		t.Run(name, func(t *testing.T) {
			v := watch(t, web, c.options)
			waitFor(t, "45 pictures", func() bool { n, _ := v.pictures(); return n >= 45 })
			if _, missing := v.pictures(); missing != 0 {
				t.Errorf("%d packets are missing", missing)
			}
			if typ := v.received()[0].Payload[0] & 0x1f; typ != 24 {
				t.Errorf("the first payload is of type %d, want a STAP-A of the parameter sets", typ)
			}
			st := s.Sessions()[0]
			if st.Camera != "cam" || st.State != "live" || st.Transport != c.transport || !strings.HasPrefix(st.Remote, "127.0.0.1:") || st.PacketsSent == 0 {
				t.Errorf("status is %+v", st)
			}
			request(t, web, http.MethodDelete, v.location, "", "", nil)
		})
	}
}

func TestIPv6(t *testing.T) {
	cam := newCamera()
	s, web := startServer(t, cam, func(p *lenscast.ServerParams) { p.Listen = "[::1]:0" })
	runCamera(t, cam, 5000, 60000, 60)
	v := watch(t, web, viewerOptions{})
	waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })
	if remote := s.Sessions()[0].Remote; !strings.HasPrefix(remote, "[") {
		t.Errorf("remote is %s", remote)
	}
}

func TestLostPacketsAreResent(t *testing.T) {
	for name, o := range map[string]viewerOptions{"RTX": {rtx: true}, "same SSRC": {}} {
		t.Run(name, func(t *testing.T) {
			cam := newCamera()
			s, web := startServer(t, cam, nil)
			runCamera(t, cam, 5000, 60000, 60)
			v := watch(t, web, o)
			waitFor(t, "20 pictures", func() bool { n, _ := v.pictures(); return n >= 20 })
			before := v.received()
			var asked []uint16
			for _, i := range []int{0, 1, 7, 30, 31, 32, 50} {
				asked = append(asked, before[i].SequenceNumber)
			}
			ask := func(sequences ...uint16) {
				t.Helper()
				if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
					MediaSSRC: uint32(v.ssrc), Nacks: rtcp.NackPairsFromSequenceNumbers(sequences),
				}}); err != nil {
					t.Fatal(err)
				}
			}
			ask(asked...)
			ask(before[0].SequenceNumber - 1000) // never was, and nobody minds
			again := func(seq uint16) (packets []*rtp.Packet) {
				for _, p := range v.received() {
					if p.SequenceNumber == seq {
						packets = append(packets, p)
					}
				}
				return packets
			}
			for i, seq := range asked {
				waitFor(t, "a packet to come again", func() bool { return len(again(seq)) == 2 })
				p := again(seq)
				if !bytes.Equal(p[0].Payload, p[1].Payload) || p[0].Timestamp != p[1].Timestamp || p[0].Marker != p[1].Marker {
					t.Errorf("packet %d came back changed", i)
				}
			}
			waitFor(t, "the count", func() bool { return s.Sessions()[0].NACKs == uint64(len(asked))+1 })
			if st := s.Sessions()[0]; st.PacketsResent != uint64(len(asked)) {
				t.Errorf("resent %d of %d", st.PacketsResent, len(asked))
			}
		})
	}
}

func TestKeyframeRequestsReachTheSource(t *testing.T) {
	cam := newCamera()
	cam.onKey = func() {}
	s, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 100_000)
	v := watch(t, web, viewerOptions{})
	waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })
	keys := func() (n int) {
		for _, p := range v.received() {
			if p.Payload[0]&0x1f == 24 {
				n++
			}
		}
		return n
	}
	for i, p := range []rtcp.Packet{
		&rtcp.PictureLossIndication{MediaSSRC: uint32(v.ssrc)},
		&rtcp.FullIntraRequest{MediaSSRC: uint32(v.ssrc), FIR: []rtcp.FIREntry{{SSRC: uint32(v.ssrc), SequenceNumber: 1}}},
	} {
		asked := time.Now()
		if err := v.pc.WriteRTCP([]rtcp.Packet{p}); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "an IDR", func() bool { return keys() == i+2 })
		t.Logf("%T to IDR: %v", p, time.Since(asked).Round(time.Millisecond))
	}
	if n := s.Sessions()[0].PLIs; n != 2 {
		t.Errorf("status counts %d requests, want 2", n)
	}
}

func TestLateViewerCatchesUp(t *testing.T) {
	t.Parallel()
	cam := newCamera()
	_, web := startServer(t, cam, nil)
	cam.publish(60000, true)
	for range 99 {
		cam.publish(5000, false)
	}
	v := watch(t, web, viewerOptions{})
	waitFor(t, "the cached group", func() bool { n, _ := v.pictures(); return n >= 100 })
	for range 10 {
		cam.publish(5000, false)
	}
	waitFor(t, "10 pictures more", func() bool { n, _ := v.pictures(); return n >= 110 })
	var times []uint32
	for _, p := range v.received() {
		if p.Marker {
			times = append(times, p.Timestamp)
		}
	}
	for i := 1; i < len(times); i++ {
		want := uint32(90) // 1 ms apart until the newest
		if i >= 100 {
			want = 3000 // their own time at 30 fps
		}
		if got := times[i] - times[i-1]; got < want-1 || got > want+1 {
			t.Errorf("picture %d comes %d ticks after the one before, want %d", i, got, want)
		}
	}
}

// By what the sender reports say, the viewer knows to the millisecond when
// each picture was captured.
func TestReportsTellCaptureTime(t *testing.T) {
	t.Parallel()
	cam := newCamera()
	s, web := startServer(t, cam, nil)
	v := watch(t, web, viewerOptions{})
	waitFor(t, "the session", func() bool { return s.Sessions()[0].State == "waiting" })
	cam.publish(5000, true) // alone, and so with a timestamp of its own
	waitFor(t, "the first picture", func() bool { n, _ := v.pictures(); return n == 1 })
	first := v.received()[0].Timestamp
	runCamera(t, cam, 5000, 60000, 60)
	reports := func() []*rtcp.SenderReport {
		v.mu.Lock()
		defer v.mu.Unlock()
		return slices.Clone(v.reports)
	}
	waitFor(t, "three sender reports", func() bool { return len(reports()) >= 3 })
	for _, sr := range reports() {
		const toUnix = 2208988800
		ntp := time.Unix(int64(sr.NTPTime>>32)-toUnix, int64(sr.NTPTime&0xffffffff)*1e9>>32)
		captured := ntp.Add(time.Duration(int32(first-sr.RTPTime)) * time.Second / 90000)
		if off := captured.Sub(cam.start); off.Abs() > time.Millisecond {
			t.Errorf("by a report the first picture was captured %v off", off)
		}
	}
	waitFor(t, "the round-trip time", func() bool { return s.Sessions()[0].RTT > 0 })
	if rtt := s.Sessions()[0].RTT; rtt > time.Second {
		t.Errorf("round-trip time on loopback is %v", rtt)
	}
}

// Each viewer has its own numbers for header extensions.
func TestExtensionsOfMixedViewers(t *testing.T) {
	t.Parallel()
	const delay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	const capture = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	const transportCC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	cam := newCamera()
	_, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 30)
	for name, uris := range map[string][]string{
		"both": {delay, capture}, "other way round": {capture, delay}, "others": {"urn:example:other", capture}, "one": {delay}, "none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := watch(t, web, viewerOptions{extensions: uris})
			waitFor(t, "40 pictures", func() bool { n, _ := v.pictures(); return n >= 40 })
			numbers := make(map[string]uint8)
			for _, e := range v.pc.GetReceivers()[0].GetParameters().HeaderExtensions {
				numbers[e.URI] = uint8(e.ID)
			}
			extended := 0
			for _, p := range v.received() {
				ids := slices.DeleteFunc(p.GetExtensionIDs(), func(id uint8) bool { return id == numbers[transportCC] })
				if len(ids) == 0 {
					continue
				}
				extended++
				want := 0
				if slices.Contains(uris, delay) {
					want++
					if got := p.GetExtension(numbers[delay]); len(got) != 3 {
						t.Errorf("%v: playout-delay is % x", uris, got)
					}
				}
				if slices.Contains(uris, capture) {
					want++
					got := p.GetExtension(numbers[capture])
					if len(got) != 8 {
						t.Fatalf("%v: abs-capture-time is % x", uris, got)
					}
					age := time.Since(time.Unix(int64(binary.BigEndian.Uint32(got))-2208988800, 0))
					if age < 0 || age > 30*time.Second {
						t.Errorf("captured %v ago", age)
					}
				}
				if len(ids) != want {
					t.Errorf("%v: extensions %v", uris, ids)
				}
			}
			if known := slices.ContainsFunc(uris, func(u string) bool { return u == delay || u == capture }); known != (extended > 0) {
				t.Errorf("%v: %d packets have extensions", uris, extended)
			}
		})
	}
}

func TestClockChannel(t *testing.T) {
	t.Parallel()
	cam := newCamera()
	_, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 30)
	v := watch(t, web, viewerOptions{data: true})
	type message struct {
		Type          string
		T, Now        float64
		RTP           uint32
		Captured      float64
		CapturedFound bool
	}
	messages := func(typ string) (all []message) {
		v.mu.Lock()
		defer v.mu.Unlock()
		for _, text := range v.messages {
			var m message
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			if m.Type == typ {
				all = append(all, m)
			}
		}
		return all
	}
	waitFor(t, "two sync messages", func() bool { return len(messages("sync")) >= 2 })
	for _, bad := range []string{"", "{", `{"type":"ping"}`, `{"type":"ping","t":{}}`, strings.Repeat("x", 900)} {
		if err := v.clock.SendText(bad); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.clock.SendText(`{"type":"ping","t":12.5}`); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the pong", func() bool { return len(messages("pong")) > 0 })
	now := float64(time.Now().UnixMilli())
	if pong := messages("pong")[0]; pong.T != 12.5 || pong.Now > now+1 || pong.Now < now-5000 {
		t.Errorf("pong is %+v at %f", pong, now)
	}
	sync := messages("sync")[1]
	if !slices.ContainsFunc(v.received(), func(p *rtp.Packet) bool { return p.Timestamp == sync.RTP }) {
		t.Errorf("no picture has the timestamp of %+v", sync)
	}
	if sync.Captured > now || sync.Captured < now-60_000 {
		t.Errorf("sync is %+v at %f", sync, now)
	}
}

func TestICERestart(t *testing.T) {
	t.Parallel()
	cam := newCamera()
	_, web := startServer(t, cam, nil)
	runCamera(t, cam, 5000, 60000, 30)
	for name, o := range map[string]viewerOptions{"video only": {}, "audio first": {audioFirst: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restartICE(t, web, watch(t, web, o))
		})
	}
}

func restartICE(t *testing.T, web *httptest.Server, v *viewer) {
	t.Helper()
	waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })

	offer, err := v.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(v.pc)
	if err := v.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	var fragment []string
	for line := range strings.Lines(v.pc.LocalDescription().SDP) {
		for _, want := range []string{"a=ice-ufrag", "a=ice-pwd", "m=", "a=mid", "a=candidate"} {
			if strings.HasPrefix(line, want) {
				fragment = append(fragment, line)
			}
		}
	}
	resp := request(t, web, http.MethodPatch, v.location, "application/trickle-ice-sdpfrag", strings.Join(fragment, ""), http.Header{"If-Match": {"*"}})
	body := bodyOf(t, resp)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("PATCH: %s %s", resp.Status, body)
	}
	// The answer as it was, with the credentials and candidates of the fragment.
	replaced := v.answer
	for line := range strings.Lines(v.answer) {
		for _, key := range []string{"a=ice-ufrag:", "a=ice-pwd:"} {
			if strings.HasPrefix(line, key) {
				i := strings.Index(body, key)
				replaced = strings.Replace(replaced, line, body[i:i+strings.Index(body[i:], "\n")+1], 1)
			}
		}
	}
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: replaced}); err != nil {
		t.Fatal(err)
	}
	n, _ := v.pictures()
	waitFor(t, "pictures after the restart", func() bool { more, _ := v.pictures(); return more > n+30 })
}

func TestRunEndsSessions(t *testing.T) {
	cam := newCamera()
	server, err := lenscast.NewServer(lenscast.ServerParams{
		Listen: "127.0.0.1:0",
		Camera: func(string) (lenscast.Feed, error) { return lenscast.Feed{Open: cam.open}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	web := withPage(t, server)
	waitFor(t, "the server to run", func() bool {
		return request(t, web, http.MethodOptions, "/whep/cam", "", "", nil).StatusCode == http.StatusOK
	})
	runCamera(t, cam, 5000, 60000, 30)
	viewers := []*viewer{watch(t, web, viewerOptions{}), watch(t, web, viewerOptions{tcpOnly: true}), watch(t, web, viewerOptions{data: true})}
	for _, v := range viewers {
		waitFor(t, "10 pictures", func() bool { n, _ := v.pictures(); return n >= 10 })
	}
	request(t, web, http.MethodPost, "/whep/cam", "application/sdp", minimalOffer, nil) // never connects
	start := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the end took %v", took)
	}
	for i, v := range viewers {
		waitFor(t, "viewers to be told", func() bool {
			state := v.pc.ConnectionState()
			return state == webrtc.PeerConnectionStateClosed || state == webrtc.PeerConnectionStateFailed
		})
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("viewer %d was told after %v", i, took)
		}
	}
	cam.mu.Lock()
	defer cam.mu.Unlock()
	if n := len(cam.readers); n != 0 {
		t.Errorf("%d readers are left open", n)
	}
}
