// Package archive keeps recordings on disk, so that a power cut, a full disk
// or a clock that jumps costs none that was finished, and of the running one
// no more than its last part.
//
// # Files
//
// A running recording is written by a [Writer]: fragmented MP4, appended to
// part by part, each part made durable before the next. Its name is temporary
// (camera/00000042.mp4.part); what was known at its start is a note in its
// header. To finish it, the file is synced and closed, its [Info] saved under the final
// name with the ending .json, and then the file renamed to the final name with
// the ending .mp4. So the .mp4 is the proof: where it is, all of it is on the
// disk, with the Info beside it. What a crash leaves under a temporary name is
// cut to the last whole part and finished at the next start, by [Archive.Run].
//
// # Time
//
// The wall clock of a small board is wrong until NTP has set it, and may jump
// by years at any moment; nothing here breaks by that:
//
//   - Durations are media time and come from the capture clock alone.
//   - Order is the sequence number, which is in the Info and never goes back.
//   - A recording is named when it ends: if NTP has come by then, its start is
//     told by the time since boot and is right. Names don't go back either;
//     see Archive.name.
//   - Age is what retention needs. It is taken from the wall clock only when
//     that was trusted both then and now. Otherwise it is at least the time
//     that the machine has been running since: too young a guess deletes
//     nothing that should stay; see Archive.ages.
package archive

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/wallclock"
)

// ErrNotFound is the error for a recording that isn't there.
var ErrNotFound = errors.New("no such recording")

// Params says how an archive works.
type Params struct {
	Dir       string // where the recordings are; it is made if need be
	Name      string // template of the names: {camera}, {date}, {time}, {sequence}; empty: defaultName
	Retention Retention
	FS        durable.FS // nil for that of the operating system
	Clock     wallclock.Clock
	Log       *slog.Logger
	// Ready, when set, tells why no recording can be begun now, if so. It is
	// asked before anything is written for one.
	Ready func() error
	// Finished, when set, is called after a recording was finished or
	// repaired. It must not block for long.
	Finished func(Info)
}

// Archive is a directory of recordings. Its methods are safe for use by
// several goroutines; several archives must not share a directory.
type Archive struct {
	dir, template string
	fs            durable.FS
	clock         wallclock.Clock
	log           *slog.Logger
	ready         func() error
	onFinished    func(Info)

	changed chan struct{} // holds a token when Run has something to do
	cleanup sync.Mutex    // held while recordings are chosen and deleted
	saving  sync.Mutex    // held while the state is saved: two cameras may finish at once

	mu        sync.Mutex
	retention Retention
	state     state
	finished  []Info // by sequence
	running   map[uint64]Info
	taken     map[string]bool // IDs in use, also of what is not finished yet
	reading   map[string]int  // how many Media of that ID are open
	leftovers []leftover
	repairing int        // leftovers that repair has taken
	deletions []Deletion // newest last
}

// Open reads what is in the directory. What a crash left is finished by Run.
func Open(p Params) (*Archive, error) {
	a := &Archive{
		dir: filepath.Clean(p.Dir), template: p.Name, retention: p.Retention,
		fs: p.FS, clock: p.Clock, log: p.Log, ready: p.Ready, onFinished: p.Finished,
		changed: make(chan struct{}, 1),
		state:   state{Newest: map[string]named{}},
		running: map[uint64]Info{}, taken: map[string]bool{}, reading: map[string]int{},
	}
	if a.ready == nil {
		a.ready = func() error { return nil }
	}
	if a.template == "" {
		a.template = defaultName
	}
	if a.fs == nil {
		a.fs = durable.OS{}
	}
	if err := checkName(a.template); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(a.fs, a.dir); err != nil {
		return nil, fmt.Errorf("open recordings: %w", err)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("open recordings: %w", err)
	}
	return a, nil
}

// load fills the archive from its directory.
func (a *Archive) load() error {
	if b, err := durable.ReadFile(a.fs, filepath.Join(a.dir, stateFile)); err == nil {
		if err := json.Unmarshal(b, &a.state); err != nil || a.state.Newest == nil {
			a.log.Warn("the state of the recordings is unreadable and is made anew", "error", err)
			a.state = state{Newest: map[string]named{}}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found := map[string]bool{}
	if err := a.walk(a.dir, 0, found); err != nil {
		return err
	}
	for name := range found {
		a.loadFile(name, found)
	}
	// A directory for a camera that a process made which died before it
	// could sync.
	if err := a.fs.SyncDir(a.dir); err != nil {
		return err
	}
	slices.SortFunc(a.finished, bySequence)
	slices.SortFunc(a.leftovers, func(x, y leftover) int { return bySequence(x.info, y.info) })
	for _, i := range a.finished {
		a.state.Sequence = max(a.state.Sequence, i.Sequence)
		if last := a.state.Newest[i.Camera]; last.Time.IsZero() {
			a.state.Newest[i.Camera] = named{i.Start.Wall, i.WallTrusted}
		}
	}
	for n := range a.leftovers {
		a.state.Sequence = max(a.state.Sequence, a.leftovers[n].info.Sequence)
		a.name(&a.leftovers[n].info)
	}
	return nil
}

func bySequence(x, y Info) int { return cmp.Compare(x.Sequence, y.Sequence) }

// walk collects the files below dir. A template has few levels.
func (a *Archive) walk(dir string, depth int, found map[string]bool) error {
	entries, err := a.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() && depth < 10 {
			if err := a.walk(name, depth+1, found); err != nil {
				return err
			}
		} else if e.Type().IsRegular() {
			found[name] = true
		}
	}
	return nil
}

// loadFile takes in one file of found, or clears it away when it is worth
// nothing.
func (a *Archive) loadFile(name string, found map[string]bool) {
	base, ext := strings.CutSuffix(name, mediaSuffix)
	switch {
	case strings.HasSuffix(name, durable.TempSuffix):
		a.clear(name)
	case strings.HasSuffix(name, mediaSuffix+partSuffix):
		a.leftovers = append(a.leftovers, leftover{path: name, info: a.loadStart(name), limit: unknown})
	case ext:
		i, err := a.readInfo(base + infoSuffix)
		if err != nil {
			a.log.Warn("a file among the recordings is not listed, as nothing is known of it", "file", name, "error", err)
			return
		}
		i.ID, _ = filepath.Rel(a.dir, base)
		a.finished = append(a.finished, i)
		a.taken[i.ID] = true
	case strings.HasSuffix(name, infoSuffix) && filepath.Base(name) != stateFile:
		// The Info is saved before the recording gets its name.
		i, err := a.readInfo(name)
		if err == nil && i.Sequence > 0 && !found[strings.TrimSuffix(name, infoSuffix)+mediaSuffix] {
			a.clear(name)
		}
	}
}

// clear removes a file that is worth nothing. If it stays, it is tried again
// at the next start.
func (a *Archive) clear(name string) {
	if err := a.fs.Remove(name); err != nil {
		a.log.Warn("a leftover can't be removed", "file", name, "error", err)
	}
}

func (a *Archive) readInfo(name string) (Info, error) {
	var i Info
	b, err := durable.ReadFile(a.fs, name)
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	if err == nil && checkCamera(i.Camera) != nil {
		err = errors.New("it names no camera")
	}
	return i, err
}

func (a *Archive) saveInfo(name string, i Info) error {
	b, err := json.MarshalIndent(i, "", "\t")
	if err != nil {
		return err
	}
	return durable.Save(a.fs, name, append(b, '\n'))
}

// path returns the file of a recording.
func (a *Archive) path(id, suffix string) string { return filepath.Join(a.dir, id) + suffix }

// publish gives a recording whose file is complete, synced and closed its
// name, and lists it.
func (a *Archive) publish(part string, i Info) error {
	final := a.path(i.ID, mediaSuffix)
	if err := durable.MkdirAll(a.fs, filepath.Dir(final)); err != nil {
		return err
	}
	if err := a.saveState(); err != nil {
		return err
	}
	if err := a.saveInfo(a.path(i.ID, infoSuffix), i); err != nil {
		return err
	}
	if err := durable.Publish(a.fs, part, final); err != nil {
		return err
	}
	a.enlist(i)
	return nil
}

// saveState makes what must not be forgotten durable.
func (a *Archive) saveState() error {
	a.saving.Lock()
	defer a.saving.Unlock()
	a.mu.Lock()
	b, err := json.Marshal(a.state)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	return durable.Save(a.fs, filepath.Join(a.dir, stateFile), b)
}

// enlist lists a recording that was published.
func (a *Archive) enlist(i Info) {
	a.mu.Lock()
	delete(a.running, i.Sequence)
	at, _ := slices.BinarySearchFunc(a.finished, i, bySequence)
	a.finished = slices.Insert(a.finished, at, i)
	a.mu.Unlock()
	a.log.Info("recording finished", "recording", i.ID, "seconds", time.Duration(i.Duration).Seconds(),
		"bytes", i.Size, "repaired", i.Repaired)
	a.wake()
	if a.onFinished != nil {
		a.onFinished(i)
	}
}

func (a *Archive) wake() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// List returns all recordings in their order, the running ones included.
func (a *Archive) List() []Info {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := append(make([]Info, 0, len(a.finished)+len(a.running)), a.finished...) // never nil, which JSON would call null
	for _, i := range a.running {
		list = append(list, i)
	}
	slices.SortFunc(list, bySequence)
	return list
}

// Get returns a finished recording. The error wraps ErrNotFound.
func (a *Archive) Get(id string) (Info, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.find(id)
	if n < 0 {
		return Info{}, fmt.Errorf("recording %q: %w", id, ErrNotFound)
	}
	return a.finished[n], nil
}

func (a *Archive) find(id string) int {
	return slices.IndexFunc(a.finished, func(i Info) bool { return i.ID == id })
}
