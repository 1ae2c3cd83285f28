//go:build !linux

package plainfile

import "os"

// Open opens the file at path as [os.Open] does.
func Open(path string) (*os.File, error) { return os.Open(path) }
