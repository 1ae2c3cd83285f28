package webrtc_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// problemOf checks that an answer is an error of the given type.
func problemOf(t *testing.T, resp *http.Response, status int, typ string) {
	t.Helper()
	body := bodyOf(t, resp)
	if resp.StatusCode != status {
		t.Errorf("status %d, want %d: %s", resp.StatusCode, status, body)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	var p struct {
		Type, Title string
		Status      int
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if p.Type != "urn:lenscast:"+typ || p.Title == "" || p.Status != status {
		t.Errorf("got %+v, want type %s", p, typ)
	}
}

func TestEndpointErrors(t *testing.T) {
	_, web := startServer(t, newCamera(), func(p *lenscast.ServerParams) { p.MaxSessions = 1 })
	const sdp = "application/sdp"
	replace := func(old, new string) string { return strings.ReplaceAll(minimalOffer, old, new) }
	for _, c := range []struct {
		name, method, url, contentType, body string
		status                               int
		problem                              string
	}{
		{"unknown camera", "POST", "/whep/nope", sdp, minimalOffer, 404, "unknown-camera"},
		{"camera not live", "POST", "/whep/asleep", sdp, minimalOffer, 409, "not-live"},
		{"no content type", "POST", "/whep/cam", "", minimalOffer, 415, "media-type"},
		{"wrong content type", "POST", "/whep/cam", "application/json", minimalOffer, 415, "media-type"},
		{"no SDP", "POST", "/whep/cam", sdp, "hello", 400, "bad-sdp"},
		{"empty", "POST", "/whep/cam", sdp, "", 422, "bad-offer"},
		{"too large", "POST", "/whep/cam", sdp, strings.Repeat("x", 70_000), 413, "too-large"},
		{"no video", "POST", "/whep/cam", sdp, replace("m=video", "m=audio"), 422, "bad-offer"},
		{"video to us", "POST", "/whep/cam", sdp, replace("recvonly", "sendonly"), 422, "bad-offer"},
		{"no H.264", "POST", "/whep/cam", sdp, replace("H264", "VP8"), 422, "no-h264"},
		{"mode 0 only", "POST", "/whep/cam", sdp, replace("packetization-mode=1", "packetization-mode=0"), 422, "no-h264"},
		{"no fingerprint", "POST", "/whep/cam", sdp, replace("a=fingerprint", "a=thumbprint"), 422, "bad-offer"},
		{"no ICE", "POST", "/whep/cam", sdp, replace("a=ice-", "a=rice-"), 422, "bad-offer"},
		{"method", "PUT", "/whep/cam", sdp, minimalOffer, 405, "method"},
		{"method of session", "POST", "/whep/cam/x", sdp, minimalOffer, 405, "method"},
		{"elsewhere", "GET", "/other", "", "", 404, "not-found"},
		{"unknown session", "DELETE", "/whep/cam/x", "", "", 404, "unknown-session"},
		{"patch unknown session", "PATCH", "/whep/cam/x", "application/trickle-ice-sdpfrag", "", 404, "unknown-session"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := request(t, web, c.method, c.url, c.contentType, c.body, nil)
			problemOf(t, resp, c.status, c.problem)
			if c.status == 409 && resp.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if c.status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
	t.Run("too many viewers", func(t *testing.T) {
		if resp := request(t, web, "POST", "/whep/cam", sdp, minimalOffer, nil); resp.StatusCode != http.StatusCreated {
			t.Fatalf("first viewer: %s", resp.Status)
		}
		resp := request(t, web, "POST", "/whep/cam", sdp, minimalOffer, nil)
		problemOf(t, resp, 503, "too-many-viewers")
		if resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	})
}

// TestEndpointManners holds what WHEP players ask before and after the POST;
// that of MediaMTX wants OPTIONS with PATCH, an ETag, and 200 for DELETE.
func TestEndpointManners(t *testing.T) {
	t.Parallel() // it waits for a TURN server that is not there
	s, web := startServer(t, newCamera(), func(p *lenscast.ServerParams) {
		p.ICEServers = []lenscast.ICEServer{
			{URL: "turn:127.0.0.1:9?transport=udp", Username: `a"b`, Credential: "secret"}, // nobody there
		}
		p.PublicAddresses = []netip.Addr{netip.MustParseAddr("203.0.113.7")}
	})
	options := request(t, web, "OPTIONS", "/whep/cam", "", "", nil)
	if options.StatusCode != 200 || options.Header.Get("Accept-Post") != "application/sdp" ||
		!strings.Contains(options.Header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("OPTIONS: %s %v", options.Status, options.Header)
	}
	const link = `<turn:127.0.0.1:9?transport=udp>; rel="ice-server"; username="a\"b"; credential="secret"; credential-type="password"`
	if got := options.Header.Get("Link"); got != link {
		t.Errorf("Link of OPTIONS is %s", got)
	}
	if head := request(t, web, "HEAD", "/whep/cam", "", "", nil); head.StatusCode != 200 || head.Header.Get("Content-Type") != "application/sdp" {
		t.Errorf("HEAD: %s %v", head.Status, head.Header)
	}
	if get := request(t, web, "GET", "/whep/cam", "", "", nil); get.StatusCode != http.StatusNoContent {
		t.Errorf("GET: %s", get.Status)
	}

	post := request(t, web, "POST", "/whep/cam", "Application/SDP; charset=utf-8", minimalOffer, nil)
	location, etag := post.Header.Get("Location"), post.Header.Get("ETag")
	if post.StatusCode != 201 || post.Header.Get("Content-Type") != "application/sdp" || post.Header.Get("Link") != link ||
		!strings.HasPrefix(location, "/whep/cam/") || len(location) < len("/whep/cam/")+22 || !strings.HasPrefix(etag, `"`) {
		t.Fatalf("POST: %s %v", post.Status, post.Header)
	}
	for _, st := range s.Sessions() {
		if strings.Contains(location, st.ID) {
			t.Error("the status tells the secret of the session URL")
		}
	}
	answer := bodyOf(t, post)
	for _, want := range []string{"a=sendonly", "a=setup:passive", "m=video 9 UDP/TLS/RTP/SAVPF 102\r\n", "a=end-of-candidates", " tcptype passive", " 203.0.113.7 ", " 127.0.0.1 "} {
		if !strings.Contains(answer, want) {
			t.Errorf("answer has no %q:\n%s", want, answer)
		}
	}

	const fragment = "application/trickle-ice-sdpfrag"
	trickle := "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
	match := func(etag string) http.Header { return http.Header{"If-Match": {etag}} }
	problemOf(t, request(t, web, "PATCH", location, fragment, trickle, nil), 428, "if-match-missing")
	problemOf(t, request(t, web, "PATCH", location, fragment, trickle, match(`"old"`)), 412, "if-match-stale")
	problemOf(t, request(t, web, "PATCH", location, "application/sdp", trickle, match(etag)), 415, "media-type")
	problemOf(t, request(t, web, "PATCH", location, fragment, "a=candidate:garbage\r\n", match(etag)), 400, "bad-sdp")
	if resp := request(t, web, "PATCH", location, fragment, trickle, match(etag)); resp.StatusCode != 204 || resp.Header.Get("ETag") != "" {
		t.Errorf("trickle: %s %v", resp.Status, resp.Header)
	}
	other := strings.NewReplacer("abcd\r", "wxyz\r", "abcdefghijklmnopqrstuvwx", "0123456789abcdefghijklmn").Replace(trickle)
	problemOf(t, request(t, web, "PATCH", location, fragment, other, match(etag)), 412, "if-match-stale")
	restart := request(t, web, "PATCH", location, fragment, other, match("*"))
	if body := bodyOf(t, restart); restart.StatusCode != 200 || restart.Header.Get("Content-Type") != fragment ||
		restart.Header.Get("ETag") == "" || restart.Header.Get("ETag") == etag ||
		!strings.Contains(body, "a=ice-ufrag:") || !strings.Contains(body, "a=candidate:") {
		t.Errorf("restart: %s %v\n%s", restart.Status, restart.Header, body)
	}
	problemOf(t, request(t, web, "PATCH", location, fragment, trickle, match(etag)), 412, "if-match-stale")

	if resp := request(t, web, "GET", location, "", "", nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("GET of the session: %s", resp.Status)
	}
	problemOf(t, request(t, web, "DELETE", strings.Replace(location, "cam", "other", 1), "", "", nil), 404, "unknown-session")
	if resp := request(t, web, "DELETE", location, "", "", nil); resp.StatusCode != 200 {
		t.Errorf("DELETE: %s", resp.Status)
	}
	problemOf(t, request(t, web, "DELETE", location, "", "", nil), 404, "unknown-session")
	if n := len(s.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// Audio is accepted, so that an offer which lists it first keeps its transport,
// and inactive, so that nobody waits for it.
func TestAudioIsAnsweredInactive(t *testing.T) {
	_, web := startServer(t, newCamera(), nil)
	offer, err := os.ReadFile("testdata/chromium-audio-first.sdp")
	if err != nil {
		t.Fatal(err)
	}
	post := request(t, web, "POST", "/whep/cam", "application/sdp", string(offer), nil)
	answer := bodyOf(t, post)
	session, media, _ := strings.Cut(answer, "m=audio")
	audio, video, _ := strings.Cut(media, "m=video")
	for part, wants := range map[string][]string{
		session: {"a=group:BUNDLE 0 1"},
		audio:   {" 9 UDP/TLS/RTP/SAVPF 111\r\n", "a=mid:0", "a=inactive", "a=rtcp-mux", "a=candidate:", "a=end-of-candidates"},
		video:   {"a=mid:1", "a=sendonly"},
	} {
		for _, want := range wants {
			if !strings.Contains(part, want) {
				t.Errorf("no %q where it should be:\n%s", want, part)
			}
		}
	}
}

func TestNotRunning(t *testing.T) {
	s, err := lenscast.NewServer(lenscast.ServerParams{Camera: func(string) (lenscast.Feed, error) { return lenscast.Feed{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	web := withPage(t, s)
	problemOf(t, request(t, web, "POST", "/whep/cam", "application/sdp", minimalOffer, nil), 503, "not-running")
}

// TestOpenedServesBeforeRun watches a server whose Run has not come to its turn yet.
func TestOpenedServesBeforeRun(t *testing.T) {
	cam := newCamera()
	s, err := lenscast.NewServer(lenscast.ServerParams{
		Listen: "127.0.0.1:0",
		Camera: func(string) (lenscast.Feed, error) {
			return lenscast.Feed{Open: cam.open, Profile: "Constrained Baseline"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	resp := request(t, withPage(t, s), http.MethodPost, "/whep/cam", "application/sdp", minimalOffer, nil)
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("an opened server answers %s", resp.Status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil { // closes it
		t.Error(err)
	}
}

func TestBadParams(t *testing.T) {
	camera := func(string) (lenscast.Feed, error) { return lenscast.Feed{}, nil }
	for name, p := range map[string]lenscast.ServerParams{
		"no camera lookup": {},
		"ICE server":       {Camera: camera, ICEServers: []lenscast.ICEServer{{URL: "http://example.org"}}},
	} {
		if _, err := lenscast.NewServer(p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, listen := range []string{"", "nonsense", "127.0.0.1:99999", "192.0.2.1:0"} {
		s, err := lenscast.NewServer(lenscast.ServerParams{Camera: camera, Listen: listen})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen for media on") {
			t.Errorf("listen on %q: %v", listen, err)
		}
	}
}
