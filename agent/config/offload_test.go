package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const recordingTable = "[recording]\ndir = \"rec\"\n"

func TestOffload(t *testing.T) {
	cfg := mustLoad(t, recordingTable+`
[offload]
server = "nas.local:9000"
token = "secret"
pin = "sha256//x"
windows = ["22:00-06:00", "12:05-13:00"]
after = "7d"
max_rate = "10Mbit"
[[offload.fallback]]
server = "[2001:db8::1]:9000"
tls = "off"
[[camera]]
name = "a"
source = "test"
`)
	o := cfg.Offload
	want := Offload{
		OffloadServer: OffloadServer{
			Server: Address{Host: "nas.local", Port: 9000}, Token: NewSecret("secret"), TLS: TransferTLSOn, Pin: "sha256//x",
		},
		Fallback: []OffloadServer{{Server: Address{Host: "2001:db8::1", Port: 9000}, TLS: TransferTLSOff}},
		Order:    OldestFirst, When: OffloadAlways, Unsent: UnsentKeep, MaxRate: 10_000_000,
		After: AfterOffload{Delete: true, Age: Duration(7 * 24 * time.Hour)},
		Windows: []TimeWindow{
			{Duration(22 * time.Hour), Duration(6 * time.Hour)},
			{Duration(12*time.Hour + 5*time.Minute), Duration(13 * time.Hour)},
		},
	}
	if diff := cmp.Diff(want, o, compare()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := o.Servers(); len(got) != 2 || got[1].Server.Port != 9000 {
		t.Errorf("servers %+v", got)
	}
	if len(cfg.Warnings()) != 1 || !strings.Contains(cfg.Warnings()[0].Text, "unencrypted") {
		t.Errorf("warnings %v", cfg.Warnings())
	}
	var b strings.Builder
	if err := cfg.WriteTOML(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`after = "7d"`, `windows = ["22:00-06:00", "12:05-13:00"]`, `server = "nas.local:9000"`, "# token: redacted"} {
		if !strings.Contains(b.String(), line+"\n") && !strings.Contains(b.String(), line) {
			t.Errorf("printed without %s:\n%s", line, &b)
		}
	}
}

func TestNoOffload(t *testing.T) {
	cfg := mustLoad(t, recordingTable+"keep_free = \"0B\"\n[[camera]]\nname = \"a\"\nsource = \"test\"")
	if got := cfg.Offload.Servers(); got != nil {
		t.Errorf("servers %+v", got)
	}
}

func TestOffloadProblems(t *testing.T) {
	for table, want := range map[string]string{
		"[[offload.fallback]]\nserver = \"a:1\"":                                     `where to? add: server = "files.example.org:9000"`,
		`server = ":9000"`:                                                           "not an address to send to",
		`server = "nas"`:                                                             "not an address with a port",
		`server = "a:1"` + "\n" + `after = "soon"`:                                   `choose "keep", "delete" or an age`,
		`server = "a:1"` + "\n" + `after = "99999d"`:                                 `choose "keep"`,
		`server = "a:1"` + "\n" + `windows = ["22-6"]`:                               "not a time of day",
		`server = "a:1"` + "\n" + `windows = ["22:00-22:00"]`:                        "empty, leave windows out",
		`server = "a:1"` + "\n" + `cert = "x"`:                                       "cert and key belong together",
		`server = "a:1"` + "\n" + `tls = "off"` + "\n" + `pin = "x"`:                 "no use for pin",
		`server = "a:1"` + "\n" + `ca = "x"` + "\n" + `pin = "x"`:                    "remove one of the two",
		`server = "a:1"` + "\n" + `max_rate = "1bit"`:                                "too little",
		`server = "a:1"` + "\n" + `interface = "a/b"`:                                "not the name of a network interface",
		`server = "a:1"` + "\n" + `[[offload.fallback]]` + "\n" + `server = "a:1"`:   "is there already",
		`server = "a:1"` + "\n" + `[[offload.fallback]]`:                             "where to?",
		`server = "a:1"` + "\n" + "[recording]\ndir = \"r\"\nkeep_free = \"1MiB\"\n": "no room to note what was sent",
		`server = "a:1"` + "\n" + "[recording]\ndir = \"\"":                          "nothing is recorded that could be sent",
	} {
		text := "[offload]\n" + table + "\n"
		if !strings.Contains(table, "[recording]") {
			text += recordingTable
		}
		_, err := Load(write(t, "lenscast.toml", text+"[[camera]]\nname = \"a\"\nsource = \"test\"\n"), Checks{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngives %v\nwant %s", text, err, want)
		}
	}
}

// A push that always has a receiver would leave no time to send.
func TestIdleBesidePush(t *testing.T) {
	cfg := mustLoad(t, recordingTable+`
[offload]
server = "nas.local:9000"
when = "idle"
[[camera]]
name = "a"
source = "test"
[[camera.push]]
url = "udp://192.0.2.1:5000"
`)
	if w := cfg.Warnings(); len(w) != 1 || !strings.Contains(w[0].String(), `offload.when: nothing is sent while camera "a" is pushed`) {
		t.Errorf("warnings %v", w)
	}
}

func TestOffloadDiff(t *testing.T) {
	old, next := Default(), Default()
	next.Offload.MaxRate = 1
	if got := Diff(old, next).String(); got != "offload" {
		t.Errorf("changed: %s", got)
	}
}
