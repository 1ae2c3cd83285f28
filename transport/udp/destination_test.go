package udp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

func TestParseDestination(t *testing.T) {
	for _, tt := range []struct {
		url   string
		check func(d Destination) bool
	}{
		{"udp://192.0.2.10:5000", func(d Destination) bool {
			return d.Kind == TS && d.Host == "192.0.2.10" && d.Port == 5000 && d.PacketSize == 1316 && d.DSCP == 34 && d.TTL == 0
		}},
		{"udp://239.1.2.3:5000?ttl=4&interface=eth0&dscp=0&pkt_size=564", func(d Destination) bool {
			return d.TTL == 4 && d.Interface == "eth0" && d.DSCP == 0 && d.PacketSize == 564
		}},
		{"rtp://[2001:db8::1]:6000?sdp=/run/camera.sdp", func(d Destination) bool {
			return d.Kind == RTP && d.Host == "2001:db8::1" && d.SDPFile == "/run/camera.sdp" && d.String() == "rtp://[2001:db8::1]:6000"
		}},
		{"srt://media.example.org:9000?latency=200&streamid=publish:hero&pbkeylen=32&passphrase=0123456789", func(d Destination) bool {
			return d.Kind == SRT && !d.Listener && d.Latency == 200*time.Millisecond && d.StreamID == "publish:hero" && d.KeyLength == 32
		}},
		{"srt://:9000?mode=listener&latency=1s", func(d Destination) bool {
			return d.Listener && d.Host == "" && d.Latency == time.Second
		}},
		{"udp-server://:7000?token=0123456789abcdef&max_clients=3", func(d Destination) bool {
			return d.Kind == Server && d.MaxClients == 3
		}},
	} {
		d, err := ParseDestination(tt.url)
		if err != nil || !tt.check(d) {
			t.Errorf("%s: %+v, %v", tt.url, d, err)
		}
	}
}

func TestDestinationsThatAreRefused(t *testing.T) {
	for url, words := range map[string]string{
		"":                                          "no way to send",
		"http://192.0.2.10:80":                      `"http" is no way to send over UDP`,
		"udp://192.0.2.10":                          "no port",
		"udp://192.0.2.10:0":                        "no port",
		"udp://192.0.2.10:70000":                    "no port",
		"udp://:5000":                               "no host",
		"udp://user:secret@192.0.2.10:5000":         "only host, port and options",
		"udp://192.0.2.10:5000/path":                "only host, port and options",
		"udp://192.0.2.10:5000?latency=1":           `udp has no option "latency", only pkt_size`,
		"udp://192.0.2.10:5000?ttl=0":               "ttl is a number from 1 to 255",
		"udp://192.0.2.10:5000?ttl=1&ttl=2":         "option ttl stands there 2 times",
		"udp://192.0.2.10:5000?pkt_size=1300":       "not a multiple of 188",
		"udp://192.0.2.10:5000?dscp=64":             "dscp is a number from 0 to 63",
		"rtp://192.0.2.10:65535":                    "none above it for RTCP",
		"rtp://192.0.2.10:5000?pkt_size=200":        "too small for RTP",
		"srt://192.0.2.10:5000?passphrase=short":    "must have 10 to 79",
		"srt://192.0.2.10:5000?latency=99999":       "latency is from 20ms to 30s",
		"srt://192.0.2.10:5000?mode=rendezvous":     "mode is caller or listener",
		"srt://192.0.2.10:5000?pbkeylen=17":         "16, 24 or 32",
		"udp-server://:5000?token=tooshort":         "must have 16 to 128",
		"udp-server://:5000?token=with%20a%20blank": "must have 16 to 128",
		"udp://192.0.2.10:5000?ttl=%zz":             "malformed",
	} {
		_, err := ParseDestination(url)
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", url, err, words)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	const pass = "correct-horse-battery"
	for _, url := range []string{"srt://192.0.2.10:9000?passphrase=" + pass, "udp-server://:9000?token=" + pass} {
		d, err := ParseDestination(url)
		if err != nil {
			t.Fatal(err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s", d, d, d, d); strings.Contains(s, pass) {
			t.Errorf("printed: %s", s)
		}
	}
	for _, url := range []string{"srt://192.0.2.10:9000?passphrase=" + pass + "%zz", "srt://%zz?passphrase=" + pass, "srt://192.0.2.10:9000?pass=" + pass} {
		if _, err := ParseDestination(url); err == nil || strings.Contains(err.Error(), pass) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestServesTheNetworkOnlyWithASecret(t *testing.T) {
	open := func() Reader { return nil }
	for url, want := range map[string]bool{
		"udp-server://:7000":                              false,
		"udp-server://0.0.0.0:7000":                       false,
		"udp-server://localhost:7000":                     true,
		"udp-server://[::1]:7000":                         true,
		"udp-server://:7000?token=0123456789abcdef":       true,
		"srt://:9000?mode=listener":                       false,
		"srt://:9000?mode=listener&passphrase=0123456789": true,
		"srt://127.0.0.1:9000?mode=listener":              true,
		"srt://192.0.2.10:9000":                           true,
	} {
		d, err := ParseDestination(url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Params{Destination: d, Open: open, Clock: &packet.Clock{}}); (err == nil) != want {
			t.Errorf("%s: %v", url, err)
		}
		if want || d.Kind != Server {
			continue
		}
		if d, err = d.WithSecret("0123456789abcdef"); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Params{Destination: d, Open: open, Clock: &packet.Clock{}}); err != nil {
			t.Errorf("%s with a token: %v", url, err)
		}
	}
}

func FuzzParseDestination(f *testing.F) {
	f.Add("udp://239.1.2.3:5000?ttl=4&interface=eth0")
	f.Add("srt://:9000?mode=listener&latency=1s&passphrase=0123456789")
	f.Add("rtp://[fe80::1%25eth0]:6000?sdp=x")
	f.Add("udp-server://:7000?token=0123456789abcdef")
	f.Fuzz(func(t *testing.T, url string) {
		d, err := ParseDestination(url)
		if err != nil {
			return
		}
		if d.Port == 0 || d.PacketSize < 188 || d.PacketSize > 1472 || d.TTL < 0 || d.TTL > 255 || d.Latency <= 0 {
			t.Errorf("%q: %+v", url, d)
		}
	})
}
