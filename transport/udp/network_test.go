package udp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// insideNamespace makes a test run in a network namespace of its own, which it
// may change.
const insideNamespace = "LENSCAST_TEST_UDP_NETWORK"

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// TestNetworkChanges moves the route of a push to another address of the
// machine. It must go on from there, with an IDR, and it must not begin anew
// for a change that is none of its business.
//
// There is one namespace only: all of 10.9.0.0/16 is local in it, and what goes
// there leaves from the address that the route tells. A change of an address
// follows that of the route: local routes are not watched.
func TestNetworkChanges(t *testing.T) {
	if os.Getenv(insideNamespace) == "" {
		if out, err := exec.Command("unshare", "-n", "ip", "link").CombinedOutput(); err != nil {
			t.Skipf("no network namespaces here: %v: %s", err, out)
		}
		cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestNetworkChanges$", "-test.v")
		cmd.Env = append(os.Environ(), insideNamespace+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	first, second := netip.MustParseAddr("10.1.1.2"), netip.MustParseAddr("10.1.2.2")
	ip(t, "link set lo up")
	ip(t, "link add one type veth peer name two")
	ip(t, "link set one up")
	ip(t, "link set two up")
	ip(t, "addr add 10.1.1.2/24 dev one")
	ip(t, "addr add 10.1.2.2/24 dev two")
	ip(t, "route add local 10.9.0.0/16 dev lo table local metric 200 src 10.1.2.2")
	for _, scheme := range []string{"udp", "rtp"} {
		t.Run(scheme, func(t *testing.T) {
			noLeak(t)
			ip(t, "route add local 10.9.0.0/16 dev lo table local metric 100 src 10.1.1.2")
			l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9)})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c := synthetic(30, 1000, 5000)
			p := newPusher(t, fmt.Sprintf("%s://%s", scheme, l.LocalAddr()), c)
			errs := start(t, p)
			before := receiveFrom(t, l, first)

			ip(t, "addr add 10.1.3.2/24 dev two")
			seen := p.Stats().Pictures
			until(t, "a second of pictures", func() bool { return p.Stats().Pictures > seen+30 })
			if n := c.opened.Load(); n != 1 {
				t.Errorf("%d readers, and its own address has not changed", n)
			}

			moved := time.Now()
			ip(t, "route del local 10.9.0.0/16 dev lo table local metric 100")
			ip(t, "addr del 10.1.3.2/24 dev two")
			after := receiveFrom(t, l, second)
			if d := time.Since(moved); d > 3*time.Second {
				t.Errorf("%v until it left from the other address", d)
			}
			if scheme == "udp" {
				// Tables, and then the IDR: its packet has random_access_indicator.
				if after[1]&0x1f != 0 || after[2] != 0 || after[2*188+5]&0x40 == 0 {
					t.Errorf("it goes on with % x...", after[:16])
				}
			} else {
				if after[12]&0x1f != 24 { // STAP-A, of the parameter sets
					t.Errorf("it goes on with % x...", after[:16])
				}
				if !bytes.Equal(before[8:12], after[8:12]) {
					t.Errorf("SSRC %x became %x: it is the same stream", before[8:12], after[8:12])
				}
			}
			if len(errs) > 0 {
				t.Errorf("the push ended: %v", <-errs)
			}
		})
	}
}

// receiveFrom returns the next datagram from an address that is a picture's.
func receiveFrom(t *testing.T, l *net.UDPConn, from netip.Addr) []byte {
	t.Helper()
	_ = l.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 1500)
	for {
		n, sender, err := l.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("nothing from %v: %v", from, err)
		}
		probe := bytes.Equal(buf[:n], nullPacket()) || n < 200 && buf[0] == 0x80 && buf[12] == 9
		if sender.Addr().Unmap() == from && !probe {
			return buf[:n]
		}
	}
}
