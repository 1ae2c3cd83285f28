package webrtc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
	"github.com/lenscast/lenscast/transport/webrtc/whiptest"
)

// answers passes on what a TURN server answers. The first few answers, those of
// making an allocation, are late.
func answers(back, front *net.UDPConn, client *net.UDPAddr, delay time.Duration) {
	buf := make([]byte, 1500)
	for i := 0; ; i++ {
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		if i < 3 {
			time.Sleep(delay)
		}
		_, _ = front.WriteToUDP(buf[:n], client)
	}
}

// startSlowTURN is startTURN with a server that takes its time.
func startSlowTURN(t *testing.T, delay time.Duration) string {
	t.Helper()
	url := startTURN(t)
	server, err := net.ResolveUDPAddr("udp4", regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(url))
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	go func() {
		backs := make(map[string]*net.UDPConn) // by client
		defer func() {
			for _, b := range backs {
				b.Close()
			}
		}()
		buf := make([]byte, 1500)
		for {
			n, client, err := front.ReadFromUDP(buf)
			if err != nil {
				return
			}
			back := backs[client.String()]
			if back == nil {
				if back, err = net.DialUDP("udp4", nil, server); err != nil {
					return
				}
				backs[client.String()] = back
				go answers(back, front, client, delay)
			}
			_, _ = back.Write(buf[:n])
		}
	}()
	return fmt.Sprintf("turn:%s?transport=udp", front.LocalAddr())
}

// A relay that takes its time is sent after the offer, in one PATCH, with the
// ETag as it came. Where the server takes none, its media is found all the
// same, and the next offer waits for the relay.
func TestPushTrickles(t *testing.T) {
	for name, tt := range map[string]struct {
		rules whiptest.Rules
		match string // "?" for the one that was told
		taken bool
	}{
		"with an ETag":               {whiptest.Rules{}, "?", true},
		"without an ETag":            {whiptest.Rules{ETag: "none"}, "", true},
		"with a bare *, MediaMTX":    {whiptest.Rules{ETag: "*"}, "*", true},
		"with an unquoted ETag":      {whiptest.Rules{ETag: "abc"}, "abc", true},
		"refused 400, Broadcast Box": {whiptest.Rules{PatchStatus: http.StatusBadRequest}, "?", false},
		"refused 404":                {whiptest.Rules{PatchStatus: http.StatusNotFound}, "?", false},
		"refused 405, LiveKit":       {whiptest.Rules{PatchStatus: http.StatusMethodNotAllowed}, "?", false},
		"refused 412":                {whiptest.Rules{PatchStatus: http.StatusPreconditionFailed}, "?", false},
		"refused 422":                {whiptest.Rules{PatchStatus: http.StatusUnprocessableEntity}, "?", false},
		"refused 428":                {whiptest.Rules{PatchStatus: http.StatusPreconditionRequired, ETag: "none"}, "", false},
		"refused 501":                {whiptest.Rules{PatchStatus: http.StatusNotImplemented}, "?", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turn := startSlowTURN(t, 120*time.Millisecond)
			r := newRig(t, tt.rules, func(p *lenscast.PusherParams) {
				lenscast.RelayOnly(p)
				p.ICEServers = []lenscast.ICEServer{{URL: turn, Username: "camera", Credential: "secret"}}
			})
			stop := r.start()
			r.await(1, 10)
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			var patches []whiptest.Request
			for _, q := range r.server.Requests() {
				if q.Method == http.MethodPatch {
					patches = append(patches, q)
				}
			}
			if len(patches) != 1 {
				t.Fatalf("%d PATCHes", len(patches))
			}
			p := patches[0]
			if taken := p.Status == http.StatusNoContent; taken != tt.taken || !strings.Contains(p.Body, " typ relay") {
				t.Errorf("PATCH answered %d:\n%s", p.Status, p.Body)
			}
			if quoted := strings.HasPrefix(p.IfMatch, `"`); tt.match == "?" && !quoted || tt.match != "?" && p.IfMatch != tt.match {
				t.Errorf("If-Match is %s", p.IfMatch)
			}
			if tt.taken {
				return
			}
			r.start()
			r.await(2, 10)
			requests := r.server.Requests()
			if last := requests[len(requests)-1]; last.Method != http.MethodPost || !strings.Contains(last.Body, " typ relay") {
				t.Errorf("the last request is %s:\n%s", last.Method, last.Body)
			}
		})
	}
}
