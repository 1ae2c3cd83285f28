package filetransfer

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errNoSocket tells that a connection is not one of the kernel's.
var errNoSocket = errors.New("the connection has no socket")

// withSocket calls f with the file descriptor of conn.
func withSocket(conn net.Conn, f func(fd int) error) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errNoSocket
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := raw.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// setDSCP marks the packets of conn, if it is a socket.
func setDSCP(conn net.Conn, dscp int) error {
	if dscp == 0 {
		return nil
	}
	err := withSocket(conn, func(fd int) error {
		if remoteAddr(conn).Is6() {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp<<2)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, dscp<<2)
	})
	if err != nil {
		return fmt.Errorf("mark packets with DSCP %d: %w", dscp, err)
	}
	return nil
}

// setPacing sets the most bytes per second that the kernel sends on conn; 0 is
// no limit.
func setPacing(conn net.Conn, bytesPerSecond uint64) error {
	if bytesPerSecond == 0 {
		bytesPerSecond = ^uint64(0)
	}
	err := withSocket(conn, func(fd int) error {
		return unix.SetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, bytesPerSecond)
	})
	if err != nil {
		return fmt.Errorf("pace packets: %w", err)
	}
	return nil
}

// tcpStates are the names of include/net/tcp_states.h.
var tcpStates = [...]string{
	1: "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
	"CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING",
}

// tcpInfo asks the kernel (TCP_INFO, include/uapi/linux/tcp.h).
func tcpInfo(conn net.Conn) (TCPInfo, error) {
	var i TCPInfo
	err := withSocket(conn, func(fd int) error {
		t, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		usec := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
		i = TCPInfo{
			State: fmt.Sprintf("state %d", t.State),
			RTT:   usec(uint64(t.Rtt)), MinRTT: usec(uint64(t.Min_rtt)),
			Window: int(t.Snd_cwnd), SegmentBytes: int(t.Snd_mss),
			Sent: t.Bytes_sent, Resent: t.Bytes_retrans, Unsent: int(t.Notsent_bytes),
			Acked: t.Bytes_acked, Segments: uint64(t.Segs_in),
			DeliveryRate: int64(t.Delivery_rate) * 8, PacingRate: int64(min(t.Pacing_rate, 1<<59)) * 8,
			Busy: usec(t.Busy_time), WaitReceiver: usec(t.Rwnd_limited), WaitSendSpace: usec(t.Sndbuf_limited),
		}
		if int(t.State) < len(tcpStates) && tcpStates[t.State] != "" {
			i.State = tcpStates[t.State]
		}
		return nil
	})
	return i, err
}

// setCork holds segments back that are not full (TCP_CORK, tcp(7)). Where that
// fails they are just sent.
func setCork(conn net.Conn, on bool) {
	value := 0
	if on {
		value = 1
	}
	_ = withSocket(conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_CORK, value) })
}
