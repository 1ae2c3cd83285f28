package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/lenscast/lenscast/agent/selfsigned"
)

// SelfSigned returns the certificate kept in the file at path, or makes one and
// keeps it there, readable by its owner only. Senders trust its key by pin, so
// its dates and names do not matter and it never has to be renewed.
func SelfSigned(path string) (tls.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		return parseCertificate(raw)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("read certificate: %w", err)
	}
	raw, err = makeCertificate()
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	if err := selfsigned.Keep(path, raw); err != nil {
		return tls.Certificate{}, fmt.Errorf("keep certificate: %w", err)
	}
	return parseCertificate(raw)
}

func parseCertificate(raw []byte) (tls.Certificate, error) {
	cert, err := tls.X509KeyPair(raw, raw)
	if err != nil {
		return cert, fmt.Errorf("read certificate: %w", err)
	}
	return cert, nil
}

// makeCertificate makes one that is valid for ever.
func makeCertificate() ([]byte, error) {
	return selfsigned.Make(x509.Certificate{
		Subject:   pkix.Name{CommonName: "lenscast receive"},
		NotBefore: time.Unix(0, 0), // right on boards whose clock is not
		NotAfter:  time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	})
}
