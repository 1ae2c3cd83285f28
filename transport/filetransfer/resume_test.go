package filetransfer_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// countedReader counts what is read of a file.
type countedReader struct {
	io.ReaderAt
	read atomic.Int64
}

func (c *countedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.read.Add(int64(n))
	return n, err
}

// cutAfter makes a Dial whose connections end after so many bytes.
func cutAfter(limit int64) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &cutConn{Conn: conn, left: limit}, nil
	}
}

type cutConn struct {
	net.Conn
	left int64
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.left -= int64(len(p)); c.left < 0 {
		_ = c.Conn.(*net.TCPConn).SetLinger(0) // a reset
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return c.Conn.Write(p)
}

// TestResume cuts a transfer at nine tenths. What is sent again is what was in
// flight, and nothing is read a second time to hash it.
func TestResume(t *testing.T) {
	const size = 80 << 20
	r := startReceiver(t, nil)
	content := noise(7, size)
	reader := &countedReader{ReaderAt: bytes.NewReader(content)}
	u := upload("long.mp4", content)
	u.Content = reader
	hashes := filepath.Join(t.TempDir(), "hashes")
	var err error
	if u.Hashes, err = filetransfer.OpenHashLog(hashes); err != nil {
		t.Fatal(err)
	}
	cutting := newSender(t, r.addr, func(p *filetransfer.SenderParams) { p.Dial = cutAfter(size * 9 / 10) })
	if _, err := cutting.Send(t.Context(), u, nil); err == nil {
		t.Fatal("the cut had no effect")
	}
	if err := u.Hashes.Close(); err != nil {
		t.Fatal(err)
	}
	sent := reader.read.Swap(0)

	// Another run of the program.
	if u.Hashes, err = filetransfer.OpenHashLog(hashes); err != nil {
		t.Fatal(err)
	}
	defer u.Hashes.Close()
	var first filetransfer.Progress
	receipt, err := newSender(t, r.addr, nil).Send(t.Context(), u, func(p filetransfer.Progress) {
		if first.Size == 0 && !p.Checking {
			first = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, r.dir, receipt.Name, content)
	if again := sent - first.Resumed; again > 16<<20 {
		t.Errorf("%d bytes were sent again, want 16 MiB at most", again)
	}
	if extra := reader.read.Load() - (size - first.Resumed); extra > filetransfer.HashStep {
		t.Errorf("%d bytes were read again for the hash, want %d at most", extra, filetransfer.HashStep)
	}
}

// TestResumeWithoutHashes goes on although this side has forgotten the hash:
// it reads what it sent before, away from the receiver's clock.
func TestResumeWithoutHashes(t *testing.T) {
	const size = 60 << 20
	r := startReceiver(t, nil)
	content := noise(8, size)
	u := upload("long.mp4", content)
	cutting := newSender(t, r.addr, func(p *filetransfer.SenderParams) { p.Dial = cutAfter(size * 9 / 10) })
	if _, err := cutting.Send(t.Context(), u, nil); err == nil {
		t.Fatal("the cut had no effect")
	}
	u.Hashes = nil
	checked, resumed := false, int64(0)
	receipt, err := newSender(t, r.addr, nil).Send(t.Context(), u, func(p filetransfer.Progress) {
		checked = checked || p.Checking
		resumed = p.Resumed
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, r.dir, receipt.Name, content)
	if !checked || resumed == 0 {
		t.Errorf("checked %v, resumed from %d: want a resumed transfer", checked, resumed)
	}
}

// TestKnownDigest sends what was hashed while it was recorded: it is read once,
// and a lie about the digest is found.
func TestKnownDigest(t *testing.T) {
	r := startReceiver(t, nil)
	s := newSender(t, r.addr, nil)
	content := noise(9, 1<<20)
	u := upload("a.mp4", content)
	digest := filetransfer.Digest{1}
	u.File.SHA256 = &digest
	var e *filetransfer.Error
	if _, err := s.Send(t.Context(), u, nil); !errors.As(err, &e) || e.Code != filetransfer.CodeMismatch {
		t.Errorf("wrong digest: got %v, want a mismatch", err)
	}
}

// TestChanged keeps a receipt back when the file has changed meanwhile.
func TestChanged(t *testing.T) {
	r := startReceiver(t, nil)
	path := filepath.Join(t.TempDir(), "a.mp4")
	if err := os.WriteFile(path, noise(1, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := filetransfer.OpenLocalFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, err = newSender(t, r.addr, nil).Send(t.Context(), &file.Upload, func(filetransfer.Progress) {
		if err := os.Chtimes(path, recorded, recorded); err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, filetransfer.ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	if err := file.Remove(filetransfer.Receipt{}); !errors.Is(err, filetransfer.ErrChanged) {
		t.Errorf("Remove: got %v, want ErrChanged", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

// TestTakeOver lets a sender go on whose old connection still hangs.
func TestTakeOver(t *testing.T) {
	r := startReceiver(t, nil)
	old := dialPeer(t, r.addr)
	old.send('H', greeting("clip.mp4", 10))
	old.expect('O', object{"state": "new"})
	old.raw(peerFrame('D', []byte("hello")))
	waitFor(t, func() bool { l := r.Transfers(); return len(l) == 1 && l[0].Sent == 5 })
	next := dialPeer(t, r.addr)
	next.send('H', greeting("clip.mp4", 10))
	next.expect('O', object{"state": "partial", "offset": 5})
	old.expect('X', object{"code": "taken over"})
}

// TestOneOfManyNames gives files of the same name, or of names that differ in
// case only, places of their own.
func TestOneOfManyNames(t *testing.T) {
	r := startReceiver(t, nil)
	s := newSender(t, r.addr, nil)
	for i, tt := range []struct{ name, want string }{
		{"clip.mp4", "clip.mp4"}, {"clip.mp4", "clip-2.mp4"}, {"CLIP.mp4", "CLIP-3.mp4"}, {"clip-2.mp4", "clip-2-2.mp4"},
	} {
		content := noise(uint64(i), 1000)
		u := upload(tt.name, content)
		u.File.ID = "file-000" + string(rune('0'+i))
		receipt, err := s.Send(t.Context(), u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := filepath.Base(receipt.Name); got != tt.want {
			t.Errorf("%s is kept as %s, want %s", tt.name, got, tt.want)
		}
		wantFile(t, r.dir, receipt.Name, content)
	}
	names := make(map[string]bool)
	entries, err := os.ReadDir(filepath.Join(r.dir, "hero", "roof", "2026-11-22"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if names[strings.ToLower(e.Name())] {
			t.Errorf("%s has a twin", e.Name())
		}
		names[strings.ToLower(e.Name())] = true
	}
	if len(names) != 4 {
		t.Errorf("%d files, want 4", len(names))
	}
	// The same content under the same name, but another id, is there already.
	u := upload("clip.mp4", noise(0, 1000))
	u.File.ID = "file-again"
	if receipt, err := s.Send(t.Context(), u, nil); err != nil || filepath.Base(receipt.Name) != "clip.mp4" {
		t.Errorf("same content again: %v, %v", receipt, err)
	}
}

// TestMovedFolders goes on when people move folders away, the store's own too.
func TestMovedFolders(t *testing.T) {
	r := startReceiver(t, nil)
	s := newSender(t, r.addr, nil)
	for i := range 2 {
		content := noise(uint64(i), 1000)
		u := upload("clip.mp4", content)
		u.File.ID = "file-000" + string(rune('0'+i))
		receipt, err := s.Send(t.Context(), u, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, r.dir, receipt.Name, content)
		for _, dir := range []string{"hero/roof", ".lenscast/done", ".lenscast/partial/hero"} {
			if err := os.RemoveAll(filepath.Join(r.dir, dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPlanted meets links that somebody has put into the folder.
func TestPlanted(t *testing.T) {
	outside := t.TempDir()
	for _, link := range []string{"hero", "hero/roof", ".lenscast/partial/hero"} {
		t.Run(link, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
			r := startReceiverIn(t, dir, dirstore.Params{}, nil)
			_, err := newSender(t, r.addr, nil).Send(t.Context(), upload("clip.mp4", []byte("hello")), nil)
			var e *filetransfer.Error
			if !errors.As(err, &e) || e.Code != filetransfer.CodeStorage {
				t.Errorf("got %v, want a storage error", err)
			}
			if found := tree(t, outside); found != "\n" {
				t.Errorf("something has got out: %s", found)
			}
		})
	}
}

func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// testCertificate makes a self-signed certificate.
func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestTLS pins the receiver's key and shows a token and a certificate.
func TestTLS(t *testing.T) {
	server, client := testCertificate(t), testCertificate(t)
	pin := filetransfer.KeyDigest(server.Leaf)
	clientKey := filetransfer.KeyDigest(client.Leaf)
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) {
		p.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
		p.Authorize = func(c filetransfer.Credentials) (filetransfer.Grant, error) {
			if !c.TLS || c.Token != "sesame" || c.Key == nil || *c.Key != clientKey || c.Agent != "hero" {
				return filetransfer.Grant{}, &filetransfer.Error{Code: filetransfer.CodeDenied, Reason: "no"}
			}
			return filetransfer.Grant{}, nil
		}
	})
	send := func(change func(*filetransfer.SenderParams)) error {
		s := newSender(t, r.addr, func(p *filetransfer.SenderParams) {
			p.TLS = filetransfer.PinnedTLS(pin)
			p.TLS.Certificates = []tls.Certificate{client}
			p.Token = "sesame"
			change(p)
		})
		_, err := s.Send(t.Context(), upload("clip.mp4", noise(3, 300_000)), nil)
		return err
	}
	if err := send(func(*filetransfer.SenderParams) {}); err != nil {
		t.Errorf("with everything right: %v", err)
	}
	for name, change := range map[string]func(*filetransfer.SenderParams){
		"wrong token": func(p *filetransfer.SenderParams) { p.Token = "open" },
		"no token":    func(p *filetransfer.SenderParams) { p.Token = "" },
		"no key":      func(p *filetransfer.SenderParams) { p.TLS.Certificates = nil },
		"other agent": func(p *filetransfer.SenderParams) { p.Agent = "villain" },
		"plain":       func(p *filetransfer.SenderParams) { p.TLS = nil },
	} {
		if err := send(change); !filetransfer.Permanent(err) {
			t.Errorf("%s: got %v, want a permanent refusal", name, err)
		}
	}
	wrong := filetransfer.PinnedTLS(clientKey)
	if err := send(func(p *filetransfer.SenderParams) { p.TLS = wrong }); !filetransfer.Permanent(err) || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("wrong pin: got %v", err)
	}
}

func TestPin(t *testing.T) {
	key := filetransfer.Digest{1, 2, 3}
	if got, err := filetransfer.ParsePin(filetransfer.FormatPin(key)); err != nil || got != key {
		t.Errorf("got %v, %v", got, err)
	}
	for _, pin := range []string{"", "sha256//", "sha256//AAAA", "sha1//" + strings.Repeat("A", 44), filetransfer.FormatPin(key) + "x"} {
		if _, err := filetransfer.ParsePin(pin); err == nil {
			t.Errorf("ParsePin(%q) succeeded", pin)
		}
	}
}
