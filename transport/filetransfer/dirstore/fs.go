package dirstore

import (
	"io"
	"io/fs"
	"os"
	"time"
)

// How files are opened. All but openRead write.
const (
	openRead   = os.O_RDONLY
	openWrite  = os.O_RDWR
	openCreate = os.O_RDWR | os.O_CREATE | os.O_EXCL
)

// FS is what a [Store] does with a file system; small, so that tests can break
// every single call. Names are slash-separated and relative to the store's
// folder. Errors wrap those of io/fs, and syscall.ENOSPC when it is full.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	// Move gives the file the name to instead of from, in another folder
	// maybe. It never replaces a file. A power cut may leave either name, or
	// both.
	Move(from, to string) error
	Rename(from, to string) error
	Remove(name string) error
	Lstat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes the names in a folder durable.
	SyncDir(name string) error
	// Free returns the bytes that can still be written.
	Free() (int64, error)
}

// File is an open file of an [FS].
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	// Sync makes the content durable.
	Sync() error
	Truncate(size int64) error
	// SetModified sets the time of the last change.
	SetModified(time.Time) error
	// Allocate reserves room for size bytes without changing the content.
	// It returns errors.ErrUnsupported where that can't be done.
	Allocate(size int64) error
}
