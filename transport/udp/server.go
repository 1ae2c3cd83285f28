package udp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/packet"
)

const (
	// clientSilence ends a subscription that is not renewed.
	clientSilence = 10 * time.Second

	// maxRequest bounds a datagram that is looked at, in bytes.
	maxRequest = 256

	// maxAmplification is how many times more than it received the server
	// sends to an address that has not proved itself (RFC 9000 section 8.1).
	maxAmplification = 3
)

// server sends a transport stream to all who subscribe. Every client has a
// flow and a reader of its own, so that none can harm another; they share the
// socket, which never waits.
type server struct {
	pusher  *Pusher
	conn    *packet.Conn
	token   string // empty lets everybody in
	cookies *cookies

	mu      sync.Mutex
	clients map[netip.AddrPort]*client
	running sync.WaitGroup
}

// client is an address that has proved itself.
type client struct {
	cookie string
	heard  time.Time
	cancel context.CancelFunc
}

func (p *Pusher) runServer(ctx context.Context) error {
	d := p.p.Destination
	conn, err := listen(ctx, d)
	if err != nil {
		return err
	}
	s := &server{
		pusher: p, conn: conn, token: d.secret,
		cookies: newCookies(time.Now()), clients: make(map[netip.AddrPort]*client),
	}
	p.changeReceivers(0)
	ctx, cancel := context.WithCancel(ctx)
	defer s.running.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	s.running.Go(func() { s.expire(ctx) })
	return s.serve(ctx)
}

// listen opens the socket; an empty host means all addresses, IPv4 and IPv6.
func listen(ctx context.Context, d Destination) (*packet.Conn, error) {
	address := d.address()
	if d.Host != "" {
		ip, err := resolve(ctx, d.Host)
		if err != nil {
			return nil, err
		}
		address = netip.AddrPortFrom(ip, d.Port).String()
	}
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	udp := c.(*net.UDPConn)
	if err := setOptions(udp, d, udp.LocalAddr().(*net.UDPAddr).AddrPort().Addr()); err != nil {
		udp.Close()
		return nil, err
	}
	conn, err := packet.NewConn(udp)
	if err != nil {
		udp.Close()
		return nil, err
	}
	return conn, nil
}

// serve reads requests until the socket is closed.
func (s *server) serve(ctx context.Context) error {
	buf := make([]byte, maxRequest+1)
	for {
		n, from, err := s.conn.ReadFromAddrPort(buf)
		if err != nil {
			return fmt.Errorf("receive requests: %w", err)
		}
		if n > maxRequest {
			continue
		}
		reply := s.handle(ctx, string(buf[:n]), from, time.Now())
		if reply == "" || len(reply) > maxAmplification*n {
			continue
		}
		// A reply that is lost is asked for again.
		_, _ = s.conn.WriteToAddrPort([]byte(reply), from)
	}
}

// handle returns the reply to a request, empty for none. Whoever says anything
// wrong gets none, so that the port tells nothing to those who scan it.
func (s *server) handle(ctx context.Context, request string, from netip.AddrPort, now time.Time) string {
	word, argument, _ := strings.Cut(strings.TrimRight(request, "\r\n"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[from]
	switch {
	case word == wordSubscribe && equal(argument, s.token):
		return wordCookie + " " + s.cookies.of(from, now) + "\n"
	case word == wordCookie && c != nil && (equal(argument, c.cookie) || s.cookies.valid(argument, from, now)):
		c.heard, c.cookie = now, argument
	case word == wordCookie && c == nil && s.cookies.valid(argument, from, now):
		s.add(ctx, from, argument, now)
	case word == wordLeave && c != nil && equal(argument, c.cookie):
		s.pusher.p.Log.Info("client left", "push", s.pusher.p.Destination.String(), "client", from)
		s.remove(from)
	}
	return ""
}

// add starts to send to a client.
func (s *server) add(ctx context.Context, to netip.AddrPort, cookie string, now time.Time) {
	if len(s.clients) >= s.pusher.p.Destination.MaxClients {
		s.pusher.p.Log.Warn("client refused, there are as many as max_clients allows",
			"push", s.pusher.p.Destination.String(), "client", to, "max_clients", len(s.clients))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &client{cookie: cookie, heard: now, cancel: cancel}
	s.clients[to] = c
	s.pusher.changeReceivers(1)
	s.pusher.p.Log.Info("client subscribed", "push", s.pusher.p.Destination.String(), "client", to)
	s.running.Go(func() {
		f, err := s.pusher.newTSFlow(udpLink{conn: s.conn, to: to})
		if err == nil {
			err = f.run(ctx, s.pusher.p.Open())
		}
		if ctx.Err() == nil {
			s.pusher.p.Log.Warn("client lost", "push", s.pusher.p.Destination.String(), "client", to, "error", explain(err))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.clients[to] == c {
			s.remove(to)
		}
	})
}

// remove stops sending to a client. s.mu is held.
func (s *server) remove(client netip.AddrPort) {
	s.clients[client].cancel()
	delete(s.clients, client)
	s.pusher.changeReceivers(-1)
}

// expire removes the clients that have not been heard of, until ctx ends.
func (s *server) expire(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.removeSilent(now)
		}
	}
}

func (s *server) removeSilent(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, c := range s.clients {
		if now.Sub(c.heard) > clientSilence {
			s.pusher.p.Log.Info("client gone silent", "push", s.pusher.p.Destination.String(), "client", address)
			s.remove(address)
		}
	}
}
