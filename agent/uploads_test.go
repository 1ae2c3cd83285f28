package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// writeRecording makes a file and the description of a recording beside it.
func writeRecording(t *testing.T, content []byte, digest filetransfer.Digest) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mp4")
	info, err := json.Marshal(archive.Info{ID: "hero/clip", Size: int64(len(content)), SHA256: digest.String()})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{path: content, strings.TrimSuffix(path, ".mp4") + ".json": info} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestRecordedDigest(t *testing.T) {
	content := []byte("pictures")
	digest := filetransfer.Digest(sha256.Sum256(content))
	path := writeRecording(t, content, digest)
	if got := recordedDigest(path, int64(len(content))); got == nil || *got != digest {
		t.Errorf("got %v, want %v", got, digest)
	}
	if got := recordedDigest(path, 1); got != nil {
		t.Errorf("of a file with another size: got %v, want none", got)
	}
	if got := recordedDigest(path+"x", 1); got != nil {
		t.Errorf("without a description: got %v, want none", got)
	}
}

// TestSendChangedRecording sends a file whose description has the digest of
// what it was before.
func TestSendChangedRecording(t *testing.T) {
	dir := t.TempDir()
	fsys, err := dirstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	store, err := dirstore.New(fsys, dirstore.Params{})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := filetransfer.NewReceiver(filetransfer.ReceiverParams{
		Store:     store,
		Authorize: func(filetransfer.Credentials) (filetransfer.Grant, error) { return filetransfer.Grant{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- receiver.Serve(ctx, ln) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	content := []byte("pictures")
	path := writeRecording(t, content, filetransfer.Digest{1})
	var out bytes.Buffer
	if err := runSend(t.Context(), streams{out: &out, err: &out}, []string{"-agent", "hero", path, ln.Addr().String()}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "hero", "*", "clip.mp4"))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v, %v, want the file", found, err)
	}
	if got, err := os.ReadFile(found[0]); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUsualParallel(t *testing.T) {
	dir := t.TempDir()
	sized := func(name string, size int64) string {
		path := filepath.Join(dir, name)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := file.Truncate(size); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small, large, missing := sized("small", 100<<10), sized("large", 1<<30), filepath.Join(dir, "missing")
	for _, tt := range []struct {
		files []string
		want  int
	}{
		{[]string{small, small}, 16},
		{[]string{large}, 1},
		{[]string{small, large}, 1},
		{[]string{missing}, 16},
		{[]string{sized("medium", 10<<20)}, 3},
	} {
		if got := usualParallel(tt.files); got != tt.want {
			t.Errorf("%v: %d at the same time, want %d", tt.files, got, tt.want)
		}
	}
}
