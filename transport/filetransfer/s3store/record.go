package s3store

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// maxRecord bounds what is read of a record: the names in it are short.
const maxRecord = 16 << 10

// record is an object of JSON that says how far a file has got. It goes through
//
//	(none) ──► uploading ──► committing ──► (none), and one in done/
//	              │  ▲ └─ next part, another receiver
//	              ▼  └────────────┘
//	           (none): thrown away, expired
type record struct {
	Name     string               `json:"name"`
	Camera   string               `json:"camera,omitempty"`
	Size     int64                `json:"size"`
	Modified time.Time            `json:"modified"`
	SHA256   *filetransfer.Digest `json:"sha256,omitempty"`
	Final    string               `json:"final"` // where it is, or will be

	// Of a partial file only.
	Upload string               `json:"upload,omitempty"` // the store's id of the multipart upload
	Mark   string               `json:"mark,omitempty"`   // metadata of the object that comes of it
	Owner  string               `json:"owner,omitempty"`  // who has written this: differs each time a file is opened
	Step   int64                `json:"step,omitempty"`   // size of every part but the last
	Offset int64                `json:"offset,omitempty"` // content that is proven
	Hash   []byte               `json:"hash,omitempty"`   // state of the SHA-256 there
	CRC    uint32               `json:"crc32c,omitempty"` // of the content before Offset
	Parts  []byte               `json:"parts,omitempty"`  // digest of their ETags
	Commit *filetransfer.Digest `json:"commit,omitempty"` // the content is whole and has this digest
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

// trusted tells whether the record of a partial file is of f and may be gone on
// from.
func (r *record) trusted(f filetransfer.File) bool {
	if !r.of(f) || r.Upload == "" || r.Mark == "" || !fs.ValidPath(r.Final) || r.Step <= 0 {
		return false
	}
	if r.Offset < 0 || r.Offset > f.Size || r.Offset%r.Step != 0 && r.Offset != f.Size {
		return false
	}
	return r.Commit != nil || r.Offset == 0 || filetransfer.CheckHashState(r.Offset, r.Hash) == nil
}

// digestParts returns what a record keeps of the parts of an upload: ten
// thousand ETags in each of ten thousand records would be much to write.
func digestParts(parts []part) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%s\n", p.ETag)
	}
	return h.Sum(nil)[:16]
}

// provenParts returns the parts that the record r speaks of. The error wraps
// [fs.ErrNotExist] when they are not there any more, or are others.
func (b *bucket) provenParts(ctx context.Context, r *record) ([]part, error) {
	parts, err := b.parts(ctx, r.Final, r.Upload, int((r.Offset+r.Step-1)/r.Step))
	if err == nil && r.Offset > 0 && !bytes.Equal(digestParts(parts), r.Parts) {
		err = fmt.Errorf("%w: the parts of %s as they were", fs.ErrNotExist, r.Final)
	}
	return parts, err
}

// nonce returns a text that nobody else has.
func nonce() string { return rand.Text() }

// readRecord returns the record with the name, and its ETag. One that can't be
// read counts as an empty one.
func (b *bucket) readRecord(ctx context.Context, name string) (*record, string, error) {
	raw, etag, err := b.get(ctx, name, maxRecord)
	if err != nil {
		return nil, "", err
	}
	var r record
	if json.Unmarshal(raw, &r) == nil {
		return &r, etag, nil
	}
	return new(record), etag, nil
}

// errLost tells that somebody else has replaced the record.
var errLost = &filetransfer.Error{Code: filetransfer.CodeTaken, Reason: "another receiver has gone on with this file"}

// swapRecord writes a record in the place of the one with the ETag, or of none
// when that is empty, and returns the new ETag. It returns errLost when another
// is there.
func (b *bucket) swapRecord(ctx context.Context, name, etag string, r *record) (string, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	fresh, err := b.put(ctx, name, raw, etag)
	if !errors.Is(err, errCondition) && !errors.Is(err, fs.ErrNotExist) {
		return fresh, err
	}
	// It may be this very record: written, but the answer was lost.
	there, etag, err := b.get(ctx, name, maxRecord)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(there, raw) {
		return "", errLost
	}
	return etag, err
}
