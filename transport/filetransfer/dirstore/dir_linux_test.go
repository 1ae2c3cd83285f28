package dirstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
