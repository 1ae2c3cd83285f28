package filetransfer_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// peer speaks version 2 by PROTOCOL.md alone: nothing of the package's codec.
type peer struct {
	t testing.TB
	net.Conn
}

func dialPeer(t testing.TB, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // closed twice by some tests
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t, conn}
	p.raw([]byte("\x00LFT2"))
	return p
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func peerFrame(kind byte, payload []byte) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(kind)<<24|uint32(len(payload)))
	sum := crc32.Checksum(append(bytes.Clone(f), payload...), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32(f, sum), payload...)
}

type object map[string]any

func (p *peer) send(kind byte, m object) {
	p.t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		p.t.Fatal(err)
	}
	p.raw(peerFrame(kind, raw))
}

// next returns the next frame that is no ACK.
func (p *peer) next() (kind byte, m object, err error) {
	for {
		var h [8]byte
		if _, err := io.ReadFull(p, h[:]); err != nil {
			return 0, nil, err
		}
		payload := make([]byte, binary.BigEndian.Uint32(h[:])&0xffffff)
		if _, err := io.ReadFull(p, payload); err != nil {
			return 0, nil, err
		}
		if h[0] == 'A' {
			continue
		}
		return h[0], m, json.Unmarshal(payload, &m)
	}
}

// expect reads a frame of a kind whose members hold want.
func (p *peer) expect(kind byte, want object) object {
	p.t.Helper()
	got, m, err := p.next()
	if err != nil {
		p.t.Fatalf("wait for %c: %v", kind, err)
	}
	if got != kind {
		p.t.Fatalf("got %c %v, want %c %v", got, m, kind, want)
	}
	for k, v := range want {
		if fmt.Sprint(m[k]) != fmt.Sprint(v) {
			p.t.Errorf("%c frame: %s is %v, want %v (%v)", kind, k, m[k], v, m)
		}
	}
	return m
}

// ends expects nothing more.
func (p *peer) ends() {
	p.t.Helper()
	if kind, m, err := p.next(); err == nil {
		p.t.Errorf("the connection goes on with %c %v", kind, m)
	}
}

func greeting(name string, size int) object {
	return object{
		"agent": "hero", "file": "0123456789abcdef", "name": name, "size": size,
		"modified": "2026-11-22T07:40:14Z",
	}
}

func with(m object, key string, value any) object {
	m[key] = value
	return m
}

// TestPeerByTheBook sends a file as PROTOCOL.md says.
func TestPeerByTheBook(t *testing.T) {
	r := startReceiver(t, nil)
	p := dialPeer(t, r.addr)
	p.send('H', greeting("clip.mp4", 5))
	p.expect('O', object{"state": "new"})
	p.raw(peerFrame('D', []byte("he")))
	p.raw(peerFrame('D', nil))
	p.raw(peerFrame('D', []byte("llo")))
	const sum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	p.send('E', object{"sha256": sum})
	p.expect('F', object{"name": "hero/2026-11-22/clip.mp4", "sha256": sum})
	p.send('H', greeting("clip.mp4", 5))
	p.expect('O', object{"state": "have", "sha256": sum})
	wantFile(t, r.dir, "hero/2026-11-22/clip.mp4", []byte("hello"))
}

// TestHostileHello holds what strangers could make up against the receiver:
// a clear refusal, and nothing new in the folder.
func TestHostileHello(t *testing.T) {
	r := startReceiver(t, nil)
	before := tree(t, r.dir)
	for _, name := range []string{
		"../x", "/etc/passwd", "a/b", `a\b`, "a\x00b", "-rf", ".lenscast", "..", "", "con\nsole", "a\x1b[31m",
		strings.Repeat("x", 300), "aux.mp4", "a\u202eb", "Gro\u0308ße",
	} {
		p := dialPeer(t, r.addr)
		p.send('H', greeting(name, 5))
		p.expect('O', object{"state": "denied", "code": "name"})
		p.expect('X', object{"code": "name"})
		p.ends()
	}
	for _, tt := range []struct {
		hello object
		kind  byte
		code  string
	}{
		{with(greeting("a", 5), "agent", "../hero"), 'O', "name"},
		{with(greeting("a", 5), "agent", ""), 'O', "name"},
		{with(greeting("a", 5), "camera", ".."), 'O', "name"},
		{with(greeting("a", 5), "file", "../../../../x"), 'O', "name"},
		{with(greeting("a", 5), "file", "short"), 'O', "name"},
		{with(greeting("a", 5), "file", strings.Repeat("a", 65)), 'O', "name"},
		{greeting("a", -1), 'O', "protocol"},
		{with(greeting("a", 5), "size", int64(2<<40)), 'O', "too large"},
		{with(greeting("a", 5), "modified", "0001-01-01T00:00:00Z"), 'O', "protocol"},
		{with(greeting("a", 5), "modified", "yesterday"), 'X', "protocol"},
		{with(greeting("a", 5), "size", "5"), 'X', "protocol"},
		{with(greeting("a", 5), "size", 1e30), 'X', "protocol"},
		{with(greeting("a", 5), "sha256", "abc"), 'X', "protocol"},
		{with(greeting("a", 5), "sha256", strings.Repeat("g", 64)), 'X', "protocol"},
	} {
		p := dialPeer(t, r.addr)
		p.send('H', tt.hello)
		p.expect(tt.kind, object{"code": tt.code})
	}
	if after := tree(t, r.dir); after != before {
		t.Errorf("the folder has changed from\n%s to\n%s", before, after)
	}
}

// TestHostileBytes holds frames that break the rules against the receiver.
func TestHostileBytes(t *testing.T) {
	r := startReceiver(t, nil)
	broken := peerFrame('D', []byte("hello"))
	broken[10] ^= 4
	const zero = "0000000000000000000000000000000000000000000000000000000000000000"
	raw := func(b []byte) func(*peer) { return func(p *peer) { p.raw(b) } }
	for _, tt := range []struct {
		name   string
		attack func(*peer)
		code   string
	}{
		{"a flipped bit", raw(broken), "corrupt"},
		{"a frame of an unknown type", raw(peerFrame('Q', nil)), "corrupt"},
		{"a frame of 16 MiB", raw([]byte{'D', 0xff, 0xff, 0xff, 0, 0, 0, 0}), "corrupt"},
		{"an END of 256 KiB", raw([]byte{'E', 0x04, 0, 0, 0, 0, 0, 0}), "corrupt"},
		{"an answer instead of content", func(p *peer) { p.send('O', object{}) }, "protocol"},
		{"a second HELLO", func(p *peer) { p.send('H', greeting("b", 5)) }, "protocol"},
		{"more content than announced", raw(peerFrame('D', []byte("hello!"))), "protocol"},
		{"an END too early", func(p *peer) { p.send('E', object{"sha256": zero}) }, "protocol"},
		{"an END without a digest", func(p *peer) { p.send('E', object{}) }, "protocol"},
		{"no JSON", raw(peerFrame('E', []byte("{"))), "protocol"},
		{"a digest that lies", func(p *peer) {
			p.raw(peerFrame('D', []byte("hello")))
			p.send('E', object{"sha256": zero})
		}, "mismatch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := dialPeer(t, r.addr)
			p.send('H', greeting("clip.mp4", 5))
			p.expect('O', nil)
			tt.attack(p)
			p.expect('X', object{"code": tt.code})
			p.ends()
		})
	}
	if _, err := os.Stat(filepath.Join(r.dir, "hero")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file has come out of it: %v", err)
	}
	// And the same name is free for who sends it well.
	if _, err := newSender(t, r.addr, nil).Send(t.Context(), upload("clip.mp4", []byte("fine")), nil); err != nil {
		t.Error(err)
	}
}

// TestHostileOffer holds a lying receiver against the sender.
func TestHostileOffer(t *testing.T) {
	digest := strings.Repeat("0", 64)
	for _, tt := range []struct {
		name   string
		answer []byte
	}{
		{"an offset beyond the file", peerFrame('O', []byte(`{"state":"partial","offset":6}`))},
		{"a negative offset", peerFrame('O', []byte(`{"state":"partial","offset":-1}`))},
		{"new with an offset", peerFrame('O', []byte(`{"state":"new","offset":2}`))},
		{"have without a digest", peerFrame('O', []byte(`{"state":"have"}`))},
		{"an unknown state", peerFrame('O', []byte(`{"state":"perhaps"}`))},
		{"a wait of a year", peerFrame('O', []byte(`{"state":"busy","retry_seconds":31536000}`))},
		{"DONE at once", peerFrame('F', []byte(`{"sha256":"`+digest+`"}`))},
		{"DONE with another digest", append(peerFrame('O', []byte(`{"state":"new"}`)), peerFrame('F', []byte(`{"name":"x","sha256":"`+digest+`"}`))...)},
		{"DONE without a digest", append(peerFrame('O', []byte(`{"state":"new"}`)), peerFrame('F', []byte(`{"name":"x"}`))...)},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = conn.Write(tt.answer)     // the test fails without it
				_, _ = io.Copy(io.Discard, conn) // until the sender goes
			}()
			_, err = newSender(t, ln.Addr().String(), nil).Send(t.Context(), upload("clip.mp4", []byte("hello")), nil)
			var e *filetransfer.Error
			if !errors.As(err, &e) || e.Code != filetransfer.CodeProtocol && e.Code != filetransfer.CodeMismatch && e.Code != filetransfer.CodeCorrupt {
				t.Errorf("got %v, want an error of the protocol", err)
			}
		})
	}
}

// tree lists the files and folders below dir.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		fmt.Fprintln(&b, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
