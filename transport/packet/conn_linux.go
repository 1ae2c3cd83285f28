package packet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probeGSO asks whether the kernel has UDP_SEGMENT (Linux 4.18).
func probeGSO(raw syscall.RawConn) bool {
	var err error
	if ctrl := raw.Control(func(fd uintptr) {
		_, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	}); ctrl != nil {
		return false
	}
	return err == nil
}

// gsoRefused tells the errors that mean "not in segments", and whether that is
// so for good. EIO (a device cannot checksum), ENOPROTOOPT and EOPNOTSUPP (the
// kernel or a filter refuses the option) are; EINVAL and EMSGSIZE mean that a
// segment does not fit the MTU of this one path.
func gsoRefused(err error) (refused, forGood bool) {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return false, false
	}
	switch errno {
	case unix.EIO, unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		return true, true
	case unix.EINVAL, unix.EMSGSIZE:
		return true, false
	}
	return false, false
}

// zoneID returns the interface index of an IPv6 zone, 0 without one.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	iface, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(iface.Index)
}

// sender holds the arguments of sendmsg(2), so that a send allocates nothing.
type sender struct {
	payload []byte
	control []byte // nil without segmentation
	space   [controlSize]byte
	sa4     unix.SockaddrInet4
	sa6     unix.SockaddrInet6
	to      unix.Sockaddr
	err     error
	call    func(fd uintptr) bool
}

// controlSize is CMSG_SPACE(sizeof(uint16)), on 32 and 64 bits alike at most
// this.
const controlSize = 24

// sendOnce makes one call of sendmsg; size is the segment size, 0 for none.
func (s *sender) sendOnce(c *Conn, b []byte, size int, to netip.AddrPort) error {
	if c.ipv6 {
		s.sa6.Addr, s.sa6.Port, s.sa6.ZoneId = to.Addr().As16(), int(to.Port()), zoneID(to.Addr().Zone())
		s.to = &s.sa6
	} else {
		if !to.Addr().Unmap().Is4() {
			return fmt.Errorf("send datagram: no IPv4 address: %v", to)
		}
		s.sa4.Addr, s.sa4.Port = to.Addr().Unmap().As4(), int(to.Port())
		s.to = &s.sa4
	}
	s.payload, s.control = b, nil
	if size > 0 {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&s.space[0]))
		h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		h.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(s.space[unix.CmsgLen(0):], uint16(size))
		s.control = s.space[:unix.CmsgSpace(2)]
	}
	if s.call == nil {
		s.call = s.sendmsg
	}
	if err := c.raw.Write(s.call); err != nil {
		return fmt.Errorf("send to %v: %w", to, err)
	}
	if s.err == unix.EAGAIN || s.err == unix.ENOBUFS {
		return ErrFull
	}
	if s.err != nil {
		return fmt.Errorf("send to %v: %w", to, s.err)
	}
	return nil
}

// sendmsg always reports that it is done: a full buffer is not waited for.
func (s *sender) sendmsg(fd uintptr) bool {
	for {
		_, s.err = unix.SendmsgN(int(fd), s.payload, s.control, s.to, unix.MSG_DONTWAIT)
		if s.err != unix.EINTR {
			return true
		}
	}
}
