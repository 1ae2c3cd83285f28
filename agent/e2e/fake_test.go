package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"

	"github.com/lenscast/lenscast/agent/web"
)

// fakeAgent is an agent whose faults a test can choose: what the real one
// never does on purpose (freeze a live camera, answer no more, refuse).
type fakeAgent struct {
	t   *testing.T
	api *webrtc.API
	url string

	mu      sync.Mutex
	order   []string
	cameras map[string]*fakeCamera
	refuse  http.HandlerFunc // answers POST in place of the agent, if set
	posts   int
}

// fakeCamera plays the clip in a loop to its sessions.
type fakeCamera struct {
	state, reason string
	since         time.Time
	frozen        bool
	sessions      map[string]*fakeSession
}

type fakeSession struct {
	pc         *webrtc.PeerConnection
	track      *webrtc.TrackLocalStaticRTP
	packetizer rtp.Packetizer
	started    bool // an IDR was sent
	clock      *webrtc.DataChannel
	syncs      int
}

const clipRate = 30 // fps

// newFakeAgent starts an agent with live cameras of the given names.
func newFakeAgent(t *testing.T, params web.Params, names ...string) *fakeAgent {
	t.Helper()
	need(t, "ffmpeg")
	clip, err := makeClip()
	must(t, err)
	a := &fakeAgent{t: t, cameras: make(map[string]*fakeCamera)}
	for _, name := range names {
		a.addCamera(name)
	}

	var engine webrtc.MediaEngine
	must(t, engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		},
		PayloadType: 108,
	}, webrtc.RTPCodecTypeVideo))
	a.api = webrtc.NewAPI(webrtc.WithMediaEngine(&engine))

	params.Listen = "127.0.0.1:0"
	params.WHEP = http.HandlerFunc(a.whep)
	params.Status = a.status
	params.Metrics = func(w io.Writer) {}
	params.Health = func() error { return nil }
	params.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	server, err := web.New(params)
	must(t, err)
	a.url = server.URL()

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { a.play(ctx, clip) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, name := range a.order {
			a.endSessions(name)
		}
	})
	return a
}

func (a *fakeAgent) addCamera(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.order = append(a.order, name)
	a.cameras[name] = &fakeCamera{state: "live", since: time.Now(), sessions: make(map[string]*fakeSession)}
}

// change changes a camera; with "live" its pictures go on.
func (a *fakeAgent) change(name string, f func(*fakeCamera)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a.cameras[name])
}

func (a *fakeAgent) setState(name, state, reason string) {
	a.change(name, func(c *fakeCamera) {
		c.state, c.reason, c.since = state, reason, time.Now()
		for _, s := range c.sessions {
			s.started = false
		}
	})
}

func (a *fakeAgent) removeCamera(name string) {
	a.endSessions(name)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.cameras, name)
	a.order = slices.DeleteFunc(a.order, func(n string) bool { return n == name })
}

// endSessions ends all sessions of a camera, as an agent that is stopped does.
func (a *fakeAgent) endSessions(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.cameras[name]
	for id, s := range c.sessions {
		s.pc.Close()
		delete(c.sessions, id)
	}
}

// setRefuse lets f answer offers; nil answers them again.
func (a *fakeAgent) setRefuse(f http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = f
}

func (a *fakeAgent) postCount() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.posts
}

func (a *fakeAgent) sessionCount(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.cameras[name].sessions)
}

func (a *fakeAgent) status() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	cameras := []map[string]any{}
	for _, name := range a.order {
		c := a.cameras[name]
		cameras = append(cameras, map[string]any{
			"name": name, "source": "test", "state": c.state, "reason": c.reason, "since": stamp(c.since),
			"mode": "software", "detail": "OpenH264", "width": 1280, "height": 720,
			"profile": "Constrained Baseline", "fps": clipRate, "viewers": len(c.sessions),
		})
	}
	return map[string]any{"version": "v0.0.0-test", "time": stamp(time.Now()), "cameras": cameras, "viewers": []any{}, "problems": []string{}}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// whep is a WHEP endpoint that does the least: no trickle, no ICE restart.
func (a *fakeAgent) whep(w http.ResponseWriter, r *http.Request) {
	name, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/whep/"), "/")
	a.mu.Lock()
	defer a.mu.Unlock()
	camera, ok := a.cameras[name]
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Method == http.MethodPost:
		a.posts++
		if a.refuse != nil {
			a.refuse(w, r)
			return
		}
		offer, _ := io.ReadAll(r.Body)
		answer, session, err := a.answer(string(offer))
		if err != nil {
			a.t.Logf("offer refused: %v", err)
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		id := rand.Text()
		camera.sessions[id] = session
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", r.URL.Path+"/"+id)
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, answer)
	case r.Method == http.MethodDelete && camera.sessions[id] != nil:
		camera.sessions[id].pc.Close()
		delete(camera.sessions, id)
	case r.Method == http.MethodPatch && camera.sessions[id] != nil:
		if r.Header.Get("If-Match") == "*" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

func (a *fakeAgent) answer(offer string) (string, *fakeSession, error) {
	pc, err := a.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", nil, err
	}
	s := &fakeSession{pc: pc, packetizer: rtp.NewPacketizer(1200, 108, 0, &codecs.H264Payloader{}, rtp.NewRandomSequencer(), 90000)}
	s.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "camera")
	if err != nil {
		return "", nil, err
	}
	if _, err := pc.AddTrack(s.track); err != nil {
		return "", nil, err
	}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) { a.answerPings(s, dc) })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", nil, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", nil, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", nil, err
	}
	<-gathered
	return pc.LocalDescription().SDP, s, nil
}

func (a *fakeAgent) answerPings(s *fakeSession, dc *webrtc.DataChannel) {
	dc.OnOpen(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		s.clock = dc
	})
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		var ping struct {
			Type string
			T    float64
		}
		if json.Unmarshal(m.Data, &ping) == nil && ping.Type == "ping" {
			dc.SendText(fmt.Sprintf(`{"type":"pong","t":%v,"now":%.3f}`, ping.T, unixMS(time.Now())))
		}
	})
}

func unixMS(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// picture is one access unit of the clip.
type picture struct {
	nalus [][]byte
	key   bool
}

// play sends the clip in a loop at its frame rate.
func (a *fakeAgent) play(ctx context.Context, clip []picture) {
	start := time.Now()
	for n := 0; ; n++ {
		at := start.Add(time.Duration(n) * time.Second / clipRate)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(at)):
		}
		a.send(clip[n%len(clip)], uint32(n*90000/clipRate), at)
	}
}

func (a *fakeAgent) send(p picture, timestamp uint32, captured time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.cameras {
		if c.state != "live" || c.frozen {
			continue
		}
		for _, s := range c.sessions {
			s.started = s.started || (p.key && s.pc.ConnectionState() == webrtc.PeerConnectionStateConnected)
			if s.started {
				s.send(p, timestamp, captured)
			}
		}
	}
}

func (s *fakeSession) send(p picture, timestamp uint32, captured time.Time) {
	for i, nalu := range p.nalus {
		packets := s.packetizer.Packetize(nalu, 0)
		for j, packet := range packets {
			packet.Timestamp = timestamp
			packet.Marker = i == len(p.nalus)-1 && j == len(packets)-1
			s.track.WriteRTP(packet)
		}
	}
	if s.clock != nil && s.syncs%clipRate == 0 {
		s.clock.SendText(fmt.Sprintf(`{"type":"sync","rtp":%d,"captured":%.3f}`, timestamp, unixMS(captured)))
	}
	if s.clock != nil {
		s.syncs++
	}
}

// makeClip makes 10 s of H.264 with ffmpeg: a moving picture with the frame
// number as blocks in the top left corner.
var makeClip = sync.OnceValues(func() ([]picture, error) {
	filters := []string{"drawbox=0:0:256:32:black:fill"}
	for i := range 16 {
		one := fmt.Sprintf("mod(floor(n/%d),2)", 1<<(15-i))
		filters = append(filters,
			fmt.Sprintf("drawbox=%d:0:16:16:white:fill:enable='%s'", 16*i, one),
			fmt.Sprintf("drawbox=%d:16:16:16:white:fill:enable='1-%s'", 16*i, one))
	}
	cmd := exec.Command("ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30:duration=10",
		"-vf", strings.Join(filters, ",")+",format=yuv420p", "-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast",
		"-tune", "zerolatency", "-b:v", "2400k", "-g", "30", "-x264-params", "sliced-threads=0", "-f", "h264", "-")
	var clip, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &clip, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("make a clip: %w\n%s", err, &complaint)
	}
	return pictures(&clip)
})

// pictures splits an Annex B stream with one slice in each picture.
func pictures(stream io.Reader) ([]picture, error) {
	reader, err := h264reader.NewReader(stream)
	if err != nil {
		return nil, err
	}
	var all []picture
	var next picture
	for {
		nal, err := reader.NextNAL()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		switch nal.UnitType {
		case h264reader.NalUnitTypeCodedSliceNonIdr, h264reader.NalUnitTypeCodedSliceIdr:
			next.nalus = append(next.nalus, nal.Data)
			next.key = nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr
			all, next = append(all, next), picture{}
		case h264reader.NalUnitTypeSPS, h264reader.NalUnitTypePPS:
			next.nalus = append(next.nalus, nal.Data)
		}
	}
}

// need returns the path of a tool; without it the test is skipped.
func need(t *testing.T, tools ...string) string {
	t.Helper()
	for _, tool := range tools {
		if path, err := exec.LookPath(tool); err == nil {
			return path
		}
	}
	t.Skipf("%s is not installed", strings.Join(tools, " or "))
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits up to 10 s until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// freeUDPPort returns a UDP port of 127.0.0.1 that nobody listens at.
func freeUDPPort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}
