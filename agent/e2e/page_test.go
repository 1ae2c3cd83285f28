package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/lenscast/lenscast/agent/web"
)

func TestPlaysWithoutAClick(t *testing.T) {
	a := newFakeAgent(t, web.Params{}, "hero")
	b := newTab(t)
	b.open(a.url)
	t.Log(b.waitLive("hero", 10*time.Second))
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console is not clean: %q", complaints)
	}
}

// TestLooks saves screenshots of the page for people to look at, with
// -artifacts. It fails only where something is cut off.
func TestLooks(t *testing.T) {
	one := newFakeAgent(t, web.Params{}, "hero")
	many := newFakeAgent(t, web.Params{}, "hero", "stage left", "roof", "door")
	many.setState("roof", "no signal", "the HDMI input gets no signal")
	many.setState("door", "unplugged", "the camera was unplugged from USB port 1-1.2")
	locked := newFakeAgent(t, web.Params{Password: "secret"}, "hero")
	devices := map[string][2]int64{"phone": {390, 844}, "desktop": {1440, 900}}
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
			b.waitLive("hero", 15*time.Second)
			b.do(chromedp.Sleep(5 * time.Second))
			shoot("one")
			b.do(chromedp.Click("#toggle-details"), chromedp.Sleep(1200*time.Millisecond))
			shoot("toggled")
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
