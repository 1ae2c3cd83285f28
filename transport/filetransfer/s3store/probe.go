package s3store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"strings"
)

// reach finds out whether objects can be written here, read and removed, and
// whether the store heeds conditions. Without these a file could take another's
// place.
func (b *bucket) reach(ctx context.Context) error {
	name := path.Join(stateDir, "probe-"+nonce())
	etag, err := b.put(ctx, name, []byte("{}"), "")
	if err != nil {
		return explain(err)
	}
	_, _, err = b.get(ctx, name, maxRecord)
	if err == nil {
		_, err = b.put(ctx, name, []byte("{}\n"), "")
		if err = refusal("If-None-Match", err); err == nil {
			_, err = b.put(ctx, name, []byte("{}\n"), strings.Repeat("0", len(etag)))
			err = refusal("If-Match", err)
		}
	}
	return explain(errors.Join(err, b.remove(ctx, name)))
}

// refusal returns nil when err is the refusal of a condition that does not hold.
func refusal(condition string, err error) error {
	switch {
	case errors.Is(err, errCondition):
		return nil
	case err == nil:
		return fmt.Errorf("the object store takes no notice of %s, without which one file could replace another: use a store that does, as Amazon S3 and MinIO do", condition)
	default:
		return err
	}
}

// keepsChecksums finds out whether the store verifies a checksum that follows
// the content, and tells that of a whole object made of parts.
func (b *bucket) keepsChecksums(ctx context.Context) bool {
	name := path.Join(stateDir, "probe-"+nonce())
	content := []byte("lenscast")
	upload, err := b.begin(ctx, name, map[string]string{markKey: "probe"})
	if err != nil {
		return false
	}
	// What is left of a store that can't do this is swept away later.
	defer func() { _ = errors.Join(b.abort(ctx, name, upload), b.remove(ctx, name)) }()
	crc := crc32.Checksum(content, castagnoli)
	p, err := b.putPart(ctx, name, upload, 1, bytes.NewReader(content), int64(len(content)))
	if err != nil || b.complete(ctx, name, upload, []part{p}, crc) != nil {
		return false
	}
	o, err := b.head(ctx, name)
	return err == nil && o.size == int64(len(content)) && o.checksum == encodeCRC(crc)
}
