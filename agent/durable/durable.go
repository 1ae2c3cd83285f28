// Package durable puts files on disk so that they are still there, whole and
// under their name, after the power went.
//
// Four steps make a file durable, and leaving one out loses it on some file
// system: write all of it under a temporary name, fsync the file, rename it,
// fsync the directory. [Save] does them for small files; for large ones, that
// grow while they are written, [Publish] does the last two.
//
// All of it goes through the interface [FS], so that a test can make every
// single step fail, or cut the power before it. [OS] is the real one.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// FS is what the durable parts of lenscast need of a file system. Errors are
// those of package os: errors.Is with fs.ErrNotExist, fs.ErrExist and
// syscall.ENOSPC works.
type FS interface {
	// Create makes a file that must not exist yet, for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (ReadOnly, error)
	// Reopen opens an existing file for reading and writing. What is read
	// comes from the disk, not from a cache that may hold pages that could
	// not be written.
	Reopen(name string) (File, error)
	// Rename gives a file another name in one step. An existing file under
	// that name is replaced when replace is set, else it is fs.ErrExist.
	Rename(from, to string, replace bool) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Mkdir makes one directory.
	Mkdir(name string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Free returns the bytes that an unprivileged user may still write to
	// the file system that holds name.
	Free(name string) (int64, error)
}

// ReadOnly is a file that is open for reading.
type ReadOnly interface {
	io.ReaderAt
	io.Closer
	// Size returns the length in bytes.
	Size() (int64, error)
}

// File is a file that is open for reading and writing.
type File interface {
	ReadOnly
	io.WriterAt
	// Datasync makes the content and the length durable (fdatasync).
	Datasync() error
	// Sync makes the content and all that is known of the file durable.
	Sync() error
	// Allocate reserves the space for n bytes from off on, without changing
	// the length. It does nothing where the file system can't.
	Allocate(off, n int64) error
	// Truncate sets the length, and gives back what was reserved beyond it.
	Truncate(size int64) error
}

// TempSuffix is how the temporary names of Save end. A file with such a name
// that is found at start is left over from a power cut and worth nothing.
const TempSuffix = ".tmp"

// Save writes a small file durably. It replaces an existing one: at any
// moment, also after a power cut, the name holds either the old content or
// the new one. The directory must exist.
func Save(fsys FS, name string, data []byte) (err error) {
	temp := name + TempSuffix
	// What is left over of an earlier try is in the way.
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save %s: %w", name, err)
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			_ = fsys.Remove(temp) // the error that matters is known already
			err = fmt.Errorf("save %s: %w", name, err)
		}
	}()
	n, err := f.WriteAt(data, 0)
	if err == nil && n != len(data) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(temp, name, true); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// Publish gives a file that is synced and closed its final name, durably. It
// never overwrites: when the name is taken the error is fs.ErrExist.
func Publish(fsys FS, from, to string) error {
	if err := fsys.Rename(from, to, false); err != nil {
		return fmt.Errorf("publish %s: %w", to, err)
	}
	// The new name first: between the two the file may have both, never none.
	if err := fsys.SyncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("publish %s: %w", to, err)
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		if err := fsys.SyncDir(filepath.Dir(from)); err != nil {
			return fmt.Errorf("publish %s: %w", to, err)
		}
	}
	return nil
}

// ReadFile reads a whole small file, of at most 1 MiB.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err == nil && size > 1<<20 {
		err = fmt.Errorf("read %s: %d bytes are too many", name, size)
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// MkdirAll makes a directory with all above it that are missing, durably.
func MkdirAll(fsys FS, dir string) error {
	err := fsys.Mkdir(dir)
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
		err = fsys.Mkdir(dir)
	}
	if errors.Is(err, fs.ErrExist) {
		// Whoever made it may have died before the next line.
		err = nil
	}
	if err == nil {
		err = fsys.SyncDir(parent)
	}
	if err != nil {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	return nil
}
