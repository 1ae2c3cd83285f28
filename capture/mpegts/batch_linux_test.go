package mpegts

import (
	"bytes"
	"log/slog"
	"net"
	"testing"
	"time"
)

// TestBatch sends more datagrams than one system call reads, over both
// families: all must come, in order, and say who sent them.
func TestBatch(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		a, err := parseAddress("udp://" + host + ":" + freePort(t))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := listen(t.Context(), a, slog.New(slog.DiscardHandler))
		if err != nil {
			if host == "[::1]" {
				t.Skipf("no IPv6 here: %v", err)
			}
			t.Fatal(err)
		}
		defer conn.Close()
		var out [2]net.Conn
		for i := range out {
			if out[i], err = net.Dial("udp", conn.LocalAddr().String()); err != nil {
				t.Fatal(err)
			}
			defer out[i].Close()
		}
		const sent = 3*batchSize + 5
		for i := range sent {
			if _, err := out[i%2].Write(bytes.Repeat([]byte{byte(i)}, 1+i)); err != nil {
				t.Fatal(err)
			}
		}
		in, err := newSocket(conn)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for i := range sent {
			d, err := in.read()
			if err != nil {
				t.Fatalf("%s: after %d datagrams: %v", host, i, err)
			}
			if !bytes.Equal(d.data, bytes.Repeat([]byte{byte(i)}, 1+i)) || d.from.String() != out[i%2].LocalAddr().String() {
				t.Fatalf("%s: datagram %d has %d bytes of %d from %v, want %v", host, i, len(d.data), d.data[0], d.from, out[i%2].LocalAddr())
			}
		}
	}
}

// BenchmarkRead reads datagrams as large as most.
func BenchmarkRead(b *testing.B) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	out, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	in, err := newSocket(conn)
	if err != nil {
		b.Fatal(err)
	}
	datagram := make([]byte, 7*packetSize)
	b.ReportAllocs()
	for b.Loop() {
		for range 13 { // a picture of 8 Mbit/s at 60 fps
			if _, err := out.Write(datagram); err != nil {
				b.Fatal(err)
			}
		}
		for range 13 {
			if _, err := in.read(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
