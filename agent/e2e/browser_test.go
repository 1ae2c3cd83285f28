package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a tab of a headless Chromium with a fresh profile.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // errors and warnings
}

// spy keeps the peer connections of the page where tests find them.
const spy = `
	globalThis.pcs = [];
	const Original = globalThis.RTCPeerConnection;
	if (Original) globalThis.RTCPeerConnection = class extends Original {
		constructor(...args) { super(...args); pcs.push(this); }
	};`

// newTab opens an empty tab. Scripts run before those of every page.
func newTab(t *testing.T, scripts ...string) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(need(t, "chromium", "chromium-browser", "google-chrome")),
		chromedp.NoSandbox, // tests may run as root
		chromedp.DisableGPU,
		chromedp.WindowSize(1440, 900),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("mute-audio", true),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		chromedp.Cancel(ctx) // waits for the browser to end
		stop()
		stopAllocator()
	})
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.listen)
	b.do(chromedp.ActionFunc(func(ctx context.Context) error { return cdplog.Enable().Do(ctx) }))
	for _, script := range append([]string{spy}, scripts...) {
		b.do(chromedp.ActionFunc(func(ctx context.Context) error {
			_, err := page.AddScriptToEvaluateOnNewDocument(script).Do(ctx)
			return err
		}))
	}
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.LevelError || e.Entry.Level == cdplog.LevelWarning {
			b.console = append(b.console, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		b.console = append(b.console, "exception: "+e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		b.console = append(b.console, fmt.Sprintf("console.%s", e.Type))
	}
}

// complaints returns the errors and warnings of the console since the start.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.console...)
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// eval returns the value of a JavaScript expression, or what its promise
// becomes.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	var value T
	b.do(chromedp.Evaluate(expression, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithAwaitPromise(true)
	}))
	return value
}

// waitFor waits until a JavaScript expression is true. While a page gives way
// to the next one it can't be evaluated: that is no error.
func (b *tab) waitFor(what, expression string, limit time.Duration) {
	b.t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var holds bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate("Boolean("+expression+")", &holds))
		if err == nil && holds {
			return
		}
	}
	b.t.Fatalf("%s: not within %v\nthe page says: %s\nthe console says: %s", what, limit, b.text(), strings.Join(b.complaints(), "\n"))
}

// text returns what the page says.
func (b *tab) text() string { return eval[string](b, "document.body.innerText") }

// waitText waits until the page says something.
func (b *tab) waitText(text string, limit time.Duration) {
	b.t.Helper()
	b.waitFor(fmt.Sprintf("the words %q", text), fmt.Sprintf("document.body.innerText.includes(%q)", text), limit)
}

// line returns the status line of a camera's tile.
func line(name string) string {
	return fmt.Sprintf("(document.querySelector('.tile[aria-label=%q] [data-part=line]')?.textContent ?? '')", name)
}

// waitLive waits until a camera plays with figures.
func (b *tab) waitLive(name string, limit time.Duration) string {
	b.t.Helper()
	b.waitFor(name+" is live", "/^live · .* · .* fps/.test("+line(name)+")", limit)
	return eval[string](b, line(name))
}

func clearCookies(ctx context.Context) error { return network.ClearBrowserCookies().Do(ctx) }
