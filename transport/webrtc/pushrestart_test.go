package webrtc_test

import (
	"net/http"
	"strings"
	"testing"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
	"github.com/lenscast/lenscast/transport/webrtc/whiptest"
)

// When the server is silent, ICE is restarted in the same session, and what is
// sent then begins with an IDR. Each time, other credentials are used.
func TestPushRestartsICE(t *testing.T) {
	for name, tt := range map[string]struct {
		rules   whiptest.Rules
		matches []string // that it takes to restart twice
	}{
		"as in the RFC":   {whiptest.Rules{}, []string{`"*"`, `"*"`}},
		"bare * only":     {whiptest.Rules{RestartMatch: "*"}, []string{`"*"`, `*`, `"*"`, `*`}},
		"without an ETag": {whiptest.Rules{ETag: "none"}, []string{`"*"`, `"*"`}},
		"location with ?": {whiptest.Rules{Location: "/s?id=%s"}, []string{`"*"`, `"*"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tt.rules, nil)
			r.start()
			r.await(1, 10)
			for n := uint64(1); n <= 2; n++ {
				before := len(r.server.Pictures())
				lenscast.Interrupt(r.pusher)
				waitFor(t, "the restart", func() bool { return r.pusher.ICE().Restarts == n && r.pusher.Interrupted() == nil })
				waitFor(t, "pictures", func() bool { return len(r.server.Pictures()) >= before+30 })
				keys := 0
				for _, p := range r.server.Pictures()[before:] {
					if p.Key {
						keys++
					}
				}
				if keys == 0 {
					t.Error("no IDR after the restart")
				}
			}
			var matches []string
			seen := make(map[string]bool)
			for _, q := range r.server.Requests() {
				if q.Method != http.MethodPatch {
					continue
				}
				matches = append(matches, q.IfMatch)
				if q.Status == http.StatusOK {
					ufrag, _, _ := strings.Cut(q.Body, "\r\n")
					if seen[ufrag] {
						t.Errorf("%s is used again", ufrag)
					}
					seen[ufrag] = true
				}
			}
			if got, want := strings.Join(matches, " "), strings.Join(tt.matches, " "); got != want || len(seen) != 2 {
				t.Errorf("If-Match was %s, want %s; %d restarts taken", got, want, len(seen))
			}
			if n := len(r.server.Pictures()); r.count(1) != n {
				t.Errorf("%d of %d pictures in the first session", r.count(1), n)
			}
		})
	}
}

// A server that can't restart ICE is joined anew, and its old session ended.
func TestPushRejoins(t *testing.T) {
	for name, rules := range map[string]whiptest.Rules{
		"405, LiveKit": {PatchStatus: http.StatusMethodNotAllowed},
		"404":          {PatchStatus: http.StatusNotFound},
		"422":          {PatchStatus: http.StatusUnprocessableEntity},
		"no Location":  {NoLocation: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rules, nil)
			done := make(chan error, 1)
			go func() { done <- r.pusher.Run(t.Context(), func(int) {}) }()
			r.await(1, 10)
			lenscast.Interrupt(r.pusher)
			if err := <-done; !strings.Contains(err.Error(), "does not answer any more") {
				t.Errorf("Run: %v", err)
			}
			if n := r.server.Count(http.MethodDelete, http.StatusOK); n != 1 && !rules.NoLocation {
				t.Errorf("%d sessions deleted", n)
			}
			r.start()
			r.await(2, 10)
			r.checkFirst()
		})
	}
}
