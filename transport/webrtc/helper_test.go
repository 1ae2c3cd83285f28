package webrtc_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// startServer runs a WHEP server on loopback, with the camera "cam", until the
// test ends.
func startServer(t testing.TB, cam *camera, change func(*lenscast.ServerParams)) (*lenscast.Server, *httptest.Server) {
	t.Helper()
	params := lenscast.ServerParams{
		Listen: "127.0.0.1:0",
		Camera: func(name string) (lenscast.Feed, error) {
			switch name {
			case "cam":
				return lenscast.Feed{Open: cam.open, Profile: "Constrained Baseline"}, nil
			case "asleep":
				return lenscast.Feed{}, lenscast.ErrNotLive
			}
			return lenscast.Feed{}, lenscast.ErrUnknownCamera
		},
	}
	if change != nil {
		change(&params)
	}
	s, err := lenscast.NewServer(params)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		web.Close()
	})
	waitFor(t, "the server to run", func() bool {
		return request(t, web, http.MethodOptions, "/whep/cam", "", "", nil).StatusCode == http.StatusOK
	})
	return s, web
}

// waitFor waits for a condition.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute) // for machines with more to do
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// request makes an HTTP request; the body of the answer is read already.
func request(t testing.TB, web *httptest.Server, method, url, contentType, body string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, web.URL+url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(strings.NewReader(string(text)))
	return resp
}

func bodyOf(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// minimalOffer is answered, but nobody connects.
const minimalOffer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n" +
	"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n" +
	"a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=rtpmap:102 H264/90000\r\n" +
	"a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
