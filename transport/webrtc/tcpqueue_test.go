package webrtc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pipe returns the two ends of a TCP connection, ours with its queue.
func pipe(t *testing.T) (*queueConn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	ours, err := queueListener{l.(*net.TCPListener)}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return ours.(*queueConn), theirs
}

// The last that a viewer gets is the goodbye of DTLS, written just before the
// connection is closed.
func TestTCPQueueIsSentBeforeTheEnd(t *testing.T) {
	packets := [][]byte{bytes.Repeat([]byte("picture"), 10_000), []byte("goodbye")}
	want := bytes.Join(packets, nil)
	for range 50 {
		ours, theirs := pipe(t)
		for _, p := range packets {
			if _, err := ours.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := ours.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(theirs)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d of %d bytes arrived, %v", len(got), len(want), err)
		}
	}
}

// A viewer that reads nothing costs what the queue holds, and an end that does
// not take long.
func TestTCPQueueOfAStalledViewer(t *testing.T) {
	ours, _ := pipe(t)
	packet := make([]byte, 1200)
	var err error
	for n := 0; err == nil; n += len(packet) {
		if n > 64<<20 {
			t.Fatal("the queue takes everything")
		}
		_, err = ours.Write(packet)
	}
	if !errors.Is(err, errQueueFull) {
		t.Errorf("a full queue says %v", err)
	}
	start := time.Now()
	ours.Close()
	if took := time.Since(start); took < tcpGoodbye || took > 10*tcpGoodbye {
		t.Errorf("the end took %v, want %v", took, tcpGoodbye)
	}
	if _, err := ours.Write(packet); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed queue says %v", err)
	}
}
