package dirstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// allocateAbove is the size from which on room is allocated early, so that a
// full disk shows before an hour of sending. Below it costs more than it tells.
const allocateAbove = 1 << 20

// incoming is a file on its way, see [filetransfer.Incoming].
type incoming struct {
	store *Store
	f     filetransfer.File
	file  File

	start   int64 // offset at open
	state   []byte
	offset  int64 // written
	sidecar bool  // there is one on the disk that is of this file
	stale   bool  // there is one that is not
	placed  bool  // the partial name is gone
}

func (in *incoming) open() error {
	if err := in.store.ensureDir(path.Dir(partialPath(in.f))); err != nil {
		return fmt.Errorf("make folder of %s: %w", in.f.Agent, err)
	}
	if err := in.reopen(); err != nil {
		return err
	}
	if in.file == nil {
		if err := in.create(); err != nil {
			return err
		}
	}
	if in.f.Size >= allocateAbove {
		if err := in.file.Allocate(in.f.Size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return errors.Join(fmt.Errorf("allocate %d bytes: %w", in.f.Size, err), in.file.Close())
		}
	}
	return nil
}

// reopen goes on with the partial file, if there is one that can be trusted.
func (in *incoming) reopen() error {
	r, err := in.store.readRecord(sidecarPath(in.f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	in.stale = true // until it has proved itself
	if err != nil && !errors.Is(err, errDamaged) {
		return err
	}
	if !trusted(r, in.f) {
		return nil
	}
	info, err := in.store.fs.Lstat(partialPath(in.f))
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() < r.Offset) {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := in.store.fs.OpenFile(partialPath(in.f), openWrite, 0)
	if err != nil {
		return err
	}
	if err := file.Truncate(r.Offset); err != nil { // what follows is not proven
		return errors.Join(err, file.Close())
	}
	in.file, in.start, in.offset, in.state = file, r.Offset, r.Offset, r.Hash
	in.sidecar, in.stale = true, false
	return nil
}

// trusted tells whether the sidecar r, nil when it is damaged, is of f and may
// be gone on from.
func trusted(r *record, f filetransfer.File) bool {
	return r != nil && r.of(f) && r.Offset > 0 && r.Offset <= f.Size && filetransfer.CheckHashState(r.Offset, r.Hash) == nil
}

// create begins anew, with a file that has no other name.
func (in *incoming) create() error {
	if err := in.dropSidecar(); err != nil {
		return err
	}
	file, err := in.store.createNew(partialPath(in.f))
	if err != nil {
		return err
	}
	in.file = file
	return nil
}

// dropSidecar removes what is on the disk of a sidecar, durably.
func (in *incoming) dropSidecar() error {
	if !in.sidecar && !in.stale {
		return nil
	}
	name := sidecarPath(in.f)
	if err := in.store.drop(name); err != nil {
		return fmt.Errorf("remove sidecar: %w", err)
	}
	if err := in.store.syncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("remove sidecar: %w", err)
	}
	in.sidecar, in.stale = false, false
	return nil
}

func (in *incoming) Resume() (int64, []byte) { return in.start, in.state }

func (in *incoming) Write(p []byte) (int, error) {
	n, err := in.file.WriteAt(p, in.offset)
	in.offset += int64(n)
	return n, storageError(err)
}

func (in *incoming) Checkpoint(offset int64, state []byte) error {
	if err := in.store.checkFree(0); err != nil {
		return err
	}
	if err := in.file.Sync(); err != nil {
		return storageError(fmt.Errorf("sync partial file: %w", err))
	}
	r := newRecord(in.f)
	r.Offset, r.Hash = offset, state
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	in.stale = true // there may be one, whatever happens below
	if err := in.store.replaceFile(sidecarPath(in.f), raw); err != nil {
		return storageError(fmt.Errorf("write sidecar: %w", err))
	}
	in.sidecar = true
	return nil
}

func (in *incoming) Commit(ctx context.Context, sum filetransfer.Digest) (filetransfer.Receipt, error) {
	final, err := in.commit(ctx, sum)
	if err != nil {
		return filetransfer.Receipt{}, storageError(err)
	}
	return filetransfer.Receipt{Name: final, SHA256: sum}, nil
}

func (in *incoming) commit(ctx context.Context, sum filetransfer.Digest) (string, error) {
	s := in.store
	if err := in.file.Sync(); err != nil {
		return "", fmt.Errorf("sync partial file: %w", err)
	}
	if err := s.ensureDir(folder(in.f)); err != nil { // before anything is given up
		return "", fmt.Errorf("make folder of %s: %w", in.f.Name, err)
	}
	// From here on the partial name may be another of the finished file, after a
	// power cut say, so nobody may go on writing it.
	if err := in.dropSidecar(); err != nil {
		return "", err
	}
	final, err := s.place(ctx, in.f, in.offset, sum)
	if err != nil {
		return "", fmt.Errorf("give %s its name: %w", in.f.Name, err)
	}
	in.placed = true
	// Not before: a partial file that looks old is swept away. And a folder that
	// files are moved to is synced in any case, see openFolders.
	err = in.file.SetModified(in.f.Modified)
	if err := errors.Join(err, s.syncDir(path.Dir(final))); err != nil {
		return "", fmt.Errorf("set time of %s and sync its folder: %w", final, err)
	}
	s.quota.Add(in.f.Agent, in.offset)
	if err := in.remember(final, sum); err != nil {
		return "", fmt.Errorf("note %s as confirmed: %w", final, err)
	}
	return final, nil
}

// remember notes what has been confirmed. A power cut may take the note: the
// sender would send the file again, and place would find it here.
func (in *incoming) remember(final string, sum filetransfer.Digest) error {
	if in.f.Size < 0 {
		return nil // the legacy exchange: nobody can ask for it
	}
	r := newRecord(in.f)
	r.SHA256, r.Final = &sum, final
	return in.store.notes.add(in.f, r)
}

func (in *incoming) Discard() error {
	if err := in.dropSidecar(); err != nil {
		return err
	}
	in.placed = true
	return in.store.drop(partialPath(in.f))
}

// Close closes the partial file. Without a sidecar nothing can go on with it.
func (in *incoming) Close() error {
	in.store.quota.Release(in.f.Agent, max(in.f.Size, 0))
	err := in.file.Close()
	if !in.sidecar && !in.stale && !in.placed {
		err = errors.Join(err, in.store.drop(partialPath(in.f)))
	}
	return err
}
