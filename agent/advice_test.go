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
	_, taken := net.Listen("tcp", l.Addr().String())
	_, foreign := net.Listen("tcp", "192.0.2.1:0") // RFC 5737
	_, missing := os.Open(t.TempDir() + "/none")
	for _, c := range []struct {
		err    error
		advice string
	}{
		{taken, "another program has that port"},
		{foreign, "this machine does not have that address"},
		{&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}, "ports below 1024 are for root"},
		{missing, "make it"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EACCES}, "let the user"},
		{&fs.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, "mount the disk for writing"},
	} {
		wrapped := fmt.Errorf("do something: %w", c.err)
		got := advised(wrapped)
		if !strings.HasPrefix(got.Error(), wrapped.Error()+": "+c.advice) {
			t.Errorf("advised says %q, want %q behind it", got, c.advice)
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
