package dirstore

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// Both ways to move a file keep what has that name already.
func TestMoveReplacesNothing(t *testing.T) {
	for name, move := range map[string]func(int, string, int, string) error{"rename": moveNoReplace, "link": moveByLink} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			folder, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			for _, name := range []string{"new", "newer"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			fd := int(folder.Fd())
			if err := move(fd, "new", fd, "film"); err != nil {
				t.Fatal(err)
			}
			if err := move(fd, "newer", fd, "film"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("a move onto another file: %v", err)
			}
			for name, want := range map[string]string{"new": "", "newer": "newer", "film": "new"} {
				if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
					t.Errorf("%s holds %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestMovedFolder moves folders away and removes them while the store runs: what
// comes later goes to where its name says.
func TestMovedFolder(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := New(d, Params{})
	if err != nil {
		t.Fatal(err)
	}
	receive := func(id string) string {
		t.Helper()
		f := filetransfer.File{Agent: "hero", ID: id, Name: id + ".mp4", Size: 5, Modified: time.Unix(0, 0)}
		in, err := s.Open(t.Context(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		receipt, err := in.Commit(t.Context(), sha256.Sum256([]byte("hello")))
		if err := errors.Join(err, in.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, receipt.Name)); err != nil {
			t.Error(err)
		}
		return filepath.Join(dir, filepath.Dir(receipt.Name))
	}
	folder := receive("file-0001")
	if err := os.Rename(folder, filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	receive("file-0002")
	if err := os.Rename(folder, filepath.Join(dir, "aside", "again")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, dirPerm); err != nil {
		t.Fatal(err)
	}
	receive("file-0003")
	if err := os.RemoveAll(filepath.Join(dir, partialDir, "hero")); err != nil {
		t.Fatal(err)
	}
	receive("file-0004")
	if len(d.folders.kept) > 1 {
		t.Errorf("%d folders are kept open, want that of partial files", len(d.folders.kept))
	}
}
