package durabletest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"syscall"
)

// file is an open file of a Disk.
type file struct {
	d    *Disk
	n    *inode
	name string
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrPowerCut
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.begin("write", f.name)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		p = p[:len(p)/2]
	} else if err != nil {
		return 0, err
	}
	end := off + int64(len(p))
	if grown := end - max(int64(len(f.n.data)), f.n.reserved); grown > 0 && f.d.capacity > 0 {
		if room := f.d.capacity - f.d.used(); grown > room {
			p = p[:max(int64(len(p))-grown+max(room, 0), 0)]
			end, err = off+int64(len(p)), &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
		}
	}
	if len(p) == 0 {
		return 0, err
	}
	if end > int64(len(f.n.data)) {
		f.n.data = append(f.n.data, make([]byte, end-int64(len(f.n.data)))...)
	}
	copy(f.n.data[off:], p)
	for b := off / block; b*block < end; b++ {
		f.n.dirty[b] = true
		delete(f.n.lost, b)
	}
	return len(p), err
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *file) Sync() error { return f.sync("sync") }

func (f *file) Datasync() error { return f.sync("datasync") }

// sync makes the content durable. When it fails, what was written since the
// last one is lost but still read, as on Linux.
func (f *file) sync(op string) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin(op, f.name); err != nil {
		if !f.d.dead {
			f.n.lost = maps.Clone(f.n.dirty)
			clear(f.n.dirty)
		}
		return err
	}
	if len(f.n.synced) > len(f.n.data) {
		f.n.synced = f.n.synced[:len(f.n.data)]
	}
	f.n.synced = append(f.n.synced, make([]byte, len(f.n.data)-len(f.n.synced))...)
	for b := range f.n.dirty {
		if off := int(b * block); off < len(f.n.data) {
			copy(f.n.synced[off:min(off+block, len(f.n.synced))], f.n.data[off:])
		}
	}
	clear(f.n.dirty)
	return nil
}

func (f *file) Allocate(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("allocate", f.name); err != nil {
		return err
	}
	if grown := off + n - max(int64(len(f.n.data)), f.n.reserved); grown > 0 {
		if f.d.capacity > 0 && grown > f.d.capacity-f.d.used() {
			return &fs.PathError{Op: "allocate", Path: f.name, Err: syscall.ENOSPC}
		}
		f.n.reserved = off + n
	}
	return nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("truncate", f.name); err != nil {
		return err
	}
	f.n.reserved = 0
	if size < int64(len(f.n.data)) {
		f.n.data = f.n.data[:size]
	} else {
		f.n.data = append(f.n.data, make([]byte, size-int64(len(f.n.data)))...)
	}
	return nil
}

func (f *file) Close() error { return nil }
