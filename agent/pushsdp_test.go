package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSessionDescription has ffprobe play what the status links to, with the
// credentials of a viewer and not without.
func TestSessionDescription(t *testing.T) {
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is not installed")
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := c.LocalAddr().(*net.UDPAddr).Port &^ 1
	c.Close()
	const token = "correct-horse-battery"
	a := startAgent(t, strings.Replace(head, "[webrtc]", fmt.Sprintf("token = %q\n[webrtc]", token), 1)+frontA+
		"[[camera.push]]\nurl = \"udp://127.0.0.1:9\"\n"+
		fmt.Sprintf("[[camera.push]]\nurl = \"rtp://127.0.0.1:%d\"\n", port))

	ask := func(path, token string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	var report struct {
		Cameras []struct{ Width, Height int }
		Pushes  []struct{ SDP string }
	}
	if err := json.NewDecoder(ask("/api/status", token).Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	if len(report.Pushes) != 2 || report.Pushes[0].SDP != "" || report.Pushes[1].SDP != "/push/front/2.sdp" {
		t.Fatalf("the status has %+v", report.Pushes)
	}
	path := report.Pushes[1].SDP
	resp := ask(path, token)
	for end := time.Now().Add(20 * time.Second); resp.StatusCode != http.StatusOK && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp = ask(path, token) // until there was a picture
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/sdp" {
		t.Fatalf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
	}
	for path, want := range map[string]int{
		"/push/front/1.sdp": http.StatusNotFound,
		"/push/front/3.sdp": http.StatusNotFound,
		"/push/front/0.sdp": http.StatusNotFound,
		"/push/front/2":     http.StatusNotFound,
		"/push/back/1.sdp":  http.StatusNotFound,
	} {
		if got := ask(path, token).StatusCode; got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	if got := ask(path, "").StatusCode; got != http.StatusUnauthorized {
		t.Errorf("%s without a token: status %d", path, got)
	}

	// Without an encoder the clip has a size of its own.
	if err := json.NewDecoder(ask("/api/status", token).Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("h264,%d,%d", report.Cameras[0].Width, report.Cameras[0].Height)
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-protocol_whitelist", "http,tcp,udp,rtp",
		"-headers", "Authorization: Bearer "+token+"\r\n", "-rw_timeout", "20000000", "-read_intervals", "%+1",
		"-count_frames", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", a.url+path).CombinedOutput()
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("ffprobe: %v: %s, want %s", err, out, want)
	}
	a.end()
}
