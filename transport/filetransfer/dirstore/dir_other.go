//go:build !linux

package dirstore

import (
	"errors"
	"math"
	"os"
	"time"
)

// Elsewhere the folder is not locked, its disk's free space not known, and it
// must have hard links.

func lockWhole(*os.File) error { return nil }

func allocate(*os.File, int64) error { return errors.ErrUnsupported }

func setModified(file *os.File, t time.Time) error { return os.Chtimes(file.Name(), time.Time{}, t) }

// Free returns the largest number: it is not known.
func (d *Dir) Free() (int64, error) { return math.MaxInt64, nil }

func noLinks(error) bool { return false }

func (d *Dir) moveNoReplace(string, string) error { return errors.ErrUnsupported }
