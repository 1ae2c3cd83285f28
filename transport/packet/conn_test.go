package packet_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

// sockets returns a Conn, and a receiver of its family.
func sockets(t testing.TB, network string) (*packet.Conn, *net.UDPConn, netip.AddrPort) {
	t.Helper()
	host := map[string]string{"udp4": "127.0.0.1", "udp6": "::1"}[network]
	var udp [2]*net.UDPConn
	for i := range udp {
		c, err := net.ListenUDP(network, &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			t.Skipf("no %s here: %v", network, err)
		}
		t.Cleanup(func() { c.Close() })
		udp[i] = c
	}
	conn, err := packet.NewConn(udp[0])
	if err != nil {
		t.Fatal(err)
	}
	return conn, udp[1], udp[1].LocalAddr().(*net.UDPAddr).AddrPort()
}

func receive(t *testing.T, c *net.UDPConn, n int) [][]byte {
	t.Helper()
	var all [][]byte
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for range n {
		buf := make([]byte, 2000)
		k, err := c.Read(buf)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(all), n, err)
		}
		all = append(all, buf[:k])
	}
	return all
}

func TestConnReads(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			conn, sender, from := sockets(t, network)
			to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			buf := make([]byte, 1500)
			for _, size := range []int{1, 0, 1200, 2000} {
				want := bytes.Repeat([]byte{byte(size)}, size)
				if _, err := sender.WriteToUDPAddrPort(want, to); err != nil {
					t.Fatal(err)
				}
				n, got, err := conn.ReadFromAddrPort(buf)
				if err != nil || got != from || !bytes.Equal(buf[:n], want[:min(size, len(buf))]) {
					t.Errorf("%d bytes from %v: got %d from %v, %v", size, from, n, got, err)
				}
			}
			if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := conn.ReadFromAddrPort(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after the deadline: %v", err)
			}
			if err := conn.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, _, err := conn.ReadFromAddrPort(buf)
				ended <- err
			}()
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestBatchKeepsDatagramsAndOrder(t *testing.T) {
	sizes := []int{40, 1200, 1200, 1200, 900, 1200, 1200, 1250, 1, 1, 1}
	for _, network := range []string{"udp4", "udp6"} {
		for _, gso := range []bool{true, false} {
			t.Run(network, func(t *testing.T) {
				conn, receiver, to := sockets(t, network)
				if !gso {
					packet.DisableGSO(conn)
				}
				t.Logf("segmentation offload: %v", conn.GSO())
				var batch packet.Batch
				batch.Hold()
				for i, size := range sizes {
					p := bytes.Repeat([]byte{byte(i)}, size)
					if err := batch.Write(conn, p, to); err != nil {
						t.Fatal(err)
					}
					clear(p) // the batch has its own copy
				}
				if err := batch.Flush(); err != nil {
					t.Fatal(err)
				}
				for i, got := range receive(t, receiver, len(sizes)) {
					if want := bytes.Repeat([]byte{byte(i)}, sizes[i]); !bytes.Equal(got, want) {
						t.Errorf("datagram %d has %d bytes of %d, want %d of %d", i, len(got), got[0], sizes[i], i)
					}
				}
			})
		}
	}
}

func TestBatchKeepsDestinationsApart(t *testing.T) {
	conn, first, to := sockets(t, "udp4")
	_, second, other := sockets(t, "udp4")
	var batch packet.Batch
	batch.Hold()
	for i := range 6 {
		addr := to
		if i%2 == 1 {
			addr = other
		}
		if err := batch.Write(conn, []byte{byte(i)}, addr); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Flush(); err != nil {
		t.Fatal(err)
	}
	for i, got := range receive(t, first, 3) {
		if got[0] != byte(2*i) {
			t.Errorf("first receiver: datagram %d is %d", i, got[0])
		}
	}
	for i, got := range receive(t, second, 3) {
		if got[0] != byte(2*i+1) {
			t.Errorf("second receiver: datagram %d is %d", i, got[0])
		}
	}
}

// TestSegments sends more at once than one system call takes, with and without
// a receiver that the socket is connected to.
func TestSegments(t *testing.T) {
	for _, connected := range []bool{false, true} {
		for _, size := range []int{100, 1200} {
			t.Run(fmt.Sprintf("connected %v, size %d", connected, size), func(t *testing.T) {
				conn, receiver, to := sockets(t, "udp4")
				if connected {
					udp, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { udp.Close() })
					if conn, err = packet.NewConn(udp); err != nil {
						t.Fatal(err)
					}
				}
				var all []byte
				for i := range 75 {
					all = append(all, bytes.Repeat([]byte{byte(i)}, size)...)
				}
				all = append(all, "short"...)
				if err := conn.WriteSegments(all, size, to); err != nil {
					t.Fatal(err)
				}
				want := slices.Collect(slices.Chunk(all, size))
				for i, got := range receive(t, receiver, len(want)) {
					if !bytes.Equal(got, want[i]) {
						t.Errorf("datagram %d of %d bytes is % .8x..., want %d of % .8x...", i, len(got), got, len(want[i]), want[i])
					}
				}
			})
		}
	}
}

func TestUnheldWriteLeavesAtOnce(t *testing.T) {
	conn, receiver, to := sockets(t, "udp4")
	var batch packet.Batch
	if err := batch.Write(conn, []byte("now"), to); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, receiver, 1)[0]; string(got) != "now" {
		t.Errorf("got %q", got)
	}
}

func TestWrongFamilyIsAnError(t *testing.T) {
	conn, _, _ := sockets(t, "udp4")
	if _, err := conn.WriteToAddrPort([]byte("x"), netip.MustParseAddrPort("[::1]:9")); err == nil || errors.Is(err, packet.ErrFull) {
		t.Errorf("an IPv6 address on an IPv4 socket: %v", err)
	}
}

func BenchmarkBatch(b *testing.B) {
	for _, gso := range []bool{true, false} {
		name := "gso"
		if !gso {
			name = "plain"
		}
		b.Run(name, func(b *testing.B) {
			conn, _, to := sockets(b, "udp4") // nobody reads: the kernel drops
			if !gso {
				packet.DisableGSO(conn)
			}
			var batch packet.Batch
			p := make([]byte, 1200)
			b.ReportAllocs()
			for b.Loop() {
				batch.Hold()
				for range 15 { // a picture of 8 Mbit/s at 60 fps
					if err := batch.Write(conn, p, to); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
