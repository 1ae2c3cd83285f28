package udp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
	"github.com/lenscast/lenscast/transport/udp/internal/clip"
)

const testToken = "correct-horse-battery"

// testServer is a server without a socket or clients that send.
func testServer(t testing.TB, now time.Time) *server {
	p := newPusher(t, "udp-server://127.0.0.1:7000?max_clients=2&token="+testToken, newCamera(clip.Synthetic(60, 30, 30, 100, 100)))
	p.report = func(int) {}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := packet.NewConn(c)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{pusher: p, conn: conn, token: testToken, cookies: newCookies(now), clients: make(map[netip.AddrPort]*client)}
	t.Cleanup(func() {
		s.mu.Lock()
		for a := range s.clients {
			s.remove(a)
		}
		s.mu.Unlock()
		s.running.Wait()
		conn.Close()
	})
	return s
}

func TestSubscription(t *testing.T) {
	now := time.Now()
	s := testServer(t, now)
	ctx := context.Background()
	alice, mallory := netip.MustParseAddrPort("127.0.0.1:40001"), netip.MustParseAddrPort("127.0.0.1:40002")

	for _, wrong := range []string{"", "\n", "subscribe", "subscribe wrong", "subscribe " + testToken + " x", "hello", "cookie", "cookie 0123456789abcdef", "leave 0123456789abcdef"} {
		if reply := s.handle(ctx, wrong, mallory, now); reply != "" || len(s.clients) != 0 {
			t.Errorf("%q is answered %q, %d clients", wrong, reply, len(s.clients))
		}
	}
	request := "subscribe " + testToken + "\n"
	cookie := s.handle(ctx, request, alice, now)
	if !strings.HasPrefix(cookie, "cookie ") || len(cookie) > maxAmplification*len(request) {
		t.Fatalf("reply %q", cookie)
	}
	if len(s.clients) != 0 {
		t.Error("the token alone is enough")
	}
	s.handle(ctx, cookie, mallory, now)
	if len(s.clients) != 0 {
		t.Error("a cookie is good at another address")
	}
	s.handle(ctx, cookie, alice, now.Add(3*cookieLife))
	if len(s.clients) != 0 {
		t.Error("an old cookie starts a stream")
	}
	s.handle(ctx, cookie, alice, now.Add(cookieLife))
	if len(s.clients) != 1 {
		t.Fatal("the cookie does not start the stream")
	}

	// Renewed with its own cookie for as long as it likes, then silent.
	now = now.Add(10 * cookieLife)
	s.handle(ctx, cookie, alice, now)
	s.removeSilent(now.Add(clientSilence))
	if len(s.clients) != 1 {
		t.Error("a client that renewed is gone")
	}
	s.handle(ctx, "leave 0123456789abcdef", alice, now)
	if len(s.clients) != 1 {
		t.Error("anybody can end the stream of another")
	}
	s.handle(ctx, strings.Replace(cookie, "cookie", "leave", 1), alice, now)
	if len(s.clients) != 0 {
		t.Error("leave does not end the stream")
	}

	for i := range 3 {
		address := netip.AddrPortFrom(alice.Addr(), uint16(41000+i))
		s.handle(ctx, s.handle(ctx, request, address, now), address, now)
	}
	if len(s.clients) != 2 {
		t.Errorf("%d clients, max_clients is 2", len(s.clients))
	}
	s.removeSilent(now.Add(clientSilence + time.Second))
	if len(s.clients) != 0 {
		t.Error("silent clients are served for ever")
	}
}

// subscriber is a client of a server on loopback.
type subscriber struct {
	conn   *net.UDPConn
	cookie []byte
}

func subscribe(t *testing.T, port int) *subscriber {
	t.Helper()
	c, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetReadBuffer(4 << 20)
	buf := make([]byte, 1500)
	s := &subscriber{conn: c}
	until(t, "the server answers", func() bool { // it may not be up yet
		_, _ = fmt.Fprintf(c, "subscribe %s", testToken)
		_ = c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
		n, err := c.Read(buf)
		s.cookie = bytes.Clone(buf[:n])
		return err == nil
	})
	s.renew()
	return s
}

func (s *subscriber) renew() { _, _ = s.conn.Write(s.cookie) }

// lost reads for so long and returns how many packets of the video are missing
// by their continuity counters, and how many came.
func (s *subscriber) lost(t *testing.T, d time.Duration) (lost, got int) {
	counter := -1
	buf := make([]byte, 1500)
	renew := time.Now()
	for end := time.Now().Add(d); time.Now().Before(end); {
		if time.Since(renew) > time.Second {
			s.renew()
			renew = time.Now()
		}
		_ = s.conn.SetReadDeadline(end)
		n, err := s.conn.Read(buf)
		if err != nil || bytes.HasPrefix(buf[:n], []byte(wordCookie)) {
			continue
		}
		if n%tsPacket != 0 || buf[0] != 0x47 {
			t.Errorf("datagram of %d bytes: % x...", n, buf[:8])
			return lost, got
		}
		for b := buf[:n]; len(b) > 0; b = b[tsPacket:] {
			if b[1]&0x1f != 1 || b[2] != 0 || b[3]&0x10 == 0 {
				continue // not the video, or without payload
			}
			cc := int(b[3] & 0x0f)
			if counter < 0 && b[5]&0x40 == 0 {
				t.Error("the stream does not begin with an IDR")
			}
			if counter >= 0 {
				lost += (cc - counter - 1 + 16) % 16
			}
			counter = cc
			got++
		}
	}
	return lost, got
}

// TestHundredClients has ten of a hundred vanish without a word: the rest get
// everything, and the ten are forgotten.
func TestHundredClients(t *testing.T) {
	port := freePort(t)
	const bitrate, fps = 500_000, 30
	size := bitrate / fps / 8
	p := newPusher(t, fmt.Sprintf("udp-server://127.0.0.1:%d?token=%s", port, testToken), newCamera(clip.Synthetic(2*fps, fps, fps, size, 6*size)))
	start(t, p)

	type result struct{ lost, got int }
	results := make(chan result, 90)
	var silent []*subscriber
	for i := range 100 {
		s := subscribe(t, port)
		if i%10 == 0 {
			silent = append(silent, s)
			continue
		}
		go func() {
			lost, got := s.lost(t, clientSilence+4*time.Second)
			results <- result{lost, got}
		}()
	}
	until(t, "all are subscribed", func() bool {
		for _, s := range silent {
			s.renew() // as subscribing so many may take its time
		}
		return p.Stats().Receivers == 100
	})
	for _, s := range silent {
		s.conn.Close()
	}
	until(t, "the silent clients are forgotten", func() bool { return p.Stats().Receivers == 90 })
	for range 90 {
		if r := wait(t, "result", results); r.lost > 0 || r.got < 1000 {
			t.Errorf("a client lost %d of %d packets", r.lost, r.got)
		}
	}
	if n := p.Stats().DroppedPictures; n > 0 {
		t.Errorf("%d pictures dropped", n)
	}
}

func FuzzRequest(f *testing.F) {
	now := time.Now()
	s := testServer(f, now)
	ctx := context.Background()
	from := netip.MustParseAddrPort("192.0.2.1:4000")
	for _, seed := range []string{"subscribe " + testToken, "cookie 0123456789abcdef\n", "leave x", "", " ", "cookie"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		reply := s.handle(ctx, string(request), from, now)
		if reply != "" && !bytes.Contains(request, []byte(testToken)) {
			t.Errorf("%q is answered %q", request, reply)
		}
		if len(s.clients) != 0 {
			t.Errorf("%q subscribed", request)
		}
	})
}
