package filetransfer_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// received waits for the one file of the legacy exchange.
func received(t *testing.T, r *receiver, name string) string {
	t.Helper()
	var found []string
	waitFor(t, func() bool {
		found, _ = filepath.Glob(filepath.Join(r.dir, filetransfer.LegacyAgent, "*", name)) // the pattern is well-formed
		return len(found) > 0
	})
	return strings.TrimPrefix(found[0], r.dir+"/")
}

// TestLegacySegments sends name and content in all the ways in which segments
// may fall.
func TestLegacySegments(t *testing.T) {
	content := noise(1, 300_000)
	for _, tt := range []struct {
		name string
		sent []string // with a pause between
		body []byte   // after "ok"
	}{
		{"one.mp4", []string{"one.mp4"}, content},
		{"split.mp4", []string{"s", "pl", "it.mp4"}, content},
		{"line.mp4", []string{"line.mp4\n"}, content},
		{"crlf.mp4", []string{"crlf.mp4\r\n" + string(content)}, nil},
		{"zero.mp4", []string{"zero.mp4\x00" + string(content)}, nil},
		{"empty.mp4", []string{"empty.mp4"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := startReceiver(t, func(p *filetransfer.ReceiverParams) { p.Legacy = true })
			conn, err := net.Dial("tcp", r.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for i, part := range tt.sent {
				if i > 0 {
					time.Sleep(20 * time.Millisecond) // a segment of its own, well before the line is quiet
				}
				if _, err := io.WriteString(conn, part); err != nil {
					t.Fatal(err)
				}
			}
			answer := make([]byte, 2)
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "ok" {
				t.Fatalf("answer %q, %v", answer, err)
			}
			if _, err := conn.Write(tt.body); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(conn); err != nil || len(rest) > 0 {
				t.Errorf("after the end: %q, %v", rest, err)
			}
			want := content
			if tt.name == "empty.mp4" {
				want = nil
			}
			wantFile(t, r.dir, received(t, r, tt.name), want)
		})
	}
}

// TestLegacyRefused closes without "ok" on what is no name, and keeps nothing
// of a connection that was reset.
func TestLegacyRefused(t *testing.T) {
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) { p.Legacy = true })
	for _, name := range []string{"../x\n", "/etc/passwd", "-rf\n", strings.Repeat("x", 300), "GET / HTTP/1.1\r\n", "\n"} {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, name); err != nil {
			t.Fatal(err)
		}
		if answer, _ := io.ReadAll(conn); len(answer) > 0 { // a reset is as good as an end
			t.Errorf("%q: answer %q", name, answer)
		}
	}
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "cut.mp4\n"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return len(r.Transfers()) == 1 })
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // resets
	waitFor(t, func() bool { return r.Totals().Broken == 1 })
	if found, _ := filepath.Glob(filepath.Join(r.dir, filetransfer.LegacyAgent, "*", "*")); len(found) > 0 { // well-formed
		t.Errorf("kept %v", found)
	}

	off := startReceiver(t, nil)
	if err := filetransfer.SendLegacy(t.Context(), off.addr, writeTemp(t, "a.mp4", nil), func(filetransfer.Progress) {}); err == nil {
		t.Error("a receiver without -legacy takes the legacy exchange")
	}
}

func writeTemp(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// legacyPeer is a peer of the legacy exchange in twenty lines of another
// language, as users have them.
const legacyPeer = `
import socket, sys
mode, port, path = sys.argv[1:4]
if mode == "send":
    s = socket.create_connection(("127.0.0.1", int(port)))
    s.sendall(path.rsplit("/", 1)[1].encode())
    assert s.recv(16) == b"ok"
    s.sendall(open(path, "rb").read())
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
else:
    l = socket.create_server(("127.0.0.1", 0))
    print(l.getsockname()[1], flush=True)
    s, _ = l.accept()
    name = s.recv(4096).decode()
    s.sendall(b"ok")
    with open(path + "/" + name, "wb") as f:
        while chunk := s.recv(65536):
            f.write(chunk)
`

func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("no %s on this machine", tool)
	}
}

// TestLegacyPython exchanges files with that peer, both ways.
func TestLegacyPython(t *testing.T) {
	need(t, "python3")
	content := noise(4, 3<<20)
	path := writeTemp(t, "peer.mp4", content)
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) { p.Legacy = true })
	_, port, _ := net.SplitHostPort(r.addr) // made by net.Listen
	if out, err := exec.Command("python3", "-c", legacyPeer, "send", port, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wantFile(t, r.dir, received(t, r, "peer.mp4"), content)

	into := t.TempDir()
	cmd := exec.Command("python3", "-c", legacyPeer, "receive", "0", into)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strings.TrimSpace(string(line[:n]))
	if err := filetransfer.SendLegacy(t.Context(), addr, path, func(filetransfer.Progress) {}); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	wantFile(t, into, "peer.mp4", content)
}

// TestLegacyNetcat exchanges files with nc, both ways. It is a sender that
// can't wait for "ok", and a receiver that does not know the name.
func TestLegacyNetcat(t *testing.T) {
	need(t, "nc")
	content := noise(5, 3<<20)
	path := writeTemp(t, "nc.mp4", content)
	r := startReceiver(t, func(p *filetransfer.ReceiverParams) { p.Legacy = true })
	_, port, _ := net.SplitHostPort(r.addr) // made by net.Listen
	send := exec.Command("nc", "-N", "127.0.0.1", port)
	send.Stdin = io.MultiReader(strings.NewReader("nc.mp4\n"), bytes.NewReader(content))
	if out, err := send.CombinedOutput(); err != nil || string(out) != "ok" {
		t.Fatalf("nc: %q, %v", out, err)
	}
	wantFile(t, r.dir, received(t, r, "nc.mp4"), content)

	port = freePort(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got bytes.Buffer
	receive := exec.CommandContext(ctx, "nc", "-l", "127.0.0.1", port)
	receive.Stdin, receive.Stdout = strings.NewReader("ok"), &got
	if err := receive.Start(); err != nil {
		t.Fatal(err)
	}
	var err error
	waitFor(t, func() bool { // until nc listens
		err = filetransfer.SendLegacy(ctx, "127.0.0.1:"+port, path, func(filetransfer.Progress) {})
		return err == nil || !strings.Contains(err.Error(), "refused")
	})
	if err != nil {
		t.Error(err)
	}
	if err := receive.Wait(); err != nil {
		t.Error(err)
	}
	if want := append([]byte("nc.mp4"), content...); !bytes.Equal(got.Bytes(), want) {
		t.Errorf("nc got %d bytes, want name and content, %d", got.Len(), len(want))
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String()) // made by net.Listen
	return port
}
