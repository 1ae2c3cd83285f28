package webrtc_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
	"github.com/lenscast/lenscast/transport/packet"
	lenscast "github.com/lenscast/lenscast/transport/webrtc"
	"github.com/lenscast/lenscast/transport/webrtc/whip"
	"github.com/lenscast/lenscast/transport/webrtc/whiptest"
)

// rig is a push to a WHIP server of whiptest. run pushes once.
type rig struct {
	t      *testing.T
	cam    *camera
	server *whiptest.Server
	web    *httptest.Server
	pusher *lenscast.Pusher
	live   atomic.Int32 // times that the push said it has a receiver
}

func newRig(t *testing.T, rules whiptest.Rules, change func(*lenscast.PusherParams)) *rig {
	t.Helper()
	r := &rig{t: t, cam: newCamera(), server: whiptest.New(rules, t.Errorf)}
	r.cam.onKey = func() {}
	r.web = httptest.NewServer(r.server)
	t.Cleanup(r.server.Close)
	t.Cleanup(r.web.Close)
	runCamera(t, r.cam, 5000, 60000, 60)
	r.pusher = newPusher(t, r.cam, r.web.URL+"/whip?key=1", rules.Token, change)
	return r
}

func newPusher(t testing.TB, cam *camera, url, token string, change func(*lenscast.PusherParams)) *lenscast.Pusher {
	t.Helper()
	endpoint, err := whip.ParseEndpoint(url)
	if err == nil && token != "" {
		endpoint, err = endpoint.WithToken(token)
	}
	if err != nil {
		t.Fatal(err)
	}
	params := lenscast.PusherParams{
		Endpoint: endpoint, Open: cam.open, Clock: &packet.Clock{},
		Format: func() h264.Format {
			return h264.Format{Profile: "Baseline", ProfileIDC: 66, Constraints: 0xc0, LevelIDC: 31}
		},
	}
	if change != nil {
		change(&params)
	}
	pusher, err := lenscast.NewPusher(params)
	if err != nil {
		t.Fatal(err)
	}
	return pusher
}

// start runs the push until stop is called, which returns Run's error.
func (r *rig) start() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.pusher.Run(ctx, func(int) { r.live.Add(1) }) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			done <- err
			return err
		case <-time.After(10 * time.Second):
			r.t.Fatal("Run does not end")
			return nil
		}
	}
	r.t.Cleanup(func() { _ = stop() })
	return stop
}

// await waits until n pictures came in a session.
func (r *rig) await(session, n int) {
	r.t.Helper()
	waitFor(r.t, "pictures", func() bool { return r.count(session) >= n })
}

func (r *rig) count(session int) (n int) {
	for _, p := range r.server.Pictures() {
		if p.Session == session {
			n++
		}
	}
	return n
}

// checkFirst asserts that the first picture of every session is an IDR.
func (r *rig) checkFirst() {
	r.t.Helper()
	seen := make(map[int]bool)
	for _, p := range r.server.Pictures() {
		if !seen[p.Session] && !p.Key {
			r.t.Errorf("the first picture of session %d is no IDR", p.Session)
		}
		seen[p.Session] = true
	}
}

// Every rule of the RFC is kept, and every request has the token.
func TestPush(t *testing.T) {
	r := newRig(t, whiptest.Rules{Token: "hunter2"}, nil)
	stop := r.start()
	r.await(1, 30)
	st := r.pusher.Stats()
	if st.Receivers != 1 || st.Pictures < 30 || st.Bytes < 30*5000 || r.live.Load() != 1 {
		t.Errorf("stats are %+v, live %d times", st, r.live.Load())
	}
	if ice := r.pusher.ICE(); ice.State != "connected" || ice.Remote == "" || len(ice.LocalCandidates) == 0 || len(ice.RemoteCandidates) == 0 {
		t.Errorf("ICE is %+v", ice)
	}
	waitFor(t, "reports", func() bool { return !r.pusher.Stats().Feedback.At.IsZero() })
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if n := r.server.Count(http.MethodDelete, http.StatusOK); n != 1 || r.server.Sessions() != 0 {
		t.Errorf("%d sessions deleted, %d left", n, r.server.Sessions())
	}
	r.checkFirst()
}

// Servers as they are.
func TestPushToServersWithQuirks(t *testing.T) {
	for name, rules := range map[string]whiptest.Rules{
		"no Location":                      {NoLocation: true},
		"no ETag":                          {ETag: "none"},
		"ETag is a bare *":                 {ETag: "*"},
		"ETag without quotes":              {ETag: "abc"},
		"Location with a query":            {Location: "/app/s?direction=whip&id=%s"},
		"no PATCH, LiveKit":                {PatchStatus: http.StatusMethodNotAllowed},
		"PATCH answers 400, Broadcast Box": {PatchStatus: http.StatusBadRequest, ETag: "none", DeleteStatus: http.StatusNoContent},
		"PATCH answers 412":                {PatchStatus: http.StatusPreconditionFailed},
		"PATCH answers 422":                {PatchStatus: http.StatusUnprocessableEntity},
		"PATCH answers 428":                {PatchStatus: http.StatusPreconditionRequired},
		"DELETE answers 400":               {DeleteStatus: http.StatusBadRequest},
		"307 and 308":                      {Redirects: []int{307, 308}, Token: "hunter2"},
		"unknown links":                    {Links: []string{`<https://x.example>; rel="next"`, `<nonsense>; rel=ice-server`, `<turn:x.example>; rel="ice-server"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rules, nil)
			stop := r.start()
			r.await(1, 10)
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			r.checkFirst()
		})
	}
}

// A refusal is told in words, with what the server says, and without what is
// secret in the URL.
func TestPushRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		rules whiptest.Rules
		want  []string
		after time.Duration
	}{
		"301":         {whiptest.Rules{Redirects: []int{301}}, []string{"redirects in a way that WHIP forbids", "/moved/1/here"}, 0},
		"303":         {whiptest.Rules{Redirects: []int{303}}, []string{"redirects in a way that WHIP forbids"}, 0},
		"6 times":     {whiptest.Rules{Redirects: []int{307, 307, 307, 307, 307, 307}}, []string{"redirects more than 5 times"}, 0},
		"away":        {whiptest.Rules{Redirects: []int{307}, RedirectHost: "http://192.0.2.1", Token: "hunter2"}, []string{"token is not sent"}, 0},
		"401":         {refuse(401, "", "", ""), []string{"wants a token"}, 0},
		"403":         {refuse(403, "", "text/plain", "in\nuse"), []string{"forbids it", "in use"}, 0},
		"404":         {refuse(404, "", "", ""), []string{"nothing at this address"}, 0},
		"406":         {refuse(406, "", "", ""), []string{"can't use what is offered"}, 0},
		"409":         {refuse(409, "", "application/json", `{"error":"taken"}`), []string{"somebody sends there already", "taken"}, 0},
		"415":         {refuse(415, "", "", ""), []string{"can't use what is offered"}, 0},
		"422":         {refuse(422, "", "application/problem+json", `{"title":"bad","detail":"no H.264 here"}`), []string{"no H.264 here"}, 0},
		"429":         {refuse(429, "7", "", ""), []string{"too many requests"}, 7 * time.Second},
		"503":         {refuse(503, "3", "", ""), []string{"busy or stopping"}, 3 * time.Second},
		"503 by date": {refuse(503, time.Now().Add(time.Minute).UTC().Format(http.TimeFormat), "", ""), []string{"busy"}, 58 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.rules, nil)
			err := r.pusher.Run(t.Context(), func(int) { t.Error("it says that it is connected") })
			var refusal *whip.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("Run: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "key=1") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q tells a secret", err)
			}
			if got := refusal.RetryAfter(); got < tt.after || got > tt.after+2*time.Second {
				t.Errorf("retry after %v, want %v", got, tt.after)
			}
		})
	}
}

func refuse(status int, after, contentType, body string) whiptest.Rules {
	return whiptest.Rules{Refusals: []whiptest.Refusal{{Status: status, RetryAfter: after, Type: contentType, Body: body}}}
}

// What fails again and again leaves nothing behind, nor does it cost the camera
// readers.
func TestPushLeavesNothing(t *testing.T) {
	r := newRig(t, refuse(503, "", "", ""), nil)
	if err := r.pusher.Run(t.Context(), func(int) {}); err == nil {
		t.Fatal("not refused")
	}
	r.web.Close()
	before := runtime.NumGoroutine()
	for range 20 {
		if err := r.pusher.Run(t.Context(), func(int) {}); err == nil {
			t.Fatal("connected to nobody")
		}
	}
	waitFor(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	if n := r.cam.keyframeWishes(); n > 0 {
		t.Errorf("%d keyframes were asked for", n)
	}
}

// A server that forgets its session, as one that was started again, is left at
// once and joined anew.
func TestPushServerForgets(t *testing.T) {
	r := newRig(t, whiptest.Rules{}, nil)
	r.start()
	r.await(1, 10)
	lost := time.Now()
	r.server.Forget()
	waitFor(t, "Run to end", func() bool { return r.pusher.Stats().Receivers == 0 })
	if d := time.Since(lost); d > 3*time.Second {
		t.Errorf("noticed after %v", d)
	}
	r.start()
	r.await(2, 10)
	r.checkFirst()
}

// Where only a relay gets through, it is found whether it is configured, or the
// server tells of it before or with its answer.
func TestPushByRelay(t *testing.T) {
	turn := startTURN(t)
	link := `<` + turn + `>; rel="ice-server"; username="camera"; credential="secret"; credential-type="password"`
	relayOnly := func(p *lenscast.PusherParams) { lenscast.RelayOnly(p) }
	for name, tt := range map[string]struct {
		rules  whiptest.Rules
		change func(*lenscast.PusherParams)
	}{
		"configured": {whiptest.Rules{}, func(p *lenscast.PusherParams) {
			relayOnly(p)
			p.ICEServers = []lenscast.ICEServer{{URL: turn, Username: "camera", Credential: "secret"}}
		}},
		"with the answer":                {whiptest.Rules{Links: []string{link}}, relayOnly},
		"with the answer, without PATCH": {whiptest.Rules{Links: []string{link}, PatchStatus: 405}, relayOnly},
		"in OPTIONS":                     {whiptest.Rules{Links: []string{link}, LinkFirst: true}, relayOnly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.rules, tt.change)
			done := make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					_ = r.pusher.Run(ctx, func(int) {})
				}
			}()
			waitFor(t, "10 pictures", func() bool { return len(r.server.Pictures()) >= 10 })
			if ice := r.pusher.ICE(); !strings.Contains(ice.Local, "relay") {
				t.Errorf("ICE is %+v", ice)
			}
			cancel()
			<-done
			r.checkFirst()
		})
	}
}
