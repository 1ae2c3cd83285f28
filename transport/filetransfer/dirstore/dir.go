package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Dir is the [FS] of a folder on this machine, confined to it: no name and no
// symbolic link leads out of it. os.Root sees to that, which opens every folder
// on the way; or, where Linux has it, openat2, which does the same in one call.
type Dir struct {
	root *os.Root
	lock *os.File
	base *os.File // the folder for openat2, nil without

	folders openFolders // by openat2
}

var _ FS = (*Dir)(nil)

// OpenDir opens the folder at path, which must exist, and locks it: two
// receivers on one folder would work on the same partial files. The caller
// must call Close.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{root: root}
	if err := d.hold(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), root.Close())
	}
	if d.base, err = openBase(root); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), d.Close())
	}
	return d, nil
}

func (d *Dir) hold() error {
	if err := d.root.Mkdir(stateDir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	lock, err := d.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return err
	}
	if err := lockWhole(lock); err != nil {
		return errors.Join(err, lock.Close())
	}
	d.lock = lock
	return nil
}

// Close releases the folder.
func (d *Dir) Close() error {
	d.folders.forgetAll()
	err := errors.Join(d.lock.Close(), d.root.Close())
	if d.base != nil {
		err = errors.Join(err, d.base.Close())
	}
	return err
}

// OpenFile opens or makes a file.
func (d *Dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	file, err := d.open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return diskFile{file}, nil
}

// Mkdir makes one folder.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	d.folders.forget(name) // whoever wants it made has not found it
	return d.root.Mkdir(name, perm)
}

// Move gives the file from the name to, in the place of none.
func (d *Dir) Move(from, to string) error { return d.move(from, to) }

// Rename moves the file from to the name to, in the place of what is there.
func (d *Dir) Rename(from, to string) error { return d.root.Rename(from, to) }

// Remove removes a file.
func (d *Dir) Remove(name string) error { return d.remove(name) }

// Lstat describes what has the name, not following a symbolic link.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// ReadDir lists a folder.
func (d *Dir) ReadDir(name string) ([]fs.DirEntry, error) {
	dir, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer dir.Close() // opened for reading: nothing to lose
	return dir.ReadDir(-1)
}

// SyncDir makes the names in a folder durable.
func (d *Dir) SyncDir(name string) error { return d.syncFolder(name) }

func (d *Dir) syncByRoot(name string) error {
	dir, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer dir.Close() // opened for reading: nothing to lose
	return dir.Sync()
}

// diskFile adds to *os.File what it lacks.
type diskFile struct{ *os.File }

func (f diskFile) Allocate(size int64) error { return allocate(f.File, size) }

func (f diskFile) SetModified(t time.Time) error { return setModified(f.File, t) }
