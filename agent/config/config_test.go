package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lenscast/lenscast/agent/selfsigned"
)

var update = flag.Bool("update", false, "write the golden files")

// compare makes cmp compare what secrets reveal, and leave out warnings.
func compare() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b Secret) bool { return a.Reveal() == b.Reveal() }),
		cmpopts.EquateComparable(netip.Addr{}),
		cmpopts.IgnoreUnexported(Config{}),
	}
}

// TestBadFiles compares all that is printed about each bad file.
func TestBadFiles(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d bad files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := Load(file, Checks{})
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Load: %v, want Problems", err)
			}
			got := err.Error() + "\n"
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret was printed")
			}
		})
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustLoad(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Load(write(t, "lenscast.toml", text), Checks{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestReferenceIsDefault(t *testing.T) {
	const file = "../../configs/reference.toml"
	cfg, err := Load(file, Checks{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), cfg, compare()); diff != "" {
		t.Errorf("reference.toml is not the default (-default +file):\n%s", diff)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range allKeys(reflect.TypeFor[Config]()) {
		if !regexp.MustCompile(`(?m)(^(# )?\[+(\w+\.)?|^# |^|[{,(] *)` + key + `( = |\])`).Match(text) {
			t.Errorf("reference.toml does not name %s", key)
		}
	}
}

// allKeys returns the names of all keys in a struct and below it.
func allKeys(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("toml")
		if name == "" {
			continue
		}
		keys = append(keys, name)
		elem := f.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if elem == reflect.TypeFor[Secret]() {
			keys = append(keys, name+"_file")
		} else if elem.Kind() == reflect.Struct {
			keys = append(keys, allKeys(elem)...)
		}
	}
	return keys
}

func TestExamplesLoad(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Dir(write(t, "viewer.password", "correct horse")))
	files, err := filepath.Glob("../../configs/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples, %v", err)
	}
	for _, file := range files {
		if _, err := Load(file, Checks{}); err != nil {
			t.Error(err)
		}
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	if diff := cmp.Diff(Default(), mustLoad(t, ""), compare()); diff != "" {
		t.Errorf("-default +empty file:\n%s", diff)
	}
}

func TestDefaultsDependOnOtherKeys(t *testing.T) {
	cfg := mustLoad(t, `
[viewer]
listen = "192.168.1.5:80"
token = "abc"
[[camera]]
name = "a"
source = "test"
size = "640x480"
[[camera]]
name = "b"
source = "mpegts"
listen = "udp://:9000"
`)
	if got := cfg.WebRTC.Listen.String(); got != "192.168.1.5:8555" {
		t.Errorf("webrtc.listen is %s, want port 8555 on the viewer's host", got)
	}
	want := []Camera{
		{Name: "a", Source: SourceTest, Size: Resolution{640, 480}, FPS: 30, Bitrate: 900_000, MinBitrate: 100_000, KeyframeInterval: 2e9},
		{Name: "b", Source: SourceMPEGTS, Listen: UDPAddress{Port: 9000}},
	}
	if diff := cmp.Diff(want, cfg.Cameras, compare()); diff != "" {
		t.Errorf("cameras (-want +got):\n%s", diff)
	}
}

// TestPrintedConfigurationLoads writes a configuration with every key and
// reads it again.
func TestPrintedConfigurationLoads(t *testing.T) {
	password := write(t, "password", "s3cret\n")
	cfg := mustLoad(t, `
[viewer]
listen = ":8080"
password_file = '`+password+`'
token = "t0ken"
max_viewers = 7
[webrtc]
listen = ":9000"
ice_servers = [
  { url = "stun:stun.example.org:3478" },
  { url = "turn:turn.example.org:3478?transport=udp", username = "me \"\\ ü", password_file = '`+password+`' },
]
public_addresses = ["203.0.113.7", "2001:db8::1"]
[log]
level = "warn"
format = "json"
[recording]
dir = "/media/usb/rec"
require_mount = "/media/usb"
audio = false
[[camera]]
name = "a"
source = "test"
bitrate = "2500kbit"
min_bitrate = "300kbit"
keyframe_interval = "10s"
[[camera]]
name = "b"
source = "mpegts"
listen = "udp://[::1]:9001"
`)
	var b bytes.Buffer
	if err := cfg.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "s3cret") || strings.Contains(b.String(), "t0ken") {
		t.Errorf("a secret was printed:\n%s", &b)
	}
	if !strings.Contains(b.String(), "# token: redacted, from ") {
		t.Errorf("it is not told where the token came from:\n%s", &b)
	}
	again, err := Load(write(t, "again.toml", b.String()), Checks{})
	if err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	cfg.Viewer.Token = Secret{}
	if diff := cmp.Diff(cfg, again, compare()); diff != "" {
		t.Errorf("-first +second:\n%s", diff)
	}
}

// TestTablesInTables decodes an array of tables whose elements have one each.
func TestTablesInTables(t *testing.T) {
	type push struct {
		URL string `toml:"url"`
		FPS int    `toml:"fps"`
	}
	type camera struct {
		Name string `toml:"name"`
		Push []push `toml:"push"`
	}
	type root struct {
		Cameras []camera `toml:"camera"`
	}
	const text = `[[camera]]
name = "a"
[[camera.push]]
url = "a1"
[[camera.push]]
url = "a2"
[[camera]]
name = "b"
push = [
  { url = "b1" },
  { url = "b2" },
]
[[camera]]
name = "c"
[[camera.push]]
url = "c1"
`
	var got root
	r := &report{file: "file", data: []byte(text)}
	decodeFile(r, &got)
	want := root{Cameras: []camera{
		{Name: "a", Push: []push{{URL: "a1"}, {URL: "a2"}}},
		{Name: "b", Push: []push{{URL: "b1"}, {URL: "b2"}}},
		{Name: "c", Push: []push{{URL: "c1"}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" || len(r.problems) > 0 {
		t.Errorf("problems %v, decoded (-want +got):\n%s", r.problems, diff)
	}

	r = &report{file: "file", data: []byte(text + "fps = true\n[[camera.push]]\nurll = ''\n[camera.extra]\n")}
	decodeFile(r, &got)
	wrong := `file:17: camera.push.fps: true is not a whole number, write it like 30
file:19: camera.push.urll: unknown key, did you mean "url"?
file:20: camera.extra: unknown key, there are name and push`
	if diff := cmp.Diff(wrong, r.sorted(r.problems).Error()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestUnreadableFiles(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe") // without a writer: opening it must not wait
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := write(t, "large.toml", strings.Repeat("# what for?\n", maxFileSize/10))
	for _, path := range []string{filepath.Join(t.TempDir(), "none.toml"), t.TempDir(), "/dev/zero", pipe, large} {
		if _, err := Load(path, Checks{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Load(%q): %v, want an error that names the file", path, err)
		}
	}
}

func TestDiff(t *testing.T) {
	old, next := Default(), Default()
	if c := Diff(old, next); c.String() != "nothing" {
		t.Errorf("equal configurations differ: %s", c)
	}
	old.Cameras = []Camera{{Name: "a"}, {Name: "b"}, {Name: "c", FPS: 25}}
	next.Cameras = []Camera{{Name: "c", FPS: 30}, {Name: "d"}, {Name: "a"}}
	next.Log.Level = LogDebug
	next.Viewer.Password = NewSecret("x")
	want := Changes{Viewer: true, Log: true, Added: []string{"d"}, Changed: []string{"c"}, Removed: []string{"b"}}
	got := Diff(old, next)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if s, want := got.String(), "viewer, log, new camera d, changed camera c, removed camera b"; s != want {
		t.Errorf("String is %q, want %q", s, want)
	}
}

func TestWarnings(t *testing.T) {
	open := write(t, "password", "x")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := mustLoad(t, `
[viewer]
listen = ":8080"
password_file = '`+open+`'
[[camera]]
name = "a"
source = "mpegts"
listen = "udp://:9000"
`)
	var keys []string
	for _, w := range cfg.Warnings() {
		keys = append(keys, w.Key)
	}
	if diff := cmp.Diff([]string{"viewer.listen", "viewer.password_file", "camera.listen"}, keys); diff != "" {
		t.Errorf("warnings are about (-want +got):\n%s", diff)
	}
}

// A certificate that is no longer or not yet valid may be one for a clock that
// is wrong: it is told, and used.
func TestCertificateOutOfTime(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, to time.Time
		want     string
	}{
		{now.AddDate(0, 0, -3), now.AddDate(0, 0, -1), "expired on " + now.AddDate(0, 0, -1).UTC().Format(time.DateOnly) + " and is refused"},
		{now.AddDate(0, 0, -83), now.AddDate(0, 0, 7), "expires on"},
		{now.AddDate(0, 0, 1), now.AddDate(0, 0, 3), "set the clock"},
		{now.AddDate(0, 0, -1), now.AddDate(0, 0, 1), ""},
	} {
		pem, err := selfsigned.Make(x509.Certificate{NotBefore: c.from, NotAfter: c.to})
		if err != nil {
			t.Fatal(err)
		}
		file := write(t, "viewer.pem", string(pem))
		cfg := mustLoad(t, "[viewer]\ntls = \"files\"\ntls_cert = '"+file+"'\ntls_key = '"+file+"'\n")
		if got := cfg.Warnings().Error(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("valid from %v to %v: warned of %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Setenv("CREDENTIALS_DIRECTORY", "")
	for _, pattern := range []string{"testdata/*.toml", "../../configs/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := parse(&report{file: "fuzz.toml", data: data})
		if err != nil {
			lines := bytes.Count(data, []byte("\n")) + 1
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("parse: %v, want Problems", err)
			}
			for _, p := range problems {
				if p.Line < 0 || p.Line > lines || p.Text == "" {
					t.Errorf("problem %+v in a file of %d lines", p, lines)
				}
			}
			return
		}
		var b bytes.Buffer
		if err := cfg.WriteTOML(&b); err != nil {
			t.Fatal(err)
		}
		if cfg.Viewer.Password.IsSet() || cfg.Viewer.Token.IsSet() || bytes.Contains(b.Bytes(), []byte("redacted")) {
			return // an inline secret is not printed, so it can't be read again
		}
		if _, err := parse(&report{file: "printed.toml", data: b.Bytes()}); err != nil {
			t.Errorf("what was printed does not load: %v\n%s", err, &b)
		}
	})
}
