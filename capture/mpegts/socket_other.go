//go:build !linux

package mpegts

import (
	"net"
	"net/netip"
)

func setOptions(int, bool) error { return nil }

func growBuffer(conn *net.UDPConn, size int) (int, error) {
	return size, conn.SetReadBuffer(size)
}

// socket reads datagrams.
type socket struct {
	conn *net.UDPConn
	buf  []byte
}

func newSocket(conn *net.UDPConn) (*socket, error) {
	return &socket{conn: conn, buf: make([]byte, maxDatagram)}, nil
}

func (s *socket) read() (datagram, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(s.buf)
	if err != nil {
		return datagram{}, err
	}
	return datagram{data: s.buf[:n], from: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, nil
}
