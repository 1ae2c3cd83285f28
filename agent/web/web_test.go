package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// complete fills in what a test leaves out.
func complete(p Params) Params {
	if p.Listen == "" {
		p.Listen = "127.0.0.1:0"
	}
	if p.WHEP == nil {
		p.WHEP = created
	}
	if p.Health == nil {
		p.Health = func() error { return nil }
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	p.Status = func() any { return map[string]any{"version": "v1"} }
	p.Metrics = func(w io.Writer) { io.WriteString(w, "lenscast_up 1\n") }
	return p
}

// start runs a server on a free loopback port until the test ends.
func start(t *testing.T, p Params) (base string) {
	t.Helper()
	p = complete(p)
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s.URL()
}

// call sends a request; headers are "Name: value".
func call(t *testing.T, client *http.Client, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// browser keeps cookies and follows no redirect, so that tests see them.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func signIn(t *testing.T, client *http.Client, base, password string, headers ...string) *http.Response {
	t.Helper()
	headers = append(headers, "Content-Type: application/x-www-form-urlencoded")
	res, _ := call(t, client, "POST", base+"/login", url.Values{"password": {password}}.Encode(), headers...)
	return res
}

func TestOpenServer(t *testing.T) {
	base := start(t, Params{})
	for _, c := range []struct {
		method, path string
		status       int
		kind, body   string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<title>lenscast</title>"},
		{"GET", "/api/status", 200, "application/json", `{"version":"v1"}`},
		{"GET", "/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", "lenscast_up 1"},
		{"GET", "/healthz", 200, "text/plain; charset=utf-8", "ok"},
		{"GET", "/assets/main.js", 200, "text/javascript; charset=utf-8", "import"},
		{"GET", "/assets/base.css", 200, "text/css; charset=utf-8", ":root"},
		{"GET", "/assets/", 404, "", ""},
		{"GET", "/assets/%2e%2e/index.html", 404, "", ""},
		{"GET", "/index.html", 404, "", ""},
		{"POST", "/api/status", 405, "", ""},
		{"POST", "/whep/test", 201, "", ""},
		{"OPTIONS", "/whep/test", 201, "", ""},
	} {
		res, body := call(t, browser(t), c.method, base+c.path, "")
		if res.StatusCode != c.status {
			t.Errorf("%s %s: status %d, want %d", c.method, c.path, res.StatusCode, c.status)
		}
		if c.kind != "" && res.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: type %q, want %q", c.method, c.path, res.Header.Get("Content-Type"), c.kind)
		}
		if !strings.Contains(body, c.body) {
			t.Errorf("%s %s: %q is not in the body", c.method, c.path, c.body)
		}
		if res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no security headers", c.method, c.path)
		}
	}
}

func TestAssetsAreRevalidated(t *testing.T) {
	base := start(t, Params{})
	first, _ := call(t, browser(t), "GET", base+"/assets/main.js", "")
	if first.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("Cache-Control is %q", first.Header.Get("Cache-Control"))
	}
	again, body := call(t, browser(t), "GET", base+"/assets/main.js", "", "If-None-Match: "+first.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("with the ETag: %d and %d bytes", again.StatusCode, len(body))
	}
}

func TestHealth(t *testing.T) {
	unwell := func() error { return errors.New("camera hero has failed") }
	base := start(t, Params{Password: "secret", Health: unwell})
	res, body := call(t, browser(t), "GET", base+"/healthz", "")
	if res.StatusCode != 503 || strings.Contains(body, "hero") {
		t.Errorf("for anybody: %d %q", res.StatusCode, body)
	}
	res, body = call(t, browser(t), "GET", base+"/healthz", "", "Authorization: Bearer secret")
	if res.StatusCode != 503 || !strings.Contains(body, "camera hero has failed") {
		t.Errorf("for those who may know: %d %q", res.StatusCode, body)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	read := make(chan error, 1)
	base := start(t, Params{WHEP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})})
	call(t, browser(t), "POST", base+"/whep/test", strings.Repeat("x", maxBodyBytes+1))
	var tooLarge *http.MaxBytesError
	if err := <-read; !errors.As(err, &tooLarge) {
		t.Errorf("the handler read a large body: %v", err)
	}
}

func TestShutdownCutsOffSlowRequests(t *testing.T) {
	entered := make(chan struct{})
	s, err := New(complete(Params{WHEP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // longer than anybody waits
	})}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /whep/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
	<-entered
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * time.Second):
		t.Error("Run did not return within 2 s")
	}
}

func TestListenErrors(t *testing.T) {
	base := start(t, Params{})
	_, err := New(complete(Params{Listen: strings.TrimPrefix(base, "http://")}))
	if err == nil || !strings.HasPrefix(err.Error(), "listen for viewers: ") {
		t.Errorf("address in use: %v", err)
	}
	if _, err := New(complete(Params{TLS: "sometimes"})); err == nil {
		t.Error("an unknown TLS mode was taken")
	}
}

func TestProblemsAreJSON(t *testing.T) {
	base := start(t, Params{Token: "t"})
	res, body := call(t, browser(t), "GET", base+"/api/status", "")
	var p struct {
		Title  string
		Status int
		Detail string
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Status != 401 || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %q: %v", body, err)
	}
	if kind := res.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("type %q", kind)
	}
}

func TestLogHasNoSecret(t *testing.T) {
	var log bytes.Buffer
	base := start(t, Params{Password: "hunter2", Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	signIn(t, browser(t), base, "hunter2")
	signIn(t, browser(t), base, "hunter3")
	if strings.Contains(log.String(), "hunter") {
		t.Errorf("the log has a password: %s", log.String())
	}
}
