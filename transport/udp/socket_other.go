//go:build !linux

package udp

import (
	"errors"
	"syscall"
)

// bindToDevice: only Linux can bind a socket to an interface.
func bindToDevice(string) func(network, address string, c syscall.RawConn) error {
	return func(string, string, syscall.RawConn) error {
		return errors.New("option interface works for multicast only on this system")
	}
}
