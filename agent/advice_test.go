package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestAdvised(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	_, taken := net.Listen("tcp", address)
	_, foreign := net.Listen("tcp", "192.0.2.1:0")   // RFC 5737
	_, unknown := net.Dial("tcp", "no.invalid:9000") // RFC 6761
	none := t.TempDir() + "/none"
	_, missing := os.Open(none)
	for _, c := range []struct {
		err  error
		want string // behind what was being done
	}{
		{taken, address + ": address already in use: another program has that port, or lenscast runs already: end it, or choose another port"},
		{foreign, "192.0.2.1:0: cannot assign requested address: this machine does not have that address"},
		{unknown, `the name "no.invalid" is not found: check its spelling, and the network`},
		{&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}, "permission denied: ports below 1024 are for root"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}, "network is unreachable: there is no way to that address"},
		{missing, none + ": no such file or directory: make it"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}, "/x: permission denied: let the user"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, "/x: read-only file system: mount the disk for writing"},
		{&fs.PathError{Op: "open", Path: "/x/y", Err: syscall.ENOTDIR}, "/x/y: not a directory: it is a file, name a folder"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, "/x: no space left on device: make room"},
		{fmt.Errorf("make /x: %w", &fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}), "make /x: permission denied: let the user"},
		{errors.Join(missing, errors.New("and more")), none + ": no such file or directory\nand more: make it"},
	} {
		wrapped := fmt.Errorf("do something: %w", c.err)
		got := advised(wrapped)
		if !strings.HasPrefix(got.Error(), "do something: "+c.want) {
			t.Errorf("advised says %q, want %q", got, "do something: "+c.want)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%q is not the error any more", got)
		}
	}
	plain := errors.New("the camera is asleep")
	if got := advised(plain); !errors.Is(got, plain) || got.Error() != plain.Error() {
		t.Errorf("advised made %q of an error that it knows nothing of", got)
	}
}
