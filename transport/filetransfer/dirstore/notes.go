package dirstore

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

const (
	// maxLog is the size from which on a log of notes is followed by a new one,
	// and logAge the age: it expires as a whole.
	maxLog = 1 << 20
	logAge = 24 * time.Hour
	// maxNotes bounds the memory of notes, to some 5 MB. Beyond, those in the
	// oldest log are forgotten.
	maxNotes = 1 << 17
	// logName is how a log is called, by its number.
	logName = doneDir + "/%08d.log"
)

// notes remember what has been confirmed, so that a sender which missed that need
// not send the file again. They are lines of JSON in logs that only grow: one
// write for a note, where a file for each would cost several calls and an inode.
// Where the note of a file lies is kept in memory.
//
// Nothing depends on them. A power cut may take some, a line that it cut short is
// passed over, and a file that is not known any more is recognised by its content
// when it comes again.
type notes struct {
	store  *Store
	seed   maphash.Seed
	agents map[string]struct{} // that may have notes in files of their own, as before there were logs

	mu    sync.Mutex
	index map[uint64]notePlace // by the hash of agent and ID
	logs  []uint32             // ascending
	file  File                 // the last of logs, nil: the next note begins another
	size  int64                // of file
	begun time.Time            // file
}

// notePlace is where a note begins.
type notePlace struct{ log, at uint32 }

// note is a line of a log.
type note struct {
	Agent string `json:"agent"`
	ID    string `json:"id"`
	record
}

// openNotes reads the logs that are there. It goes on in none of them: the last
// line may have been cut short.
func openNotes(s *Store) (*notes, error) {
	n := &notes{
		store: s, seed: maphash.MakeSeed(),
		agents: make(map[string]struct{}), index: make(map[uint64]notePlace),
	}
	entries, err := s.fs.ReadDir(doneDir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			n.agents[e.Name()] = struct{}{}
		} else if log, ok := logNumber(path.Join(doneDir, e.Name())); ok {
			n.logs = append(n.logs, log)
		}
	}
	slices.Sort(n.logs)
	for _, log := range n.logs {
		if err := n.load(log); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// logNumber returns the number of the log that is called so, if one is.
func logNumber(name string) (uint32, bool) {
	var log uint32
	_, err := fmt.Sscanf(name, logName, &log)
	return log, err == nil && fmt.Sprintf(logName, log) == name
}

func (n *notes) load(log uint32) error {
	file, err := n.store.fs.OpenFile(fmt.Sprintf(logName, log), openRead, 0)
	if err != nil {
		return err
	}
	defer file.Close() // opened for reading: nothing to lose
	return scanNotes(io.NewSectionReader(file, 0, maxLog+maxSidecar), func(x note, at uint32) {
		n.index[n.key(x.Agent, x.ID)] = notePlace{log, at}
	})
}

// scanNotes calls found with every whole note in a log and where it begins, and
// passes over all else.
func scanNotes(log io.Reader, found func(x note, at uint32)) error {
	lines := bufio.NewReaderSize(log, maxSidecar)
	for at := 0; ; {
		line, err := lines.ReadSlice('\n') // a longer one falls into pieces that are no notes
		var x note
		if err == nil && json.Unmarshal(line, &x) == nil {
			found(x, uint32(at))
		}
		at += len(line)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

func (n *notes) key(agent, id string) uint64 {
	return maphash.Comparable(n.seed, [2]string{agent, id})
}

// find returns what was noted of f, nil when nothing is known.
func (n *notes) find(f filetransfer.File) (*record, error) {
	n.mu.Lock()
	place, known := n.index[n.key(f.Agent, f.ID)]
	n.mu.Unlock()
	var r *record
	var err error
	if known {
		r, err = n.read(place, f)
	} else if _, before := n.agents[f.Agent]; before {
		r, err = n.store.readRecord(donePath(f))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged) {
		return nil, nil
	}
	return r, err
}

func (n *notes) read(place notePlace, f filetransfer.File) (*record, error) {
	name := fmt.Sprintf(logName, place.log)
	file, err := n.store.fs.OpenFile(name, openRead, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading: nothing to lose
	x, err := noteAt(file, place.at)
	if err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", name, place.at, err)
	}
	if x.Agent != f.Agent || x.ID != f.ID {
		return nil, nil // another with the same hash
	}
	return &x.record, nil
}

// noteAt reads the note that begins at a place of a log.
func noteAt(log io.ReaderAt, at uint32) (note, error) {
	var x note
	line, err := bufio.NewReader(io.NewSectionReader(log, int64(at), maxSidecar)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return x, err
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return x, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return x, nil
}

// add notes what has been confirmed of f.
func (n *notes) add(f filetransfer.File, r record) error {
	line, err := json.Marshal(note{Agent: f.Agent, ID: f.ID, record: r})
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file != nil && (n.size >= maxLog || time.Since(n.begun) >= logAge) {
		if err := n.close(); err != nil {
			return err
		}
	}
	if n.file == nil {
		if err := n.begin(); err != nil {
			return err
		}
	}
	at := n.size
	if _, err := n.file.WriteAt(append(line, '\n'), at); err != nil {
		return err // the next note is written over what is there of this one
	}
	n.size += int64(len(line)) + 1
	n.index[n.key(f.Agent, f.ID)] = notePlace{n.logs[len(n.logs)-1], uint32(at)}
	return nil
}

// begin begins a log. The caller holds mu.
func (n *notes) begin() error {
	for len(n.index) >= maxNotes && len(n.logs) > 0 {
		if err := n.forget(n.logs[0]); err != nil {
			return err
		}
	}
	log := uint32(1)
	if len(n.logs) > 0 {
		log += n.logs[len(n.logs)-1]
	}
	file, err := n.store.createNew(fmt.Sprintf(logName, log))
	if err != nil {
		return err
	}
	n.logs = append(n.logs, log)
	n.file, n.size, n.begun = file, 0, time.Now()
	return nil
}

// forget removes a log. The caller holds mu.
func (n *notes) forget(log uint32) error {
	if err := n.store.drop(fmt.Sprintf(logName, log)); err != nil {
		return err
	}
	for key, place := range n.index {
		if place.log == log {
			delete(n.index, key)
		}
	}
	n.logs = slices.DeleteFunc(n.logs, func(l uint32) bool { return l == log })
	return nil
}

// sweep forgets the logs that were last changed before the time limit.
func (n *notes) sweep(limit time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, log := range slices.Clone(n.logs) {
		info, err := n.store.fs.Lstat(fmt.Sprintf(logName, log))
		gone := errors.Is(err, fs.ErrNotExist)
		switch {
		case err != nil && !gone:
			errs = append(errs, err)
		case gone || info.ModTime().Before(limit):
			if n.file != nil && log == n.logs[len(n.logs)-1] {
				errs = append(errs, n.close())
			}
			errs = append(errs, n.forget(log))
		}
	}
	return errors.Join(errs...)
}

// close ends the last log. The caller holds mu.
func (n *notes) close() error {
	if n.file == nil {
		return nil
	}
	err := n.file.Close()
	n.file = nil
	return err
}
