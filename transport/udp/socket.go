package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/lenscast/lenscast/transport/packet"
)

// sendBuffer is asked of the kernel for every socket, in bytes: enough for the
// largest keyframe that one pacing step may let out.
const sendBuffer = 1 << 20

// dial opens a socket that is connected to one port of d. Only a connected
// socket learns that nobody listens there (ICMP port unreachable).
func dial(ctx context.Context, d Destination, port uint16) (*packet.Conn, netip.AddrPort, error) {
	ip, err := resolve(ctx, d.Host)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	to := netip.AddrPortFrom(ip, port)
	dialer := net.Dialer{}
	if d.Interface != "" && !ip.IsMulticast() {
		dialer.Control = bindToDevice(d.Interface)
	}
	network := "udp4"
	if ip.Is6() {
		network = "udp6"
	}
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, to, err
	}
	udp := conn.(*net.UDPConn)
	if err := setOptions(udp, d, ip); err != nil {
		udp.Close()
		return nil, to, err
	}
	c, err := packet.NewConn(udp)
	if err != nil {
		udp.Close()
		return nil, to, err
	}
	return c, to, nil
}

// resolve looks a host up, anew for every run: an address may have changed
// since. Where a name has several, the system's first choice is taken.
func resolve(ctx context.Context, host string) (netip.Addr, error) {
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	return ips[0].Unmap(), nil
}

// setOptions sets what the URL asks for: the traffic class (RFC 2474), the
// number of hops, and how multicast leaves.
func setOptions(c *net.UDPConn, d Destination, ip netip.Addr) error {
	// The system may grant less; pacing keeps what it grants from filling.
	_ = c.SetWriteBuffer(sendBuffer)
	var iface *net.Interface
	if d.Interface != "" {
		var err error
		if iface, err = net.InterfaceByName(d.Interface); err != nil {
			return fmt.Errorf("find network interface %q: %w", d.Interface, err)
		}
	}
	var errs []error
	class := d.DSCP << 2
	if ip.Is4() {
		errs = append(errs, ipv4.NewConn(c).SetTOS(class))
		switch p := ipv4.NewPacketConn(c); {
		case ip.IsMulticast():
			errs = append(errs, p.SetMulticastTTL(max(d.TTL, 1)))
			if iface != nil {
				errs = append(errs, p.SetMulticastInterface(iface))
			}
		case d.TTL > 0:
			errs = append(errs, p.SetTTL(d.TTL))
		}
	} else {
		errs = append(errs, ipv6.NewConn(c).SetTrafficClass(class))
		switch p := ipv6.NewPacketConn(c); {
		case ip.IsMulticast():
			errs = append(errs, p.SetMulticastHopLimit(max(d.TTL, 1)))
			if iface != nil {
				errs = append(errs, p.SetMulticastInterface(iface))
			}
		case d.TTL > 0:
			errs = append(errs, p.SetHopLimit(d.TTL))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set options of socket: %w", err)
	}
	return nil
}

// watch reads a connected socket until it is closed: nothing may ever come, but
// an error says that the other end is not there, and is told to failed. What
// arrives is handed to received, which may be nil. Stop closes the socket and
// waits for the end.
func watch(conn *packet.Conn, received func([]byte), failed func(error)) (stop func()) {
	var done sync.WaitGroup
	done.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := conn.ReadFromAddrPort(buf)
			switch {
			case errors.Is(err, syscall.ECONNREFUSED):
				failed(err) // it may get better, where a refusal is no fault
			case err != nil:
				failed(err)
				return
			case received != nil:
				received(buf[:n])
			}
		}
	})
	return func() {
		conn.Close()
		done.Wait()
	}
}

// probeWait is how long a refusal may take to come back.
const probeWait = 150 * time.Millisecond

// probe sends one small datagram to where the last run was refused, and
// returns the error when it still is. So trying again costs neither the
// network nor the camera a keyframe.
func (p *Pusher) probe(conn *packet.Conn, b []byte) error {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	if !refused {
		return nil
	}
	if _, err := conn.Write(b); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(probeWait)); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return conn.SetReadDeadline(time.Time{})
}

// noteRefusal remembers whether err says that nobody listens, and returns it.
func (p *Pusher) noteRefusal(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = errors.Is(err, syscall.ECONNREFUSED)
	return err
}

// explain puts the errors that people meet into words, and what to do.
func explain(err error) error {
	var dns *net.DNSError
	words := ""
	switch {
	case err == nil:
		return errors.New("ended")
	case errors.As(err, &dns):
		words = fmt.Sprintf("the name %q is not found: check its spelling and the network", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		words = "nobody listens there: start the receiver, or check the port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		words = "no way to that address: check this machine's network"
	case errors.Is(err, syscall.EMSGSIZE):
		words = "the datagrams are too large for the way there: set a smaller pkt_size"
	case errors.Is(err, syscall.EADDRINUSE):
		words = "the port is taken by another program: choose another one"
	case errors.Is(err, os.ErrPermission):
		words = "not allowed: check the firewall of this machine"
	default:
		return err
	}
	return &explained{words, err}
}

// explained shows words in place of an error and wraps it.
type explained struct {
	words string
	error
}

func (e *explained) Error() string { return e.words }
func (e *explained) Unwrap() error { return e.error }
