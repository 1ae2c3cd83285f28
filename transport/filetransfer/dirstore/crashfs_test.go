package dirstore_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer/dirstore"
)

// disk is a file system in memory that knows what a power cut may take: all
// content that was not synced, block by block, and all names that were not
// synced with their folder, each by itself.
type disk struct {
	mu   sync.Mutex
	rand *rand.Rand
	root *node
}

// node is a file or a folder.
type node struct {
	isDir    bool
	modified time.Time

	entries map[string]*node // folder: as programs see it
	durable map[string]*node // folder: as a power cut leaves it at least
	pending []change         // folder: from durable to entries

	data, synced []byte // file
}

// change is what happened to a folder: remove one name, set another, or both
// at once.
type change struct {
	remove, set string
	node        *node
}

const crashBlock = 512

func newDisk(r *rand.Rand) *disk { return &disk{rand: r, root: newFolder()} }

func newFolder() *node {
	return &node{isDir: true, entries: make(map[string]*node), durable: make(map[string]*node)}
}

func (c change) apply(entries map[string]*node) {
	if c.remove != "" {
		delete(entries, c.remove)
	}
	if c.set != "" {
		entries[c.set] = c.node
	}
}

// PowerCut loses what was not synced, or parts of it.
func (d *disk) PowerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lose(d.root, make(map[*node]bool))
}

func (d *disk) lose(n *node, seen map[*node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	if !n.isDir {
		after := slices.Clone(n.synced)
		if d.rand.IntN(2) == 0 {
			size := min(len(n.synced), len(n.data)) + d.rand.IntN(max(len(n.data)-len(n.synced), 0)+1)
			after = append(after, make([]byte, max(size-len(after), 0))...)[:size]
			for at := 0; at < size; at += crashBlock {
				if end := min(at+crashBlock, size); d.rand.IntN(2) == 0 {
					copy(after[at:end], n.data[at:end])
				}
			}
		}
		n.data, n.synced = after, slices.Clone(after)
		return
	}
	for _, c := range n.pending {
		if d.rand.IntN(2) == 0 {
			c.apply(n.durable)
		}
	}
	n.pending, n.entries = nil, maps.Clone(n.durable)
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		d.lose(n.entries[name], seen)
	}
}

// Guaranteed returns what a file surely has after a power cut now.
func (d *disk) Guaranteed(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.root
	for _, part := range strings.Split(name, "/") {
		next, ok := n.durable[part]
		for _, c := range n.pending {
			if c.remove == part || c.set == part && c.node != next {
				return nil, errors.New(part + " is still to be changed")
			}
		}
		if !ok {
			return nil, errors.New(part + " is not durable")
		}
		n = next
	}
	if string(n.data) != string(n.synced) {
		return nil, errors.New("the content is not synced")
	}
	return n.synced, nil
}

// Files returns the files that are visible outside the store's own folder.
func (d *disk) Files() map[string][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string][]byte)
	var walk func(*node, string)
	walk = func(n *node, at string) {
		for name, e := range n.entries {
			switch {
			case name == ".lenscast":
			case e.isDir:
				walk(e, path.Join(at, name))
			default:
				all[path.Join(at, name)] = e.data
			}
		}
	}
	walk(d.root, "")
	return all
}

// process is the file system as one run of a program sees it: it can be
// killed, and single calls can fail.
type process struct {
	*disk
	calls int
	fault func(call int, op string) error // called with disk.mu held
	dead  bool
}

var errDead = errors.New("this process was killed")

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

// enter begins a call. The caller holds mu when it returns.
func (p *process) enter(op, name string) error {
	p.mu.Lock()
	if p.dead {
		return &fs.PathError{Op: op, Path: name, Err: errDead}
	}
	p.calls++
	if p.fault != nil {
		if err := p.fault(p.calls, op); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	if p.dead { // by its own fault
		return &fs.PathError{Op: op, Path: name, Err: errDead}
	}
	return nil
}

func (p *process) find(name string) *node {
	n := p.root
	if name == "." {
		return n
	}
	for _, part := range strings.Split(name, "/") {
		if n == nil || !n.isDir {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func (n *node) change(c change) {
	c.apply(n.entries)
	n.pending = append(n.pending, c)
}

func (p *process) OpenFile(name string, flag int, _ fs.FileMode) (dirstore.File, error) {
	err := p.enter("open", name)
	defer p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n, dir := p.find(name), p.find(path.Dir(name))
	switch {
	case n != nil && flag&os.O_EXCL != 0:
		return nil, failed("open", name, fs.ErrExist)
	case n == nil && (flag&os.O_CREATE == 0 || dir == nil):
		return nil, failed("open", name, fs.ErrNotExist)
	case n == nil:
		n = &node{modified: time.Now()}
		dir.change(change{set: path.Base(name), node: n})
	}
	return &openFile{p, n, path.Base(name)}, nil
}

func (p *process) Mkdir(name string, _ fs.FileMode) error {
	err := p.enter("mkdir", name)
	defer p.mu.Unlock()
	if err != nil {
		return err
	}
	dir := p.find(path.Dir(name))
	if dir == nil {
		return failed("mkdir", name, fs.ErrNotExist)
	}
	if p.find(name) != nil {
		return failed("mkdir", name, fs.ErrExist)
	}
	dir.change(change{set: path.Base(name), node: newFolder()})
	return nil
}

// Move is two changes, each of them lost or not by itself.
func (p *process) Move(from, to string) error {
	err := p.enter("move", to)
	defer p.mu.Unlock()
	if err != nil {
		return err
	}
	n, dir := p.find(from), p.find(path.Dir(to))
	if n == nil || dir == nil {
		return failed("move", to, fs.ErrNotExist)
	}
	if p.find(to) != nil {
		return failed("move", to, fs.ErrExist)
	}
	dir.change(change{set: path.Base(to), node: n})
	p.find(path.Dir(from)).change(change{remove: path.Base(from)})
	return nil
}

// Rename works within one folder, which is all that the store needs.
func (p *process) Rename(from, to string) error {
	err := p.enter("rename", to)
	defer p.mu.Unlock()
	if err != nil {
		return err
	}
	n := p.find(from)
	if n == nil || path.Dir(from) != path.Dir(to) {
		return failed("rename", from, fs.ErrNotExist)
	}
	p.find(path.Dir(to)).change(change{remove: path.Base(from), set: path.Base(to), node: n})
	return nil
}

func (p *process) Remove(name string) error {
	err := p.enter("remove", name)
	defer p.mu.Unlock()
	if err != nil {
		return err
	}
	if p.find(name) == nil {
		return failed("remove", name, fs.ErrNotExist)
	}
	p.find(path.Dir(name)).change(change{remove: path.Base(name)})
	return nil
}

func (p *process) Lstat(name string) (fs.FileInfo, error) {
	err := p.enter("lstat", name)
	defer p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n := p.find(name)
	if n == nil {
		return nil, failed("lstat", name, fs.ErrNotExist)
	}
	return info{n, path.Base(name), int64(len(n.data))}, nil
}

func (p *process) ReadDir(name string) ([]fs.DirEntry, error) {
	err := p.enter("readdir", name)
	defer p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	n := p.find(name)
	if n == nil {
		return nil, failed("readdir", name, fs.ErrNotExist)
	}
	var entries []fs.DirEntry
	for _, e := range slices.Sorted(maps.Keys(n.entries)) {
		entries = append(entries, fs.FileInfoToDirEntry(info{n.entries[e], e, int64(len(n.entries[e].data))}))
	}
	return entries, nil
}

func (p *process) SyncDir(name string) error {
	err := p.enter("syncdir", name)
	defer p.mu.Unlock()
	if err != nil {
		return err
	}
	n := p.find(name)
	if n == nil {
		return failed("syncdir", name, fs.ErrNotExist)
	}
	n.durable, n.pending = maps.Clone(n.entries), nil
	return nil
}

func (p *process) Free() (int64, error) {
	err := p.enter("statfs", ".")
	defer p.mu.Unlock()
	return 1 << 40, err
}

type openFile struct {
	p    *process
	n    *node
	name string
}

func (f *openFile) ReadAt(b []byte, off int64) (int, error) {
	err := f.p.enter("read", f.name)
	defer f.p.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.n.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *openFile) WriteAt(b []byte, off int64) (int, error) {
	err := f.p.enter("write", f.name)
	defer f.p.mu.Unlock()
	if errors.Is(err, syscall.ENOSPC) && len(b) > 1 {
		b = b[:len(b)/2] // what fits is written
	} else if err != nil {
		return 0, err
	}
	if grow := int(off) + len(b) - len(f.n.data); grow > 0 {
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	f.n.modified = time.Now()
	return copy(f.n.data[off:], b), err
}

func (f *openFile) Truncate(size int64) error {
	err := f.p.enter("truncate", f.name)
	defer f.p.mu.Unlock()
	if err != nil {
		return err
	}
	if grow := int(size) - len(f.n.data); grow > 0 {
		f.n.data = append(f.n.data, make([]byte, grow)...)
	}
	f.n.data = f.n.data[:size]
	return nil
}

func (f *openFile) Sync() error {
	err := f.p.enter("sync", f.name)
	defer f.p.mu.Unlock()
	if err != nil {
		return err
	}
	f.n.synced = slices.Clone(f.n.data)
	return nil
}

func (f *openFile) Stat() (fs.FileInfo, error) {
	err := f.p.enter("stat", f.name)
	defer f.p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return info{f.n, f.name, int64(len(f.n.data))}, nil
}

func (f *openFile) SetModified(t time.Time) error {
	err := f.p.enter("utimes", f.name)
	defer f.p.mu.Unlock()
	if err == nil {
		f.n.modified = t
	}
	return err
}

func (f *openFile) Allocate(int64) error { return errors.ErrUnsupported }

func (f *openFile) Close() error {
	err := f.p.enter("close", f.name)
	defer f.p.mu.Unlock()
	return err
}

type info struct {
	n    *node
	name string
	size int64
}

func (i info) Name() string { return i.name }
func (i info) Size() int64  { return i.size }
func (i info) Mode() fs.FileMode {
	if i.n.isDir {
		return fs.ModeDir
	}
	return 0
}
func (i info) ModTime() time.Time { return i.n.modified }
func (i info) IsDir() bool        { return i.n.isDir }
func (i info) Sys() any           { return nil }
