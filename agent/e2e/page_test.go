package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/lenscast/lenscast/agent/web"
)

// The tests of this file look at the page with an agent that fails to order.

func TestPlaysWithoutAClick(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	b.open(a.url)
	said := b.waitLive("hero", 15*time.Second)
	form := regexp.MustCompile(`^live · 1280x720 · [\d.]+ fps · [\d.]+ Mbit/s · (\d+ m|[\d.]+ )s · (no loss|<?[\d.]+ % loss)$`)
	if !form.MatchString(said) {
		t.Errorf("the line is %q", said)
	}
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}

	// The agent learns at once that the page has gone.
	b.open("about:blank")
	eventually(t, "the session ends", func() bool { return a.sessionCount("hero") == 0 })
}

func TestCameraWithoutPictures(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	a.setState("hero", "no cable", "nothing is plugged into the HDMI input")
	b.open(a.url)
	b.waitText("No cable", 5*time.Second)
	b.waitText("Nothing is plugged into the HDMI input. The picture comes back by itself.", time.Second)

	a.setState("hero", "live", "")
	b.waitLive("hero", 5*time.Second)
	b.waitFor("the words are gone", "document.querySelector('[data-part=message]').hidden", time.Second)
	a.setState("hero", "unplugged", "")
	b.waitText("Camera unplugged", 5*time.Second)
	a.setState("hero", "live", "")
	b.waitLive("hero", 5*time.Second)
	if n := eval[int](b, "pcs.length"); n != 1 {
		t.Errorf("the page connected %d times, once was enough", n)
	}
	if said := eval[string](b, "document.getElementById('announcer').textContent"); said != "hero: live" {
		t.Errorf("screen readers hear %q", said)
	}
}

// The connection is up, the agent says "live", and the picture stands still.
func TestFrozenPicture(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	b.open(a.url)
	b.waitLive("hero", 15*time.Second)
	a.change("hero", func(c *fakeCamera) { c.frozen = true })
	b.waitFor("the page connects again", "pcs.length > 1", 15*time.Second)
	a.change("hero", func(c *fakeCamera) { c.frozen = false })
	b.waitLive("hero", 15*time.Second)
}

// The agent ends the session, as it does when it is stopped.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	b.open(a.url)
	b.waitLive("hero", 15*time.Second)
	a.setRefuse(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	a.endSessions("hero")
	b.waitFor("a countdown", "/^the agent refused: trying again in \\d+ s$/.test("+line("hero")+")", 10*time.Second)
	a.setRefuse(nil)
	b.do(chromedp.Click("[data-part=action]"))
	b.waitLive("hero", 15*time.Second)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	for _, c := range []struct {
		status      int
		kind, words string
	}{
		{http.StatusServiceUnavailable, "urn:lenscast:too-many-viewers", "Too many viewers"},
		{http.StatusUnprocessableEntity, "urn:lenscast:no-h264", "This browser has no H.264 for WebRTC"},
		{http.StatusUnauthorized, "", "You are signed out"},
		{http.StatusUnprocessableEntity, "urn:lenscast:bad-offer", "The detail."},
	} {
		a.setRefuse(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(c.status)
			json.NewEncoder(w).Encode(map[string]any{"type": c.kind, "detail": "the detail"})
		})
		b.open(a.url)
		b.waitText(c.words, 10*time.Second)
	}
}

func TestBrowserWithoutH264(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t, `
		const all = RTCRtpReceiver.getCapabilities;
		RTCRtpReceiver.getCapabilities = (kind) => {
			const some = all.call(RTCRtpReceiver, kind);
			return { ...some, codecs: some.codecs.filter((c) => c.mimeType !== 'video/H264') };
		};`)
	b.open(a.url)
	b.waitText("This browser has no H.264 for WebRTC", 5*time.Second)
	if n := a.postCount(); n != 0 {
		t.Errorf("%d offers without H.264", n)
	}
}

func TestGrid(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero", "stage left")
	b := newTab(t)
	visible := "[...document.querySelectorAll('.tile')].filter((t) => t.checkVisibility()).map((t) => t.ariaLabel).join()"
	shows := func(names string) {
		t.Helper()
		b.waitFor("the page shows "+names, fmt.Sprintf("%s === %q", visible, names), 5*time.Second)
	}
	b.open(a.url)
	b.waitLive("hero", 15*time.Second)
	b.waitLive("stage left", 15*time.Second)
	shows("hero,stage left")

	b.do(chromedp.Click(`.open[aria-label="Enlarge stage left"]`))
	shows("stage left")
	if hash := eval[string](b, "location.hash"); hash != "#stage%20left" {
		t.Errorf("the address ends in %q", hash)
	}
	b.do(chromedp.KeyEvent(kb.Escape))
	shows("hero,stage left")
	b.do(chromedp.KeyEvent("1"))
	shows("hero")
	b.do(chromedp.Evaluate("history.back()", nil))
	shows("hero,stage left")

	a.addCamera("roof")
	b.waitLive("roof", 10*time.Second)
	shows("hero,stage left,roof")
	a.removeCamera("hero")
	shows("stage left,roof")
	if n := eval[int](b, "pcs.filter((pc) => pc.connectionState !== 'closed').length"); n != 2 {
		t.Errorf("%d connections for 2 cameras", n)
	}

	b.open("about:blank")
	b.open(a.url + "/#roof")
	shows("roof")
	b.waitLive("roof", 15*time.Second)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{Password: "correct horse"}, "hero")
	b := newTab(t)
	try := func(password string) {
		b.do(chromedp.WaitVisible("#password"), chromedp.SetValue("#password", password), chromedp.Submit("#password"))
	}
	b.open(a.url + "/#hero")
	keepsName := func() {
		t.Helper()
		b.waitFor("the form keeps the name", "document.forms[0].action.endsWith('/login#hero')", 10*time.Second)
	}
	keepsName()
	try("wrong")
	b.waitText("That is not the password.", 10*time.Second)
	keepsName()
	try("correct horse")
	b.waitLive("hero", 15*time.Second)
	if hash := eval[string](b, "location.hash"); hash != "#hero" {
		t.Errorf("the address ends in %q after the sign-in", hash)
	}
	b.do(chromedp.Click("form[action=logout] button"))
	b.waitFor("the form", "document.querySelector('#password')", 5*time.Second)
	eventually(t, "the session ends", func() bool { return a.sessionCount("hero") == 0 })

	for range 5 {
		try("wrong")
		b.waitFor("an answer", "document.readyState === 'complete' && document.querySelector('[role=alert]')", 5*time.Second)
	}
	b.waitText("Too many wrong passwords.", 5*time.Second)
}

func TestSignedOutWhileWatching(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{Password: "password"}, "hero")
	b := newTab(t)
	b.open(a.url)
	b.do(chromedp.WaitVisible("#password"), chromedp.SetValue("#password", "password"), chromedp.Submit("#password"))
	b.waitLive("hero", 15*time.Second)
	b.do(chromedp.ActionFunc(clearCookies))
	a.endSessions("hero")
	b.waitText("You are signed out", 10*time.Second)
	b.do(chromedp.Click("[data-part=action]"))
	b.waitFor("the form", "document.querySelector('#password')", 5*time.Second)
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t, `
		const click = HTMLAnchorElement.prototype.click;
		HTMLAnchorElement.prototype.click = function () {
			const image = new Image();
			image.src = this.href;
			globalThis.saved = image.decode().then(() => [this.download, image.width, image.height].join(' | '));
		};`)
	b.open(a.url)
	b.waitLive("hero", 15*time.Second)
	b.do(chromedp.KeyEvent("s"))
	b.waitFor("a snapshot", "globalThis.saved", 5*time.Second)
	saved := eval[string](b, "saved")
	if !regexp.MustCompile(`^hero \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.\d{3}\.png \| 1280 \| 720$`).MatchString(saved) {
		t.Errorf("saved %s", saved)
	}
}

// Everything that can be pressed has a name, is big enough for a finger and
// can be reached with the keyboard.
func TestControlsHaveNames(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t, web.Params{Password: "password"}, "hero", "roof")
	b := newTab(t)
	b.do(chromedp.EmulateViewport(390, 844))
	check := func(page string) {
		t.Helper()
		for _, wrong := range eval[[]string](b, `[...document.querySelectorAll('a, button, input, video')]
			.filter((e) => e.checkVisibility())
			.filter((e) => !(e.ariaLabel || e.innerText?.trim() || e.labels?.length) || e.tabIndex < 0 && e.tagName !== 'VIDEO' ||
				['BUTTON', 'INPUT'].includes(e.tagName) && e.getBoundingClientRect().height < 44)
			.map((e) => e.outerHTML.slice(0, 100))`) {
			t.Errorf("%s: %s", page, wrong)
		}
	}
	b.open(a.url)
	b.waitFor("the form", "document.querySelector('#password')", 5*time.Second)
	check("login")
	b.do(chromedp.SetValue("#password", "password"), chromedp.Submit("#password"))
	b.waitLive("hero", 15*time.Second)
	check("grid")
	b.do(chromedp.KeyEvent("1"))
	b.waitFor("one camera", "document.querySelector('#cameras').dataset.view === 'one'", 5*time.Second)
	check("one camera")
}

// TestLooks saves screenshots of the page for people to look at, when asked
// to by -artifacts. It fails only where something is wider than the screen.
func TestLooks(t *testing.T) {
	if !strings.Contains(strings.Join(os.Args, " "), "-test.artifacts") {
		t.Skip("screenshots are made with -artifacts only")
	}
	one := newFakeAgent(t, web.Params{}, "hero")
	many := newFakeAgent(t, web.Params{}, "hero", "stage left", "roof", "door")
	many.setState("roof", "no signal", "the HDMI input gets no signal")
	many.setState("door", "unplugged", "the camera was unplugged from USB port 1-1.2")
	locked := newFakeAgent(t, web.Params{Password: "secret"}, "hero")
	devices := map[string][2]int64{"phone": {390, 844}, "sideways": {844, 390}, "desktop": {1440, 900}}
	b := newTab(t)
	for device, size := range devices {
		for _, scheme := range []string{"light", "dark"} {
			b.do(chromedp.EmulateViewport(size[0], size[1]), emulation.SetEmulatedMedia().WithFeatures(
				[]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
			shoot := func(name string) {
				t.Helper()
				var png []byte
				b.do(chromedp.CaptureScreenshot(&png))
				must(t, os.WriteFile(filepath.Join(t.ArtifactDir(), name+"-"+device+"-"+scheme+".png"), png, 0o644))
				if !eval[bool](b, "document.documentElement.scrollWidth <= innerWidth") {
					t.Errorf("%s on a %s is wider than the screen", name, device)
				}
			}
			b.open(one.url)
			b.do(chromedp.Evaluate("localStorage.clear()", nil), chromedp.Reload())
			b.waitLive("hero", 15*time.Second)
			shoot("one")
			b.do(chromedp.Click("#toggle-details"), chromedp.Sleep(6*time.Second)) // for the graphs
			shoot("details")
			b.open(many.url)
			b.waitLive("hero", 15*time.Second)
			b.waitLive("stage left", 15*time.Second)
			shoot("many")
			b.open(locked.url)
			b.waitFor("the form", "document.querySelector('#password')", 5*time.Second)
			shoot("login")
		}
	}
}
