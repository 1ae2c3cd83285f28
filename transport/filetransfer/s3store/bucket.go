package s3store

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // the protocol's checksum of small bodies, no secret depends on it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// attempts is how often a request that can be repeated is tried.
	attempts = 4

	checksumHeader    = "X-Amz-Checksum-Crc32c"
	checksumAlgorithm = "X-Amz-Checksum-Algorithm"
	checksumType      = "X-Amz-Checksum-Type"
	fullObject        = "FULL_OBJECT"

	// markKey is the metadata that tells which upload an object came of.
	markKey = "Lenscast-Upload"
	// digestKey is the metadata with the digest of the content.
	digestKey = "Lenscast-Sha256"
	// modifiedKey is the metadata with the time of the last change, in
	// seconds since 1970; rclone and s3fs show it.
	modifiedKey = "Mtime"
)

// bucket is a bucket's part below a prefix. Names are below that.
type bucket struct {
	core      *minio.Core
	name      string
	prefix    string // empty, or ends with "/"
	checksums bool   // the store computes and keeps CRC-32C
}

// object is what the store says of one.
type object struct {
	name     string // below the prefix
	size     int64
	etag     string
	modified time.Time
	mark     string // metadata, see markKey
	digest   string // metadata, see digestKey
	checksum string // CRC-32C of the whole in base64, empty when not known
}

// part is a part of a multipart upload.
type part = minio.CompletePart

func openBucket(ctx context.Context, p *Params) (*bucket, error) {
	endpoint, err := url.Parse(p.Endpoint)
	if err != nil || endpoint.Host == "" || strings.Trim(endpoint.Path, "/") != "" || endpoint.Scheme != "http" && endpoint.Scheme != "https" {
		return nil, fmt.Errorf("the store's endpoint %q is not like https://host:port", p.Endpoint)
	}
	if p.Prefix != "" && (!fs.ValidPath(p.Prefix) || p.Prefix == ".") {
		return nil, fmt.Errorf("the prefix %q is not a path", p.Prefix)
	}
	if p.Transport == nil {
		p.Transport = newTransport(endpoint.Scheme == "https")
	}
	options := &minio.Options{
		Creds:           credentials.NewStaticV4(p.Keys.Access, p.Keys.Secret, p.Keys.Session),
		Secure:          endpoint.Scheme == "https",
		Region:          p.Region,
		Transport:       p.Transport,
		MaxRetries:      attempts,
		TrailingHeaders: true,
	}
	b := &bucket{name: p.Bucket, checksums: true}
	if p.Prefix != "" {
		b.prefix = p.Prefix + "/"
	}
	if b.core, err = minio.NewCore(endpoint.Host, options); err != nil {
		return nil, fmt.Errorf("use the store at %s: %w", p.Endpoint, err)
	}
	if err := b.reach(ctx); err != nil {
		return nil, fmt.Errorf("use the bucket %s: %w", p.Bucket, err)
	}
	if b.checksums = b.keepsChecksums(ctx); b.checksums {
		return b, nil
	}
	options.TrailingHeaders = false
	b.core, err = minio.NewCore(endpoint.Host, options)
	return b, err
}

// get returns an object of at most limit bytes, and its ETag. The error wraps
// [fs.ErrNotExist] when there is none.
func (b *bucket) get(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	body, info, _, err := b.core.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, "", wrap("read", name, err)
	}
	defer body.Close() // read to its end, or of no interest
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, "", wrap("read", name, err)
	}
	if int64(len(data)) > limit {
		return nil, info.ETag, nil
	}
	return data, info.ETag, nil
}

// put makes data the content of an object if the one there has the ETag, or if
// there is none when that is empty; else the error wraps errCondition. It
// returns the new ETag.
func (b *bucket) put(ctx context.Context, name string, data []byte, etag string) (string, error) {
	opts := minio.PutObjectOptions{ContentType: "application/json"}
	if etag != "" {
		opts.SetMatchETag(etag)
	} else {
		opts.SetMatchETagExcept("*")
	}
	return b.putSmall(ctx, name, data, opts)
}

// replace makes data the content of an object, whatever is there.
func (b *bucket) replace(ctx context.Context, name string, data []byte) error {
	_, err := b.putSmall(ctx, name, data, minio.PutObjectOptions{ContentType: "application/json"})
	return err
}

// putNew makes data the content of an object, if the name is free; else the
// error wraps errCondition.
func (b *bucket) putNew(ctx context.Context, name string, data []byte, metadata map[string]string) error {
	opts := minio.PutObjectOptions{UserMetadata: metadata}
	opts.SetMatchETagExcept("*")
	_, err := b.putSmall(ctx, name, data, opts)
	return err
}

func (b *bucket) putSmall(ctx context.Context, name string, data []byte, opts minio.PutObjectOptions) (string, error) {
	md, sum := md5.Sum(data), sha256.Sum256(data) //nolint:gosec // as above
	opts.DisableContentSha256 = true              // not chunk by chunk: it is here as a whole
	info, err := b.core.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(data), int64(len(data)),
		base64.StdEncoding.EncodeToString(md[:]), hex.EncodeToString(sum[:]), opts)
	return info.ETag, wrap("write", name, err)
}

// head describes an object. The error wraps [fs.ErrNotExist] when there is none.
func (b *bucket) head(ctx context.Context, name string) (object, error) {
	info, err := b.core.StatObject(ctx, b.name, b.prefix+name, minio.StatObjectOptions{Checksum: b.checksums})
	if err != nil {
		return object{}, wrap("look for", name, err)
	}
	o := b.object(&info)
	o.mark, o.digest = info.UserMetadata[markKey], info.UserMetadata[digestKey]
	// Another kind is a checksum of the parts' checksums.
	if info.ChecksumMode == fullObject {
		o.checksum = info.ChecksumCRC32C
	}
	return o, nil
}

func (b *bucket) object(info *minio.ObjectInfo) object {
	return object{
		name: strings.TrimPrefix(info.Key, b.prefix), size: info.Size,
		etag: info.ETag, modified: info.LastModified,
	}
}

// remove removes an object, if it is there.
func (b *bucket) remove(ctx context.Context, name string) error {
	err := wrap("remove", name, b.core.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// list calls found for every object whose name begins with start.
func (b *bucket) list(ctx context.Context, start string, found func(object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for info := range b.core.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix + start, Recursive: true}) {
		if info.Err != nil {
			return wrap("list", path.Clean(start), info.Err)
		}
		if err := found(b.object(&info)); err != nil {
			return err
		}
	}
	return nil
}

// begin begins a multipart upload of the object name and returns its id.
func (b *bucket) begin(ctx context.Context, name string, metadata map[string]string) (string, error) {
	if b.checksums {
		metadata[checksumAlgorithm], metadata[checksumType] = "CRC32C", fullObject
	}
	id, err := b.core.NewMultipartUpload(ctx, b.name, b.prefix+name, minio.PutObjectOptions{UserMetadata: metadata})
	return id, wrap("begin", name, err)
}

// parts returns the first n parts of an upload. The error wraps
// [fs.ErrNotExist] when there are fewer, or no such upload.
func (b *bucket) parts(ctx context.Context, name, upload string, n int) ([]part, error) {
	list := make([]part, 0, n)
	for marker := 0; ; {
		page, err := b.core.ListObjectParts(ctx, b.name, b.prefix+name, upload, marker, 1000)
		if err != nil {
			return nil, wrap("list parts of", name, err)
		}
		for _, p := range page.ObjectParts {
			if len(list) == n {
				return list, nil
			}
			if p.PartNumber != len(list)+1 {
				return nil, fmt.Errorf("list parts of %s: %w: part %d", name, fs.ErrNotExist, len(list)+1)
			}
			list = append(list, part{PartNumber: p.PartNumber, ETag: strings.Trim(p.ETag, `"`), ChecksumCRC32C: p.ChecksumCRC32C})
		}
		if len(list) == n {
			return list, nil
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= marker {
			return nil, fmt.Errorf("list parts of %s: %w: part %d", name, fs.ErrNotExist, len(list)+1)
		}
		marker = page.NextPartNumberMarker
	}
}

// complete makes the object name of the parts of an upload, if the name is
// free; else the error wraps errCondition. crc is of the whole content.
func (b *bucket) complete(ctx context.Context, name, upload string, parts []part, crc uint32) error {
	opts := minio.PutObjectOptions{}
	if b.checksums {
		opts.UserMetadata = map[string]string{checksumHeader: encodeCRC(crc), checksumType: fullObject}
	}
	opts.SetMatchETagExcept("*")
	_, err := b.core.CompleteMultipartUpload(ctx, b.name, b.prefix+name, upload, parts, opts)
	return wrap("complete", name, err)
}

// abort throws an upload away, if it is there.
func (b *bucket) abort(ctx context.Context, name, upload string) error {
	err := wrap("abort", name, b.core.AbortMultipartUpload(ctx, b.name, b.prefix+name, upload))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
