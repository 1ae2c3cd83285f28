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
	header  unix.Msghdr
	vector  unix.Iovec
	control [controlSize]byte
	sa4     unix.RawSockaddrInet4
	sa6     unix.RawSockaddrInet6
	errno   unix.Errno
	call    func(fd uintptr) // sendmsg, bound once
}

// controlSize is CMSG_SPACE(sizeof(uint16)), on 32 and 64 bits alike at most
// this.
const controlSize = 24

// sendOnce makes one call of sendmsg; size is the segment size, 0 for none.
func (s *sender) sendOnce(c *Conn, b []byte, size int, to netip.AddrPort) error {
	h := &s.header
	switch {
	case to == c.remote: // the kernel knows the way, and need not look for it
		h.Name, h.Namelen = nil, 0
	case c.ipv6:
		s.sa6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16(), Scope_id: zoneID(to.Addr().Zone())}
		putPort(&s.sa6.Port, to.Port())
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.sa6)), unix.SizeofSockaddrInet6
	default:
		if !to.Addr().Unmap().Is4() {
			return fmt.Errorf("send datagram: no IPv4 address: %v", to)
		}
		s.sa4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().Unmap().As4()}
		putPort(&s.sa4.Port, to.Port())
		h.Name, h.Namelen = (*byte)(unsafe.Pointer(&s.sa4)), unix.SizeofSockaddrInet4
	}
	s.vector.Base = unsafe.SliceData(b)
	s.vector.SetLen(len(b))
	h.Iov = &s.vector
	h.SetIovlen(1)
	h.Control = nil
	h.SetControllen(0)
	if size > 0 {
		cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[0]))
		cmsg.Level, cmsg.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
		cmsg.SetLen(unix.CmsgLen(2))
		binary.NativeEndian.PutUint16(s.control[unix.CmsgLen(0):], uint16(size))
		h.Control = &s.control[0]
		h.SetControllen(unix.CmsgSpace(2))
	}
	if s.call == nil {
		s.call = s.sendmsg
	}
	err := c.raw.Control(s.call)
	s.vector.Base = nil // b is the caller's
	if err == nil && s.errno != 0 {
		err = s.errno
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return ErrFull
	}
	return fmt.Errorf("send to %v: %w", to, err)
}

// receiver holds the arguments of recvfrom(2), so that a read allocates
// nothing.
type receiver struct {
	buf   []byte
	from  unix.RawSockaddrInet6 // or the shorter RawSockaddrInet4
	size  uint32                // of from
	n     int
	errno unix.Errno
	call  func(fd uintptr) bool // recvfrom, bound once
}

// receive waits for a datagram, or for the read deadline, and puts it in b.
func (r *receiver) receive(c *Conn, b []byte) (int, netip.AddrPort, error) {
	if r.call == nil {
		r.call = r.recvfrom
	}
	r.buf = b
	err := c.raw.Read(r.call)
	r.buf = nil // it is the caller's
	if err != nil {
		return 0, netip.AddrPort{}, err // a net.Error that tells of timeouts
	}
	if r.errno != 0 {
		return 0, netip.AddrPort{}, fmt.Errorf("receive datagram: %w", r.errno)
	}
	return r.n, r.source(), nil
}

// recvfrom reports whether there was something to read, if only an error.
//
// As it never waits, the scheduler of Go need not be told of the call: it
// would wake its watchman for every datagram that comes while all else sleeps.
func (r *receiver) recvfrom(fd uintptr) bool {
	for {
		r.size = unix.SizeofSockaddrInet6
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.buf))),
			uintptr(len(r.buf)), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&r.from)), uintptr(unsafe.Pointer(&r.size)))
		if r.n, r.errno = int(n), errno; errno != unix.EINTR {
			return errno != unix.EAGAIN
		}
	}
}

// source returns where the datagram came from.
func (r *receiver) source() netip.AddrPort {
	if r.from.Family == unix.AF_INET {
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&r.from))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(&sa.Port))
	}
	addr := netip.AddrFrom16(r.from.Addr)
	if r.from.Scope_id != 0 {
		addr = addr.WithZone(strconv.FormatUint(uint64(r.from.Scope_id), 10))
	}
	return netip.AddrPortFrom(addr, port(&r.from.Port))
}

// port reads a port in network order.
func port(src *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(src))[:])
}

// putPort writes a port in network order.
func putPort(dst *uint16, port uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(dst))[:], port)
}

// sendmsg does not wait for a full buffer.
//
// As it never waits, the scheduler of Go need not be told of the call: waking
// its watchman for every picture would cost as much as the sending does.
func (s *sender) sendmsg(fd uintptr) {
	for {
		_, _, s.errno = unix.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&s.header)), unix.MSG_DONTWAIT)
		if s.errno != unix.EINTR {
			return
		}
	}
}
