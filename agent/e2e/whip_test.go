package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The tests of this file push from the real command to WHIP servers whose
// media end is somebody else's.

// receive makes a page answer an offer and show what comes.
const receive = `(async (offer) => {
	const pc = new RTCPeerConnection();
	globalThis.pc = pc;
	pc.addEventListener('track', ({ streams, track }) => {
		document.querySelector('video').srcObject = streams[0] ?? new MediaStream([track]);
	});
	await pc.setRemoteDescription({ type: 'offer', sdp: offer });
	await pc.setLocalDescription();
	while (pc.iceGatheringState !== 'complete') await new Promise((resolve) => setTimeout(resolve, 10));
	return pc.localDescription.sdp;
})(%s)`

func TestPushToChromium(t *testing.T) {
	b := newTab(t)
	var deleted atomic.Bool
	shim := http.NewServeMux()
	shim.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,"><video autoplay muted playsinline></video>`)
	})
	shim.HandleFunc("POST /whip", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		must(t, err)
		offer, err := json.Marshal(string(body))
		must(t, err)
		answer := eval[string](b, fmt.Sprintf(receive, offer))
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "session")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, answer)
	})
	shim.HandleFunc("DELETE /session", func(http.ResponseWriter, *http.Request) { deleted.Store(true) })
	web := httptest.NewServer(shim)
	defer web.Close()
	b.open(web.URL)

	a := startAgent(t, testCamera+"[[camera.push]]\nurl = \""+web.URL+"/whip\"\n")
	b.waitFor("a picture", "document.querySelector('video').videoWidth === 1280", 20*time.Second)
	checkFrames(t, b.frames(5*time.Second), 30)
	type stats struct{ FreezeCount, FramesDecoded, KeyFramesDecoded, PacketsLost int }
	st := eval[stats](b, `pc.getStats().then((all) => [...all.values()].find((s) => s.type === 'inbound-rtp'))`)
	t.Logf("Chromium has %+v", st)
	if st.FreezeCount > 1 || st.FramesDecoded < 100 || st.KeyFramesDecoded == 0 { // a busy machine may cause one
		t.Errorf("Chromium has %+v", st)
	}
	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "the session to be deleted", deleted.Load)
}

func TestPushToGStreamer(t *testing.T) {
	// Not the first one of the path: the bindings are the distribution's.
	const python = "/usr/bin/python3"
	probe := `import gi; gi.require_version("GstWebRTC", "1.0"); from gi.repository import Gst, GstWebRTC; Gst.init(None); ` +
		`assert all(Gst.ElementFactory.find(e) for e in ("webrtcbin", "nicesrc", "avdec_h264"))`
	if out, err := exec.Command(python, "-c", probe).CombinedOutput(); err != nil {
		t.Skipf("no webrtcbin for python3 (python3-gi, gir1.2-gst-plugins-bad-1.0, gstreamer1.0-nice): %v: %s", err, out)
	}
	server := exec.Command(python, "testdata/whip_gstreamer.py")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	server.Stderr = t.Output()
	out, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	port := make(chan int, 1)
	var decoded atomic.Int64
	var deleted atomic.Bool
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			if _, err := fmt.Sscanf(lines.Text(), "port %d", &n); err == nil {
				port <- n
			}
			if _, err := fmt.Sscanf(lines.Text(), "decoded %d", &n); err == nil {
				decoded.Store(int64(n))
			}
			if lines.Text() == "deleted" {
				deleted.Store(true)
			}
		}
	}()
	a := startAgent(t, fmt.Sprintf("%s[[camera.push]]\nurl = \"whip://127.0.0.1:%d/whip\"\n", testCamera, <-port))
	eventually(t, "90 decoded frames", func() bool { return decoded.Load() >= 90 })
	must(t, a.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "the session to be deleted", deleted.Load)
}
