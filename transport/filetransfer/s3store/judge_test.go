package s3store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/s3store"
)

const (
	access = "lenscast-test"
	secret = "lenscast-test-secret"
	bucket = "footage"
)

// server is a store of which every test has a bucket.
type server struct {
	name     string
	endpoint string
	part     int64 // the smallest part that it takes
	// transport is the way to it, nil: the network.
	transport http.RoundTripper
}

// client returns a client of the same library that does not go through the
// store under test.
func (s *server) client(t *testing.T) *minio.Client {
	t.Helper()
	host, secure := strings.CutPrefix(s.endpoint, "https://")
	host = strings.TrimPrefix(host, "http://")
	c, err := minio.New(host, &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Secure: secure, Transport: s.transport, Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// files returns the objects that are not the store's own.
func (s *server) files(t *testing.T, prefix string) map[string][]byte {
	t.Helper()
	ctx := context.Background() // also within a bubble of its own
	c, all := s.client(t), make(map[string][]byte)
	for o := range c.ListObjects(ctx, bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		name := strings.TrimPrefix(o.Key, prefix)
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if strings.HasPrefix(name, ".lenscast/") {
			continue
		}
		body, err := c.GetObject(ctx, bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(body)
		body.Close()
		if err != nil {
			t.Fatal(err)
		}
		all[name] = content
	}
	return all
}

// startMinIO runs a MinIO server for the time of the test, or skips it.
func startMinIO(t *testing.T) *server {
	t.Helper()
	return start(t, "minio", func(dir, address string) *exec.Cmd {
		cmd := exec.Command("minio", "server", "--quiet", "--address", address, "--console-address", "127.0.0.1:0", mkdir(t, dir))
		cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+access, "MINIO_ROOT_PASSWORD="+secret, "MINIO_UPDATE=off", "MINIO_BROWSER=off")
		return cmd
	})
}

// startVersity runs a Versity S3 Gateway on a folder, or skips the test.
func startVersity(t *testing.T) *server {
	t.Helper()
	return start(t, "versitygw", func(dir, address string) *exec.Cmd {
		return exec.Command("versitygw", "--access", access, "--secret", secret, "--port", address, "--quiet", "posix", "--sidecar", t.TempDir(), mkdir(t, dir))
	})
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, program string, command func(dir, address string) *exec.Cmd) *server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("no %s here: scripts/testbed/s3.sh installs and runs it", program)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	cmd := command(filepath.Join(t.TempDir(), "data"), address)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s says: %s", program, output.Bytes())
		}
	})
	s := &server{name: program, endpoint: "http://" + address, part: 5 << 20}
	c := s.client(t)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := c.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{})
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come up: %v", program, err)
		}
	}
}

// open returns a store below the prefix, as a receiver of its own has it.
func (s *server) open(t *testing.T, prefix string, transport http.RoundTripper) *s3store.Store {
	t.Helper()
	store, err := s3store.New(t.Context(), s.params(prefix, transport))
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (s *server) params(prefix string, transport http.RoundTripper) s3store.Params {
	if transport == nil {
		transport = s.transport
	}
	return s3store.Params{
		Bucket: bucket, Prefix: prefix, Endpoint: s.endpoint, Region: "us-east-1",
		Keys: s3store.Keys{Access: access, Secret: secret}, Transport: transport, PartBytes: s.part,
	}
}

func randomBytes(seed uint64, n int64) []byte {
	content := make([]byte, n)
	var key [32]byte
	key[0] = byte(seed)
	_, _ = rand.NewChaCha8(key).Read(content)
	return content
}

func newFile(id string, content []byte) filetransfer.File {
	return filetransfer.File{
		Agent: "hero", ID: "file-" + id, Name: "clip.mp4", Camera: "roof", Size: int64(len(content)),
		Modified: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
	}
}

// bring writes content from where the store wants it, up to stop, with the
// checkpoints that are due, and commits what is whole.
func bring(ctx context.Context, store *s3store.Store, f filetransfer.File, content []byte, stop int64) (r filetransfer.Receipt, resumed int64, err error) {
	in, err := store.Open(ctx, f, 0)
	if err != nil {
		return r, 0, err
	}
	defer in.Close()
	offset, state := in.Resume()
	h := sha256.New()
	if offset > 0 {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			return r, offset, err
		}
	}
	resumed = offset
	step := in.(filetransfer.Stepped).Step()
	for offset < stop {
		chunk := content[offset:min(stop, offset+100_000, (offset/step+1)*step)]
		if _, err := in.Write(chunk); err != nil {
			return r, resumed, err
		}
		h.Write(chunk)
		if offset += int64(len(chunk)); offset%step == 0 {
			state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
			if err == nil {
				err = in.Checkpoint(offset, state)
			}
			if err != nil {
				return r, resumed, err
			}
		}
	}
	if stop < f.Size {
		return r, resumed, fmt.Errorf("cut at %d", stop)
	}
	r, err = in.Commit(ctx, filetransfer.Digest(h.Sum(nil)))
	return r, resumed, err
}
