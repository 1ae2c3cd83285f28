package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
)

// advised says an error of the operating system in words for people: what it is
// about, once, and what to do about it. Any other error stays as it is.
func advised(err error) error {
	text := err.Error()
	var socket *net.OpError
	var unknown *net.DNSError
	var file *fs.PathError
	switch {
	case errors.As(err, &socket):
		about := ""
		if socket.Addr != nil {
			about = socket.Addr.String()
		}
		text = reworded(text, socket, about)
	case errors.As(err, &unknown):
		text = reworded(text, unknown, "")
	case errors.As(err, &file):
		text = reworded(text, file, file.Path)
	}
	if advice := advice(err); advice != "" {
		text += ": " + advice
	}
	return &inWordsError{text, err}
}

// reworded replaces what system, an error of the operating system, says in a
// text. Before it stands what lenscast was doing; so what is left to say is the
// cause, and what it is about, if that has not been said.
func reworded(text string, system error, about string) string {
	before, after, found := strings.Cut(text, system.Error())
	switch {
	case !found:
		return text
	case about == "" || strings.Contains(before, about):
		return before + cause(system) + after
	}
	return before + about + ": " + cause(system) + after
}

// cause is the innermost error.
func cause(err error) string {
	var unknown *net.DNSError
	if errors.As(err, &unknown) {
		return fmt.Sprintf("the name %q is not found", unknown.Name)
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err.Error()
}

// advice is what to do about an error of the operating system, empty when
// nothing is known of it.
func advice(err error) string {
	var unknown *net.DNSError
	var socket *net.OpError
	var file *fs.PathError
	switch {
	case errors.As(err, &unknown):
		return "check its spelling, and the network"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program has that port, or lenscast runs already: end it, or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return `this machine does not have that address, choose one of "ip address", or ":PORT" for all of them`
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETDOWN):
		return "there is no way to that address: check this machine's network"
	case errors.As(err, &socket) && errors.Is(err, fs.ErrPermission):
		return "ports below 1024 are for root, choose a larger one"
	case errors.Is(err, syscall.ENOSPC):
		return "make room on the disk"
	case !errors.As(err, &file):
		return ""
	case errors.Is(err, fs.ErrPermission):
		return "let the user that lenscast runs as have it (chown), or choose another"
	case errors.Is(err, fs.ErrNotExist):
		return "make it, or mend its name"
	case errors.Is(err, syscall.ENOTDIR):
		return "it is a file, name a folder"
	case errors.Is(err, syscall.EROFS):
		return "mount the disk for writing, or choose another folder; as a service lenscast writes below /var/lib/lenscast only"
	}
	return ""
}

// inWordsError shows words in place of an error and wraps it.
type inWordsError struct {
	words string
	err   error
}

func (e *inWordsError) Error() string { return e.words }
func (e *inWordsError) Unwrap() error { return e.err }
