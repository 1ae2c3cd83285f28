package plainfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/lenscast/lenscast/transport/filetransfer/plainfile"
)

// TestOpen reads what is there, and tells of what is not as os.Open does.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clip.mp4")
	if _, err := plainfile.Open(path); !errors.Is(err, fs.ErrNotExist) || err.Error() != "open "+path+": no such file or directory" {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := plainfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(file)
	if err != nil || string(got) != "content" || file.Name() != path {
		t.Errorf("%s holds %q, %v", file.Name(), got, err)
	}
	if _, err := file.Write([]byte("!")); err == nil {
		t.Error("it was opened for writing")
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
}
