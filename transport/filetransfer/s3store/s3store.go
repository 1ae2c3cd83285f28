// Package s3store keeps received files in a bucket of an object store that
// speaks S3, below a prefix:
//
//	agent/camera/2026-11-22/name           whole, verified files
//	.lenscast/partial/agent/id.json        how much of a file is proven
//	.lenscast/done/agent/id.json           what has been confirmed
//
// Nothing is kept anywhere else, so several receivers may share a bucket, and
// what one has begun another goes on with. The rules that make this safe:
//
//   - A large file is a multipart upload, which is invisible until it is
//     completed. It is resumed at the end of a part: the record in partial/ has
//     the upload's id, the state of the hash there, and a digest of the ETags of
//     the parts, which the store is asked for again.
//   - A record is only replaced by who has read it last (If-Match). Opening one
//     replaces it, so that another receiver still at work on the file fails at
//     its next step instead of confirming anything.
//   - Before an upload is completed the record says so. Whoever finds it
//     completes the upload instead of asking for the file again.
//   - An object gets its name only if the name is free (If-None-Match).
//   - A file of at most 256 KiB is a single PUT after its digest was compared.
//   - What is confirmed was asked for again after it was completed, and has a
//     record in done/.
//
// Larger content is not kept: it is passed on as it comes, and a part that fails
// is asked for again from the sender. So a transfer takes about 1.2 MB whatever
// the size of its parts (measured with 64 at once, to MinIO), most of it buffers
// of the library and what the garbage collector has not got to.
package s3store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
	"github.com/lenscast/lenscast/transport/filetransfer/quota"
	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

const (
	stateDir   = ".lenscast"
	partialDir = stateDir + "/partial"
	doneDir    = stateDir + "/done"

	// defaultPart is the size of parts, and so the most that a cut costs.
	defaultPart = 16 << 20
	// maxSmall is the size of files that are sent at once.
	maxSmall = 256 << 10
	// maxParts is the most parts that an upload may have.
	maxParts = 10_000
	// maxNumber is how many names are tried for a file whose own is taken.
	maxNumber = 10_000
)

// Params configure a [Store]. Bucket is needed, and Keys in general.
type Params struct {
	Bucket string
	Prefix string // below which everything is kept, without "/" at its ends

	// Endpoint is the URL of the store, default https://s3.amazonaws.com.
	// Other hosts than Amazon's are asked with the bucket in the path.
	Endpoint string
	Region   string
	Keys     Keys
	// Transport carries the requests, nil: one for this endpoint.
	Transport http.RoundTripper

	// PartBytes is the size of the parts of an upload, and so the most that
	// a cut costs; default 16 MiB. Stores want 5 MiB at least. Files of
	// more than 10,000 parts have larger ones.
	PartBytes int64
	// ExpirePartial is how long an unfinished file is kept after its last
	// part, default 7 days.
	ExpirePartial time.Duration
	// ExpireDone is how long it is remembered what was confirmed, default
	// 30 days. After that a file sent again is recognised by its content.
	ExpireDone time.Duration

	Log *slog.Logger // default: none
}

// Store is a bucket of received files. It is a [filetransfer.Store].
type Store struct {
	p     Params
	b     *bucket
	quota *quota.Ledger
}

var _ filetransfer.Store = (*Store)(nil)

// New returns the store in a bucket after it has tried whether objects can be
// written there, and whether the store keeps the conditions and checksums that
// it is given.
func New(ctx context.Context, p Params) (*Store, error) {
	p.Endpoint = cmp.Or(p.Endpoint, "https://s3.amazonaws.com")
	p.PartBytes = cmp.Or(p.PartBytes, defaultPart)
	p.ExpirePartial = cmp.Or(p.ExpirePartial, 7*24*time.Hour)
	p.ExpireDone = cmp.Or(p.ExpireDone, 30*24*time.Hour)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	b, err := openBucket(ctx, &p)
	if err != nil {
		return nil, err
	}
	s := &Store{p: p, b: b}
	s.quota = quota.New(s.count)
	return s, nil
}

// count returns the bytes that an agent keeps.
func (s *Store) count(ctx context.Context, agent string) (int64, error) {
	var sum int64
	err := s.b.list(ctx, agent+"/", func(o object) error {
		sum += o.size
		return nil
	})
	return sum, explain(err)
}

func partialKey(f filetransfer.File) string { return path.Join(partialDir, f.Agent, f.ID+".json") }

func doneKey(f filetransfer.File) string { return path.Join(doneDir, f.Agent, f.ID+".json") }

// folder returns where f belongs.
func folder(f filetransfer.File) string {
	return path.Join(f.Agent, f.Camera, f.Modified.UTC().Format(time.DateOnly))
}

// Find returns the receipt of f if it has been confirmed and is still where it
// was put, with its size. An upload that was complete but for the last step is
// completed.
func (s *Store) Find(ctx context.Context, f filetransfer.File) (filetransfer.Receipt, bool, error) {
	none := filetransfer.Receipt{}
	r, _, err := s.b.readRecord(ctx, doneKey(f))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.finishOther(ctx, f)
	case err != nil:
		return none, false, explain(err)
	case !r.of(f) || r.SHA256 == nil || !fs.ValidPath(r.Final):
		return none, false, nil
	}
	o, err := s.b.head(ctx, r.Final)
	if errors.Is(err, fs.ErrNotExist) || err == nil && o.size != r.Size {
		return none, false, nil
	}
	if err != nil {
		return none, false, explain(err)
	}
	return filetransfer.Receipt{Name: r.Final, SHA256: *r.SHA256}, true, nil
}

// finishOther goes on where a receiver was cut off between deciding to complete
// the upload of f and confirming it.
func (s *Store) finishOther(ctx context.Context, f filetransfer.File) (filetransfer.Receipt, bool, error) {
	none := filetransfer.Receipt{}
	r, etag, err := s.b.readRecord(ctx, partialKey(f))
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!r.trusted(f) || r.Commit == nil) {
		return none, false, nil
	}
	if err != nil {
		return none, false, explain(err)
	}
	in := &incoming{store: s, f: f, ctx: context.WithoutCancel(ctx), record: *r, etag: etag}
	in.cancel = func() {}
	receipt, err := in.complete(ctx)
	return receipt, err == nil, explain(err)
}

// Open begins to take f, or goes on after the last part that was proven, by
// whichever receiver.
func (s *Store) Open(ctx context.Context, f filetransfer.File, limit int64) (filetransfer.Incoming, error) {
	if f.Size < 0 {
		return nil, &filetransfer.Error{Code: filetransfer.CodeStorage, Reason: "the object store needs to know a file's size beforehand"}
	}
	if err := s.quota.Reserve(ctx, f.Agent, f.Size, limit); err != nil {
		return nil, err
	}
	in := &incoming{store: s, f: f}
	in.ctx, in.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := in.open(ctx); err != nil {
		in.cancel()
		s.quota.Release(f.Agent, f.Size)
		return nil, explain(err)
	}
	return in, nil
}

// step returns the size of the parts of a file of size bytes.
func (s *Store) step(size int64) int64 {
	step := s.p.PartBytes
	for step*maxParts < size {
		step *= 2
	}
	return step
}

// freeName returns the first name for f that nothing has, and those before it
// that objects of the same size have: they may be the same file.
func (s *Store) freeName(ctx context.Context, f filetransfer.File) (free string, alike []string, err error) {
	for n := 1; n <= maxNumber; n++ {
		name := path.Join(folder(f), f.Name)
		if n > 1 {
			name = path.Join(folder(f), safename.Numbered(f.Name, n))
		}
		o, err := s.b.head(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, alike, nil
		}
		if err != nil {
			return "", nil, err
		}
		if o.size == f.Size {
			alike = append(alike, name)
		}
	}
	return "", nil, fmt.Errorf("all of %d names like %s are taken", maxNumber, f.Name)
}
