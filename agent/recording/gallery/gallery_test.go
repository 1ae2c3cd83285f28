package gallery_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/gallery"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/wallclock"
)

// lamp is a Switch.
type lamp struct{ on atomic.Bool }

func (l *lamp) Start() { l.on.Store(true) }
func (l *lamp) Stop()  { l.on.Store(false) }

// shop is a gallery with one recording in it.
type shop struct {
	*httptest.Server
	archive *archive.Archive
	info    archive.Info
	lamp    lamp
	sent    atomic.Int64 // bytes of bodies
}

// openArchive opens an archive in which nothing is recorded yet.
func openArchive(t *testing.T) *archive.Archive {
	t.Helper()
	clock, err := wallclock.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(archive.Params{Dir: t.TempDir(), Clock: clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t *testing.T, src *recordingtest.Source, seconds int) *shop {
	t.Helper()
	a := openArchive(t)
	w, err := a.Create("hero", src.Next(), 0, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range 30*seconds - 1 {
		if err := w.Write(src.Next()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.End(0); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	s := &shop{archive: a, info: a.List()[0]}
	h := gallery.New(gallery.Params{Archive: a, Switch: func(camera string) gallery.Switch {
		if camera != "hero" {
			return nil
		}
		return &s.lamp
	}})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			fmt.Fprint(w, `<!doctype html><video id=v preload=metadata muted></video>`)
			return
		}
		h.ServeHTTP(&counting{w, &s.sent}, r)
	}))
	t.Cleanup(s.Close)
	return s
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

func (c *counting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (s *shop) do(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestListGetRangeAndDelete(t *testing.T) {
	s := open(t, recordingtest.Synthetic(30, 30, 500), 5)
	_, body := s.do(t, "GET", "/api/recordings?camera=hero")
	var list struct{ Recordings []archive.Info }
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Recordings) != 1 || list.Recordings[0].ID != s.info.ID {
		t.Errorf("list %s: %v", body, err)
	}
	for _, query := range []string{"?camera=other", "?day=1999-01-01"} {
		if _, body := s.do(t, "GET", "/api/recordings"+query); !strings.Contains(body, `"recordings":[]`) {
			t.Errorf("%s: %s", query, body)
		}
	}
	url := "/recordings/" + s.info.ID + ".mp4"
	resp, file := s.do(t, "GET", url+"?file")
	if sum := sha256.Sum256([]byte(file)); hex.EncodeToString(sum[:]) != s.info.SHA256 ||
		!strings.Contains(resp.Header.Get("Content-Disposition"), "hero_") {
		t.Errorf("the file has another checksum, or %v", resp.Header)
	}
	_, whole := s.do(t, "GET", url)
	resp, part := s.do(t, "GET", url, "Range", "bytes=4000-9999")
	if resp.StatusCode != http.StatusPartialContent || part != whole[4000:10000] {
		t.Errorf("range: %s, %d bytes", resp.Status, len(part))
	}
	if resp, _ := s.do(t, "GET", url, "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: %s", resp.Status)
	}
	for _, bad := range []string{"/recordings/hero/none.mp4", "/recordings/..%2f..%2fetc%2fpasswd", "/recordings/"} {
		if resp, _ := s.do(t, "GET", bad); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", bad, resp.Status)
		}
	}
	if resp, _ := s.do(t, "DELETE", url); resp.StatusCode != http.StatusNoContent || len(s.archive.List()) != 0 {
		t.Errorf("delete: %s", resp.Status)
	}
	if resp, _ := s.do(t, "DELETE", url); resp.StatusCode != http.StatusNotFound {
		t.Errorf("delete again: %s", resp.Status)
	}
}

// TestNothingRecordedYet is what the page asks for at the first start.
func TestNothingRecordedYet(t *testing.T) {
	a := openArchive(t)
	w := httptest.NewRecorder()
	gallery.New(gallery.Params{Archive: a}).ServeHTTP(w, httptest.NewRequest("GET", "/api/recordings", nil))
	if body := w.Body.String(); !strings.Contains(body, `"recordings":[]`) {
		t.Error(body)
	}
}

func TestStartAndStop(t *testing.T) {
	s := open(t, recordingtest.Synthetic(30, 30, 500), 1)
	for _, how := range []string{"start", "stop"} {
		if resp, _ := s.do(t, "POST", "/api/recorder/hero/"+how); resp.StatusCode != http.StatusNoContent || s.lamp.on.Load() != (how == "start") {
			t.Errorf("%s: %s", how, resp.Status)
		}
	}
	if resp, _ := s.do(t, "POST", "/api/recorder/other/start"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("another camera: %s", resp.Status)
	}
}

// TestChromiumSeeks plays a recording of a minute in a browser: its length is
// known at once, and seeking near the end fetches no more than is needed.
func TestChromiumSeeks(t *testing.T) {
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" {
		t.Skip("chromium is not installed")
	}
	s := open(t, recordingtest.Clip(t, "640x360", 30, 4, "6M"), 60)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 50*time.Second)
	defer cancel()

	var got struct {
		Duration, At  float64
		Width, Height int
		Ended         bool
		Error         string
	}
	play := func(query string, seek float64) error {
		return chromedp.Run(ctx, chromedp.Navigate(s.URL), chromedp.Evaluate(`new Promise(done => {
			const v = document.getElementById("v");
			const say = error => done({Duration: v.duration, At: v.currentTime, Width: v.videoWidth, Height: v.videoHeight, Ended: v.ended, Error: error});
			v.onerror = () => say(v.error.message);
			v.onloadedmetadata = () => { v.currentTime = `+jsNumber(seek)+` };
			v.onseeked = () => { v.onended = () => say(""); v.play() };
			v.src = "/recordings/`+s.info.ID+`.mp4`+query+`";
		})`, &got, awaitPromise))
	}
	if err := play("", 58); err != nil {
		t.Fatal(err)
	}
	if got.Error != "" || !got.Ended || got.Duration < 59.9 || got.Duration > 60.1 || got.Width != 640 || got.Height != 360 {
		t.Errorf("played: %+v", got)
	}
	t.Logf("%d of %d bytes sent to seek to the end and play 2 s", s.sent.Load(), s.info.Size)
	if s.sent.Load() > s.info.Size/2 {
		t.Errorf("%d bytes sent of %d", s.sent.Load(), s.info.Size)
	}
	if err := play("?still", 0); err != nil {
		t.Fatal(err)
	}
	if got.Error != "" || got.Width != 640 || got.Duration < 0.9 || got.Duration > 1.1 {
		t.Errorf("still: %+v", got)
	}
}

func jsNumber(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
