package udp

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToDevice makes a socket leave by one interface only (SO_BINDTODEVICE,
// socket(7); no privilege needed since Linux 5.7).
func bindToDevice(name string) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctrl := c.Control(func(fd uintptr) {
			err = unix.BindToDevice(int(fd), name)
		}); ctrl != nil {
			return ctrl
		}
		if err != nil {
			return fmt.Errorf("bind to network interface %q: %w", name, err)
		}
		return nil
	}
}
