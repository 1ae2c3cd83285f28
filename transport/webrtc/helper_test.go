package webrtc_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lenscast/lenscast/capture/h264"
	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// camera is a source of pictures for tests: it fans out to any number of
// readers, keeps the group of pictures, and drops to the next IDR when a
// reader's queue is full.
type camera struct {
	queue int // pictures that may wait for a reader
	onKey func()

	mu      sync.Mutex
	gop     []*h264.AccessUnit
	readers map[*reader]struct{}
	wishes  int
	n       int
}

func newCamera() *camera { return &camera{queue: 120, readers: make(map[*reader]struct{})} }

const frameTime = time.Second / 30

// picture makes a picture of about size bytes, numbered in its bytes, with
// parameter sets when it is an IDR.
func picture(n, size int, key bool) *h264.AccessUnit {
	au := &h264.AccessUnit{PTS: time.Duration(n) * frameTime, Captured: time.Now(), Key: key}
	slice := make([]byte, size)
	for i := range slice {
		slice[i] = byte(i*7 + n)
	}
	slice[0] = 0x61
	if key {
		slice[0] = 0x65
		sps := []byte{0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84}
		au.NALUs = append(au.NALUs, sps, []byte{0x68, 0xcb, 0x83, 0xcb, 0x20})
	}
	au.NALUs = append(au.NALUs, slice)
	return au
}

func (c *camera) publish(size int, key bool) *h264.AccessUnit {
	c.mu.Lock()
	defer c.mu.Unlock()
	au := picture(c.n, size, key)
	c.n++
	c.publishLocked(au)
	return au
}

func (c *camera) publishLocked(au *h264.AccessUnit) {
	if au.Key {
		c.gop = nil
	}
	c.gop = append(c.gop, au)
	for r := range c.readers {
		r.push(au)
	}
}

// run publishes at 30 fps until ctx ends; every gop'th picture is an IDR, and
// the one after a wish.
func (c *camera) run(ctx context.Context, size, keySize, gop int) {
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	answered := 0
	for n := 0; ; n++ {
		c.mu.Lock()
		wished := c.wishes > answered
		answered = c.wishes
		c.mu.Unlock()
		if key := n%gop == 0 || wished && c.onKey != nil; key {
			c.publish(keySize, true)
		} else {
			c.publish(size, false)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *camera) keyframeWishes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wishes
}

func (c *camera) open() lenscast.Reader {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &reader{camera: c, ready: make(chan struct{}, 1), closed: make(chan struct{}), limit: c.queue + len(c.gop)}
	for _, au := range c.gop {
		r.push(au)
	}
	c.readers[r] = struct{}{}
	return r
}

type reader struct {
	camera *camera
	limit  int
	ready  chan struct{}
	closed chan struct{}

	mu      sync.Mutex
	queue   []*h264.AccessUnit
	needKey bool
	dropped uint64
}

func (r *reader) push(au *h264.AccessUnit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) >= r.limit {
		r.dropped += uint64(len(r.queue))
		r.queue, r.needKey = nil, true
	}
	if r.needKey = r.needKey && !au.Key; r.needKey {
		r.dropped++
		return
	}
	r.queue = append(r.queue, au)
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *reader) Next(ctx context.Context) (*h264.AccessUnit, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			au := r.queue[0]
			r.queue = r.queue[1:]
			r.mu.Unlock()
			return au, nil
		}
		r.mu.Unlock()
		select {
		case <-r.ready:
		case <-r.closed:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (r *reader) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue)
}

func (r *reader) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

func (r *reader) RequestKeyframe() {
	r.camera.mu.Lock()
	defer r.camera.mu.Unlock()
	r.camera.wishes++
	if r.camera.onKey != nil {
		r.camera.onKey()
	}
}

func (r *reader) Close() {
	r.camera.mu.Lock()
	defer r.camera.mu.Unlock()
	if _, ok := r.camera.readers[r]; ok {
		delete(r.camera.readers, r)
		close(r.closed)
	}
}

// startServer runs a WHEP server on loopback, with the camera "cam", until the
// test ends.
func startServer(t testing.TB, cam *camera, change func(*lenscast.ServerParams)) (*lenscast.Server, *httptest.Server) {
	t.Helper()
	params := lenscast.ServerParams{
		Listen: "127.0.0.1:0",
		Camera: func(name string) (lenscast.Feed, error) {
			switch name {
			case "cam":
				return lenscast.Feed{Open: cam.open, Profile: "Constrained Baseline"}, nil
			case "asleep":
				return lenscast.Feed{}, lenscast.ErrNotLive
			}
			return lenscast.Feed{}, lenscast.ErrUnknownCamera
		},
	}
	if change != nil {
		change(&params)
	}
	s, err := lenscast.NewServer(params)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		web.Close()
	})
	waitFor(t, "the server to run", func() bool {
		return request(t, web, http.MethodOptions, "/whep/cam", "", "", nil).StatusCode == http.StatusOK
	})
	return s, web
}

// waitFor waits for a condition.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute) // for machines with more to do
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// request makes an HTTP request; the body of the answer is read already.
func request(t testing.TB, web *httptest.Server, method, url, contentType, body string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, web.URL+url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(text)))
	return resp
}

func bodyOf(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// viewer is a WHEP player made of pion.
type viewer struct {
	pc       *webrtc.PeerConnection
	location string
	etag     string
	answer   string
	posted   time.Time
	clock    *webrtc.DataChannel

	mu       sync.Mutex
	packets  []*rtp.Packet
	at       []time.Time
	reports  []*rtcp.SenderReport
	messages []string
	ssrc     webrtc.SSRC
}

// viewerOptions change how a viewer behaves.
type viewerOptions struct {
	audioFirst bool
	tcpOnly    bool
	data       bool
	extensions []string
	rtx        bool
	deaf       bool // reads nothing
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
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	v := &viewer{pc: pc}
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
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: v.answer}); err != nil {
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
		v.mu.Unlock()
	}
}

func (v *viewer) received() []*rtp.Packet {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]*rtp.Packet(nil), v.packets...)
}

// pictures returns how many complete pictures arrived: markers without a hole
// before them. holes counts missing sequence numbers.
func (v *viewer) pictures() (complete, holes int) {
	packets := v.received()
	for i, p := range packets {
		if i > 0 {
			holes += int(int16(p.SequenceNumber-packets[i-1].SequenceNumber)) - 1
		}
		if p.Marker {
			complete++
		}
	}
	return complete, holes
}

// minimalOffer is answered, but nobody connects.
const minimalOffer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=rtpmap:102 H264/90000\r\n" +
	"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
