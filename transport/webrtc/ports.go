package webrtc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"

	"github.com/lenscast/lenscast/transport/packet"
)

const (
	// socketBuffer is asked of the kernel for the UDP sockets that all
	// viewers share; it may grant less (net.core.wmem_max).
	socketBuffer = 4 << 20

	// tcpReadQueue is how many packets from a TCP viewer may wait.
	tcpReadQueue = 32

	// maxAddresses bounds the host candidates offered to a viewer.
	maxAddresses = 12

	// portTries is how often a free port is looked for that UDP and TCP,
	// IPv4 and IPv6 can share, when the system may choose it.
	portTries = 8
)

// ports are the sockets that all sessions share: one port number, UDP and TCP.
type ports struct {
	host       []netip.Addr // the addresses listened on, unspecified for all
	port       uint16
	udp4, udp6 *udpPort // nil when there is none
	tcp        []*ice.TCPMuxDefault
	udpOnly    bool
}

// udpPort is one UDP socket with the mux that tells its viewers apart.
type udpPort struct {
	conn *packet.Conn
	mux  *ice.UDPMuxDefault
}

// openPorts listens on addr, a host:port.
func openPorts(ctx context.Context, addr string, logs logging.LoggerFactory) (*ports, error) {
	return listenPorts(ctx, addr, false, logs)
}

// openOwnPort opens a UDP port for one connection that is made from here.
func openOwnPort(ctx context.Context, logs logging.LoggerFactory) (*ports, error) {
	return listenPorts(ctx, ":0", true, logs)
}

func listenPorts(ctx context.Context, addr string, udpOnly bool, logs logging.LoggerFactory) (*ports, error) {
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen for media on %q: %w", addr, err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("listen for media on %q: port is not a number from 0 to 65535", addr)
	}
	hosts := []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	if host != "" {
		if hosts, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
			return nil, fmt.Errorf("listen for media on %q: %w", addr, err)
		}
	}
	for try := 1; ; try++ {
		p := &ports{port: uint16(port), udpOnly: udpOnly}
		err := p.open(hosts, logs)
		if err == nil {
			return p, nil
		}
		p.close()
		if port != 0 || try == portTries {
			return nil, fmt.Errorf("listen for media on %q: %w", addr, err)
		}
	}
}

// open opens the sockets of hosts, one a family. A family that the system
// does not have is left out if the other one works.
func (p *ports) open(hosts []netip.Addr, logs logging.LoggerFactory) error {
	var failed error
	for _, host := range hosts {
		host = host.Unmap()
		family, port := "4", &p.udp4
		if host.Is6() {
			family, port = "6", &p.udp6
		}
		if *port != nil {
			continue
		}
		if err := p.listen(host, family, port, logs); err != nil {
			failed = err
			// A taken port is an error even if the other family works.
			if host.Is4() || !host.IsUnspecified() {
				return err
			}
			continue
		}
		p.host = append(p.host, host)
	}
	if len(p.host) == 0 {
		return failed
	}
	return nil
}

func (p *ports) listen(host netip.Addr, family string, port **udpPort, logs logging.LoggerFactory) error {
	udp, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(netip.AddrPortFrom(host, p.port)))
	if err != nil {
		return err
	}
	// Errors mean a smaller buffer, which works too.
	_ = udp.SetWriteBuffer(socketBuffer)
	_ = udp.SetReadBuffer(socketBuffer)
	conn, err := packet.NewConn(udp)
	if err != nil {
		return errors.Join(err, udp.Close())
	}
	chosen := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	var tcp *net.TCPListener
	if !p.udpOnly {
		if tcp, err = net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, chosen))); err != nil {
			return errors.Join(err, udp.Close())
		}
	}
	p.port = chosen
	*port = &udpPort{conn: conn, mux: ice.NewUDPMuxDefault(ice.UDPMuxParams{
		UDPConn: conn, Logger: logs.NewLogger("ice"),
	})}
	if p.udpOnly {
		return nil
	}
	p.tcp = append(p.tcp, ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener:       queueListener{tcp},
		Logger:         logs.NewLogger("ice"),
		ReadBufferSize: tcpReadQueue,
	}))
	return nil
}

// close closes all sockets, and with them what is left of the sessions.
func (p *ports) close() {
	for _, u := range []*udpPort{p.udp4, p.udp6} {
		if u != nil {
			_ = u.mux.Close()
		}
	}
	for _, t := range p.tcp {
		_ = t.Close()
	}
}

// addresses returns the addresses that viewers may reach, read anew each time:
// a camera moves between networks.
func (p *ports) addresses() []netip.Addr {
	var all []netip.Addr
	for _, host := range p.host {
		if !host.IsUnspecified() {
			all = append(all, host)
			continue
		}
		all = append(all, interfaceAddresses(host.Is4())...)
	}
	if len(all) > maxAddresses {
		all = all[:maxAddresses]
	}
	return all
}

// interfaceAddresses returns the addresses of one family. Loopback only counts
// when there is nothing else; IPv6 link-local addresses never do, since a
// candidate cannot carry their zone.
func interfaceAddresses(v4 bool) []netip.Addr {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var all, loopback []netip.Addr
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := prefix.Addr().Unmap()
		switch {
		case addr.Is4() != v4 || addr.Is6() && addr.IsLinkLocalUnicast():
		case addr.IsLoopback():
			loopback = append(loopback, addr)
		default:
			all = append(all, addr)
		}
	}
	if len(all) == 0 {
		return loopback
	}
	return all
}

// gso tells whether the UDP sockets send whole groups in one system call.
func (p *ports) gso() bool {
	for _, u := range []*udpPort{p.udp4, p.udp6} {
		if u != nil && !u.conn.GSO() {
			return false
		}
	}
	return true
}

// dropped returns how many datagrams found a socket's send buffer full.
func (p *ports) dropped() uint64 {
	var n uint64
	for _, u := range []*udpPort{p.udp4, p.udp6} {
		if u != nil {
			n += u.conn.Dropped()
		}
	}
	return n
}
