package s3store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"
)

// stallTimeout is how long the store may take none of what it is sent.
const stallTimeout = time.Minute

// errStalled tells that the store takes nothing any more.
var errStalled = errors.New("the object store has taken nothing for a minute")

// body is the content of one request while it comes in: what is written goes
// out, and nothing is kept here.
type body struct {
	in     *io.PipeWriter
	cancel context.CancelCauseFunc
	done   chan struct{}

	part part  // valid when done, if err is nil
	err  error // valid when done
}

// send begins a request whose content is written to the body that it returns.
func send(ctx context.Context, request func(context.Context, io.Reader) (part, error)) *body {
	out, in := io.Pipe()
	ctx, cancel := context.WithCancelCause(ctx)
	b := &body{in: in, cancel: cancel, done: make(chan struct{})}
	// The library may wait for content without looking at the context.
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(context.Cause(ctx)) }) // it never fails
	go func() {
		defer close(b.done)
		defer stop()
		b.part, b.err = request(ctx, out)
		if cause := context.Cause(ctx); b.err != nil && cause != nil {
			b.err = cause
		}
		_ = out.CloseWithError(errors.Join(b.err, io.ErrClosedPipe)) // it never fails
	}()
	return b
}

// Write passes p on.
func (b *body) Write(p []byte) (int, error) {
	stalled := time.AfterFunc(stallTimeout, func() { b.cancel(errStalled) })
	defer stalled.Stop()
	n, err := b.in.Write(p)
	if err != nil {
		<-b.done
		err = fmt.Errorf("pass content on to the object store: %w", errors.Join(b.err, err))
	}
	return n, err
}

// end waits for the answer to the whole of the content.
func (b *body) end() (part, error) {
	<-b.done
	return b.part, b.err
}

// stop ends the request, whole or not.
func (b *body) stop() {
	b.cancel(context.Canceled)
	<-b.done
}

// putPart sends a part of size bytes.
func (b *bucket) putPart(ctx context.Context, name, upload string, number int, content io.Reader, size int64) (part, error) {
	opts := minio.PutObjectPartOptions{}
	content = io.LimitReader(content, size) // a pipe has no end of its own
	if b.checksums {
		opts.Trailer = http.Header{checksumHeader: {encodeCRC(0)}}
		content = &trailed{in: content, crc: crc32.New(castagnoli), trailer: opts.Trailer}
	}
	sent, err := b.core.PutObjectPart(ctx, b.name, b.prefix+name, upload, number, content, size, opts)
	if err != nil {
		err = wrap(fmt.Sprintf("write part %d of", number), name, err)
		if errors.Is(err, fs.ErrNotExist) { // the upload: who has gone on has completed it
			err = errors.Join(errLost, err)
		}
		return part{}, err
	}
	return part{PartNumber: number, ETag: sent.ETag, ChecksumCRC32C: sent.ChecksumCRC32C}, nil
}

// trailed computes the checksum that follows the content.
type trailed struct {
	in      io.Reader
	crc     hash.Hash32
	trailer http.Header
}

// Read reads on, and keeps the trailer what it has to be after that.
func (t *trailed) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	_, _ = t.crc.Write(p[:n]) // it never fails
	t.trailer.Set(checksumHeader, encodeCRC(t.crc.Sum32()))
	return n, err
}
