package dirstore

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// maxOpenFolders bounds the folders that are kept open.
const maxOpenFolders = 64

// openFolders keeps folders open that will be used again at once, because
// looking one up costs as much as what is done in it: those of partial files for
// good, where nobody but the store has any business; and one of whole files, which
// people may move or remove, from the moment when a file was moved to it until
// its names are synced.
type openFolders struct {
	mu   sync.Mutex
	kept map[string]*openFolder // by name; each of them is one user of it
}

// openFolder is closed when its last user releases it.
type openFolder struct {
	file  *os.File
	users atomic.Int32
}

func (f *openFolder) fd() int { return int(f.file.Fd()) }

func (f *openFolder) release() {
	if f.users.Add(-1) == 0 {
		_ = f.file.Close() // opened for reading: nothing to lose
	}
}

// ownFolder tells whether nobody but the store uses the folder.
func ownFolder(name string) bool { return strings.HasPrefix(name, partialDir+"/") }

// open returns the folder name of d. The caller must release it.
func (o *openFolders) open(d *Dir, name string) (*openFolder, error) {
	o.mu.Lock()
	folder := o.kept[name]
	if folder != nil {
		folder.users.Add(1)
	}
	o.mu.Unlock()
	if folder != nil {
		return folder, nil
	}
	file, err := d.openFolder(name)
	if err != nil {
		return nil, err
	}
	folder = &openFolder{file: file}
	folder.users.Add(1)
	if ownFolder(name) {
		o.keep(name, folder)
	}
	return folder, nil
}

// keep keeps the folder open as the one of that name, unless there is one, or
// too many are.
func (o *openFolders) keep(name string, folder *openFolder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept[name] != nil || len(o.kept) == maxOpenFolders {
		return
	}
	if o.kept == nil {
		o.kept = make(map[string]*openFolder)
	}
	folder.users.Add(1)
	o.kept[name] = folder
}

// forget has the next who wants the folder look it up.
func (o *openFolders) forget(name string) {
	o.mu.Lock()
	folder := o.kept[name]
	delete(o.kept, name)
	o.mu.Unlock()
	if folder != nil {
		folder.release()
	}
}

func (o *openFolders) forgetAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, folder := range o.kept {
		folder.release()
	}
	clear(o.kept)
}
