package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFileSize bounds what is read: the largest sane file is a thousandth of it.
const maxFileSize = 1 << 20

// readRegular reads a file of at most limit bytes. It refuses devices and
// pipes, which could block or never end.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, unreadable(path, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > limit:
		return nil, fmt.Errorf("%s has %d bytes, more than the allowed %d", path, info.Size(), limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	return data, nil
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
