package s3store

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// newTransport returns what carries requests to the store. Certificates are
// checked against the system's authorities, or those of SSL_CERT_FILE.
func newTransport(secure bool) *http.Transport {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{
			Timeout:         10 * time.Second,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4},
		}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		// Completing an upload of many parts takes a store its time.
		ResponseHeaderTimeout: 3 * time.Minute,
		// Two parts of each transfer are on their way at once.
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // objects are wanted as they are
	}
	if secure {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return t
}
