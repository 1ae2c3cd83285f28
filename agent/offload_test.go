package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/credentials"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/wallclock"
	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// footage makes a folder with n recordings.
func footage(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	clock, err := wallclock.NewSystem()
	if err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(archive.Params{Dir: dir, Clock: clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	src := recordingtest.Synthetic(30, 5, 20_000)
	for range n {
		src.Skip(time.Second)
		if _, ok := record(a, src); !ok {
			t.Fatal("no recording")
		}
	}
	return dir
}

// testReceiver is a receiver with TLS and the token "open sesame".
type testReceiver struct{ address, pin, dir string }

// receiver starts one that keeps so many bytes of its disk free.
func receiver(t *testing.T, keepFree int64) testReceiver {
	t.Helper()
	dir := t.TempDir()
	folder, err := dirstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := dirstore.New(folder, dirstore.Params{KeepFree: keepFree})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := credentials.SelfSigned(filepath.Join(t.TempDir(), "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := filetransfer.NewReceiver(filetransfer.ReceiverParams{
		Store: store, Authorize: credentials.SharedToken("open sesame", 0).Authorize,
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		<-done
		folder.Close()
	})
	return testReceiver{ln.Addr().String(), filetransfer.FormatPin(filetransfer.KeyDigest(cert.Leaf)), dir}
}

// table is the [offload] that sends to it.
func (r testReceiver) table(token, pin string) string {
	return fmt.Sprintf("[offload]\nserver = %q\ntoken = %q\npin = %q\nagent = \"cam\"\n", r.address, token, pin)
}

// TestOffloadInWords is what people read when it does not work, and that it
// does as soon as the configuration is right, without touching the cameras.
func TestOffloadInWords(t *testing.T) {
	good, full := receiver(t, 1<<20), receiver(t, 1<<60)
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	gone := testReceiver{address: "127.0.0.1:" + port, pin: good.pin}
	const otherPin = "sha256//4n972HfV354KP560yw4uqe/baXc3Iq4oVNiKtnDcVcs="
	base := head + frontA + "[recording]\ndir = \"" + footage(t, 2) + "\"\nmode = \"manual\"\n"
	a := startAgent(t, base+gone.table("open sesame", gone.pin))
	a.await("/api/status", `"state":"live"`)
	a.await("/api/status", `"offload":{.*"state":"retrying","reason":"`+gone.address+` does not answer: is lenscast receive running there\?","waiting":2`)

	live, err := get(a.url + "/api/status")
	if err != nil {
		t.Fatal(err)
	}
	since := live[strings.Index(live, `"since"`):][:40]
	for _, wrong := range []struct{ table, want string }{
		{good.table("abracadabra", good.pin), `says: denied: .*; see token_file and agent in \[offload\].*"problems":\["offload: `},
		{good.table("open sesame", otherPin), `is not the server that was meant: the receiver's key is .*set pin in \[offload\].*"problems":\["offload: `},
		{full.table("open sesame", full.pin), `says: full: .*; make room there`},
	} {
		a.rewrite(base + wrong.table)
		a.await("/api/status", wrong.want)
	}
	a.await("/metrics", "lenscast_offload_waiting_recordings 2")
	listing := queue(t, a, 0)
	if strings.Count(listing, "make room there") != 2 || strings.Count(listing, "tried once, again in") != 1 || strings.Count(listing, "\n") != 2 {
		t.Errorf("lenscast queue prints\n%s", listing)
	}

	a.rewrite(base + good.table("open sesame", good.pin) + "after = \"delete\"\n")
	a.await("/api/status", `"offload":{.*"state":"idle".*"waiting":0.*"recordings_total":2`)
	a.await("/metrics", "lenscast_offload_recordings_total 2")
	a.await("/api/recordings", `"recordings":\[\]`) // deleted, as the new table says
	if live, err = get(a.url + "/api/status"); err != nil || !strings.Contains(live, since) {
		t.Errorf("the camera was touched by a change of [offload]: %s, %v", live, err)
	}
	arrived, err := filepath.Glob(filepath.Join(good.dir, "cam/hero/*/*.mp4"))
	if err != nil || len(arrived) != 2 {
		t.Errorf("arrived: %v, %v", arrived, err)
	}
}

// queue runs "lenscast queue" with arguments for the configuration of a, and
// returns what it prints.
func queue(t *testing.T, a *testAgent, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	got := run(t.Context(), streams{in: strings.NewReader(""), out: &out, err: &out}, append([]string{"queue", "-config", a.path}, args...))
	if got != code {
		t.Errorf("lenscast queue %v: exit code %d, want %d\n%s", args, got, code, &out)
	}
	return out.String()
}

// TestQueueCommand drops and retries, with the agent and without it.
func TestQueueCommand(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := footage(t, 3)
	list, err := archive.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	base := head + frontA + "[recording]\ndir = \"" + dir + "\"\nmode = \"manual\"\n"
	a := startAgent(t, base+"[offload]\nserver = \"127.0.0.1:"+port+"\"\nagent = \"cam\"\n")
	a.await("/api/status", `"state":"retrying"`)

	queue(t, a, exitUsage, "drop", list[0].ID) // nobody to ask
	queue(t, a, exitPart, "drop", "-yes", list[0].ID, "hero/none")
	queue(t, a, exitUsage, "lift")
	if out := queue(t, a, exitDone); strings.Contains(out, list[0].ID) || !strings.Contains(out, list[1].ID) {
		t.Errorf("the queue after a drop:\n%s", out)
	}
	if out := queue(t, a, exitDone, "-json"); strings.Count(out, `"tries"`) != 2 {
		t.Errorf("as JSON:\n%s", out)
	}
	queue(t, a, exitDone, "retry", list[0].ID)
	queue(t, a, exitDone, "retry", "all")
	if out := queue(t, a, exitDone); !strings.Contains(out, list[0].ID) {
		t.Errorf("the queue after a retry:\n%s", out)
	}
	for path, want := range map[string]int{"retry/hero/none": http.StatusNotFound, "drop/" + list[2].ID: http.StatusNoContent} {
		resp, err := http.Post(a.url+"/api/offload/"+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}

	a.end()
	if _, err := os.Stat(filepath.Join(dir, doorName)); err == nil {
		t.Error("the socket is left")
	}
	queue(t, a, exitDone, "drop", "-yes", list[0].ID)
	out := queue(t, a, exitDone)
	if strings.Count(out, "lenscast is not running") != 1 || !strings.Contains(out, list[1].ID) {
		t.Errorf("the queue without the agent:\n%s", out)
	}
	queue(t, a, exitDone, "retry", list[2].ID)
	if out := queue(t, a, exitDone); strings.Count(out, "\n") != 2 {
		t.Errorf("the queue after a retry without the agent:\n%s", out)
	}
	queue(t, a, exitFailed, "drop", "-yes", "hero/none")
}

// TestOffloadCheck finds at once what only a sender knows to be wrong.
func TestOffloadCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lenscast.toml")
	text := frontA + `[recording]
dir = "rec"
[offload]
server = "nas:9000"
pin = "sha256//short"
[[offload.fallback]]
server = "other:9000"
ca = "none.pem"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := loadConfig(path)
	for _, want := range []string{"2 problems", "toml:7: offload: key pin", "44 characters of base64", "toml:12: offload.fallback.ca: ", "none.pem"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}
