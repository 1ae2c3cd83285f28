// Package durabletest has a disk in memory whose power can be cut and whose
// every operation can be made to fail, for tests of what must survive that.
package durabletest

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
)

// ErrPowerCut is what every operation returns once the power is cut.
var ErrPowerCut = errors.New("the power is cut")

const block = 4096 // bytes that survive or vanish together

// Disk is a durable.FS in memory. What was written is there for readers at
// once, but only what was synced survives [Disk.AfterPowerCut], like this:
//
//   - Content: of each file, what was there at its last sync survives. Each
//     block written since then survives or not, by chance, in any order; so
//     does the new length.
//   - Names: creating, renaming and removing survive once the directory is
//     synced. Of what happened since then, the first few survive, by chance:
//     file systems with a journal keep the order.
//
// Its methods are safe for use by several goroutines.
type Disk struct {
	// Fail, when set, is asked before every operation that changes or syncs
	// something; an error makes the operation fail, and ErrPowerCut all that
	// follow. A write that fails with ENOSPC or EIO has written half. Set it
	// before use; it must not use the disk.
	Fail func(op, name string) error

	mu       sync.Mutex
	capacity int64 // bytes, 0 without limit
	names    map[string]*inode
	durable  map[string]*inode // names as they are after a power cut
	pending  []change          // not durable yet, oldest first
	dead     bool
	ops      int
}

// change is one change of names: to now means node, from nothing any more.
type change struct {
	from, to string
	node     *inode
}

type inode struct {
	dir      bool
	data     []byte
	reserved int64 // length with what Allocate added, 0 without
	dirty    map[int64]bool
	lost     map[int64]bool // could not be synced, but are still read
	synced   []byte
}

var _ durable.FS = (*Disk)(nil)

// NewDisk makes an empty disk with the directory root. It holds capacity
// bytes, or any number of them when that is 0.
func NewDisk(root string, capacity int64) *Disk {
	d := &Disk{capacity: capacity, names: map[string]*inode{}, durable: map[string]*inode{}}
	d.names[root] = &inode{dir: true}
	d.durable[root] = d.names[root]
	return d
}

// Ops returns how many operations changed or synced something.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Fill leaves free bytes on the disk, whatever it holds.
func (d *Disk) Fill(free int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = d.used() + free
}

// AfterPowerCut returns what the disk holds when the power comes back. What
// survives of that which was not synced is chance.
func (d *Disk) AfterPowerCut(chance *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, c := range d.pending[:chance.IntN(len(d.pending)+1)] {
		c.apply(names)
	}
	after := &Disk{capacity: d.capacity, names: map[string]*inode{}, durable: map[string]*inode{}}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		n := names[name].afterPowerCut(chance)
		after.names[name], after.durable[name] = n, n
	}
	return after
}

func (n *inode) afterPowerCut(chance *rand.Rand) *inode {
	if n.dir {
		return &inode{dir: true}
	}
	data := bytes.Clone(n.synced)
	if grown := len(n.data) - len(n.synced); grown > 0 {
		data = append(data, make([]byte, chance.IntN(grown+1))...)
	} else if grown < 0 && chance.IntN(2) == 0 {
		data = data[:len(n.data)]
	}
	for _, b := range slices.Sorted(maps.Keys(n.dirty)) {
		off := int(b * block)
		if off < min(len(data), len(n.data)) && chance.IntN(2) == 0 {
			copy(data[off:min(off+block, len(data))], n.data[off:])
		}
	}
	return &inode{data: data, synced: bytes.Clone(data), dirty: map[int64]bool{}}
}

func (c change) apply(names map[string]*inode) {
	if c.from != "" {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

// change makes a change of names, not durable yet.
func (d *Disk) change(c change) {
	c.apply(d.names)
	d.pending = append(d.pending, c)
}

// begin is the start of every operation that changes or syncs something.
// The caller holds the mutex.
func (d *Disk) begin(op, name string) error {
	if d.dead {
		return &fs.PathError{Op: op, Path: name, Err: ErrPowerCut}
	}
	d.ops++
	if d.Fail != nil {
		if err := d.Fail(op, name); err != nil {
			d.dead = errors.Is(err, ErrPowerCut)
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (d *Disk) used() int64 {
	var sum int64
	for _, n := range d.names {
		sum += (max(int64(len(n.data)), n.reserved) + block - 1) / block * block
	}
	return sum
}

// Create implements durable.FS.
func (d *Disk) Create(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("create", name); err != nil {
		return nil, err
	}
	if d.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if p := d.names[filepath.Dir(name)]; p == nil || !p.dir {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	n := &inode{dirty: map[int64]bool{}}
	d.change(change{to: name, node: n})
	return &file{d: d, n: n, name: name}, nil
}

// Open implements durable.FS.
func (d *Disk) Open(name string) (durable.ReadOnly, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Reopen implements durable.FS.
func (d *Disk) Reopen(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	n := f.n
	for b := range n.lost {
		if off := int(b * block); off < len(n.data) {
			lost := n.data[off:min(off+block, len(n.data))]
			clear(lost)
			if off < len(n.synced) {
				copy(lost, n.synced[off:])
			}
		}
	}
	n.lost = nil
	return f, nil
}

func (d *Disk) open(name string) (*file, error) {
	n := d.names[name]
	switch {
	case d.dead:
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrPowerCut}
	case n == nil || n.dir:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{d: d, n: n, name: name}, nil
}

// Rename implements durable.FS.
func (d *Disk) Rename(from, to string, replace bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("rename", from); err != nil {
		return err
	}
	n := d.names[from]
	if p := d.names[filepath.Dir(to)]; n == nil || p == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if d.names[to] != nil && !replace {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	}
	d.change(change{from: from, to: to, node: n})
	return nil
}

// Remove implements durable.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("remove", name); err != nil {
		return err
	}
	n := d.names[name]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if n.dir && len(d.children(name)) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	d.change(change{from: name})
	return nil
}

// Mkdir implements durable.FS.
func (d *Disk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("mkdir", name); err != nil {
		return err
	}
	if d.names[name] != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if d.names[filepath.Dir(name)] == nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrNotExist}
	}
	d.change(change{to: name, node: &inode{dir: true}})
	return nil
}

// SyncDir implements durable.FS. Like a commit of a journal, it makes all
// changes up to the last one in that directory durable.
func (d *Disk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("syncdir", name); err != nil {
		return err
	}
	last := -1
	for i, c := range d.pending {
		if (c.from != "" && filepath.Dir(c.from) == name) || (c.to != "" && filepath.Dir(c.to) == name) {
			last = i
		}
	}
	for _, c := range d.pending[:last+1] {
		c.apply(d.durable)
	}
	d.pending = slices.Delete(d.pending, 0, last+1)
	return nil
}

func (d *Disk) children(dir string) []string {
	var names []string
	for name := range d.names {
		if filepath.Dir(name) == dir && name != dir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ReadDir implements durable.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.names[name]; d.dead || n == nil || !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var entries []fs.DirEntry
	for _, child := range d.children(name) {
		entries = append(entries, entry{filepath.Base(child), d.names[child].dir})
	}
	return entries, nil
}

// Free implements durable.FS.
func (d *Disk) Free(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity == 0 {
		return 1 << 40, nil
	}
	return max(d.capacity-d.used(), 0), nil
}

// Files returns the names of all files that end in suffix, sorted.
func (d *Disk) Files(suffix string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name, n := range d.names {
		if !n.dir && strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

type entry struct {
	name string
	dir  bool
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.dir }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return 0 }
func (e entry) ModTime() time.Time         { return time.Time{} }
func (e entry) Sys() any                   { return nil }
func (e entry) Mode() fs.FileMode          { return e.Type() }

func (e entry) Type() fs.FileMode {
	if e.dir {
		return fs.ModeDir
	}
	return 0
}
