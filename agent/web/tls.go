package web

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// newTLSConfig returns nil when p says no TLS.
func newTLSConfig(p Params) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	switch p.TLS {
	case TLSOff, "":
		return nil, nil
	case TLSFiles:
		files := &certFiles{cert: p.CertFile, key: p.KeyFile, log: p.Log}
		if err := files.load(); err != nil {
			return nil, err
		}
		config.GetCertificate = files.get
	case TLSSelfSigned:
		cert, err := selfSigned(p.StateDir, time.Now())
		if cert == nil {
			return nil, err
		} else if err != nil {
			p.Log.Warn("browsers will ask again after the next start whether to trust the viewer", "error", err)
		}
		p.Log.Info("the viewer uses a certificate of its own; browsers ask whether to trust it",
			"sha256", fingerprint(cert))
		config.Certificates = []tls.Certificate{*cert}
	default:
		return nil, fmt.Errorf("unknown TLS mode %q", p.TLS)
	}
	return config, nil
}

// certFiles is a certificate in two files, read again when they change. While
// the new ones are no good the old certificate stays in use.
type certFiles struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   fileStamp // of what was read last, good or not
}

// fileStamp tells one state of the two files from another.
type fileStamp struct {
	certTime, keyTime time.Time
	certSize, keySize int64
}

// load reads the files for the first time.
func (c *certFiles) load() error {
	stamp, err := c.look()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("read the viewer's certificate: %w", err)
	}
	c.current, c.stamp = &cert, stamp
	return nil
}

func (c *certFiles) look() (fileStamp, error) {
	cert, certErr := os.Stat(c.cert)
	key, keyErr := os.Stat(c.key)
	if err := errors.Join(certErr, keyErr); err != nil {
		return fileStamp{}, fmt.Errorf("read the viewer's certificate: %w", err)
	}
	return fileStamp{cert.ModTime(), key.ModTime(), cert.Size(), key.Size()}, nil
}

// get is called for every handshake.
func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.look()
	if err != nil || stamp == c.stamp {
		return c.current, nil // gone for a moment: they are being replaced
	}
	c.stamp = stamp
	cert, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		c.log.Warn("the viewer's new certificate is no good, the old one stays in use", "error", err)
		return c.current, nil
	}
	c.log.Info("the viewer's certificate was read again", "file", c.cert)
	c.current = &cert
	return c.current, nil
}
