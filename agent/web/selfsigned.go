package web

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/lenscast/lenscast/agent/selfsigned"
)

const (
	// selfSignedLasts stays below the 825 days that Apple devices accept.
	selfSignedLasts = 800 * 24 * time.Hour
	renewBefore     = 30 * 24 * time.Hour

	// selfSignedFile holds certificate and key.
	selfSignedFile = "viewer-certificate.pem"
)

// selfSigned returns the certificate kept in dir, or makes one and keeps it.
// With a certificate, an error says why the next start will have another one.
//
// One that has not expired stays, even if this machine has other addresses by
// now: somebody may have told a browser to trust it. Before its time it stays,
// too: then it is the clock that is wrong.
func selfSigned(dir string, now time.Time) (*tls.Certificate, error) {
	if dir == "" {
		cert, _, err := makeSelfSigned(now)
		return cert, err
	}
	path := filepath.Join(dir, selfSignedFile)
	stored, readErr := os.ReadFile(path)
	if readErr == nil {
		cert, err := tls.X509KeyPair(stored, stored)
		if err == nil && now.Before(cert.Leaf.NotAfter.Add(-renewBefore)) {
			return &cert, nil
		}
	}
	cert, stored, err := makeSelfSigned(now)
	if err != nil {
		return nil, err
	}
	if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return cert, fmt.Errorf("read the viewer's certificate: %w", readErr)
	}
	if err := selfsigned.Keep(path, stored); err != nil {
		return cert, fmt.Errorf("keep the viewer's certificate: %w", err)
	}
	return cert, nil
}

// makeSelfSigned makes a certificate for the names and addresses of this
// machine, and what to store of it.
func makeSelfSigned(now time.Time) (*tls.Certificate, []byte, error) {
	names, addresses := localNames()
	stored, err := selfsigned.Make(x509.Certificate{
		Subject:     pkix.Name{CommonName: "lenscast on " + names[0]},
		NotBefore:   now.Add(-24 * time.Hour), // for clocks that differ
		NotAfter:    now.Add(selfSignedLasts),
		DNSNames:    names,
		IPAddresses: addresses,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make the viewer's certificate: %w", err)
	}
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

// fingerprint is the SHA-256 of a certificate as browsers show it.
func fingerprint(cert *tls.Certificate) string {
	sum := sha256.Sum256(cert.Leaf.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}
