package udp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	srt "github.com/datarhei/gosrt"

	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

// noLeak asserts at the end of the test that no goroutine is left.
func noLeak(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				buf := make([]byte, 1<<16)
				t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
				return
			}
		}
	})
}

func synthetic(fps, size, keySize int) *camera {
	return newCamera(clip.Synthetic(2*fps, fps, fps, size, keySize))
}

// TestRefusedAndBack has nobody listen at first: it is noticed at once, and
// does not cost the camera a reader for every attempt. Then somebody does, and
// gets an IDR.
func TestRefusedAndBack(t *testing.T) {
	for _, scheme := range []string{"udp", "rtp"} {
		t.Run(scheme, func(t *testing.T) {
			noLeak(t)
			port := freePort(t)
			c := synthetic(30, 1000, 5000)
			errs := start(t, newPusher(t, fmt.Sprintf("%s://127.0.0.1:%d", scheme, port), c))
			for range 5 {
				if err := wait(t, "refusal", errs); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "nobody listens there") {
					t.Fatal(err)
				}
			}
			if n := c.opened.Load(); n != 1 {
				t.Errorf("%d readers for 5 attempts", n)
			}
			opened := time.Now()
			l, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_ = l.SetReadDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 1500)
			for {
				n, err := l.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				// The probe, and then nothing but an IDR: behind tables and
				// delimiter (TS), or in the packet of the parameter sets (RTP).
				if scheme == "udp" && bytes.Equal(buf[:n], nullPacket()) || scheme == "rtp" && buf[12] == 9 {
					continue
				}
				if scheme == "udp" && (buf[1]&0x1f != 0 || buf[2] != 0 || buf[2*188+5]&0x40 == 0) || scheme == "rtp" && buf[12]&0x1f != 24 {
					t.Errorf("first datagram: % x...", buf[:16])
				}
				break
			}
			if d := time.Since(opened); d > time.Second {
				t.Errorf("first picture %v after the port was opened", d)
			}
		})
	}
}

// srtReceiver listens with gosrt and counts what it reads.
func srtReceiver(t *testing.T, port int, bytes chan<- int) {
	t.Helper()
	l, err := srt.Listen("srt", fmt.Sprintf("127.0.0.1:%d", port), srt.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	go func() {
		for {
			request, err := l.Accept2()
			if err != nil {
				return
			}
			conn, err := request.Accept()
			if err != nil {
				continue
			}
			go func() {
				buf := make([]byte, 1500)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					bytes <- n
				}
			}()
		}
	}()
}

// TestSRTCarriesHugePictures sends keyframes of 3 MB, more than the queue of
// the library holds.
func TestSRTCarriesHugePictures(t *testing.T) {
	noLeak(t)
	port := freePort(t)
	got := make(chan int, 100_000)
	srtReceiver(t, port, got)
	p := newPusher(t, fmt.Sprintf("srt://127.0.0.1:%d", port), synthetic(5, 1000, 3_000_000))
	errs := start(t, p)
	total := 0
	for total < 8_000_000 {
		select {
		case n := <-got:
			total += n
		case err := <-errs:
			t.Fatal(err)
		case <-time.After(10 * time.Second):
			t.Fatalf("stuck after %d bytes", total)
		}
	}
	if p.Stats().Feedback.At.IsZero() {
		t.Error("no statistics were read")
	}
}

// TestSRTFrozenReceiver stops the receiving process: the connection must end,
// and come back with the process.
func TestSRTFrozenReceiver(t *testing.T) {
	clip.NeedTool(t, "ffmpeg")
	noLeak(t)
	port := freePort(t)
	p := newPusher(t, fmt.Sprintf("srt://127.0.0.1:%d", port), synthetic(30, 1000, 5000))
	errs := start(t, p)
	receiver := exec.Command("ffmpeg", "-v", "quiet", "-f", "mpegts", "-i", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener", port), "-c", "copy", "-f", "null", "-")
	if err := receiver.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = receiver.Process.Kill()
		_ = receiver.Wait()
	}()
	until(t, "it sends", func() bool { return p.Stats().Pictures > 10 })
	for len(errs) > 0 {
		<-errs
	}
	frozen := time.Now()
	if err := receiver.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	err := wait(t, "end of the connection", errs)
	if d := time.Since(frozen); d > 3*time.Second {
		t.Errorf("noticed after %v: %v", d, err)
	}
	if !strings.Contains(err.Error(), "fell silent") {
		t.Errorf("the error is %q", err)
	}
}

// TestSRTRefusals are told in words, quickly, and leave nothing behind.
func TestSRTRefusals(t *testing.T) {
	noLeak(t)
	ctx := context.Background()
	run := func(url string) error {
		p := newPusher(t, url, synthetic(30, 1000, 5000))
		return p.Run(ctx, func(int) {})
	}
	port := freePort(t)
	began := time.Now()
	if err := run(fmt.Sprintf("srt://127.0.0.1:%d", port)); err == nil || !strings.Contains(err.Error(), "nobody listens") || time.Since(began) > time.Second {
		t.Errorf("closed port: %v after %v", err, time.Since(began))
	}

	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	began = time.Now()
	if err := run("srt://" + silent.LocalAddr().String()); err == nil || !strings.Contains(err.Error(), "no answer") || time.Since(began) > 3*time.Second {
		t.Errorf("silent port: %v after %v", err, time.Since(began))
	}

	start(t, newPusher(t, fmt.Sprintf("srt://127.0.0.1:%d?mode=listener&passphrase=correct-horse-battery", port), synthetic(30, 1000, 5000)))
	for _, options := range []string{"", "?passphrase=wrong-horse-battery"} {
		until(t, "the listener is up", func() bool {
			err = run(fmt.Sprintf("srt://127.0.0.1:%d%s", port, options))
			return !errors.Is(err, syscall.ECONNREFUSED)
		})
		if err == nil || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("passphrase %q: %v", options, err)
		}
	}
}
