package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

func TestSendSaysWhatToDo(t *testing.T) {
	_, unknown := net.Dial("tcp", "server.invalid:9000") // RFC 6761
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}
	stranger := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{Cert: &x509.Certificate{}}}
	_, refused := net.Dial("tcp", "localhost:1")
	for _, c := range []struct {
		err  error
		want string
	}{
		{unknown, `connect: the name "server.invalid" is not found: check its spelling`},
		{expired, "the receiver's certificate is out of date: renew it, or set this machine's clock"},
		{stranger, stranger.Err.Error() + ": give the receiver's key with -pin"},
		{refused, "1: connection refused: is lenscast receive running there?"},
		{syscall.ECONNRESET, "connect: connection reset by peer: the receiver has ended the connection"},
		{&filetransfer.Error{Code: filetransfer.CodeDenied, Reason: "no token"}, "no token: see -agent, -token-file and -cert"},
	} {
		wrapped := fmt.Errorf("connect: %w", c.err)
		if got := inWords(wrapped); !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q in it", got, c.want)
		}
	}
}
