package config

import (
	"encoding"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	parse := func(dst encoding.TextUnmarshaler, text string) error { return dst.UnmarshalText([]byte(text)) }
	for _, test := range []struct {
		dst  encoding.TextUnmarshaler
		text string
		want string // printed, empty when refused
	}{
		{new(Duration), "5s", "5s"},
		{new(Duration), "250ms", "250ms"},
		{new(Duration), "600s", "10m"},
		{new(Duration), "1h30m", "1h30m"},
		{new(Duration), "2h", "2h"},
		{new(Duration), "10h0m10s", "10h0m10s"},
		{new(Duration), "5", ""},
		{new(Duration), "0", ""},
		{new(Duration), "-5s", ""},
		{new(Duration), "5 s", ""},
		{new(Duration), "", ""},
		{new(Duration), "9999999999h", ""},

		{new(Size), "4GiB", "4GiB"},
		{new(Size), "4 GiB", "4GiB"},
		{new(Size), "500MB", "500MB"},
		{new(Size), "1.5GiB", "1536MiB"},
		{new(Size), "1024B", "1KiB"},
		{new(Size), "0B", "0B"},
		{new(Size), "4G", ""},
		{new(Size), "4", ""},
		{new(Size), "GiB", ""},
		{new(Size), "-4GiB", ""},
		{new(Size), "4e3B", ""},
		{new(Size), "9000000TiB", ""},

		{new(Rate), "6Mbit", "6Mbit"},
		{new(Rate), "2.5Mbit", "2500kbit"},
		{new(Rate), "800kbit", "800kbit"},
		{new(Rate), "6MB", ""},
		{new(Rate), "6", ""},
		{new(Rate), ".5Mbit", ""},

		{new(Resolution), "1920x1080", "1920x1080"},
		{new(Resolution), "1920X1080", ""},
		{new(Resolution), "1921x1080", ""},
		{new(Resolution), "0x0", ""},
		{new(Resolution), "99999x1080", ""},
		{new(Resolution), "99999999999999999999x2", ""},
		{new(Resolution), "-1920x1080", ""},

		{new(Address), "localhost:8080", "localhost:8080"},
		{new(Address), ":8080", ":8080"},
		{new(Address), "[::1]:0", "[::1]:0"},
		{new(Address), "[fe80::1%eth0]:80", "[fe80::1%eth0]:80"},
		{new(Address), "8080", ""},
		{new(Address), "localhost", ""},
		{new(Address), "localhost:http", ""},
		{new(Address), "localhost:65536", ""},
		{new(Address), "local host:80", ""},
		{new(Address), "http://localhost:80", ""},

		{new(UDPAddress), "udp://127.0.0.1:8554", "udp://127.0.0.1:8554"},
		{new(UDPAddress), "udp://239.0.0.1:1234", "udp://239.0.0.1:1234"},
		{new(UDPAddress), "udp://:8554", "udp://:8554"},
		{new(UDPAddress), "udp://[::1]:8554", "udp://[::1]:8554"},
		{new(UDPAddress), "udp://239.0.0.1:1234?interface=eth0", "udp://239.0.0.1:1234?interface=eth0"},
		{new(UDPAddress), "udp://239.0.0.1:1234?interface=", ""},
		{new(UDPAddress), "udp://127.0.0.1:1234?interface=eth0", ""},
		{new(UDPAddress), "udp://239.0.0.1:1234?interface=eth0&x=1", ""},
		{new(UDPAddress), "udp://localhost:8554", ""},
		{new(UDPAddress), "tcp://127.0.0.1:8554", ""},
		{new(UDPAddress), "udp://127.0.0.1:0", ""},
		{new(UDPAddress), "127.0.0.1:8554", ""},

		{new(IP), "203.0.113.7", "203.0.113.7"},
		{new(IP), "fe80::1%eth0", ""},
		{new(IP), "example.org", ""},
	} {
		err := parse(test.dst, test.text)
		if test.want == "" {
			if err == nil {
				t.Errorf("%T accepts %q", test.dst, test.text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%T refuses %q: %v", test.dst, test.text, err)
			continue
		}
		text, err := test.dst.(encoding.TextMarshaler).MarshalText()
		if err != nil || string(text) != test.want {
			t.Errorf("%T %q is printed as %q, want %q, %v", test.dst, test.text, text, test.want, err)
		}
	}
}

func TestDurationIsADuration(t *testing.T) {
	var d Duration
	if err := d.UnmarshalText([]byte("1m30s")); err != nil || time.Duration(d) != 90*time.Second {
		t.Errorf("1m30s is %v, %v", time.Duration(d), err)
	}
}

func TestLoopback(t *testing.T) {
	for text, want := range map[string]bool{
		"localhost:1": true, "LOCALHOST:1": true, "127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true,
		"[::ffff:127.0.0.1]:1": true, ":1": false, "0.0.0.0:1": false, "[::]:1": false, "192.168.1.1:1": false,
		"localhost.example.org:1": false,
	} {
		var a Address
		if err := a.UnmarshalText([]byte(text)); err != nil || a.Loopback() != want {
			t.Errorf("Loopback of %q is %v, want %v, %v", text, a.Loopback(), want, err)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"listen", "password", "tls", "max_viewers", "fps"}
	for typed, want := range map[string]string{
		"lisen": "listen", "lsiten": "listen", "pasword": "password", "tsl": "tls", "max-viewers": "max_viewers",
		"FPS": "fps", "x": "", "": "", "resolution": "", "colour": "",
	} {
		if got := Nearest(typed, words); got != want {
			t.Errorf("Nearest(%q) is %q, want %q", typed, got, want)
		}
	}
}
