package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
)

// SetOffloaded notes where another place has confirmed to have a recording,
// and when. When it returns nil, that is durable; the error wraps ErrNotFound
// when the recording is gone.
func (a *Archive) SetOffloaded(id string, o Offloaded) error {
	o.At = a.clock.Read().Wall.UTC().Truncate(time.Millisecond)
	return a.mark(id, func(i *Info) { i.Offloaded, i.OffloadDropped = &o, false })
}

// SetOffloadDropped notes, durably, that a recording is not to be offloaded,
// or that it is after all. The error wraps ErrNotFound when it is gone.
func (a *Archive) SetOffloadDropped(id string, dropped bool) error {
	return a.mark(id, func(i *Info) { i.OffloadDropped = dropped })
}

// Refresh reads again what is noted of a finished recording: another process
// may have marked it, see [Drop], or deleted it, see [Remove]. The error wraps
// ErrNotFound.
func (a *Archive) Refresh(id string) (Info, error) {
	if _, err := a.Get(id); err != nil {
		return Info{}, err
	}
	i, err := a.stored(id)
	if errors.Is(err, ErrNotFound) {
		a.missed(id)
	}
	if err != nil {
		return Info{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.find(id); n >= 0 {
		a.finished[n] = i
	}
	return i, nil
}

// missed takes a recording off the list that another process has deleted.
func (a *Archive) missed(id string) {
	if i, err := a.Get(id); err == nil {
		a.delist(Deletion{Info: i, Reason: "deleted by another process", At: a.clock.Read().Wall.UTC().Truncate(time.Millisecond)})
	}
}

// mark changes what is noted of a finished recording, on the disk first.
func (a *Archive) mark(id string, change func(*Info)) error {
	// Nothing is deleted meanwhile, or its Info would come back.
	a.cleanup.Lock()
	defer a.cleanup.Unlock()
	if _, err := a.Get(id); err != nil {
		return err
	}
	i, err := a.edit(id, change)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.find(id); n >= 0 {
		a.finished[n] = i
	}
	a.wake()
	return nil
}

// edit changes the Info of a finished recording on the disk.
func (a *Archive) edit(id string, change func(*Info)) (Info, error) {
	i, err := a.stored(id)
	if err != nil {
		return Info{}, err
	}
	change(&i)
	if err := a.saveInfo(a.path(id, infoSuffix), i); err != nil {
		return Info{}, fmt.Errorf("mark recording: %w", err)
	}
	return i, nil
}

// stored reads the Info of a finished recording from the disk.
func (a *Archive) stored(id string) (Info, error) {
	i, err := a.readInfo(a.path(id, infoSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("recording %q: %w", id, ErrNotFound)
	} else if err != nil {
		return Info{}, fmt.Errorf("recording %q: %w", id, err)
	}
	i.ID = id
	return i, nil
}

// Drop marks a finished recording in a directory as not to be offloaded, or
// takes the mark away, beside an Archive that may be using it: that one finds
// out by Refresh. The error wraps ErrNotFound when there is none.
func Drop(dir, id string, dropped bool) error {
	a := &Archive{dir: filepath.Clean(dir), fs: durable.OS{}}
	if !filepath.IsLocal(id) {
		return fmt.Errorf("recording %q: %w", id, ErrNotFound)
	}
	_, err := a.edit(id, func(i *Info) { i.OffloadDropped = dropped })
	return err
}

// SetRetention changes what is deleted from now on.
func (a *Archive) SetRetention(r Retention) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retention = r
	a.wake()
}

func (a *Archive) rules() Retention {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.retention
}
