package filetransfer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/lenscast/lenscast/transport/filetransfer/plainfile"
)

// Upload is a file to send.
type Upload struct {
	// File describes it. The sender fills in Agent. With SHA256 set the
	// sender trusts it and does not hash anything itself.
	File File
	// Content is what is sent, File.Size bytes of it.
	Content io.ReaderAt
	// Hashes remembers the hash on the way, so that going on later needs no
	// second reading of what was sent. Not used when File.SHA256 is set;
	// nil: remembered for as long as this Upload lives.
	Hashes *HashLog
	// Unchanged returns nil while the content is what it was at the start.
	// It is asked before a receipt is passed on. Nil: never changes.
	Unchanged func() error
}

// LocalFile is an [Upload] of a file on this machine's disk. The caller must
// call Close on it.
type LocalFile struct {
	Upload
	path string
	file *os.File
	info os.FileInfo
}

// OpenLocalFile opens the regular file at path for sending. The ID is made of
// where it lies, its size and its last change, so that another run of the
// program goes on with it.
func OpenLocalFile(path string) (*LocalFile, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	file, err := plainfile.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		_ = file.Close() // opened for reading: nothing to lose
		return nil, err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", path, info.Size(), info.ModTime().UnixNano()))
	f := &LocalFile{path: path, file: file, info: info}
	f.Upload = Upload{
		File: File{
			ID: hex.EncodeToString(id[:16]), Name: info.Name(),
			Size: info.Size(), Modified: info.ModTime(),
		},
		Content:   file,
		Unchanged: f.unchanged,
	}
	return f, nil
}

// unchanged compares what lies at the path now with what was opened.
func (f *LocalFile) unchanged() error {
	now, err := os.Lstat(f.path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if !os.SameFile(now, f.info) || now.Size() != f.info.Size() || !now.ModTime().Equal(f.info.ModTime()) {
		return fmt.Errorf("%w: %s", ErrChanged, f.path)
	}
	return nil
}

// Remove deletes the file and makes that durable. It takes the receipt as proof
// that the receiver has the content, and refuses when the file is another by
// now.
func (f *LocalFile) Remove(Receipt) error {
	if err := f.unchanged(); err != nil {
		return err
	}
	if err := os.Remove(f.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	defer dir.Close() // opened for reading: nothing to lose
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync folder of %s: %w", f.path, err)
	}
	return nil
}

// Close closes the file.
func (f *LocalFile) Close() error { return f.file.Close() }
