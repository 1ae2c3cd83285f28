//go:build !linux

package plainfile

import "os"

func open(path string) (*os.File, error) { return os.Open(path) }
