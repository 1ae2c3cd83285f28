package durable_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/durable/durabletest"
)

// TestSaveSurvivesPowerCutAtEveryStep replaces a file and cuts the power
// before each step in turn: the file holds the old content or the new one.
func TestSaveSurvivesPowerCutAtEveryStep(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for step := 0; ; step++ {
		for range 20 {
			d := durabletest.NewDisk("/d", 0)
			if err := durable.Save(d, "/d/f", []byte("old")); err != nil {
				t.Fatal(err)
			}
			start := d.Ops()
			n := 0
			d.Fail = func(string, string) error {
				if n++; n > step {
					return durabletest.ErrPowerCut
				}
				return nil
			}
			err := durable.Save(d, "/d/f", []byte("the new content"))
			done := err == nil
			got, rerr := durable.ReadFile(d.AfterPowerCut(chance), "/d/f")
			if rerr != nil || (string(got) != "old" && string(got) != "the new content") {
				t.Fatalf("step %d: %q, %v", step, got, rerr)
			}
			if done {
				if string(got) != "the new content" {
					t.Fatalf("saved without an error, and yet %q", got)
				}
				if d.Ops()-start < 5 {
					t.Fatalf("only %d steps", d.Ops()-start)
				}
				return
			}
		}
	}
}

func TestSaveReportsEveryFailure(t *testing.T) {
	for _, want := range []error{syscall.ENOSPC, syscall.EIO} {
		for step := 1; ; step++ {
			d := durabletest.NewDisk("/d", 0)
			n := 0
			d.Fail = func(op, _ string) error {
				if n++; n == step {
					return want
				}
				return nil
			}
			err := durable.Save(d, "/d/f", []byte("content"))
			if n < step {
				if err != nil || step < 6 {
					t.Fatalf("%d steps, then %v", n, err)
				}
				break
			}
			// The first step removes a leftover that may not be there.
			if !errors.Is(err, want) {
				t.Errorf("step %d: error %v, want %v", step, err, want)
			}
		}
	}
}

func TestPublishNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, name := range []string{a, b} {
		if err := durable.Save(durable.OS{}, name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := durable.Publish(durable.OS{}, a, b); !errors.Is(err, fs.ErrExist) {
		t.Errorf("onto an existing file: %v", err)
	}
	if got, _ := os.ReadFile(b); string(got) != b {
		t.Errorf("the existing file holds %q", got)
	}
	if err := durable.Publish(durable.OS{}, a, filepath.Join(dir, "c")); err != nil {
		t.Error(err)
	}
}

func TestMkdirAllIsDurable(t *testing.T) {
	d := durabletest.NewDisk("/d", 0)
	if err := durable.MkdirAll(d, "/d/a/b/c"); err != nil {
		t.Fatal(err)
	}
	if err := durable.MkdirAll(d, "/d/a/b/c"); err != nil {
		t.Fatalf("again: %v", err)
	}
	after := d.AfterPowerCut(rand.New(rand.NewPCG(1, 1)))
	if _, err := after.ReadDir("/d/a/b/c"); err != nil {
		t.Error(err)
	}
}

func TestOSFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := durable.OS{}.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if size, err := f.Size(); size != 0 || err != nil {
		t.Errorf("reserved space counts as length: %d, %v", size, err)
	}
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Datasync(), f.Truncate(5), f.Sync()); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 5 || st.Blocks > 64 {
		t.Errorf("%d bytes in %d blocks of 512: what was reserved was not given back", st.Size, st.Blocks)
	}
	if _, err := (durable.OS{}).Create(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create over an existing file: %v", err)
	}
	if free, err := (durable.OS{}).Free(name); free <= 0 || err != nil {
		t.Errorf("free %d, %v", free, err)
	}
}

func TestLockIsForOne(t *testing.T) {
	dir := t.TempDir()
	first, err := durable.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := durable.Lock(dir); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second one gets %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := durable.Lock(dir)
	if err != nil {
		t.Fatalf("after the first one has let go: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
