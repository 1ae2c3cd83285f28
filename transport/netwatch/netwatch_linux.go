package netwatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// changes returns a channel that gets a value when the kernel tells of a
// change (rtnetlink(7)), until ctx ends.
func changes(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind netlink socket: %w", err), unix.Close(fd))
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	changes := make(chan struct{}, 1)
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	go func() {
		defer stop()
		defer socket.Close()
		buf := make([]byte, 1<<16)
		for {
			_, err := socket.Read(buf)
			// ENOBUFS: more changes than fit; that they were is known.
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changes <- struct{}{}:
			default:
			}
		}
	}()
	return changes, nil
}

// state describes the addresses and the routes of the main table. Two equal
// states are the same network; what it says otherwise is of no use.
func state() string {
	var all []string
	for _, request := range []int{unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		dump, err := syscall.NetlinkRIB(request, unix.AF_UNSPEC)
		if err != nil {
			continue
		}
		messages, err := syscall.ParseNetlinkMessage(dump)
		if err != nil {
			continue
		}
		for i := range messages {
			all = append(all, describe(&messages[i]))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// describe returns what makes an address or a route the one that it is, which
// leaves out how long it still lives. It is empty for what does not matter.
func describe(m *syscall.NetlinkMessage) string {
	// The attributes have one meaning each in ifaddrmsg and rtmsg.
	var wanted []uint16
	var head []byte
	switch m.Header.Type {
	case unix.RTM_NEWADDR:
		if len(m.Data) < unix.SizeofIfAddrmsg || m.Data[3] == unix.RT_SCOPE_HOST {
			return ""
		}
		// Family, length and interface; flags change as IPv6 checks an address.
		head = append(slices.Clone(m.Data[:2]), m.Data[4:8]...)
		wanted = []uint16{unix.IFA_ADDRESS, unix.IFA_LOCAL}
	case unix.RTM_NEWROUTE:
		const table, kind = 4, 7 // in rtmsg
		if len(m.Data) < unix.SizeofRtMsg || m.Data[table] != unix.RT_TABLE_MAIN || m.Data[kind] != unix.RTN_UNICAST {
			return ""
		}
		head = m.Data[:2]
		wanted = []uint16{unix.RTA_DST, unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_PRIORITY, unix.RTA_PREFSRC, unix.RTA_MULTIPATH}
	default:
		return ""
	}
	attributes, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return ""
	}
	text := fmt.Sprintf("%d %x", m.Header.Type, head)
	for _, a := range attributes {
		if slices.Contains(wanted, a.Attr.Type) {
			text += fmt.Sprintf(" %d=%x", a.Attr.Type, a.Value)
		}
	}
	return text
}
