package filetransfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// early is a small file as PROTOCOL.md lets it come in one go, but for its END.
func early(t *testing.T, id, name, content string) []byte {
	t.Helper()
	hello, err := json.Marshal(with(with(greeting(name, len(content)), "early", true), "file", id))
	if err != nil {
		t.Fatal(err)
	}
	return append(peerFrame('H', hello), peerFrame('D', []byte(content))...)
}

func endOf(content string) []byte {
	return peerFrame('E', []byte(`{"sha256":"`+digestOf(content)+`"}`))
}

func digestOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// TestEarly lets small files come before their OFFER: one that is new, one that
// is there, one of which a part is there.
func TestEarly(t *testing.T) {
	r := startReceiver(t, nil)
	p := dialPeer(t, r.addr)
	p.send('H', with(greeting("first.mp4", 0), "file", "file-0001"))
	p.expect('O', object{"state": "new", "early": 256 << 10})
	p.send('E', object{"sha256": digestOf("")})
	p.expect('F', object{"sha256": digestOf("")})

	p.raw(append(early(t, "file-0002", "second.mp4", "hello"), endOf("hello")...))
	p.expect('O', object{"state": "new"})
	p.expect('F', object{"name": "hero/2026-11-22/second.mp4", "sha256": digestOf("hello")})
	wantFile(t, r.dir, "hero/2026-11-22/second.mp4", []byte("hello"))

	p.raw(append(early(t, "file-0002", "second.mp4", "hello"), endOf("hello")...))
	p.expect('O', object{"state": "have", "sha256": digestOf("hello")})

	cut := dialPeer(t, r.addr)
	cut.send('H', with(greeting("third.mp4", 5), "file", "file-0003"))
	cut.expect('O', object{"state": "new"})
	cut.raw(peerFrame('D', []byte("he")))
	if err := cut.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	cut.ends()
	p.raw(append(early(t, "file-0003", "third.mp4", "hello"), endOf("hello")...))
	p.expect('O', object{"state": "partial", "offset": 2})
	p.raw(peerFrame('D', []byte("llo")))
	p.send('E', object{"sha256": digestOf("hello")})
	p.expect('F', object{"name": "hero/2026-11-22/third.mp4", "sha256": digestOf("hello")})
}

// TestHostileEarly has content come early that must not.
func TestHostileEarly(t *testing.T) {
	r := startReceiver(t, nil)
	begun := early(t, "file-0001", "clip.mp4", "hello")
	p := dialPeer(t, r.addr)
	p.raw(append(bytes.Clone(begun), endOf("hello")...))
	p.expect('O', object{"state": "new"})
	p.expect('F', nil)

	for _, more := range [][]byte{peerFrame('D', []byte("!")), begun} { // in place of END
		p := dialPeer(t, r.addr)
		p.raw(append(bytes.Clone(begun), more...))
		p.expect('O', object{"state": "have"})
		p.expect('X', object{"code": "protocol"})
		p.ends()
	}

	p = dialPeer(t, r.addr)
	p.send('H', with(greeting("large.mp4", 256<<10+1), "early", true))
	p.expect('O', object{"state": "denied", "code": "protocol"})
	p.expect('X', object{"code": "protocol"})
	p.ends()
}

// TestSendEarly counts what a sender writes: a small file takes one write once
// the receiver has said that it may, and a large one waits for its OFFER.
func TestSendEarly(t *testing.T) {
	r := startReceiver(t, nil)
	var conn countedConn
	s := newSender(t, r.addr, func(p *filetransfer.SenderParams) {
		p.Dial = func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			conn.Conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return &conn, err
		}
	})
	for i, tt := range []struct {
		size int
		want string
	}{
		{1000, "preamble, HELLO, DATA, END"},
		{0, "all"},
		{60_000, "all"},
		{100_000, "HELLO, DATA, DATA, END"}, // more than a frame of this sender's
	} {
		conn.writes = 0
		name, content := fmt.Sprintf("%d.mp4", i), noise(uint64(i), tt.size)
		receipt, err := s.Send(t.Context(), upload(name, content), nil)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, r.dir, receipt.Name, content)
		if want := bytes.Count([]byte(tt.want), []byte(",")) + 1; conn.writes != want {
			t.Errorf("%d bytes took %d writes, want %s", tt.size, conn.writes, tt.want)
		}
	}
}

type countedConn struct {
	net.Conn
	writes int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}
