// Package dirstore keeps received files in a folder:
//
//	DIR/agent/camera/2026-11-22/name           whole, verified files
//	DIR/.lenscast/partial/agent/id.part        content that is on its way
//	DIR/.lenscast/partial/agent/id.json        how much of it is proven
//	DIR/.lenscast/done/00000001.log            what has been confirmed
//	DIR/.lenscast/lock                         held while a store is open
//
// Files are the only state. A power cut or a kill at any moment leaves
// something that the next Open understands; the rules that make this so:
//
//   - A partial file counts up to the offset in its sidecar, which is written
//     after the content before that offset is on the disk.
//   - A partial file without a sidecar counts nothing. It is removed and made
//     anew, never truncated: after a power cut it may be a second name of a
//     finished file.
//   - Before a file gets its final name its content is on the disk, whole and
//     verified, and its sidecar is gone for good.
//   - The file is moved to its final name, never in the place of another file.
//   - What is confirmed is on the disk with its name: file, folder, and the
//     folders above it.
package dirstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/quota"
	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

const (
	stateDir   = ".lenscast"
	partialDir = stateDir + "/partial"
	doneDir    = stateDir + "/done"
	lockFile   = stateDir + "/lock"

	dirPerm  = 0o750
	filePerm = 0o640

	// maxSidecar bounds what is read of a sidecar: the names in it are short.
	maxSidecar = 8 << 10
	// maxNumber is how many names are tried for a file whose own is taken.
	maxNumber = 10_000
	// fullRetry is what a sender should wait when there is no room.
	fullRetry = 5 * time.Minute
)

// Params configure a [Store].
type Params struct {
	// KeepFree is the room in bytes that must stay free on the disk.
	KeepFree int64
	// ExpirePartial is how long an unfinished file is kept after its last
	// checkpoint, default 7 days.
	ExpirePartial time.Duration
	// ExpireDone is how long it is remembered what was confirmed, default
	// 30 days. After that a file sent again is recognised by its content.
	ExpireDone time.Duration

	Log *slog.Logger // default: none
}

// Store is a folder of received files. It is a [filetransfer.Store].
type Store struct {
	p     Params
	fs    FS
	syncs *dirSyncs

	mu    sync.Mutex
	dirs  map[string]struct{} // known to be durable
	quota *quota.Ledger
	twins *twinIndex
	notes *notes
}

var _ filetransfer.Store = (*Store)(nil)

// New returns the store on fsys, which nothing else may use.
func New(fsys FS, p Params) (*Store, error) {
	if p.ExpirePartial <= 0 {
		p.ExpirePartial = 7 * 24 * time.Hour
	}
	if p.ExpireDone <= 0 {
		p.ExpireDone = 30 * 24 * time.Hour
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		p: p, fs: fsys, syncs: newDirSyncs(),
		dirs:  make(map[string]struct{}),
		twins: newTwinIndex(),
	}
	s.quota = quota.New(func(_ context.Context, agent string) (int64, error) { return s.count(agent) })
	for _, dir := range []string{partialDir, doneDir} {
		if err := s.ensureDir(dir); err != nil {
			return nil, fmt.Errorf("make %s: %w", dir, err)
		}
	}
	var err error
	if s.notes, err = openNotes(s); err != nil {
		return nil, fmt.Errorf("read what has been confirmed: %w", err)
	}
	return s, nil
}

// Close closes what the store has open. Nothing may use it any more.
func (s *Store) Close() error {
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	return s.notes.close()
}

// record is a sidecar: of a partial file, or of a confirmed one.
type record struct {
	Name     string               `json:"name"`
	Camera   string               `json:"camera,omitempty"`
	Size     int64                `json:"size"`
	Modified time.Time            `json:"modified"`
	SHA256   *filetransfer.Digest `json:"sha256,omitempty"`

	Offset int64  `json:"offset,omitempty"` // partial: content that is proven
	Hash   []byte `json:"hash,omitempty"`   // partial: state of the SHA-256 there
	Final  string `json:"final,omitempty"`  // confirmed: where it is
}

func newRecord(f filetransfer.File) record {
	return record{Name: f.Name, Camera: f.Camera, Size: f.Size, Modified: f.Modified, SHA256: f.SHA256}
}

// of tells whether the record is of the same file as f.
func (r *record) of(f filetransfer.File) bool {
	if r.SHA256 != nil && f.SHA256 != nil && *r.SHA256 != *f.SHA256 {
		return false
	}
	return r.Name == f.Name && r.Camera == f.Camera && r.Size == f.Size && r.Modified.Equal(f.Modified)
}

func partialPath(f filetransfer.File) string {
	return path.Join(partialDir, f.Agent, f.ID+".part")
}

func sidecarPath(f filetransfer.File) string {
	return path.Join(partialDir, f.Agent, f.ID+".json")
}

// donePath is where it was noted before there were logs that f is confirmed.
func donePath(f filetransfer.File) string {
	return path.Join(doneDir, f.Agent, f.ID+".json")
}

// folder returns where f belongs.
func folder(f filetransfer.File) string {
	return path.Join(f.Agent, f.Camera, f.Modified.UTC().Format(time.DateOnly))
}

// Find returns the receipt of f if it has been confirmed and is still where it
// was put, with its size.
func (s *Store) Find(_ context.Context, f filetransfer.File) (filetransfer.Receipt, bool, error) {
	none := filetransfer.Receipt{}
	r, err := s.notes.find(f)
	if err != nil {
		return none, false, err
	}
	if r == nil || !r.of(f) || r.SHA256 == nil || !isLocal(r.Final) {
		return none, false, nil
	}
	info, err := s.fs.Lstat(r.Final)
	if errors.Is(err, fs.ErrNotExist) {
		return none, false, nil
	}
	if err != nil {
		return none, false, err
	}
	if !info.Mode().IsRegular() || info.Size() != r.Size {
		return none, false, nil
	}
	return filetransfer.Receipt{Name: r.Final, SHA256: *r.SHA256}, true, nil
}

// Open begins to take f, or goes on where its last checkpoint was.
func (s *Store) Open(ctx context.Context, f filetransfer.File, limit int64) (filetransfer.Incoming, error) {
	if err := s.checkFree(max(f.Size, 0)); err != nil {
		return nil, err
	}
	if err := s.quota.Reserve(ctx, f.Agent, max(f.Size, 0), limit); err != nil {
		return nil, err
	}
	in := &incoming{store: s, f: f}
	if err := in.open(); err != nil {
		s.quota.Release(f.Agent, max(f.Size, 0))
		return nil, storageError(err)
	}
	return in, nil
}

// errDamaged tells that a sidecar can't be read: it was cut short.
var errDamaged = errors.New("damaged sidecar")

func (s *Store) readRecord(name string) (*record, error) {
	file, err := s.fs.OpenFile(name, openRead, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close() // opened for reading: nothing to lose
	raw, err := io.ReadAll(io.NewSectionReader(file, 0, maxSidecar))
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("%w %s: %w", errDamaged, name, err)
	}
	return &r, nil
}

// drop removes the file name, if it is there.
func (s *Store) drop(name string) error {
	if err := s.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// createNew makes the file name. What is there by that name is not written, it
// may have another, but gives up this one.
func (s *Store) createNew(name string) (File, error) {
	file, err := s.fs.OpenFile(name, openCreate, filePerm)
	switch {
	case errors.Is(err, fs.ErrExist):
		err = s.drop(name)
	case errors.Is(err, fs.ErrNotExist):
		s.forgetDirs()
		err = s.ensureDir(path.Dir(name))
	default:
		return file, err
	}
	if err != nil {
		return nil, err
	}
	return s.fs.OpenFile(name, openCreate, filePerm)
}

// replaceFile makes data the content of the file name, on the disk: after a
// power cut it has the old content or the new.
func (s *Store) replaceFile(name string, data []byte) error {
	fresh := name + ".new"
	file, err := s.createNew(fresh)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, 0)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(fresh, name); err != nil {
		return err
	}
	return s.syncDir(path.Dir(name))
}

func (s *Store) syncDir(dir string) error { return s.syncs.sync(s.fs, dir) }

// ensureDir makes the folder dir and those above it, durably. One that it has
// seen is taken to be there still, until forgetDirs.
func (s *Store) ensureDir(dir string) error {
	s.mu.Lock()
	_, known := s.dirs[dir]
	s.mu.Unlock()
	if known || dir == "." {
		return nil
	}
	if err := s.ensureDir(path.Dir(dir)); err != nil {
		return err
	}
	if err := s.fs.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := s.fs.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is there and not a folder", dir)
	}
	// Also when it was there: who made it may have been cut short here.
	if err := s.fs.SyncDir(path.Dir(dir)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.dirs) >= maxKnownDirs {
		clear(s.dirs)
	}
	s.dirs[dir] = struct{}{}
	return nil
}

// forgetDirs is called when a folder that was known is gone: people move them.
func (s *Store) forgetDirs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.dirs)
}

// maxKnownDirs bounds the memory of folders; forgetting costs a sync each.
const maxKnownDirs = 4096

// place moves the verified partial file of f to a name of its own, and returns
// that. When a file of the same content has the name already, that one is it
// and the partial file is removed.
func (s *Store) place(ctx context.Context, f filetransfer.File, size int64, sum filetransfer.Digest) (string, error) {
	dir := folder(f)
	for n := 1; n <= maxNumber; n++ {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		name := f.Name
		if n > 1 {
			name = safename.Numbered(f.Name, n)
		}
		final := path.Join(dir, name)
		taken, err := s.twins.claim(s.fs, dir, name)
		if err != nil {
			return "", err
		}
		if taken {
			continue // its twin is there: another file on a disk that folds case
		}
		err = s.fs.Move(partialPath(f), final)
		if errors.Is(err, fs.ErrNotExist) {
			s.forgetDirs()
			if err := s.ensureDir(dir); err != nil {
				return "", err
			}
			err = s.fs.Move(partialPath(f), final)
		}
		if err == nil {
			return final, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		same, err := s.holds(ctx, final, size, sum)
		if err != nil {
			return "", err
		}
		if same {
			return final, s.drop(partialPath(f))
		}
	}
	return "", fmt.Errorf("all of %d names like %s are taken", maxNumber, f.Name)
}

// holds tells whether the file name has the content with the digest sum. It
// syncs it: whoever wrote it may not have.
func (s *Store) holds(ctx context.Context, name string, size int64, sum filetransfer.Digest) (bool, error) {
	info, err := s.fs.Lstat(name)
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return false, nil
	}
	file, err := s.fs.OpenFile(name, openRead, 0)
	if err != nil {
		return false, err
	}
	defer file.Close() // opened for reading: nothing to lose
	h, buf := sha256.New(), make([]byte, 128<<10)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := file.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if n == 0 && err != nil {
			return false, err
		}
		h.Write(buf[:n])
		at += int64(n)
	}
	if filetransfer.Digest(h.Sum(nil)) != sum {
		return false, nil
	}
	return true, file.Sync()
}

// storageError turns errors that a sender should know apart into what it is
// told.
func storageError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &filetransfer.Error{Code: filetransfer.CodeFull, Reason: "the receiver's disk is full", RetryAfter: fullRetry}
	}
	return err
}

func isLocal(name string) bool { return fs.ValidPath(name) && name != "." }
