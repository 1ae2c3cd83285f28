package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// selfSignedLasts stays below the 825 days that Apple devices accept.
	selfSignedLasts = 800 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour

	// selfSignedFile holds certificate and key.
	selfSignedFile = "viewer-certificate.pem"
)

// selfSigned returns the certificate kept in dir, or makes one and keeps it.
//
// One that is valid stays, even if this machine has other addresses by now:
// somebody may have told a browser to trust it.
func selfSigned(dir string, now time.Time) (*tls.Certificate, error) {
	if dir == "" {
		cert, _, err := makeSelfSigned(now)
		return cert, err
	}
	path := filepath.Join(dir, selfSignedFile)
	stored, err := os.ReadFile(path)
	switch {
	case err == nil:
		cert, err := tls.X509KeyPair(stored, stored)
		if err == nil && now.After(cert.Leaf.NotBefore) && now.Before(cert.Leaf.NotAfter.Add(-renewBefore)) {
			return &cert, nil
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read the viewer's certificate: %w", err)
	}
	cert, stored, err := makeSelfSigned(now)
	if err != nil {
		return nil, err
	}
	if err := save(path, stored); err != nil {
		return nil, fmt.Errorf("keep the viewer's certificate: %w", err)
	}
	return cert, nil
}

// makeSelfSigned makes a certificate for the names and addresses of this
// machine, and what to store of it.
func makeSelfSigned(now time.Time) (*tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the viewer's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("make the viewer's certificate: %w", err)
	}
	names, addresses := localNames()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "lenscast on " + names[0]},
		NotBefore:             now.Add(-24 * time.Hour), // for clocks that differ
		NotAfter:              now.Add(selfSignedLasts),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           addresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the viewer's certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("store the viewer's key: %w", err)
	}
	stored := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	stored = append(stored, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
	cert, err := tls.X509KeyPair(stored, stored)
	if err != nil {
		return nil, nil, fmt.Errorf("read the viewer's certificate back: %w", err)
	}
	return &cert, stored, nil
}

// localNames returns what this machine is called, at least "localhost", and
// its addresses. Link-local IPv6 addresses need a zone: no certificate has it.
func localNames() (names []string, addresses []net.IP) {
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local") // as mDNS knows it
		}
	}
	names = append(names, "localhost")

	interfaces, err := net.InterfaceAddrs()
	if err != nil { // then the names must do
		return names, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	for _, a := range interfaces {
		if n, ok := a.(*net.IPNet); ok && (n.IP.To4() != nil || !n.IP.IsLinkLocalUnicast()) {
			addresses = append(addresses, n.IP)
		}
	}
	return names, addresses
}

// save writes a secret file whole or not at all, also when the power fails.
func save(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name()) //nolint:errcheck // the first error counts
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// fingerprint is the SHA-256 of a certificate as browsers show it.
func fingerprint(cert *tls.Certificate) string {
	sum := sha256.Sum256(cert.Leaf.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}
