package s3store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/minio/minio-go/v7"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// errTaken tells that the name was free when the file began to come, and is
// not any more. The next attempt finds another.
var errTaken = &filetransfer.Error{Code: filetransfer.CodeBusy, Reason: "another file has taken the name meanwhile, this one begins anew"}

// Commit makes the object of what has been sent, unless there is one like it.
func (in *incoming) Commit(ctx context.Context, sum filetransfer.Digest) (filetransfer.Receipt, error) {
	// What has been verified is worth finishing also when the receiver stops.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	receipt, err := in.commit(ctx, sum)
	return receipt, explain(err)
}

func (in *incoming) commit(ctx context.Context, sum filetransfer.Digest) (filetransfer.Receipt, error) {
	for _, name := range in.alike {
		same, err := in.store.holds(ctx, name, sum)
		if err != nil {
			return filetransfer.Receipt{}, err
		}
		if same {
			if err := in.Discard(); err != nil {
				return filetransfer.Receipt{}, err
			}
			return in.remember(ctx, name, sum)
		}
	}
	if in.whole {
		return in.commitWhole(ctx, sum)
	}
	if err := in.prove(in.f.Size); err != nil {
		return filetransfer.Receipt{}, err
	}
	in.record.Commit, in.record.Hash = &sum, nil
	if err := in.write(ctx); err != nil {
		return filetransfer.Receipt{}, err
	}
	return in.complete(ctx)
}

// commitWhole sends a small file.
func (in *incoming) commitWhole(ctx context.Context, sum filetransfer.Digest) (filetransfer.Receipt, error) {
	metadata := in.metadata()
	metadata[digestKey] = sum.String()
	err := in.store.b.putNew(ctx, in.record.Final, in.small, metadata)
	in.record.CRC = in.crc
	if err := in.verify(ctx, err); err != nil {
		return filetransfer.Receipt{}, err
	}
	in.store.quota.Add(in.f.Agent, in.f.Size)
	return in.remember(ctx, in.record.Final, sum)
}

// complete makes the object of the parts that the record speaks of. It throws
// all away when that can never succeed.
func (in *incoming) complete(ctx context.Context) (filetransfer.Receipt, error) {
	b, r := in.store.b, &in.record
	err := in.verify(ctx, nil) // it may be there: the last answer was lost
	if errors.Is(err, fs.ErrNotExist) {
		var parts []part
		if parts, err = b.provenParts(ctx, r); err == nil {
			err = b.complete(ctx, r.Final, r.Upload, parts, r.CRC)
		}
		err = in.verify(ctx, err)
	}
	if err != nil {
		if hopeless(err) {
			err = errors.Join(err, in.Discard())
		}
		return filetransfer.Receipt{}, err
	}
	in.store.quota.Add(in.f.Agent, in.f.Size)
	return in.remember(ctx, r.Final, *r.Commit)
}

// verify asks the store for the object that should have come of the upload,
// which ended with err. An error counts for nothing if the object is there:
// then only the answer was lost.
func (in *incoming) verify(ctx context.Context, err error) error {
	o, herr := in.store.b.head(ctx, in.record.Final)
	if herr == nil && o.mark != in.record.Mark {
		return errTaken
	}
	if herr != nil {
		if err == nil {
			err = herr
		}
		return err
	}
	if want := encodeCRC(in.record.CRC); o.size != in.f.Size || o.checksum != "" && o.checksum != want {
		return fmt.Errorf("%s has %d bytes and the CRC-32C %q in the store, want %d and %q: the store is damaged",
			o.name, o.size, o.checksum, in.f.Size, want)
	}
	return nil
}

// hopeless tells whether completing an upload fails every time.
func hopeless(err error) bool {
	if errors.Is(err, errTaken) || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	var answer minio.ErrorResponse
	_ = errors.As(err, &answer) // without it the code is empty
	switch answer.Code {
	case minio.InvalidPart, minio.InvalidPartOrder, "BadDigest", "XAmzContentChecksumMismatch", "EntityTooSmall":
		return true
	default:
		return false
	}
}

// remember notes that the file is the object name, and drops the record of the
// upload.
func (in *incoming) remember(ctx context.Context, name string, sum filetransfer.Digest) (filetransfer.Receipt, error) {
	r := newRecord(in.f)
	r.SHA256, r.Final = &sum, name
	raw, err := json.Marshal(r)
	if err == nil {
		err = in.store.b.replace(ctx, doneKey(in.f), raw)
	}
	if err == nil && in.etag != "" {
		err = in.store.b.remove(ctx, partialKey(in.f))
	}
	if err != nil {
		return filetransfer.Receipt{}, fmt.Errorf("note %s as confirmed: %w", name, err)
	}
	return filetransfer.Receipt{Name: name, SHA256: sum}, nil
}

// holds tells whether the object name has the content with the digest sum.
func (s *Store) holds(ctx context.Context, name string, sum filetransfer.Digest) (bool, error) {
	o, err := s.b.head(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if o.digest != "" {
		return o.digest == sum.String(), nil
	}
	body, _, _, err := s.b.core.GetObject(ctx, s.b.name, s.b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return false, wrap("read", name, err)
	}
	defer body.Close() // what counts was read
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return false, wrap("read", name, err)
	}
	return filetransfer.Digest(h.Sum(nil)) == sum, nil
}
