package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// transferTLS makes what a sender of files needs for TLS: which key or which
// authority of the receiver to trust (without both, those the machine trusts),
// and a certificate of its own. All may be empty.
func transferTLS(pin, ca, cert, key string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	switch {
	case pin != "":
		digest, err := filetransfer.ParsePin(pin)
		if err != nil {
			return nil, err
		}
		c = filetransfer.PinnedTLS(digest)
	case ca != "":
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("read certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authority: there is no certificate in %s", ca)
		}
	}
	if cert != "" {
		pair, err := loadCertificate(cert, key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// loadCertificate reads a certificate and its key from PEM files.
func loadCertificate(cert, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("read certificate: %w", err)
	}
	return pair, nil
}
