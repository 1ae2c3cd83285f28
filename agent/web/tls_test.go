package web

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// presented returns the certificate that a server shows.
func presented(t *testing.T, base string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(base, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func TestSelfSigned(t *testing.T) {
	base := start(t, Params{Password: "password", TLS: TLSSelfSigned})
	if !strings.HasPrefix(base, "https://localhost:") {
		t.Errorf("URL %s", base)
	}
	cert := presented(t, base)
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if err := cert.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if host, err := os.Hostname(); err == nil && !slices.Contains(cert.DNSNames, host) {
		t.Errorf("names %q lack %q", cert.DNSNames, host)
	}
	client := browser(t)
	res := signIn(t, client, base, "password")
	if res.ProtoMajor != 2 {
		t.Errorf("protocol %s", res.Proto)
	}
	if c := res.Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("cookies %v", c)
	}
}

func TestSelfSignedIsKept(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	first, err := selfSigned(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := selfSigned(dir, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint(first) != fingerprint(again) {
		t.Error("another certificate although the first one is good")
	}
	late, err := selfSigned(dir, first.Leaf.NotAfter.Add(-renewBefore+time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if fingerprint(first) == fingerprint(late) {
		t.Error("the same certificate although it ends soon")
	}
	info, err := os.Stat(filepath.Join(dir, selfSignedFile))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}

	// One that was damaged is replaced.
	if err := os.WriteFile(filepath.Join(dir, selfSignedFile), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := selfSigned(dir, now); err != nil {
		t.Error(err)
	}
	// A clock that starts in 1970 makes nothing of it.
	kept, err := selfSigned(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := selfSigned(dir, time.Unix(0, 0)); err != nil || fingerprint(again) != fingerprint(kept) {
		t.Errorf("another certificate because the clock is wrong, %v", err)
	}
	// The folder is made; where it can't be, there is a certificate all the same.
	if _, err := selfSigned(filepath.Join(dir, "missing", "too"), now); err != nil {
		t.Error(err)
	}
	if cert, err := selfSigned(filepath.Join(dir, selfSignedFile, "below a file"), now); err == nil || cert == nil {
		t.Errorf("certificate %v and error %v where none can be kept", cert != nil, err)
	}
}

func TestCertificateFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	written := 0
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		// Clocks of file systems are coarse.
		written++
		if err := os.Chtimes(path, time.Time{}, time.Unix(int64(written), 0)); err != nil {
			t.Fatal(err)
		}
	}
	made := func() []byte {
		t.Helper()
		_, stored, err := makeSelfSigned(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	pair := made()
	write(cert, pair)
	write(key, pair)
	base := start(t, Params{TLS: TLSFiles, CertFile: cert, KeyFile: key})
	first := presented(t, base)

	write(cert, []byte("half written"))
	if !presented(t, base).Equal(first) {
		t.Error("a bad file took the certificate away")
	}
	pair = made()
	write(key, pair)
	write(cert, pair)
	if presented(t, base).Equal(first) {
		t.Error("the new certificate is not in use")
	}
	if _, err := New(complete(Params{TLS: TLSFiles, CertFile: cert + "x", KeyFile: key})); err == nil {
		t.Error("no error although the file is missing")
	}
}

func TestURL(t *testing.T) {
	for listen, host := range map[string]string{":0": "localhost", "127.0.0.1:0": "localhost", "127.0.0.2:0": "127.0.0.2", "[::1]:0": "localhost"} {
		s, err := New(complete(Params{Listen: listen}))
		if err != nil {
			t.Logf("%s: %v", listen, err) // no IPv6 here
			continue
		}
		if got, _, _ := net.SplitHostPort(strings.TrimPrefix(s.URL(), "http://")); got != host {
			t.Errorf("%s: %s", listen, s.URL())
		}
		s.listener.Close()
	}
}
