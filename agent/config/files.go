package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxFileSize bounds what is read: the largest sane file is a thousandth of it.
const maxFileSize = 1 << 20

// readRegular reads a file of at most limit bytes, and tells whether others than
// its owner may read it. It refuses devices and pipes, which could block or
// never end.
func readRegular(path string, limit int64) (data []byte, open bool, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer must not hold it up
	if err != nil {
		return nil, false, unreadable(path, err)
	}
	defer file.Close() // it was only read
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, false, unreadable(path, err)
	case !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("%s is not a regular file", path)
	}
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	switch {
	case err != nil:
		return nil, false, unreadable(path, err)
	case int64(len(data)) > limit:
		return nil, false, fmt.Errorf("%s has more than the allowed %d bytes", path, limit)
	}
	return data, info.Mode().Perm()&0o044 != 0, nil
}

// unreadable says what to do about a file that can't be read.
func unreadable(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &fileError{path + " does not exist, make it or mend its name", fs.ErrNotExist}
	case errors.Is(err, fs.ErrPermission):
		return &fileError{path + " may not be read by the user that lenscast runs as, change its owner; " +
			"as a service take LoadCredential=", fs.ErrPermission}
	}
	return err
}

// fileError is one kind of error of package fs, in words for people.
type fileError struct {
	text string
	kind error
}

func (e *fileError) Error() string { return e.text }
func (e *fileError) Unwrap() error { return e.kind }

// inFolderOf makes a relative path start at the folder of the file.
func inFolderOf(file, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
