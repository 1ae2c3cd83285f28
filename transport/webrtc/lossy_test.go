package webrtc_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	lenscast "github.com/lenscast/lenscast/transport/webrtc"
)

// lossyWay passes datagrams on, to a server and back, each after a while, and
// loses some.
type lossyWay struct {
	front  *net.UDPConn // viewers send here
	server *net.UDPAddr
	delay  time.Duration // one way

	mu    sync.Mutex
	rand  *rand.Rand
	loss  float64
	backs map[netip.AddrPort]*net.UDPConn // one for each viewer
}

// openWay opens a way to the UDP port of a server, until the test ends.
func openWay(t *testing.T, port int, delay time.Duration) *lossyWay {
	t.Helper()
	loopback := net.IPv4(127, 0, 0, 1)
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: loopback})
	if err != nil {
		t.Fatal(err)
	}
	w := &lossyWay{
		front: front, server: &net.UDPAddr{IP: loopback, Port: port}, delay: delay,
		rand: rand.New(rand.NewPCG(1, 2)), backs: make(map[netip.AddrPort]*net.UDPConn),
	}
	t.Cleanup(func() {
		front.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, back := range w.backs {
			back.Close()
		}
	})
	up := w.line(t.Context())
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return // closed
			}
			if back := w.back(t.Context(), from); back != nil {
				w.pass(up, buf[:n], func(b []byte) { _, _ = back.Write(b) })
			}
		}
	}()
	return w
}

// back returns the socket that stands for a viewer, nil when there is none.
func (w *lossyWay) back(ctx context.Context, viewer netip.AddrPort) *net.UDPConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if back, ok := w.backs[viewer]; ok {
		return back
	}
	back, err := net.DialUDP("udp4", nil, w.server)
	if err != nil {
		return nil
	}
	w.backs[viewer] = back
	down := w.line(ctx)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, err := back.Read(buf)
			if err != nil {
				return // closed
			}
			w.pass(down, buf[:n], func(b []byte) { _, _ = w.front.WriteToUDPAddrPort(b, viewer) })
		}
	}()
	return back
}

// lose sets the share of datagrams that are lost, both ways.
func (w *lossyWay) lose(share float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss = share
}

// parcel is a datagram on its way.
type parcel struct {
	data    []byte
	at      time.Time
	deliver func([]byte)
}

// line delivers what it is given, in order, until ctx ends.
func (w *lossyWay) line(ctx context.Context) chan<- parcel {
	parcels := make(chan parcel, 1<<12)
	go func() {
		for {
			select {
			case p := <-parcels:
				time.Sleep(time.Until(p.at))
				p.deliver(p.data)
			case <-ctx.Done():
				return
			}
		}
	}()
	return parcels
}

// pass puts a datagram on a line, unless it is lost.
func (w *lossyWay) pass(line chan<- parcel, b []byte, deliver func([]byte)) {
	w.mu.Lock()
	lost := w.rand.Float64() < w.loss
	w.mu.Unlock()
	if lost {
		return
	}
	select {
	case line <- parcel{bytes.Clone(b), time.Now().Add(w.delay), deliver}:
	default: // too many are on their way
	}
}

// A browser that loses a tenth of all packets, and of its wishes for them, is shown
// nearly every picture. What it asks for is sent twice, which is bounded.
func TestChromiumOnALossyWay(t *testing.T) {
	if os.Getenv("LENSCAST_LOSSY") == "" {
		t.Skip("set LENSCAST_LOSSY=1 to run it: it wants a machine with nothing else to do, where nothing waits but on the way")
	}
	const fps, seconds = 30, 10
	units := encode(t, 10, fps, 60, "1280x720")
	cam := newCamera()
	port := freePort(t)
	s, _ := startServer(t, cam, func(p *lenscast.ServerParams) { p.Listen = fmt.Sprintf("127.0.0.1:%d", port) })
	web := withPage(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go cam.loop(ctx, units, fps)
	way := openWay(t, port, 25*time.Millisecond)
	page := browser(t, web.URL)
	awaitPromise(page, t, fmt.Sprintf("play({relay: %d}).then(() => 0)", way.front.LocalAddr().(*net.UDPAddr).Port), nil)
	var before, now playerStats
	waitFor(t, "60 frames", func() bool {
		awaitPromise(page, t, "stats()", &before)
		return before.FramesDecoded > 2*fps
	})
	begun, clean := time.Now(), s.Sessions()[0]
	way.lose(0.1)
	waitFor(t, "10 s of it", func() bool {
		awaitPromise(page, t, "stats()", &now)
		return time.Since(begun) > seconds*time.Second
	})
	lossy := s.Sessions()[0]
	frames, length := now.FramesDecoded-before.FramesDecoded, time.Since(begun)
	sent, resent, asked := lossy.PacketsSent-clean.PacketsSent, lossy.PacketsResent-clean.PacketsResent, lossy.NACKs-clean.NACKs
	t.Logf("%d frames in %v, %d freezes of %.1f s; %d packets sent, %d again, %d asked for, %d PLIs; RTT %v",
		frames, length.Round(time.Millisecond), now.FreezeCount-before.FreezeCount, now.TotalFreezesDuration-before.TotalFreezesDuration,
		sent, resent, asked, now.PliCount-before.PliCount, lossy.RTT)
	if share := float64(frames) / (fps * length.Seconds()); share < 0.8 {
		t.Errorf("%.0f %% of all pictures are decoded", 100*share)
	}
	if resent < asked*4/3 || resent > sent/3 {
		t.Errorf("of %d packets %d were asked for, and %d sent again", sent, asked, resent)
	}
}

// freePort returns a UDP port that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}
