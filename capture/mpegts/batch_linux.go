package mpegts

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call may read: more than a picture
// of 8 Mbit/s has at 30 fps.
const batchSize = 32

// socket reads all datagrams that wait with one system call and hands them out
// one by one: a sender makes those of a picture faster than they are read.
//
// The call never waits, so the scheduler of Go need not be told of it, as it
// would be by package net: to wake its watchman for every picture costs more
// than to read the picture.
type socket struct {
	conn syscall.RawConn
	call func(fd uintptr) bool // receive, bound once

	headers  [batchSize]messageHeader
	messages [batchSize]message
	next, n  int // messages[next:n] are to be handed out
	errno    syscall.Errno

	address unix.RawSockaddrInet6 // the sender of the datagram before,
	from    netip.AddrPort        // and the same in Go
	dropped uint32
}

// messageHeader is struct mmsghdr of recvmmsg(2).
type messageHeader struct {
	unix.Msghdr
	size uint32 // bytes received
}

// message is the room for one datagram and what comes with it.
type message struct {
	vector  unix.Iovec
	data    []byte
	address unix.RawSockaddrInet6 // takes one of IPv4, too
	control [controlSize]byte
}

func newSocket(conn *net.UDPConn) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("get descriptor of UDP socket: %w", err)
	}
	s := &socket{conn: raw}
	s.call = s.receive
	for i := range s.messages {
		m, h := &s.messages[i], &s.headers[i]
		m.data = make([]byte, maxDatagram)
		m.vector.Base = &m.data[0]
		m.vector.SetLen(len(m.data))
		h.Iov = &m.vector
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.address))
		h.Control = &m.control[0]
	}
	return s, nil
}

// read returns the next datagram, waiting for it until the deadline of the
// connection.
func (s *socket) read() (datagram, error) {
	if s.next == s.n {
		if err := s.conn.Read(s.call); err != nil {
			return datagram{}, err
		}
		if s.errno != 0 {
			s.next, s.n = 0, 0
			return datagram{}, os.NewSyscallError("recvmmsg", s.errno)
		}
	}
	m, h := &s.messages[s.next], &s.headers[s.next]
	s.next++
	if m.address != s.address {
		s.address, s.from = m.address, parseSender(&m.address)
	}
	d := datagram{data: m.data[:h.size], from: s.from}
	d.age, s.dropped = parseControl(m.control[:h.Controllen], s.dropped)
	d.dropped = s.dropped
	return d, nil
}

// receive fills messages with what waits. It reports whether it is done, as
// [syscall.RawConn] wants it.
func (s *socket) receive(fd uintptr) bool {
	for i := range s.headers {
		h := &s.headers[i]
		h.Namelen = uint32(unsafe.Sizeof(unix.RawSockaddrInet6{}))
		h.SetControllen(controlSize)
		s.messages[i].address = unix.RawSockaddrInet6{} // an IPv4 address is shorter
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return false
	}
	s.next, s.n, s.errno = 0, int(n), errno
	return true
}

// parseSender reads an address as the kernel writes it, in network order.
func parseSender(a *unix.RawSockaddrInet6) netip.AddrPort {
	port := func(p *uint16) uint16 {
		b := (*[2]byte)(unsafe.Pointer(p))
		return uint16(b[0])<<8 | uint16(b[1])
	}
	if a.Family == unix.AF_INET {
		a4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(a4.Addr), port(&a4.Port))
	}
	ip := netip.AddrFrom16(a.Addr).Unmap()
	if a.Scope_id != 0 && ip.Is6() {
		ip = ip.WithZone(strconv.Itoa(int(a.Scope_id)))
	}
	return netip.AddrPortFrom(ip, port(&a.Port))
}
