package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/selfsigned"
)

// TestTransferTLSAuthority trusts a receiver whose certificate a given authority
// has signed, and no other.
func TestTransferTLSAuthority(t *testing.T) {
	now := time.Now()
	sign := func(template, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, key = template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, own
	}
	authority := func() (string, *x509.Certificate, *ecdsa.PrivateKey) {
		ca, key := sign(&x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, nil, nil)
		path := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path, ca, key
	}
	good, ca, key := authority()
	other, _, _ := authority()
	leaf, leafKey := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, ca, key)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}}, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // the client judges
			conn.Close()
		}
	}()
	for file, trusted := range map[string]bool{good: true, other: false} {
		config, err := transferTLS("", file, "", "")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := tls.Dial("tcp", ln.Addr().String(), config)
		if (err == nil) != trusted {
			t.Errorf("with its own authority %v: %v", trusted, err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if _, err := transferTLS("", filepath.Join(t.TempDir(), "none.pem"), "", ""); err == nil || !strings.Contains(err.Error(), "read certificate authority") {
		t.Errorf("%v", err)
	}
}

// TestReceiverToldOfItsCertificate: senders refuse a receiver whose certificate
// has expired; it must know before they do.
func TestReceiverToldOfItsCertificate(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		from, to time.Time
		want     string
	}{
		{now.AddDate(0, 0, -90), now.AddDate(0, 0, -1), "the certificate expired on"},
		{now.AddDate(0, 0, -90), now.AddDate(0, 0, 3), "the certificate expires on"},
		{now.AddDate(0, 0, 1), now.AddDate(0, 0, 90), "set the clock"},
		{now.AddDate(0, 0, -1), now.AddDate(0, 0, 89), ""},
	} {
		pem, err := selfsigned.Make(x509.Certificate{NotBefore: c.from, NotAfter: c.to})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "receiver.pem")
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		o := receiveOptions{cert: file, key: file}
		if _, _, err := o.certificate(&net.TCPAddr{}, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("valid from %v to %v: told %q, want %q", c.from, c.to, got, c.want)
		}
	}
}
