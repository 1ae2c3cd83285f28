package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lenscast/lenscast/agent/durable"
)

// Read lists the finished recordings in a directory, oldest first, beside an
// Archive that may be using it.
func Read(dir string) ([]Info, error) {
	a := &Archive{dir: filepath.Clean(dir), fs: durable.OS{}}
	found := map[string]bool{}
	if err := a.walk(a.dir, 0, found); err != nil {
		return nil, fmt.Errorf("list recordings: %w", err)
	}
	var list []Info
	for name := range found {
		base, ok := strings.CutSuffix(name, mediaSuffix)
		if !ok {
			continue
		}
		if i, err := a.readInfo(base + infoSuffix); err == nil { // else it is none of ours
			i.ID, _ = filepath.Rel(a.dir, base)
			list = append(list, i)
		}
	}
	slices.SortFunc(list, bySequence)
	return list, nil
}

// Remove deletes a finished recording from a directory, beside an Archive that
// may be using it: that one finds out when it wants to delete it itself. The
// error wraps ErrNotFound when there is none.
func Remove(dir, id string) error {
	a := &Archive{dir: filepath.Clean(dir), fs: durable.OS{}}
	if !filepath.IsLocal(id) {
		return fmt.Errorf("recording %q: %w", id, ErrNotFound)
	}
	if _, err := a.readInfo(a.path(id, infoSuffix)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recording %q: %w", id, ErrNotFound)
	} else if err != nil {
		return fmt.Errorf("recording %q: %w", id, err)
	}
	for _, suffix := range []string{mediaSuffix, infoSuffix} {
		if err := a.fs.Remove(a.path(id, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete recording: %w", err)
		}
	}
	if err := a.fs.SyncDir(filepath.Dir(a.path(id, ""))); err != nil {
		return fmt.Errorf("delete recording: %w", err)
	}
	return nil
}
