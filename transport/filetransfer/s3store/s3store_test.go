package s3store_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/s3store"
)

// onEveryServer runs a test on servers in this process and real ones.
func onEveryServer(t *testing.T, test func(*testing.T, *server)) {
	t.Run("gofakes3", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, fakeServer(t)) }) // its waits cost nothing
	})
	t.Run("minio", func(t *testing.T) { test(t, startMinIO(t)) })
	t.Run("versitygw", func(t *testing.T) { test(t, startVersity(t)) })
}

// TestStore cuts every file at two thirds and has another receiver go on.
func TestStore(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		store := s.open(t, "camera/footage", nil)
		other := s.open(t, "camera/footage", nil)
		t.Logf("%s keeps checksums: %v", s.name, store.Checksums())
		sizes := []int64{0, 1, 1000, s.part - 1, s.part, s.part + 1, 2 * s.part, 3*s.part + 77}
		for i, size := range sizes {
			content := randomBytes(uint64(i), size)
			f := newFile(fmt.Sprintf("%04d", i), content)
			if _, have, err := store.Find(t.Context(), f); err != nil || have {
				t.Fatalf("%d bytes: Find before: %v, %v", size, have, err)
			}
			if size > 1 {
				_, _, err := bring(t.Context(), store, f, content, size-size/3)
				if err == nil || !strings.HasPrefix(err.Error(), "cut") {
					t.Fatalf("%d bytes: %v", size, err)
				}
			}
			receipt, resumed, err := bring(t.Context(), other, f, content, size)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if want := (size - size/3) / s.part * s.part; resumed != want {
				t.Errorf("%d bytes: resumed at %d, want %d", size, resumed, want)
			}
			if receipt.SHA256 != filetransfer.Digest(sha256.Sum256(content)) {
				t.Errorf("%d bytes: receipt is of %v", size, receipt.SHA256)
			}
			if again, have, err := store.Find(t.Context(), f); err != nil || !have || again != receipt {
				t.Errorf("%d bytes: Find after: %v, %v, %v", size, again, have, err)
			}
			if got := s.files(t, "camera/footage/")[receipt.Name]; !bytes.Equal(got, content) {
				t.Errorf("%d bytes: the store has %d", size, len(got))
			}
		}
		if got := s.files(t, "camera/footage/"); len(got) != len(sizes) {
			t.Errorf("%d objects, want %d", len(got), len(sizes))
		}
	})
}

// TestNames brings files whose name is taken.
func TestNames(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		store := s.open(t, "", nil)
		for _, size := range []int64{1000, s.part + 1000} {
			first, second := randomBytes(1, size), randomBytes(2, size)
			want := make(map[string][]byte)
			for i, content := range [][]byte{first, second} {
				receipt, _, err := bring(t.Context(), store, newFile(fmt.Sprintf("%d-%d", size, i), content), content, size)
				if err != nil {
					t.Fatal(err)
				}
				want[receipt.Name] = content
			}
			// The same content again, by an id that nothing is known of.
			receipt, _, err := bring(t.Context(), store, newFile(fmt.Sprintf("%d-again", size), second), second, size)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want[receipt.Name], second) {
				t.Errorf("%d bytes again: it is said to be %s", size, receipt.Name)
			}
			got := s.files(t, "")
			for name, content := range want {
				if !bytes.Equal(got[name], content) {
					t.Errorf("%s has %d bytes, want the %d sent", name, len(got[name]), len(content))
				}
			}
		}
		if got := s.files(t, ""); len(got) != 4 {
			t.Errorf("%d objects, want 4", len(got))
		}
	})
}

// TestNameTakenMeanwhile has two files of one name under way at once.
func TestNameTakenMeanwhile(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		store, size := s.open(t, "", nil), s.part+10
		first, second := randomBytes(1, size), randomBytes(2, size)
		f := newFile("slow", first)
		in, err := store.Open(t.Context(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write(first); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bring(t.Context(), store, newFile("fast", second), second, size); err != nil {
			t.Fatal(err)
		}
		_, err = in.Commit(t.Context(), filetransfer.Digest(sha256.Sum256(first)))
		wantCode(t, err, filetransfer.CodeBusy)
		in.Close()
		receipt, _, err := bring(t.Context(), store, f, first, size)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.files(t, ""); len(got) != 2 || !bytes.Equal(got[receipt.Name], first) {
			t.Errorf("%d objects, and %s has %d bytes", len(got), receipt.Name, len(got[receipt.Name]))
		}
	})
}

// TestTakeOver has a second receiver go on while the first is still at it.
func TestTakeOver(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		size := 2*s.part + 10
		content := randomBytes(1, size)
		f := newFile("0001", content)
		first, err := s.open(t, "", nil).Open(t.Context(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := first.Write(content); err != nil {
			t.Fatal(err)
		}
		second := s.open(t, "", nil)
		receipt, _, err := bring(t.Context(), second, f, content, size)
		if err != nil {
			t.Fatal(err)
		}
		_, err = first.Commit(t.Context(), filetransfer.Digest(sha256.Sum256(content)))
		wantCode(t, err, filetransfer.CodeTaken)
		if got := s.files(t, ""); len(got) != 1 || !bytes.Equal(got[receipt.Name], content) {
			t.Errorf("%d objects", len(got))
		}
	})
}

// TestKilledAtEveryCall kills a receiver at each of its calls in turn, before
// or after the store has heard it, and has another go on.
func TestKilledAtEveryCall(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		way := s.transport
		if way == nil {
			way = http.DefaultTransport
		}
		for _, size := range []int64{1000, 2*s.part + 10} {
			content := randomBytes(1, size)
			for n, last := 1, 1; n <= last; n++ {
				for _, heard := range []bool{false, true} {
					prefix := fmt.Sprintf("%d-%d-%v", size, n, heard)
					proc := &process{way: way}
					store := s.open(t, prefix, proc)
					opened, f := len(proc.calls), newFile("0001", content)
					proc.fault = func(call int) (error, bool) {
						if call != opened+n {
							return nil, true
						}
						proc.kill()
						return errDead, heard
					}
					_, have, err := store.Find(t.Context(), f)
					if err == nil && !have {
						_, _, err = bring(t.Context(), store, f, content, size)
					}
					if err == nil && n == 1 {
						t.Fatal("it was not killed")
					}
					if err != nil {
						last = n + 1
					}
					other := s.open(t, prefix, nil)
					receipt, have, err := other.Find(t.Context(), f)
					if err == nil && !have {
						receipt, _, err = bring(t.Context(), other, f, content, size)
					}
					if err != nil {
						t.Fatalf("killed at call %d (heard: %v), then: %v", n, heard, err)
					}
					if got := s.files(t, prefix+"/"); len(got) != 1 || !bytes.Equal(got[receipt.Name], content) {
						t.Fatalf("killed at call %d (heard: %v): %d objects, %s has %d bytes", n, heard, len(got), receipt.Name, len(got[receipt.Name]))
					}
				}
			}
		}
	})
}

// TestPartsReplaced has an upload whose parts are not what the record says.
func TestPartsReplaced(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		size := 3 * s.part
		content, other := randomBytes(1, size), randomBytes(2, size)
		store, f := s.open(t, "", nil), newFile("0001", content)
		stale, err := store.Open(t.Context(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer stale.Close()
		if _, _, err := bring(t.Context(), store, f, content, 2*s.part); err == nil {
			t.Fatal("not cut")
		}
		if _, err := stale.Write(other[:s.part]); err != nil { // the same part, from a sender that lies
			t.Fatal(err)
		}
		wantCode(t, stale.Checkpoint(s.part, nil), filetransfer.CodeTaken)
		receipt, resumed, err := bring(t.Context(), store, f, content, size)
		if err != nil {
			t.Fatal(err)
		}
		if resumed != 0 {
			t.Errorf("resumed at %d, although the part before is another", resumed)
		}
		if got := s.files(t, "")[receipt.Name]; !bytes.Equal(got, content) {
			t.Error("the object is not what was confirmed")
		}
	})
}

// TestSweep lets everything expire.
func TestSweep(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s *server) {
		store, size := s.open(t, "", nil), 2*s.part
		content := randomBytes(1, size)
		if _, _, err := bring(t.Context(), store, newFile("done", content), content, size); err != nil {
			t.Fatal(err)
		}
		if _, _, err := bring(t.Context(), store, newFile("cut", content), content, s.part); err == nil {
			t.Fatal("not cut")
		}
		uploads := func() (n int) {
			key := "hero/roof/2026-11-22/clip-2.mp4" // MinIO lists those of one name only
			for u := range s.client(t).ListIncompleteUploads(t.Context(), bucket, key, true) {
				if u.Err != nil {
					t.Fatal(u.Err)
				}
				n++
			}
			return n
		}
		for _, after := range []time.Duration{0, 8 * 24 * time.Hour, 31 * 24 * time.Hour} {
			if err := store.Sweep(t.Context(), time.Now().Add(after)); err != nil {
				t.Fatal(err)
			}
			_, have, err := store.Find(t.Context(), newFile("done", content))
			if err != nil || have != (after < 30*24*time.Hour) {
				t.Errorf("after %v: known to be confirmed: %v, %v", after, have, err)
			}
			if n, want := uploads(), map[bool]int{true: 1, false: 0}[after == 0]; n != want {
				t.Errorf("after %v: %d uploads, want %d", after, n, want)
			}
		}
		if got := s.files(t, ""); len(got) != 1 {
			t.Errorf("%d files are left, want 1", len(got))
		}
	})
}

func TestQuota(t *testing.T) {
	s := fakeServer(t)
	content := randomBytes(1, 3000)
	store := s.open(t, "", nil)
	if _, _, err := bring(t.Context(), store, newFile("0001", content), content, 3000); err != nil {
		t.Fatal(err)
	}
	_, err := s.open(t, "", nil).Open(t.Context(), newFile("0002", content), 5999)
	wantCode(t, err, filetransfer.CodeFull)
	in, err := store.Open(t.Context(), newFile("0002", content), 6000)
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
}

// answers gives the same answer to every request.
type answers struct {
	status int
	code   string
	err    error
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.err != nil {
		return nil, a.err
	}
	body := fmt.Sprintf("<Error><Code>%s</Code><Message>as it is</Message></Error>", a.code)
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// TestErrors has a store that refuses, and looks at what people are told.
func TestErrors(t *testing.T) {
	s := fakeServer(t)
	for _, tt := range []struct {
		way  http.RoundTripper
		code filetransfer.Code
		want string
	}{
		{answers{404, "NoSuchBucket", nil}, filetransfer.CodeStorage, "bucket does not exist"},
		{answers{403, "AccessDenied", nil}, filetransfer.CodeStorage, "refuses the receiver's keys"},
		{answers{403, "SignatureDoesNotMatch", nil}, filetransfer.CodeStorage, "refuses the receiver's keys"},
		{answers{403, "RequestTimeTooSkewed", nil}, filetransfer.CodeStorage, "clock is wrong"},
		{answers{507, "XMinioStorageFull", nil}, filetransfer.CodeFull, "store is full"},
		{answers{403, "QuotaExceeded", nil}, filetransfer.CodeFull, "store is full"},
		{answers{503, "SlowDown", nil}, filetransfer.CodeBusy, "can't serve now"},
		{answers{0, "", errLine}, filetransfer.CodeBusy, "does not answer"},
	} {
		_, err := s3store.New(t.Context(), s.params("", tt.way))
		wantCode(t, err, tt.code)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want something of %q", tt.way.(answers).code, err, tt.want)
		}
	}
}

func wantCode(t *testing.T, err error, code filetransfer.Code) {
	t.Helper()
	var said *filetransfer.Error
	if !errors.As(err, &said) || said.Code != code {
		t.Errorf("got %v, want an error with code %q", err, code)
	}
}

// careless takes the conditions out of requests, as a store that knows none.
type careless struct{ http.RoundTripper }

func (c careless) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("If-None-Match")
	r.Header.Del("If-Match")
	return c.RoundTripper.RoundTrip(r)
}

func TestStoreWithoutConditions(t *testing.T) {
	s := fakeServer(t)
	_, err := s3store.New(t.Context(), s.params("", careless{s.transport}))
	if err == nil || !strings.Contains(err.Error(), "If-None-Match") {
		t.Errorf("got %v, want a refusal", err)
	}
	if left := s.files(t, ""); len(left) != 0 {
		t.Errorf("%d objects are left of the attempt", len(left))
	}
}

func TestParams(t *testing.T) {
	for _, p := range []s3store.Params{
		{Bucket: bucket, Endpoint: "store.test:9000"},
		{Bucket: bucket, Endpoint: "ftp://store.test"},
		{Bucket: bucket, Endpoint: "https://store.test/path"},
		{Bucket: bucket, Prefix: "../x"},
		{Bucket: bucket, Prefix: "/x"},
		{Bucket: "", Prefix: "x"},
	} {
		p.Transport = answers{200, "", nil}
		if _, err := s3store.New(t.Context(), p); err == nil {
			t.Errorf("%+v is taken", p)
		}
	}
}
