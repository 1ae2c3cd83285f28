package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// The tests of this file run the real command and watch it in Chromium.

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(binaryDir)
	os.Exit(code)
}

// binaryDir is where build puts the command, if it does.
var binaryDir = filepath.Join(os.TempDir(), fmt.Sprintf("lenscast-e2e-%d", os.Getpid()))

var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(binaryDir, "lenscast")
	out, err := exec.Command("go", "build", "-o", binary, "..").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the command: %w\n%s", err, out)
	}
	return binary, nil
})

// agent is a running lenscast.
type agent struct {
	t      *testing.T
	config string
	prefix []string // command that runs it, such as "ip netns exec NAME"
	url    string   // of the page

	cmd *exec.Cmd
}

// startAgent runs lenscast with a configuration. Ports that the configuration
// leaves out are free ones.
func startAgent(t *testing.T, config string, prefix ...string) *agent {
	t.Helper()
	need(t, "chromium", "chromium-browser", "google-chrome")
	if !strings.Contains(config, "[viewer]") {
		config = "[viewer]\nlisten = \"localhost:0\"\n[webrtc]\nlisten = \"localhost:0\"\n" + config
	}
	a := &agent{t: t, config: filepath.Join(t.TempDir(), "lenscast.toml"), prefix: prefix}
	must(t, os.WriteFile(a.config, []byte(config), 0o600))
	a.start()
	t.Cleanup(func() { a.kill() })
	return a
}

// start runs the command until its page can be opened.
func (a *agent) start() {
	a.t.Helper()
	binary, err := build()
	must(a.t, err)
	args := append(a.prefix, binary, "run", "-config", a.config)
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := a.cmd.StderrPipe()
	must(a.t, err)
	must(a.t, a.cmd.Start())
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		lines := bufio.NewScanner(log)
		for lines.Scan() {
			if url := regexp.MustCompile(`\burl=(\S+)`).FindStringSubmatch(lines.Text()); url != nil {
				ready <- url[1]
			}
			fmt.Fprintln(a.t.Output(), lines.Text())
		}
	}()
	select {
	case a.url = <-ready:
	case <-time.After(10 * time.Second):
	}
	if a.url == "" {
		a.t.Fatal("the agent did not start")
	}
}

// liveSince returns when the agent had the first picture of a camera that is
// live now.
func (a *agent) liveSince(camera string) time.Time {
	a.t.Helper()
	resp, err := http.Get(a.url + "/api/status")
	must(a.t, err)
	defer resp.Body.Close()
	var report struct {
		Cameras []struct {
			Name, State string
			Since       time.Time
		}
	}
	must(a.t, json.NewDecoder(resp.Body).Decode(&report))
	for _, c := range report.Cameras {
		if c.Name == camera && c.State == "live" {
			return c.Since
		}
	}
	a.t.Fatalf("camera %q is not live: %+v", camera, report.Cameras)
	return time.Time{}
}

// kill ends the agent as a power cut does.
func (a *agent) kill() {
	a.cmd.Process.Kill() // it may have ended
	a.cmd.Wait()         // killed
}

// watchFrames collects the frame numbers that the page shows for some seconds,
// with the time at which each was shown, in ms, and its RTP timestamp. Frames
// whose code can't be read have the number -1.
//
// The code: 16 blocks in a row at the top left, white is 1, the most
// significant bit first, and the same inverted in the row below.
const watchFrames = `new Promise((resolve) => {
	const video = document.querySelector('video');
	const side = Math.max(8, 2 * Math.round(video.videoWidth / 160));
	const canvas = new OffscreenCanvas(16 * side, 2 * side);
	const g = canvas.getContext('2d', { willReadFrequently: true });
	const bit = (i, row) => {
		const [r, green, b] = g.getImageData(i * side + side / 2, row * side + side / 2, 1, 1).data;
		return r + green + b > 384 ? 1 : 0;
	};
	const seen = [];
	const end = performance.now() + %d;
	video.requestVideoFrameCallback(function frame(now, { rtpTimestamp }) {
		g.drawImage(video, 0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
		let number = 0;
		for (let i = 0; i < 16 && number >= 0; i++) number = bit(i, 0) === bit(i, 1) ? -1 : 2 * number + bit(i, 0);
		seen.push({ number, at: now, rtp: rtpTimestamp });
		if (now < end) video.requestVideoFrameCallback(frame);
		else resolve(seen);
	});
})`

// frame is a picture that was shown.
type frame struct {
	Number int
	At     float64 // ms
	RTP    uint32
}

func (b *tab) frames(d time.Duration) []frame {
	b.t.Helper()
	return eval[[]frame](b, fmt.Sprintf(watchFrames, d.Milliseconds()))
}

// checkFrames checks that no picture was shown again, that frame numbers never
// go back, that they go up at the source's rate by the media's own clock, and
// that this clock is not far from that on the wall.
//
// The same number may be read twice: on a busy machine the video element is
// already at the next picture when the callback for one paints the canvas.
func checkFrames(t *testing.T, seen []frame, fps float64) {
	t.Helper()
	if len(seen) < 2 {
		t.Fatalf("%d pictures", len(seen))
	}
	total := 0
	for i, f := range seen {
		if f.Number < 0 {
			t.Fatalf("picture %d of %d: its number can't be read", i, len(seen))
		}
		if i == 0 {
			continue
		}
		before := seen[i-1]
		step := (f.Number - before.Number + 65536) % 65536
		if step > 32768 || int32(f.RTP-before.RTP) <= 0 {
			t.Errorf("picture %d (RTP time %d) after picture %d (%d)", f.Number, f.RTP, before.Number, before.RTP)
		}
		total += step
	}
	first, last := seen[0], seen[len(seen)-1]
	media := float64(last.RTP-first.RTP) / 90000
	wall := (last.At - first.At) / 1000
	t.Logf("%d of %d pictures shown in %.2f s, %.2f s on the wall", len(seen), total+1, media, wall)
	// Either end may have been painted a picture or two early.
	if made := media * fps; math.Abs(float64(total)-made) > 2 {
		t.Errorf("frame numbers went up by %d, want %.0f", total, made)
	}
	if wall < 0.7*media || wall > 1.4*media {
		t.Errorf("%.2f s of pictures in %.2f s", media, wall)
	}
}

// The bitrate of testCamera stays: on a busy machine the picture would follow its
// viewer until its number is too small to be read.
const testCamera = "[[camera]]\nname = \"test\"\nsource = \"test\"\nmin_bitrate = \"2800kbit\"\n"

func TestAgentPlays(t *testing.T) {
	a := startAgent(t, testCamera)
	b := newTab(t)
	b.open(a.url)
	said := b.waitLive("test", 20*time.Second)
	if !regexp.MustCompile(`^live · 1280x720 · [\d.]+ fps · [\d.]+ [kM]bit/s · \d+ ms · `).MatchString(said) {
		t.Errorf("the line is %q", said)
	}
	checkFrames(t, b.frames(5*time.Second), 30)
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	must(t, os.WriteFile(filepath.Join(t.ArtifactDir(), "agent.png"), png, 0o644))
}

// The browser's own measure of the capture time, abs-capture-time in RTP, must
// agree with ours. Agent and browser have the same clock here.
func TestCaptureTimes(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	b := newTab(t)
	b.open(a.url)
	b.waitFor("a latency", "/ · [\\d.]+ m?s · /.test("+line("test")+")", 20*time.Second)
	age := eval[float64](b, `(() => {
		const [source] = pcs[0].getReceivers().find((r) => r.track.kind === 'video').getSynchronizationSources();
		return Date.now() - (source.captureTimestamp - 2208988800000);
	})()`)
	if math.Abs(age) > 1000 { // a busy agent notes the time late
		t.Errorf("by abs-capture-time the newest picture is %.0f ms old", age)
	}
	said := eval[string](b, line("test"))
	t.Logf("by abs-capture-time the newest picture is %.0f ms old; the page says %q", age, said)
}

// Generic players list audio first.
func TestAudioFirst(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	b := newTab(t, `
		const { addTransceiver } = RTCPeerConnection.prototype;
		RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
			addTransceiver.call(this, 'audio', { direction: 'recvonly' });
			return addTransceiver.call(this, kind, init);
		};`)
	b.open(a.url)
	b.waitLive("test", 20*time.Second)
	if media := eval[string](b, "pcs[0].localDescription.sdp.match(/^m=\\w+/gm).join()"); media != "m=audio,m=video,m=application" {
		t.Errorf("the offer lists %s", media)
	}
}

// A network that lets no UDP through, made by leaving the agent's UDP
// candidates out of its answer.
func TestOverTCP(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	b := newTab(t, `
		const { setRemoteDescription } = RTCPeerConnection.prototype;
		RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
			return setRemoteDescription.call(this, { type, sdp: sdp.replace(/^a=candidate:\S+ \d udp .*\r\n/gim, '') });
		};`)
	b.open(a.url)
	if said := b.waitLive("test", 20*time.Second); !strings.HasSuffix(said, " · over TCP") {
		t.Errorf("the line is %q", said)
	}
	checkFrames(t, b.frames(3*time.Second), 30)
}

// The same page plays again when the agent is back.
func TestAgentRestarts(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	// The page comes back to the same address.
	port := a.url[strings.LastIndex(a.url, ":")+1:]
	config, err := os.ReadFile(a.config)
	must(t, err)
	must(t, os.WriteFile(a.config, []byte(strings.Replace(string(config), "localhost:0", "localhost:"+port, 1)), 0o600))
	b := newTab(t)
	b.open(a.url)
	b.waitLive("test", 20*time.Second)
	a.kill()
	b.waitText("agent not reachable: trying again", 15*time.Second)
	b.waitText("The agent does not answer", time.Second)
	a.start()
	b.waitLive("test", 30*time.Second)
	checkFrames(t, b.frames(2*time.Second), 30)
}

// ffmpeg sends, is killed, and sends again at another size; the page says what
// is wrong meanwhile and stays.
func TestSenderStopsAndComesBack(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	port := freeUDPPort(t)
	a := startAgent(t, fmt.Sprintf("[[camera]]\nname = \"hero\"\nsource = \"mpegts\"\nlisten = \"udp://127.0.0.1:%d\"\n", port))
	b := newTab(t)
	b.open(a.url)
	b.waitText("no signal", 10*time.Second)

	kill := send(t, port, "1280x720")
	b.waitLive("hero", 20*time.Second)
	connections := eval[int](b, "pcs.length")
	kill()
	b.waitText("No signal", 10*time.Second)

	// When the page shows the first picture of the other size, in Unix ms.
	b.do(chromedp.Evaluate(`{
		const video = document.querySelector('video');
		video.requestVideoFrameCallback(function frame(now, { width }) {
			if (width === 640) globalThis.shown = Date.now();
			else video.requestVideoFrameCallback(frame);
		});
	}`, nil))
	send(t, port, "640x360")
	b.waitFor("the other size", "globalThis.shown > 0", 20*time.Second)
	live := a.liveSince("hero")
	shown := time.UnixMilli(eval[int64](b, "globalThis.shown"))
	t.Logf("shown %v after the first IDR", shown.Sub(live))
	if shown.Sub(live) > 2*time.Second {
		t.Errorf("shown %v after the first IDR, want at most 2 s", shown.Sub(live))
	}
	b.waitFor("it is live", "/^live · 640x360 · /.test("+line("hero")+")", 5*time.Second)
	if n := eval[int](b, "pcs.length"); n != connections {
		t.Error("the page connected again, without need")
	}
}

// send runs ffmpeg as a sender of MPEG-TS until the returned function or the
// test ends it. There is a keyframe every half second. What more is to be sent
// is told by further arguments.
func send(t *testing.T, port int, size string, more ...string) (kill func()) {
	t.Helper()
	cmd := exec.Command("ffmpeg", slices.Concat(
		[]string{"-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=rate=30:size=" + size}, more,
		[]string{"-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "15", "-b:v", "1500k"},
		[]string{"-f", "mpegts", fmt.Sprintf("udp://127.0.0.1:%d?pkt_size=1316", port)})...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill() // it may have ended
		cmd.Wait()         // killed
	})
	t.Cleanup(kill)
	return kill
}

// After a tab was hidden its picture is of the present, and it says so.
func TestHiddenTab(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	b := newTab(t)
	b.open(a.url)
	b.waitLive("test", 20*time.Second)
	b.watchShown()
	b.waitSmooth("at first", 20*time.Second)

	other, closeOther := chromedp.NewContext(b.ctx)
	must(t, chromedp.Run(other, page.BringToFront()))
	b.waitFor("the tab is hidden", "document.hidden", 5*time.Second)
	hidden := eval[int](b, "performance.now() | 0")
	b.waitFor("some seconds to go by", fmt.Sprintf("performance.now() > %d", hidden+5000), 10*time.Second)
	closeOther()
	b.do(page.BringToFront())
	b.waitSmooth("shown again", 10*time.Second)
	b.waitFor("the latency, of less than a second", "/ · \\d+ ms · /.test("+line("test")+")", 5*time.Second)
}
