package config

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestPushURLHidesSecrets(t *testing.T) {
	cfg := mustLoad(t, `
[[camera]]
name = "a"
source = "test"
[[camera.push]]
url = "srt://media.example.org:9000?latency=200&passphrase=hunter2hunter2&streamid=x"
[[camera.push]]
url = "udp-server://:7000"
token = "hunter2hunter2hunter2"
`)
	push := cfg.Cameras[0].Pushes[0]
	if !strings.Contains(push.URL.Reveal(), "passphrase=hunter2hunter2&") {
		t.Errorf("revealed: %s", push.URL.Reveal())
	}
	var toml bytes.Buffer
	if err := cfg.WriteTOML(&toml); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %s", push, push, push, toml.Bytes()); strings.Contains(s, "hunter2") {
		t.Errorf("printed: %s", s)
	}
	if want := "srt://media.example.org:9000?latency=200&passphrase=redacted&streamid=x"; push.URL.String() != want || !strings.Contains(toml.String(), want) {
		t.Errorf("%s in %s", push.URL, toml.Bytes())
	}
}

func TestDiffTellsPushesFromCameras(t *testing.T) {
	const camera = "[[camera]]\nname = \"a\"\nsource = \"test\"\n"
	old := mustLoad(t, camera)
	pushed := mustLoad(t, camera+"[[camera.push]]\nurl = \"udp://192.0.2.1:5000\"\n")
	both := mustLoad(t, camera+"fps = 10\n[[camera.push]]\nurl = \"udp://192.0.2.1:5000\"\n")
	for _, tt := range []struct {
		a, b *Config
		want string
	}{
		{old, pushed, "pushes of camera a"},
		{pushed, old, "pushes of camera a"},
		{pushed, pushed, "nothing"},
		{old, both, "changed camera a"},
	} {
		if got := Diff(tt.a, tt.b).String(); got != tt.want {
			t.Errorf("changed: %s, want %s", got, tt.want)
		}
	}
}
