package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
)

// advised adds to what the operating system refused what to do about it. An
// error that says so itself, or that nothing is known of, stays as it is.
func advised(err error) error {
	var socket *net.OpError
	var file *fs.PathError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program has that port, or lenscast runs already: end it, or choose another port", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf(`%w: this machine does not have that address, choose one of "ip address", or ":PORT" for all of them`, err)
	case errors.As(err, &socket) && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: ports below 1024 are for root, choose a larger one", err)
	case errors.As(err, &file) && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that lenscast runs as write there (chown), or choose another folder", err)
	case errors.As(err, &file) && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make it, or mend its name", err)
	case errors.As(err, &file) && errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: mount the disk for writing, or choose another folder; as a service lenscast writes below /var/lib/lenscast only", err)
	}
	return err
}
