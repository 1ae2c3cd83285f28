package dirstore

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

// checkFree judges whether more bytes leave the disk its floor.
func (s *Store) checkFree(more int64) error {
	free, err := s.fs.Free()
	if err != nil {
		return err
	}
	if free-more < s.p.KeepFree {
		return &filetransfer.Error{
			Code: filetransfer.CodeFull, RetryAfter: fullRetry,
			Reason: fmt.Sprintf("the receiver's disk has %d bytes free and keeps %d", free, s.p.KeepFree),
		}
	}
	return nil
}

// count adds up the files below dir.
func (s *Store) count(dir string) (int64, error) {
	entries, err := s.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, e := range entries {
		if e.IsDir() {
			n, err := s.count(path.Join(dir, e.Name()))
			if err != nil {
				return 0, err
			}
			sum += n
			continue
		}
		info, err := s.fs.Lstat(path.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, nil
}

const (
	maxTwinDirs  = 16
	maxTwinNames = 100_000
)

// twinIndex knows the folded names in the folders used last, so that no two
// files get names that a disk which folds case can't hold side by side.
type twinIndex struct {
	mu    sync.Mutex
	dirs  map[string]map[string]string // folder → folded name → name
	names int
}

func newTwinIndex() *twinIndex { return &twinIndex{dirs: make(map[string]map[string]string)} }

// claim notes name in the folder dir and tells whether a twin, another name
// that folds to the same, is there already.
func (t *twinIndex) claim(fsys FS, dir, name string) (taken bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known := t.dirs[dir]
	if known == nil {
		if len(t.dirs) >= maxTwinDirs || t.names >= maxTwinNames {
			clear(t.dirs)
			t.names = 0
		}
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			return false, err
		}
		known = make(map[string]string, len(entries))
		for _, e := range entries {
			known[safename.Fold(e.Name())] = e.Name()
		}
		t.dirs[dir] = known
		t.names += len(known)
	}
	folded := safename.Fold(name)
	twin, ok := known[folded]
	if !ok {
		known[folded] = name
		t.names++
		return false, nil
	}
	if twin == name {
		return false, nil
	}
	if _, err := fsys.Lstat(path.Join(dir, twin)); errors.Is(err, fs.ErrNotExist) {
		known[folded] = name // deleted by hand
		return false, nil
	}
	return true, nil
}
