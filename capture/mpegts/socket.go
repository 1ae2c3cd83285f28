package mpegts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/lenscast/lenscast/capture"
)

// receiveBuffer is asked of the kernel, in bytes: half a second of 60 Mbit/s,
// so that no picture is lost while this machine is busy.
const receiveBuffer = 4 << 20

// listen opens the socket of an address.
func listen(ctx context.Context, a address, log *slog.Logger) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = setOptions(int(fd), a.multicast()) }); e != nil {
			return e
		}
		return err
	}}
	packets, err := config.ListenPacket(ctx, a.network(), a.hostPort())
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%w: listen at %s: this machine does not have the address %s", capture.ErrNoDevice, a, a.host)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen at %s: another program, or another camera, has port %d already: choose another port", a, a.port)
	case err != nil:
		return nil, fmt.Errorf("listen at %s: %w", a, err)
	}
	conn := packets.(*net.UDPConn) // what ListenPacket documents for "udp"
	if a.multicast() {
		if err := join(conn, a); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if got, err := growBuffer(conn, receiveBuffer); err != nil {
		log.Warn("the receive buffer could not be made larger", "address", a, "error", err)
	} else if got < receiveBuffer {
		log.Info("the kernel gives a smaller receive buffer than asked for; sysctl net.core.rmem_max raises it",
			"address", a, "asked", receiveBuffer, "bytes", got)
	}
	return conn, nil
}

// join makes the socket a member of the multicast group it is bound to.
func join(conn *net.UDPConn, a address) error {
	var via *net.Interface // nil: the system chooses
	if a.via != "" {
		var err error
		if via, err = net.InterfaceByName(a.via); err != nil {
			return fmt.Errorf("%w: listen at %s: there is no network interface %s", capture.ErrNoDevice, a, a.via)
		}
	}
	group := &net.UDPAddr{IP: a.host.AsSlice()}
	var err error
	if a.host.Is4() {
		err = ipv4.NewPacketConn(conn).JoinGroup(via, group)
	} else {
		err = ipv6.NewPacketConn(conn).JoinGroup(via, group)
	}
	if err != nil {
		return fmt.Errorf("%w: join the multicast group of %s: %w", capture.ErrNoDevice, a, err)
	}
	return nil
}

// datagram is what came in one. The data is good until the next read.
type datagram struct {
	data    []byte
	from    netip.AddrPort
	age     time.Duration // since it arrived at this machine
	dropped uint32        // datagrams the socket had no room for, since it is open
}
