package filetransfer_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// BenchmarkSend sends a file of 256 MiB over loopback: verified, synced,
// confirmed. The bytes per second are the content's.
func BenchmarkSend(b *testing.B) {
	dir := b.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "bench"); err == nil {
		defer os.RemoveAll(shm)
		dir = shm
	}
	r := startReceiverIn(b, dir, dirstore.Params{}, nil)
	s := newSender(b, r.addr, nil)
	content := noise(1, 256<<20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		u := upload("clip.mp4", nil)
		u.File.Size, u.Content = int64(len(content)), bytes.NewReader(content)
		receipt, err := s.Send(b.Context(), u, nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, receipt.Name)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSendSmall sends files of 100 KiB one after the other.
func BenchmarkSendSmall(b *testing.B) {
	dir := b.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "bench"); err == nil {
		defer os.RemoveAll(shm)
		dir = shm
	}
	r := startReceiverIn(b, dir, dirstore.Params{}, func(p *filetransfer.ReceiverParams) { p.Log = nil })
	s := newSender(b, r.addr, nil)
	content := noise(1, 100<<10)
	b.SetBytes(int64(len(content)))
	for i := 0; b.Loop(); i++ {
		u := upload(fmt.Sprintf("clip-%06d.mp4", i), content)
		if _, err := s.Send(b.Context(), u, nil); err != nil {
			b.Fatal(err)
		}
	}
}
