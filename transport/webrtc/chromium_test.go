package webrtc_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/lenscast/lenscast/capture/h264"
)

// playerPage is the least that plays: video only, or audio first.
const playerPage = `<!doctype html><video id=v muted autoplay playsinline></video><script>
const log = [], syncs = [];
async function play(audio, tcpOnly) {
  const pc = window.pc = new RTCPeerConnection();
  if (audio) pc.addTransceiver('audio', {direction: 'recvonly'});
  const tr = pc.addTransceiver('video', {direction: 'recvonly'});
  if (tr.getHeaderExtensionsToNegotiate) {
    const exts = tr.getHeaderExtensionsToNegotiate();
    for (const e of exts) if (e.uri.endsWith('abs-capture-time')) e.direction = 'sendrecv';
    tr.setHeaderExtensionsToNegotiate(exts);
  }
  const clock = pc.createDataChannel('clock');
  clock.onopen = () => clock.send(JSON.stringify({type: 'ping', t: 1.5}));
  clock.onmessage = m => syncs.push(JSON.parse(m.data));
  pc.ontrack = e => { if (e.track.kind == 'video') v.srcObject = new MediaStream([e.track]); };
  await pc.setLocalDescription();
  const start = performance.now();
  const r = await fetch('/whep/cam', {method: 'POST', body: pc.localDescription.sdp, headers: {'Content-Type': 'application/sdp'}});
  if (r.status != 201) throw await r.text();
  const frame = (now, m) => { log.push({at: performance.now() - start, rtp: m.rtpTimestamp, wall: Date.now()}); v.requestVideoFrameCallback(frame); };
  v.requestVideoFrameCallback(frame);
  let sdp = await r.text();
  if (tcpOnly) sdp = sdp.replace(/a=candidate:\S+ \d+ udp .*\r\n/g, '');
  await pc.setRemoteDescription({type: 'answer', sdp});
}
async function stats() {
  const out = {width: v.videoWidth, frames: log.length, first: log.length ? log[0].at : 0, syncs: syncs.length};
  for (const s of (await pc.getStats()).values()) if (s.type == 'inbound-rtp' && s.kind == 'video')
    for (const k of ['framesDecoded', 'framesDropped', 'freezeCount', 'packetsLost', 'nackCount', 'pliCount', 'keyFramesDecoded']) out[k] = s[k] || 0, out.jitterBuffer = s.jitterBufferDelay / s.jitterBufferEmittedCount * 1000;
  // Capture to display, by the newest sync message and the last frame shown.
  const sync = syncs.filter(m => m.type == 'sync').pop(), last = log[log.length - 1];
  if (sync && last) out.latency = last.wall - (sync.captured + ((last.rtp - sync.rtp) | 0) / 90);
  const src = tr => tr.receiver.getSynchronizationSources()[0];
  const tr = pc.getTransceivers().find(t => t.receiver.track.kind == 'video');
  out.captureTime = src(tr) && src(tr).captureTimestamp || 0;
  out.pong = (syncs.find(m => m.type == 'pong') || {}).t || 0;
  return out;
}
</script>`

// playerStats is what the page's stats() returns.
type playerStats struct {
	Width, Frames, Syncs                                                                          int
	FramesDecoded, FramesDropped, FreezeCount, PacketsLost, NackCount, PliCount, KeyFramesDecoded int
	First, JitterBuffer, Latency, CaptureTime, Pong                                               float64
}

// encode makes size pictures of a moving test pattern with ffmpeg.
func encode(t *testing.T, seconds, fps, gop int, size string) []*h264.AccessUnit {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size="+size+":rate="+strconv.Itoa(fps),
		"-t", strconv.Itoa(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline",
		"-b:v", "3M", "-pix_fmt", "yuv420p", "-x264-params", "keyint="+strconv.Itoa(gop)+":scenecut=0:slices=1:repeat-headers=1:aud=1", "-f", "h264", "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var units []*h264.AccessUnit
	for _, nalu := range splitAnnexB(out) {
		if h264.TypeOf(nalu) == h264.NALUAUD {
			units = append(units, &h264.AccessUnit{})
		}
		au := units[len(units)-1]
		au.NALUs = append(au.NALUs, nalu)
		au.Key = au.Key || h264.TypeOf(nalu) == h264.NALUIDR
	}
	return units
}

// splitAnnexB splits what x264 writes, which has no other zeros before start
// codes than the fourth of one.
func splitAnnexB(stream []byte) [][]byte {
	var nalus [][]byte
	for _, part := range bytes.Split(stream, []byte{0, 0, 1})[1:] {
		nalus = append(nalus, bytes.TrimSuffix(part, []byte{0}))
	}
	return nalus
}

// loop publishes encoded pictures at their rate until ctx ends, back and forth
// never: after the last comes the first, which is an IDR.
func (c *camera) loop(ctx context.Context, units []*h264.AccessUnit, fps int) {
	tick := time.NewTicker(time.Second / time.Duration(fps))
	defer tick.Stop()
	for n := 0; ; n++ {
		au := *units[n%len(units)]
		au.PTS = time.Duration(n) * time.Second / time.Duration(fps)
		au.Captured = time.Now()
		c.mu.Lock()
		c.publishLocked(&au)
		c.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// browser starts a headless Chromium on a page of web.
func browser(t *testing.T, url string, flags ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed")
	}
	options := append([]chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("allow-loopback-in-peer-connection", true),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"),
	}, flags...)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// withPage serves the player beside the WHEP endpoint.
func withPage(t *testing.T, whep http.Handler) *httptest.Server {
	mux := http.NewServeMux()
	mux.Handle("/whep/", whep)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(playerPage)) })
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	return web
}

func awaitPromise(t *testing.T, ctx context.Context, js string, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Evaluate(js, out, chromedp.EvalAsValue, awaitIt)); err != nil {
		t.Fatal(err)
	}
}

func TestChromiumPlays(t *testing.T) {
	const fps = 30
	units := encode(t, 10, fps, 300, "1280x720")
	cam := newCamera()
	s, _ := startServer(t, cam, nil)
	web := withPage(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go cam.loop(ctx, units, fps)
	page := browser(t, web.URL)
	// Well inside a group of 10 s, so that the first player has to catch up.
	waitFor(t, "4 s of a group", func() bool {
		cam.mu.Lock()
		defer cam.mu.Unlock()
		return len(cam.gop) > 4*fps && len(cam.gop) < 7*fps
	})
	for _, c := range []struct{ name, call, transport string }{
		{"video only", "play(false)", "udp"},
		{"audio first", "play(true)", "udp"},
		{"UDP blocked", "play(false, true)", "tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := chromedp.Run(page, chromedp.Reload()); err != nil {
				t.Fatal(err)
			}
			awaitPromise(t, page, c.call+".then(() => 0)", nil)
			var st playerStats
			waitFor(t, "180 frames and the clock", func() bool {
				awaitPromise(t, page, "stats()", &st)
				return st.FramesDecoded > 180 && st.Syncs >= 2 && st.CaptureTime > 0
			})
			t.Logf("%+v", st)
			sessions := s.Sessions()
			if got := sessions[len(sessions)-1].Transport; got != c.transport {
				t.Errorf("played over %q", got)
			}
			if st.Width != 1280 || st.PacketsLost != 0 || st.PliCount != 0 {
				t.Errorf("played badly: %+v", st)
			}
			if st.Pong != 1.5 {
				t.Errorf("the page cannot compare clocks: %+v", st)
			}
		})
	}
}

func awaitIt(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
