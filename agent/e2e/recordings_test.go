package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Somebody stops the recording on its page, plays it, seeks in it and deletes
// it.
func TestRecordings(t *testing.T) {
	t.Parallel()
	a := startAgent(t, fmt.Sprintf("[recording]\ndir = %q\n", t.TempDir())+testCamera)
	b := newTab(t)
	b.open(a.url)
	b.waitFor("a link to the recordings", "!document.getElementById('recordings').hidden", 20*time.Second)
	b.open(a.url + "/recordings")
	const recorder = "document.querySelector('#recorders button')"
	b.waitFor("it records", recorder+"?.textContent === 'test: recording – stop'", 20*time.Second)
	// There is something to seek in; the list has to tell as it grows.
	b.waitFor("2 s of recording", `Number(/0:(\d\d) .*being recorded/.exec(document.body.innerText)?.[1]) >= 2`, 30*time.Second)

	eval[any](b, recorder+".click()")
	b.waitFor("it stands by", recorder+"?.textContent === 'Record test'", 20*time.Second)
	b.waitText("Download", 20*time.Second)
	b.do(chromedp.Click("[data-part=play]", chromedp.ByQuery))
	const player = "document.getElementById('player')"
	b.waitFor("it plays", player+".currentTime > 0.3", 20*time.Second)
	eval[any](b, player+".currentTime = "+player+".duration - 0.3")
	b.waitFor("the end after a seek", player+".ended", 20*time.Second)
	if code := eval[float64](b, player+".error?.code ?? 0"); code != 0 {
		t.Errorf("the player's error is %v", code)
	}

	eval[any](b, "globalThis.confirm = () => true; document.querySelector('[data-part=delete]').click()")
	b.waitText("There is no recording yet.", 10*time.Second)
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}
}

// The sound of a camera is in its recording, and the browser plays it.
func TestRecordingWithSound(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	port := freeUDPPort(t)
	a := startAgent(t, fmt.Sprintf("[recording]\ndir = %q\n[[camera]]\nname = \"hero\"\nsource = \"mpegts\"\nlisten = \"udp://127.0.0.1:%d\"\n",
		t.TempDir(), port))
	send(t, port, "640x360", "-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:a", "aac", "-ac", "2")
	b := newTab(t)
	for end := time.Now().Add(20 * time.Second); a.recordedSound() < 3; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v s of sound after 20 s", a.recordedSound())
		}
	}
	b.open(a.url + "/recordings")
	b.waitText("with sound", 20*time.Second)
	eval[any](b, "document.querySelector('#recorders button').click()")
	b.waitText("Download", 20*time.Second)
	b.do(chromedp.Click("[data-part=play]", chromedp.ByQuery))
	const player = "document.getElementById('player')"
	b.waitFor("it plays", player+".currentTime > 0.3", 20*time.Second)
	b.waitFor("there is sound", player+".webkitAudioDecodedByteCount > 0", 10*time.Second)
	eval[any](b, player+".currentTime = "+player+".duration - 0.3")
	b.waitFor("the end after a seek", player+".ended", 20*time.Second)
	if code := eval[float64](b, player+".error?.code ?? 0"); code != 0 {
		t.Errorf("the player's error is %v", code)
	}
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}
}

// recordedSound returns how many seconds of sound the recordings have.
func (a *agent) recordedSound() (seconds float64) {
	a.t.Helper()
	resp, err := http.Get(a.url + "/api/recordings")
	must(a.t, err)
	defer resp.Body.Close()
	var list struct {
		Recordings []struct {
			Audio struct {
				Duration float64 `json:"duration_seconds"`
			}
		}
	}
	must(a.t, json.NewDecoder(resp.Body).Decode(&list))
	for _, r := range list.Recordings {
		seconds += r.Audio.Duration
	}
	return seconds
}

// Without a folder to record into there is nothing to look at.
func TestNoRecordings(t *testing.T) {
	t.Parallel()
	a := startAgent(t, testCamera)
	b := newTab(t)
	b.open(a.url)
	b.waitLive("test", 20*time.Second)
	b.waitFor("no link to recordings", "document.getElementById('recordings').hidden", time.Second)
}
