//go:build !linux

package filetransfer

import (
	"errors"
	"net"
)

// Marks, pacing and figures are options of Linux sockets.
var errLinuxOnly = errors.New("only Linux can do this")

func setDSCP(_ net.Conn, dscp int) error {
	if dscp == 0 {
		return nil
	}
	return errLinuxOnly
}

func setPacing(net.Conn, uint64) error { return errLinuxOnly }

func tcpInfo(net.Conn) (TCPInfo, error) { return TCPInfo{}, errLinuxOnly }

func setCork(net.Conn, bool) {}
