package mpegts

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// controlSize is room for a time stamp and an overflow count with their
// headers (cmsg(3)), with some to spare.
const controlSize = 128

// maxAge bounds the age that a time stamp is believed for: the wall clock,
// which the kernel stamps with, may be set in between.
const maxAge = time.Second

// setOptions asks for the time of arrival with every datagram, and for the
// count of those that there was no room for. Both are luxuries: kernels that
// lack them are not refused.
func setOptions(fd int, multicast bool) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1) // 64 bits also on arm; Linux 5.1
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	if multicast { // several programs may listen to a group
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return fmt.Errorf("share the port: %w", err)
		}
	}
	return nil
}

// growBuffer asks for a receive buffer of size bytes, beyond what the system
// allows everybody if this process may, and returns what it got.
func growBuffer(conn *net.UDPConn, size int) (got int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	e := raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
				return
			}
		}
		got, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	if err == nil {
		err = e
	}
	return got / 2, err // the kernel counts its own overhead in (socket(7))
}

// parseControl reads the control messages of a datagram: how long ago it
// arrived, 0 if the kernel does not say, and how many datagrams there was no
// room for, dropped if it does not.
func parseControl(b []byte, dropped uint32) (age time.Duration, _ uint32) {
	for len(b) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		b = rest
		if header.Level != unix.SOL_SOCKET {
			continue
		}
		switch {
		case header.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
			sec := int64(binary.NativeEndian.Uint64(data))
			nsec := int64(binary.NativeEndian.Uint64(data[8:]))
			if age = time.Since(time.Unix(sec, nsec)); age < 0 || age > maxAge {
				age = 0
			}
		case header.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			dropped = binary.NativeEndian.Uint32(data)
		}
	}
	return age, dropped
}
