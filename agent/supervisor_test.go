package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testAgent is a supervisor that runs in the test.
type testAgent struct {
	t      testing.TB
	path   string // of its configuration
	url    string
	reload chan os.Signal
	record chan os.Signal
	log    buffer
	stop   context.CancelFunc
	done   chan error
}

// startAgent runs the agent with a configuration. PORT in it stands for the
// port of the viewer page.
func startAgent(t testing.TB, text string) *testAgent {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	a := &testAgent{
		t: t, path: filepath.Join(t.TempDir(), "lenscast.toml"), url: "http://localhost:" + port,
		reload: make(chan os.Signal), done: make(chan error, 1),
	}
	a.write(text)
	o := runOptions{path: a.path}
	cfg, from, err := o.load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a.stop = cancel
	s := newSupervisor(o, newLogOutput(&a.log))
	a.record = s.record
	go func() { a.done <- s.run(ctx, cfg, from, a.reload) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("log:\n%s", a.log.take())
		}
	})
	a.await("/healthz", "ok")
	return a
}

func (a *testAgent) write(text string) {
	a.t.Helper()
	_, port, _ := strings.Cut(strings.TrimPrefix(a.url, "http://"), ":")
	if err := os.WriteFile(a.path, []byte(strings.ReplaceAll(text, "PORT", port)), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *testAgent) rewrite(text string) {
	a.t.Helper()
	a.write(text)
	a.reload <- syscall.SIGHUP
}

// await waits until what is at a path matches a pattern.
func (a *testAgent) await(path, pattern string) {
	a.t.Helper()
	want := regexp.MustCompile(pattern)
	var body string
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if body, err = get(a.url + path); err == nil && want.MatchString(body) {
			return
		}
	}
	a.t.Fatalf("%s never matched %s: %s %v", path, pattern, body, err)
}

// end stops the agent and returns how long that took.
func (a *testAgent) end() time.Duration {
	a.t.Helper()
	began := time.Now()
	a.stop()
	if err := <-a.done; err != nil {
		a.t.Errorf("the agent ended with: %v", err)
	}
	return time.Since(began)
}

const (
	head   = "[viewer]\nlisten = \"localhost:PORT\"\n[webrtc]\nlisten = \"localhost:0\"\n"
	frontA = "[[camera]]\nname = \"front\"\nsource = \"test\"\nsize = \"320x180\"\n"
	back10 = "[[camera]]\nname = \"back\"\nsource = \"test\"\nsize = \"320x180\"\nfps = 10\n"
	back20 = "[[camera]]\nname = \"back\"\nsource = \"test\"\nsize = \"320x180\"\nfps = 20\n"
)

func TestReloadKeepsViewersOfUnchangedCameras(t *testing.T) {
	a := startAgent(t, head+frontA+back10)
	a.await("/api/status", `"name":"front".*"state":"live".*"name":"back".*"state":"live"`)
	front, back := a.watch("front", ""), a.watch("back", "")
	front.awaitPackets(t, 30)
	back.awaitPackets(t, 10)

	a.rewrite(head + frontA + back20)
	back.awaitEnd(t) // the page connects again by itself
	a.await("/api/status", `"name":"back".*"state":"live"`)
	front.awaitPackets(t, 30)
	if front.closed.Load() {
		t.Error("the session of the unchanged camera was ended")
	}

	a.rewrite(head + frontA + "frobnicate = 1\n")
	a.await("/api/status", `"problems":\["configuration not reloaded.*frobnicate: unknown key`)
	front.awaitPackets(t, 30)

	a.rewrite(head + frontA)
	a.await("/api/status", `"problems":\[\]`)
	body, err := get(a.url + "/api/status")
	if err != nil || strings.Contains(body, `"back"`) {
		t.Errorf("the removed camera is still there: %s %v", body, err)
	}
	a.await("/metrics", `lenscast_camera_viewers{camera="front"} 1\n`)

	if took := a.end(); took > stopTimeout {
		t.Errorf("the end took %v, more than %v", took, stopTimeout)
	}
	front.awaitEnd(t)
}

func TestReloadWithTakenPortsGoesOn(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	a := startAgent(t, head+frontA)
	a.rewrite(fmt.Sprintf("[viewer]\nlisten = %q\n[webrtc]\nlisten = \"localhost:0\"\n%s", taken.Addr(), frontA))
	a.await("/api/status", `"problems":\[".viewer. not reloaded: .*address already in use`)
	a.rewrite(fmt.Sprintf("[viewer]\nlisten = \"localhost:PORT\"\n[webrtc]\nlisten = %q\n%s", taken.Addr(), frontA))
	a.await("/api/status", `"problems":\[".webrtc. not reloaded: .*address already in use`)
	a.await("/api/status", `"state":"live"`)
	a.watch("front", "").awaitPackets(t, 10)

	a.rewrite(head + frontA + back10)
	a.await("/api/status", `"name":"back".*"problems":\[\]`)
	a.end()
}

func TestNewPasswordEndsSessions(t *testing.T) {
	secured := strings.Replace(head, "\n[webrtc]", "\ntoken = \"one\"\n[webrtc]", 1)
	a := startAgent(t, head+frontA)
	a.await("/api/status", `"state":"live"`)
	v := a.watch("front", "")
	v.awaitPackets(t, 10)
	a.rewrite(secured + frontA)
	v.awaitEnd(t)
	a.await("/api/status", "^401 ")
	a.watch("front", "one").awaitPackets(t, 10)
	a.end()
}

// TestNothingIsLeftBehind starts and stops the agent and counts goroutines.
func TestNothingIsLeftBehind(t *testing.T) {
	before := 0
	for round := range 3 {
		a := startAgent(t, head+frontA)
		a.await("/api/status", `"state":"live"`)
		v := a.watch("front", "")
		v.awaitPackets(t, 10)
		a.end()
		if err := v.pc.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		if round == 0 { // libraries may have started what they keep
			before = runtime.NumGoroutine()
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			var stacks bytes.Buffer
			buf := make([]byte, 1<<20)
			stacks.Write(buf[:runtime.Stack(buf, true)])
			t.Fatalf("%d goroutines, %d after the first round:\n%s", runtime.NumGoroutine(), before, &stacks)
		}
	}
}

func TestStartFailsWhenThePortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, text := range map[string]string{
		"viewer": fmt.Sprintf("[viewer]\nlisten = %q\n[webrtc]\nlisten = \"localhost:0\"\n", taken.Addr()),
		"webrtc": fmt.Sprintf("[viewer]\nlisten = \"localhost:0\"\n[webrtc]\nlisten = %q\n", taken.Addr()),
	} {
		path := filepath.Join(t.TempDir(), name+".toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out buffer
		if code := run(t.Context(), streams{os.Stdin, &out, &out}, []string{"run", "-config", path}); code != exitFailed {
			t.Errorf("%s: exit code %d, want %d", name, code, exitFailed)
		}
		if text := out.take(); !regexp.MustCompile(`(?m)^lenscast: .*address already in use: another program`).MatchString(text) {
			t.Errorf("%s: it is not told why: %s", name, text)
		}
	}
}

func TestSystemdIsTold(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	t.Setenv("WATCHDOG_PID", "")
	// next waits for a note that begins so.
	next := func(prefix string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", prefix, err)
			}
			if strings.HasPrefix(string(buf[:n]), prefix) {
				return
			}
		}
	}
	a := startAgent(t, head+frontA)
	next("READY=1")
	next("WATCHDOG=1")
	a.rewrite("frobnicate = 1\n")
	next("RELOADING=1\nMONOTONIC_USEC=")
	next("READY=1")
	next("STATUS=1 of 1 camera live, 0 viewers; configuration not reloaded")
	a.end()
	next("STOPPING=1")
}

// TestRecording records by hand, over a reload and by a signal, and finds all
// of it on the page's list.
func TestRecording(t *testing.T) {
	dir := t.TempDir()
	text := fmt.Sprintf("[viewer]\nlisten = \"localhost:PORT\"\n[webrtc]\nlisten = \"localhost:0\"\n"+
		"[recording]\ndir = %q\nkeep_free = \"1MiB\"\nmode = \"manual\"\nmax_loss = \"500ms\"\n"+
		"[[camera]]\nname = \"front\"\nsource = \"test\"\nsize = \"320x180\"\n", dir)
	a := startAgent(t, text)
	a.await("/api/status", `"recording":"standby"`)
	a.post("/api/recorder/front/start")
	a.await("/api/status", `"recording":"recording"`)
	a.await("/api/recordings", `"running":true`)
	a.post("/api/recorder/front/stop")
	a.await("/api/recordings", `"id":"front/[^"]+"`)
	a.rewrite(text + "fps = 20\n")
	a.await("/api/status", `"recording":"standby"`)
	a.record <- syscall.SIGUSR1
	a.await("/api/status", `"recording":"recording"`)
	a.record <- syscall.SIGUSR2
	a.await("/api/recordings", `("sha256":"\w{64}".*){2}`)
	a.rewrite(strings.Replace(text, "manual", "always", 1))
	a.await("/api/recordings", `"running":true`)
	a.end()
	files, err := filepath.Glob(filepath.Join(dir, "front/*/*.mp4"))
	if err != nil || len(files) != 3 {
		t.Errorf("%d recordings, want 3: %v", len(files), err)
	}
}

func (a *testAgent) post(path string) {
	a.t.Helper()
	resp, err := http.Post(a.url+path, "", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		a.t.Fatalf("POST %s: %s", path, resp.Status)
	}
}
