//go:build !linux

package packet

import (
	"net/netip"
	"syscall"
)

// probeGSO: only Linux has UDP_SEGMENT.
func probeGSO(syscall.RawConn) bool { return false }

func gsoRefused(error) (refused, forGood bool) { return false, false }

type sender struct{}

func (*sender) sendOnce(c *Conn, b []byte, _ int, to netip.AddrPort) error {
	_, err := c.WriteToUDPAddrPort(b, to)
	return err
}

type receiver struct{}

func (*receiver) receive(c *Conn, b []byte) (int, netip.AddrPort, error) {
	return c.ReadFromUDPAddrPort(b)
}
