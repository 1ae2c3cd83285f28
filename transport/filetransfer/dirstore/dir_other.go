//go:build !linux

package dirstore

import (
	"errors"
	"io/fs"
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

func openBase(*os.Root) (*os.File, error) { return nil, nil }

func (d *Dir) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return d.root.OpenFile(name, flag, perm)
}

func (d *Dir) openFolder(name string) (*os.File, error) { return d.root.Open(name) }

func (d *Dir) syncFolder(name string) error { return d.syncByRoot(name) }

func (d *Dir) remove(name string) error { return d.root.Remove(name) }

func (d *Dir) move(from, to string) error {
	if err := d.root.Link(from, to); err != nil { // Rename would replace
		return err
	}
	return d.root.Remove(from)
}
