package filetransfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// receiver is a running receiver with a folder of its own.
type receiver struct {
	*filetransfer.Receiver
	addr string
	dir  string
	stop func() // waits until it has ended
}

func startReceiver(t testing.TB, change func(*filetransfer.ReceiverParams)) *receiver {
	t.Helper()
	return startReceiverIn(t, t.TempDir(), dirstore.Params{}, change)
}

func startReceiverIn(t testing.TB, dir string, sp dirstore.Params, change func(*filetransfer.ReceiverParams)) *receiver {
	t.Helper()
	fsys, err := dirstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	store, err := dirstore.New(fsys, sp)
	if err != nil {
		t.Fatal(err)
	}
	p := filetransfer.ReceiverParams{
		Store:     store,
		Authorize: func(filetransfer.Credentials) (filetransfer.Grant, error) { return filetransfer.Grant{}, nil },
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&p)
	}
	r, err := filetransfer.NewReceiver(p)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, ln) }()
	rx := &receiver{Receiver: r, addr: ln.Addr().String(), dir: dir}
	rx.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := errors.Join(store.Close(), fsys.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(rx.stop)
	return rx
}

func newSender(t testing.TB, addr string, change func(*filetransfer.SenderParams)) *filetransfer.Sender {
	t.Helper()
	p := filetransfer.SenderParams{Address: addr, Agent: "hero", Timeout: 10 * time.Second}
	if change != nil {
		change(&p)
	}
	s, err := filetransfer.NewSender(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // closed twice by some tests
	return s
}

var recorded = time.Date(2026, 11, 22, 7, 40, 14, 0, time.UTC)

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = src.Read(b) // never fails
	return b
}

func upload(name string, content []byte) *filetransfer.Upload {
	return &filetransfer.Upload{
		File: filetransfer.File{
			ID: "file-of-" + filepath.Base(t26(name)), Name: name, Camera: "roof",
			Size: int64(len(content)), Modified: recorded,
		},
		Content: bytes.NewReader(content),
	}
}

// t26 makes a file id's characters of any name.
func t26(s string) string {
	sum := sha256.Sum256([]byte(s))
	return filetransfer.Digest(sum).String()[:26]
}

func wantFile(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, content) {
		t.Errorf("%s: %d bytes that differ from the %d sent", name, len(got), len(content))
	}
}

func TestSend(t *testing.T) {
	r := startReceiver(t, nil)
	s := newSender(t, r.addr, nil)
	for _, size := range []int{0, 1, 63, 128 << 10, 128<<10 + 1, 5 << 20} {
		content := noise(uint64(size), size)
		name := "clip " + t26(string(rune(size)))[:5] + ".mp4"
		u := upload(name, content)
		receipt, err := s.Send(t.Context(), u, nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if want := "hero/roof/2026-11-22/" + name; receipt.Name != want {
			t.Errorf("name is %q, want %q", receipt.Name, want)
		}
		if receipt.SHA256 != sha256.Sum256(content) {
			t.Errorf("%d bytes: wrong digest in the receipt", size)
		}
		wantFile(t, r.dir, receipt.Name, content)
		again, err := s.Send(t.Context(), u, nil)
		if err != nil || again != receipt {
			t.Errorf("sent again: %v, %v, want the same receipt", again, err)
		}
	}
	total := r.Totals()
	if total.Files != 6 || total.Had != 6 || total.Connections != 1 {
		t.Errorf("totals are %+v, want 6 files, 6 had, 1 connection", total)
	}
}
