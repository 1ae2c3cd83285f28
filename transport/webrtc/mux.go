package webrtc

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/ice/v4"

	"github.com/lenscast/lenscast/transport/packet"
)

// route is where a session's packets leave: its part of the shared ports, as
// its ICE agent sees it. Media goes through the batch; on TCP, congested tells
// that the queue was full and a packet was lost.
type route struct {
	ports     *ports
	batch     packet.Batch
	congested atomic.Bool
}

// udpMux is the ice.UDPMux of one session.
type udpMux struct{ *route }

func (m udpMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("get UDP conn: %T is not a UDP address", addr)
	}
	port := m.ports.udp4
	if udp.IP.To4() == nil {
		port = m.ports.udp6
	}
	if port == nil {
		return nil, fmt.Errorf("get UDP conn: no socket for %v", addr)
	}
	// An address other than the socket's is refused, unless that is unspecified.
	inner, err := port.mux.GetConn(ufrag, addr)
	if err != nil {
		return nil, err
	}
	return &batchConn{PacketConn: inner, reader: inner.(ice.AddrPortReaderWriter), conn: port.conn, batch: &m.batch}, nil
}

func (m udpMux) RemoveConnByUfrag(ufrag string) {
	for _, port := range []*udpPort{m.ports.udp4, m.ports.udp6} {
		if port != nil {
			port.mux.RemoveConnByUfrag(ufrag)
		}
	}
}

func (m udpMux) GetListenAddresses() []net.Addr {
	var all []net.Addr
	for _, a := range m.ports.addresses() {
		all = append(all, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, m.ports.port)))
	}
	return all
}

// Close does nothing: the ports are shared.
func (m udpMux) Close() error { return nil }

// batchConn sends what goes to one viewer through the session's batch. The
// first packet to an address goes through the mux, which learns from it whom
// that address belongs to.
type batchConn struct {
	net.PacketConn
	reader ice.AddrPortReaderWriter
	conn   *packet.Conn
	batch  *packet.Batch
	known  atomic.Pointer[netip.AddrPort]
}

func (c *batchConn) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	return c.reader.ReadFromAddrPort(p)
}

func (c *batchConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if known := c.known.Load(); known == nil || *known != to {
		c.known.Store(&to)
		return c.reader.WriteToAddrPort(p, to)
	}
	if err := c.batch.Write(c.conn, p, to); err != nil {
		return 0, err
	}
	return len(p), nil
}

// tcpMux is the ice.TCPMux of one session.
type tcpMux struct{ *route }

func (m tcpMux) GetConnByUfrag(ufrag string, isIPv6 bool, local net.IP) (net.PacketConn, error) {
	for _, mux := range m.ports.tcp {
		if listens6 := mux.LocalAddr().(*net.TCPAddr).IP.To4() == nil; listens6 != isIPv6 {
			continue
		}
		inner, err := mux.GetConnByUfrag(ufrag, isIPv6, local)
		if err != nil {
			return nil, err
		}
		return congestionConn{inner, &m.congested}, nil
	}
	return nil, fmt.Errorf("get TCP conn: no socket for %v", local)
}

func (m tcpMux) RemoveConnByUfrag(ufrag string) {
	for _, mux := range m.ports.tcp {
		mux.RemoveConnByUfrag(ufrag)
	}
}

func (m tcpMux) Close() error { return nil }

// congestionConn notes packets that did not fit in the queue: the ICE agent
// keeps such errors to itself.
type congestionConn struct {
	net.PacketConn
	congested *atomic.Bool
}

func (c congestionConn) WriteTo(p []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(p, to)
	if err != nil {
		c.congested.Store(true)
	}
	return n, err
}
