package mpegts

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSocketTells lets a socket overflow: it must say when what it had room
// for arrived, and how much it had no room for.
func TestSocketTells(t *testing.T) {
	a, err := parseAddress("udp://127.0.0.1:" + freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := listen(t.Context(), a, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var stamps, counts int // 1 when they are on
	if err := raw.Control(func(fd uintptr) {
		stamps, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW)
		counts, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL)
	}); err != nil {
		t.Fatal(err)
	}
	if stamps != 1 || counts != 1 { // such as that of qemu-user
		t.Skip("this kernel has no SO_TIMESTAMPNS_NEW or no SO_RXQ_OVFL")
	}
	if err := conn.SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	out, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()

	const sent = 200
	began := time.Now()
	write := func() {
		if _, err := out.Write(make([]byte, 7*packetSize)); err != nil {
			t.Fatal(err)
		}
	}
	for range sent {
		write()
	}
	in, err := newSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	got := uint32(0)
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		d, err := in.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got++
		if d.age <= 0 || d.age > time.Since(began) {
			t.Errorf("a datagram sent %v ago or later is %v old", time.Since(began), d.age)
		}
	}
	write() // the count comes with the next one that there is room for
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	d, err := in.read()
	if err != nil || got == sent || d.dropped != sent-got {
		t.Errorf("%d of %d datagrams came and %d were told to be dropped: %v", got, sent, d.dropped, err)
	}
}
