package webrtc_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// playerPage is the least that plays. order lists the kinds of media that are
// offered.
const playerPage = `<!doctype html><video id=v muted autoplay playsinline></video><script>
const log = [], syncs = [], tracks = [];
async function play({order = ['video'], bundlePolicy = 'balanced', tcpOnly = false, relay = 0}) {
  const pc = window.pc = new RTCPeerConnection({bundlePolicy});
  for (const kind of order) pc.addTransceiver(kind, {direction: 'recvonly'});
  const tr = pc.getTransceivers().find(t => t.receiver.track.kind == 'video');
  if (tr.getHeaderExtensionsToNegotiate) {
    const exts = tr.getHeaderExtensionsToNegotiate();
    for (const e of exts) if (e.uri.endsWith('abs-capture-time')) e.direction = 'sendrecv';
    tr.setHeaderExtensionsToNegotiate(exts);
  }
  const clock = pc.createDataChannel('clock');
  clock.onopen = () => clock.send(JSON.stringify({type: 'ping', t: 1.5}));
  clock.onmessage = m => syncs.push(JSON.parse(m.data));
  // Like a simple player: whatever comes is played.
  v.srcObject = new MediaStream();
  pc.ontrack = e => { tracks.push(e.track.kind); v.srcObject.addTrack(e.track); };
  await pc.setLocalDescription();
  const start = performance.now();
  const offer = relay ? pc.localDescription.sdp.replace(/a=candidate:.*\r\n/g, '') : pc.localDescription.sdp;
  const r = await fetch('/whep/cam', {method: 'POST', body: offer, headers: {'Content-Type': 'application/sdp'}});
  if (r.status != 201) throw await r.text();
  const frame = (now, m) => { log.push({at: performance.now() - start, rtp: m.rtpTimestamp, wall: Date.now()}); v.requestVideoFrameCallback(frame); };
  v.requestVideoFrameCallback(frame);
  let sdp = await r.text();
  if (tcpOnly) sdp = sdp.replace(/a=candidate:\S+ \d+ udp .*\r\n/g, '');
  if (relay) sdp = sdp.replace(/a=candidate:\S+ \d+ tcp .*\r\n/g, '').replace(/(a=candidate:\S+ \d+ udp \d+) \S+ \d+/g, '$1 127.0.0.1 ' + relay);
  await pc.setRemoteDescription({type: 'answer', sdp});
}
async function stats() {
  const out = {width: v.videoWidth, frames: log.length, first: log.length ? log[0].at : 0, syncs: syncs.length, tracks: tracks.join()};
  for (const s of (await pc.getStats()).values()) if (s.type == 'inbound-rtp' && s.kind == 'video')
    for (const k of ['framesDecoded', 'framesDropped', 'freezeCount', 'totalFreezesDuration', 'packetsLost', 'nackCount', 'pliCount', 'keyFramesDecoded']) out[k] = s[k] || 0, out.jitterBuffer = s.jitterBufferDelay / s.jitterBufferEmittedCount * 1000;
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
	Tracks                                                                                        string
	First, JitterBuffer, Latency, CaptureTime, Pong, TotalFreezesDuration                         float64
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

func awaitPromise(ctx context.Context, t *testing.T, js string, out any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, chromedp.Evaluate(js, out, chromedp.EvalAsValue, awaitIt)); err != nil {
		t.Fatal(err)
	}
}

func TestChromiumPlays(t *testing.T) {
	const fps = 30
	units := encode(t, 10, fps, 300, "640x360")
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
	for _, c := range []struct{ name, options, transport string }{
		{"video only", "{}", "udp"},
		{"video only, max-bundle", "{bundlePolicy: 'max-bundle'}", "udp"},
		{"audio first", "{order: ['audio', 'video']}", "udp"},
		{"audio first, max-bundle", "{order: ['audio', 'video'], bundlePolicy: 'max-bundle'}", "udp"},
		{"audio first, max-compat", "{order: ['audio', 'video'], bundlePolicy: 'max-compat'}", "udp"},
		{"audio last", "{order: ['video', 'audio']}", "udp"},
		{"audio last, max-bundle", "{order: ['video', 'audio'], bundlePolicy: 'max-bundle'}", "udp"},
		{"UDP blocked", "{tcpOnly: true}", "tcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := chromedp.Run(page, chromedp.Reload()); err != nil {
				t.Fatal(err)
			}
			awaitPromise(page, t, "play("+c.options+").then(() => 0)", nil)
			var st playerStats
			waitFor(t, "60 frames and the clock", func() bool {
				awaitPromise(page, t, "stats()", &st)
				return st.FramesDecoded > 60 && st.Frames > 0 && st.Syncs >= 2 && st.CaptureTime > 0
			})
			t.Logf("%+v", st)
			sessions := s.Sessions()
			if got := sessions[len(sessions)-1].Transport; got != c.transport {
				t.Errorf("played over %q", got)
			}
			if st.Width != 640 || st.PacketsLost != 0 || st.PliCount != 0 {
				t.Errorf("played badly: %+v", st)
			}
			if st.Tracks != "video" {
				t.Errorf("the page was promised %s", st.Tracks)
			}
			if st.Pong != 1.5 {
				t.Errorf("the page cannot compare clocks: %+v", st)
			}
		})
	}
}

func awaitIt(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
