package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func lockWhole(file *os.File) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another receiver uses this folder: end it, or choose another")
	}
	return err
}

func allocate(file *os.File, size int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil {
		return err
	}
	if st.Type == unix.TMPFS_MAGIC {
		return errors.ErrUnsupported // it would clear all of the memory, only to be written again
	}
	err := unix.Fallocate(int(file.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}

// setModified goes by the open file: unix.Futimes looks up its name in /proc,
// which takes several times as long. Linux takes a null pointer for the name
// (utimensat(2), "C library/kernel ABI differences").
func setModified(file *os.File, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	times := [2]unix.Timespec{ts, ts}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, file.Fd(), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Free returns the room that an unprivileged process has on the disk.
func (d *Dir) Free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.lock.Fd()), &st); err != nil {
		return 0, fmt.Errorf("ask for free space: %w", err)
	}
	free := st.Bavail * uint64(st.Bsize)
	return int64(min(free, math.MaxInt64)), nil
}

// openBase opens the folder for openat2 (Linux 5.6). It returns nil where that
// is missing, or forbidden as in some containers.
func openBase(root *os.Root) (*os.File, error) {
	base, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	fd, err := openBeneath(int(base.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, base.Close()
	}
	return base, unix.Close(fd)
}

// openBeneath opens the file name below the folder base, which no symbolic link
// leads out of.
func openBeneath(base int, name string, flag int, perm fs.FileMode) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flag | unix.O_CLOEXEC | unix.O_LARGEFILE),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flag&unix.O_PATH != 0 {
		how.Flags = uint64(flag | unix.O_CLOEXEC) // nothing else is allowed with it
	}
	if flag&os.O_CREATE != 0 {
		how.Mode = uint64(perm.Perm())
	}
	for {
		fd, err := unix.Openat2(base, name, &how)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func (d *Dir) open(name string, flag int, perm fs.FileMode) (*os.File, error) {
	if d.base == nil {
		return d.root.OpenFile(name, flag, perm)
	}
	if !ownFolder(path.Dir(name)) {
		return d.openFrom(name, flag, perm)
	}
	var file *os.File
	err := d.inFolder("open", name, func(folder int, base string) error {
		fd, err := openBeneath(folder, base, flag, perm)
		if err == nil {
			file = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return file, err
}

// openFrom opens name from the top.
func (d *Dir) openFrom(name string, flag int, perm fs.FileMode) (*os.File, error) {
	fd, err := openBeneath(int(d.base.Fd()), name, flag, perm)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (d *Dir) openFolder(name string) (*os.File, error) {
	return d.openFrom(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// inFolder calls f with the folder of the file name, and its name there.
func (d *Dir) inFolder(op, name string, f func(folder int, base string) error) error {
	folder, err := d.folders.open(d, path.Dir(name))
	if err != nil {
		return err
	}
	defer folder.release()
	if err := f(folder.fd(), path.Base(name)); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (d *Dir) remove(name string) error {
	if d.base == nil {
		return d.root.Remove(name)
	}
	return d.inFolder("remove", name, func(folder int, base string) error {
		return unix.Unlinkat(folder, base, 0)
	})
}

func (d *Dir) move(from, to string) error {
	if d.base == nil {
		return d.moveByRoot(from, to)
	}
	return d.inFolder("move", from, func(fromDir int, from string) error {
		folder, err := d.folders.open(d, path.Dir(to))
		if err != nil {
			return err
		}
		defer folder.release()
		if err := moveNoReplace(fromDir, from, folder.fd(), path.Base(to)); err != nil {
			return &fs.PathError{Op: "move", Path: to, Err: err}
		}
		d.folders.keep(path.Dir(to), folder)
		return nil
	})
}

// syncFolder makes the names in a folder durable. What was kept open for this
// is not needed any more.
func (d *Dir) syncFolder(name string) error {
	if d.base == nil {
		return d.syncByRoot(name)
	}
	folder, err := d.folders.open(d, name)
	if err != nil {
		return err
	}
	defer folder.release()
	if !ownFolder(name) {
		d.folders.forget(name)
	}
	return folder.file.Sync()
}

func (d *Dir) moveByRoot(from, to string) error {
	fromDir, err := d.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer fromDir.Close() // opened for reading: nothing to lose
	toDir, err := d.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer toDir.Close() // likewise
	err = moveNoReplace(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to))
	if err != nil {
		return &fs.PathError{Op: "move", Path: to, Err: err}
	}
	return nil
}

// moveNoReplace moves a file between two open folders. A file system that can't
// move without replacing, such as NFS, says EINVAL (renameat2(2)); it has links.
func moveNoReplace(fromDir int, from string, toDir int, to string) error {
	err := unix.Renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return moveByLink(fromDir, from, toDir, to)
	}
	return err
}

func moveByLink(fromDir int, from string, toDir int, to string) error {
	if err := unix.Linkat(fromDir, from, toDir, to, 0); err != nil {
		return err
	}
	return unix.Unlinkat(fromDir, from, 0)
}
