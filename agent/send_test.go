package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestSendSaysWhatToDo(t *testing.T) {
	_, unknown := net.Dial("tcp", "server.invalid:9000") // RFC 6761
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}
	stranger := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{Cert: &x509.Certificate{}}}
	for _, c := range []struct {
		err    error
		advice string
	}{
		{unknown, "check its spelling"},
		{expired, "renew the receiver's certificate, or set this machine's clock"},
		{stranger, "give the receiver's key with -pin"},
		{syscall.ECONNREFUSED, "is lenscast receive running there?"},
	} {
		wrapped := fmt.Errorf("connect: %w", c.err)
		if got := inWords(wrapped); !strings.HasPrefix(got, wrapped.Error()+": "+c.advice) {
			t.Errorf("%q, want %q behind it", got, c.advice)
		}
	}
}
