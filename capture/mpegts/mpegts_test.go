package mpegts

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/lenscast/lenscast/capture"
)

func TestNew(t *testing.T) {
	for _, listen := range []string{
		"udp://:8554", "udp://127.0.0.1:8554", "udp://[::1]:8554", "udp://0.0.0.0:1",
		"udp://239.0.0.1:5000", "udp://239.0.0.1:5000?interface=eth0", "udp://[ff15::1]:5000?interface=eth0",
	} {
		if _, err := New(Params{Listen: listen}); err != nil {
			t.Error(err)
		}
	}
	for listen, text := range map[string]string{
		"":                                    "only udp://",
		":8554":                               "not an address",
		"rtp://:8554":                         "only udp://",
		"udp://127.0.0.1":                     "port is missing",
		"udp://:0":                            "port is missing",
		"udp://:65536":                        "port is missing",
		"udp://camera.local:8554":             "no IP address",
		"udp://:8554/stream":                  "more in it",
		"udp://239.0.0.1:5000?iface=eth0":     "only option is interface",
		"udp://239.0.0.1:5000?interface=":     "only option is interface",
		"udp://192.0.2.1:5000?interface=eth0": "multicast group only",
	} {
		if _, err := New(Params{Listen: listen}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("listen %q: error %v, want %q", listen, err, text)
		}
	}
}

func TestRunFailsToOpen(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, test := range []struct {
		listen, text string
		is           error
	}{
		{"udp://" + taken.LocalAddr().String(), "has port", nil},
		{"udp://192.0.2.1:5000", "does not have the address 192.0.2.1", capture.ErrNoDevice},
		{"udp://239.0.0.1:5000?interface=nowhere0", "no network interface nowhere0", capture.ErrNoDevice},
	} {
		s, err := New(Params{Listen: test.listen})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Run(t.Context(), newRecorder())
		if err == nil || !strings.Contains(err.Error(), test.text) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v", test.listen, err)
		}
	}
}

// TestRunEndsAndRunsAgain cancels while nothing arrives, twice, on one port.
func TestRunEndsAndRunsAgain(t *testing.T) {
	s, err := New(Params{Listen: "udp://127.0.0.1:" + freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := newRecorder()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, r) }()
		r.wait(t, "open", func() bool { return len(r.opened) > 0 })
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v to end", took)
		}
	}
}

// TestNetworks sends a film over IPv4, IPv6 and to a group.
func TestNetworks(t *testing.T) {
	var m muxer
	m.tables(track{testVideo, kindH264})
	for i, u := range pictures(t, "baseline.264") {
		m.picture(testVideo, uint64(i)*frame, u)
	}
	port := freePort(t)
	for _, test := range []struct{ listen, to string }{
		{"udp://127.0.0.1:" + port, "127.0.0.1"},
		{"udp://:" + port, "127.0.0.1"},
		{"udp://:" + port, "::1"},
		{"udp://[::1]:" + port, "::1"},
		{"udp://239.255.8.55:" + port + "?interface=lo", "239.255.8.55"},
	} {
		t.Run(test.listen+" from "+test.to, func(t *testing.T) {
			if c, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
				c.Close()
			} else if test.to == "::1" {
				t.Skip("this machine has no IPv6")
			}
			r := start(t, test.listen)
			to, err := net.ResolveUDPAddr("udp", net.JoinHostPort(test.to, port))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.ListenPacket("udp", ":0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if to.IP.IsMulticast() {
				conn.Close()
				if conn, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				lo, err := net.InterfaceByName("lo")
				if err != nil {
					t.Skip("this machine has no lo")
				}
				if err := ipv4.NewPacketConn(conn).SetMulticastInterface(lo); err != nil {
					t.Fatal(err)
				}
			}
			for d := m.out; len(d) > 0; {
				n := min(len(d), 7*packetSize)
				if _, err := conn.WriteTo(d[:n], to); err != nil {
					t.Fatal(err)
				}
				d = d[n:]
			}
			r.wait(t, "pictures", func() bool { return len(r.units) >= 29 })
		})
	}
}
