package s3store

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer"
)

// stepTimeout bounds what a checkpoint or the end of a file asks of the store.
const stepTimeout = 5 * time.Minute

// incoming is a file on its way, see [filetransfer.Incoming]. A small one is
// kept and sent as a whole; else every part has a request of its own, and the
// next is begun while the store has not answered to the one before.
type incoming struct {
	store  *Store
	f      filetransfer.File
	ctx    context.Context // of the requests with content; ends with Close
	cancel context.CancelFunc

	whole  bool     // a small file: there is no upload, and no record
	record record   // as the store has it, when not whole
	etag   string   // of that
	alike  []string // objects that may be this file, see freeName

	small  []byte // the content, when whole
	offset int64  // written
	crc    uint32 // up to there

	mu   sync.Mutex
	sent []sentPart // from the first after the offset at open
	was  []part     // before those
}

// sentPart is a part that is on its way, or has arrived.
type sentPart struct {
	*body
	crc uint32 // of the content up to its end
}

var _ filetransfer.Stepped = (*incoming)(nil)

// open goes on with the upload that the record is of, or begins one.
func (in *incoming) open(ctx context.Context) error {
	r, etag, err := in.store.b.readRecord(ctx, partialKey(in.f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	in.etag = etag
	if err == nil {
		if again, err := in.reopen(ctx, r); again || err != nil {
			return err
		}
	}
	return in.begin(ctx)
}

// reopen takes over the upload of the record r, if it can be trusted.
func (in *incoming) reopen(ctx context.Context, r *record) (bool, error) {
	b := in.store.b
	if r.trusted(in.f) {
		if r.Commit != nil {
			return false, errLost // it is being completed right now
		}
		parts, err := b.provenParts(ctx, r)
		if err == nil {
			in.record, in.was, in.offset, in.crc = *r, parts, r.Offset, r.CRC
			in.record.Owner = nonce()
			return true, in.write(ctx)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if r.Upload != "" && fs.ValidPath(r.Final) {
		return false, b.abort(ctx, r.Final, r.Upload)
	}
	return false, nil
}

// begin begins anew.
func (in *incoming) begin(ctx context.Context) error {
	name, alike, err := in.store.freeName(ctx, in.f)
	if err != nil {
		return err
	}
	in.alike = alike
	r := newRecord(in.f)
	r.Final, r.Mark, r.Owner, r.Step = name, nonce(), nonce(), in.store.step(in.f.Size)
	if in.record = r; in.f.Size <= min(maxSmall, r.Step) {
		in.whole, in.small = true, make([]byte, 0, in.f.Size)
		return nil
	}
	if in.record.Upload, err = in.store.b.begin(ctx, name, in.metadata()); err != nil {
		return err
	}
	if err := in.write(ctx); err != nil {
		return errors.Join(err, in.store.b.abort(ctx, name, in.record.Upload))
	}
	return nil
}

// metadata returns what the object is marked with.
func (in *incoming) metadata() map[string]string {
	m := map[string]string{
		markKey:     in.record.Mark,
		modifiedKey: strconv.FormatFloat(float64(in.f.Modified.UnixMilli())/1e3, 'f', 3, 64),
	}
	if in.f.SHA256 != nil { // it is compared before the object can be seen
		m[digestKey] = in.f.SHA256.String()
	}
	return m
}

// write writes the record over the one that was read.
func (in *incoming) write(ctx context.Context) error {
	etag, err := in.store.b.swapRecord(ctx, partialKey(in.f), in.etag, &in.record)
	if err == nil {
		in.etag = etag
	}
	return err
}

// Step returns the size of the parts, and more than there is of a small file:
// nothing of that is proven before its end.
func (in *incoming) Step() int64 {
	if in.whole {
		return in.f.Size + 1
	}
	return in.record.Step
}

func (in *incoming) Resume() (int64, []byte) { return in.record.Offset, in.record.Hash }

func (in *incoming) Write(p []byte) (int, error) {
	if int64(len(p)) > in.f.Size-in.offset {
		return 0, fmt.Errorf("more content than %d bytes", in.f.Size)
	}
	for rest := p; len(rest) > 0; {
		chunk := rest[:min(int64(len(rest)), in.record.Step-in.offset%in.record.Step)]
		if err := in.pass(chunk); err != nil {
			return len(p) - len(rest), explain(err)
		}
		rest = rest[len(chunk):]
	}
	return len(p), nil
}

// pass passes content of one part on.
func (in *incoming) pass(p []byte) error {
	in.crc = crc32.Update(in.crc, castagnoli, p)
	if in.offset += int64(len(p)); in.whole {
		in.small = append(in.small, p...)
		return nil
	}
	in.mu.Lock()
	if len(in.was)+len(in.sent) < in.parts(in.offset) {
		in.sent = append(in.sent, sentPart{body: in.send(len(in.was) + len(in.sent))})
	}
	last := &in.sent[len(in.sent)-1]
	last.crc = in.crc
	in.mu.Unlock()
	_, err := last.Write(p)
	return err
}

// send begins the part with the index.
func (in *incoming) send(index int) *body {
	size := min(in.record.Step, in.f.Size-int64(index)*in.record.Step)
	return send(in.ctx, func(ctx context.Context, content io.Reader) (part, error) {
		return in.store.b.putPart(ctx, in.record.Final, in.record.Upload, index+1, content, size)
	})
}

// parts returns how many parts the content before offset has.
func (in *incoming) parts(offset int64) int {
	return int((offset + in.record.Step - 1) / in.record.Step)
}

// prove waits until the store has all parts before offset, and notes that in
// the record.
func (in *incoming) prove(offset int64) error {
	in.mu.Lock()
	sent, parts := in.sent[:in.parts(offset)-len(in.was)], in.was
	in.mu.Unlock()
	in.record.Offset = offset
	for _, s := range sent {
		p, err := s.end()
		if err != nil {
			return err
		}
		parts, in.record.CRC = append(parts, p), s.crc
	}
	in.record.Parts = digestParts(parts)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.was, in.sent = parts, in.sent[len(sent):]
	return nil
}

// Checkpoint proves the content before offset, which is a multiple of Step.
func (in *incoming) Checkpoint(offset int64, state []byte) error {
	ctx, cancel := context.WithTimeout(in.ctx, stepTimeout)
	defer cancel()
	if err := in.prove(offset); err != nil {
		return explain(err)
	}
	in.record.Hash = state
	return explain(in.write(ctx))
}

// Discard throws away the upload and its record.
func (in *incoming) Discard() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(in.ctx), stepTimeout)
	defer cancel()
	in.stop()
	if in.whole {
		return nil
	}
	return explain(errors.Join(
		in.store.b.abort(ctx, in.record.Final, in.record.Upload),
		in.store.b.remove(ctx, partialKey(in.f)),
	))
}

// stop ends the requests that are under way.
func (in *incoming) stop() {
	in.cancel()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.sent {
		s.stop()
	}
}

// Close ends the requests under way. The parts that are proven stay.
func (in *incoming) Close() error {
	in.stop()
	in.store.quota.Release(in.f.Agent, in.f.Size)
	return nil
}
