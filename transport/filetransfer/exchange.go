package filetransfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	// maxCatchUp is what the sender reads to bring its hash to where the
	// receiver wants the content from, while the receiver waits.
	maxCatchUp = 2 * HashStep
	// finalWords is how long a sender whose connection broke waits for the
	// ERROR that may be on its way.
	finalWords = time.Second
)

var errFarBehind = errors.New("the hash is far behind the receiver's offset")

// exchange is one attempt to send one file.
type exchange struct {
	*link
	p        *SenderParams
	u        *Upload
	progress func(Progress)

	answered bool // the receiver has said anything
	refused  bool // in an OFFER, which leaves the connection usable
	offset   int64
	hash     hash.Hash // nil when the digest is known beforehand; the pipeline's while content is sent
	noted    error     // why the hash can't be remembered
	now      Progress
}

// verdict is how the receiver ends an exchange.
type verdict struct {
	receipt Receipt
	err     error
}

func (x *exchange) run(ctx context.Context) (Receipt, error) {
	// A connection that is closed answers everything that waits on it.
	defer context.AfterFunc(ctx, func() { _ = x.raw.Close() })()

	f := x.u.File
	x.now = Progress{File: f.Name, Agent: x.p.Agent, Remote: x.raw.RemoteAddr().String(), Size: f.Size}
	h := hello{
		Agent: x.p.Agent, Token: x.p.Token, File: f.ID, Name: f.Name, Camera: f.Camera,
		Size: f.Size, Modified: f.Modified.UTC(), SHA256: f.SHA256,
	}
	if err := h.check(); err != nil {
		return Receipt{}, err
	}
	early, err := x.greet(&h)
	if err != nil {
		return Receipt{}, err
	}
	o, err := x.offer()
	if err != nil {
		return Receipt{}, err
	}
	if o.State == offerHave {
		if f.SHA256 != nil && *o.SHA256 != *f.SHA256 {
			return Receipt{}, errorf(CodeMismatch, "the receiver has this file with the SHA-256 %v, here it is %v", o.SHA256, f.SHA256)
		}
		return x.confirmed(Receipt{Name: o.Name, SHA256: *o.SHA256})
	}
	if r := o.refusal(); r != nil {
		x.refused = true
		return Receipt{}, r
	}
	if early != nil && o.State == offerNew {
		return x.judge(x.listen(func(int64) {}), *early)
	}
	if err := x.resume(ctx, o.Offset); err != nil {
		return Receipt{}, err
	}
	return x.transfer(ctx)
}

// greet sends the HELLO. Where the receiver takes it and it fits into a frame,
// the content goes with it, and greet returns its digest.
func (x *exchange) greet(h *hello) (early *Digest, err error) {
	h.Early = x.p.Pace == nil && h.Size <= min(x.early, int64(x.frameBytes()))
	frames, err := appendMessage(nil, frameHello, h)
	if err != nil {
		return nil, err
	}
	if h.Early {
		const endBytes = 2*headerBytes + 2*sha256.Size
		buf := x.steps.buffer(len(frames) + headerBytes + int(h.Size) + endBytes)
		defer func() { _ = x.steps.add(buf, nil) }() // gives it back: there are no steps
		if frames, early, err = x.follow(append(buf[:0], frames...), h); err != nil {
			return nil, err
		}
	}
	if err := x.out.frames(frames); err != nil {
		return nil, x.lastWords(fmt.Errorf("send HELLO: %w", err))
	}
	return early, nil
}

// follow appends the content and END to the HELLO.
func (x *exchange) follow(frames []byte, h *hello) ([]byte, *Digest, error) {
	data := len(frames)
	frames = frames[:data+headerBytes+int(h.Size)]
	content := frames[data+headerBytes:]
	if err := x.readAt(content, 0); err != nil {
		return nil, nil, err
	}
	putHeader(frames[data:], frameData)
	sum := h.SHA256
	if sum == nil {
		digest := Digest(sha256.Sum256(content))
		sum = &digest
	}
	frames, err := appendMessage(frames, frameEnd, end{SHA256: sum})
	return frames, sum, err
}

// offer waits for the receiver's answer to the HELLO.
func (x *exchange) offer() (*offer, error) {
	t, payload, err := x.next()
	if err != nil {
		return nil, fmt.Errorf("wait for OFFER: %w", err)
	}
	if t != frameOffer {
		return nil, errorf(CodeProtocol, "%v frame where OFFER is due", t)
	}
	var o offer
	if err := decodeMessage(t, payload, &o); err != nil {
		return nil, err
	}
	if err := o.check(x.u.File.Size); err != nil {
		return nil, err
	}
	x.early = o.Early
	return &o, nil
}

// next returns the receiver's next frame. ERROR frames come as an error.
func (x *exchange) next() (frameType, []byte, error) {
	if err := x.conn.SetReadDeadline(time.Now().Add(x.p.Timeout)); err != nil {
		return 0, nil, err
	}
	t, payload, err := x.in.next()
	if err != nil {
		return 0, nil, err
	}
	x.answered = true
	if t == frameError {
		return 0, nil, decodeFailure(payload)
	}
	return t, payload, nil
}

// resume brings the hash to offset.
func (x *exchange) resume(ctx context.Context, offset int64) error {
	x.offset = offset
	x.now.Resumed, x.now.Sent, x.now.Durable = offset, offset, offset
	if x.u.File.SHA256 != nil {
		return nil
	}
	if x.u.Hashes == nil {
		x.u.Hashes = NewHashLog()
	}
	from, err := x.restore(offset)
	if err != nil {
		return err
	}
	if offset-from > maxCatchUp {
		return errFarBehind
	}
	return x.read(ctx, from, offset)
}

// restore takes the hash up at the highest known place up to limit.
func (x *exchange) restore(limit int64) (int64, error) {
	x.hash = sha256.New()
	from, state := x.u.Hashes.nearest(limit)
	if from == 0 {
		return 0, nil
	}
	if err := x.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return 0, fmt.Errorf("take up the hash at %d: %w", from, err)
	}
	return from, nil
}

// catchUp reads the file up to the receiver's offset without a connection.
func (x *exchange) catchUp(ctx context.Context) error {
	from, err := x.restore(x.offset)
	if err != nil {
		return err
	}
	return x.read(ctx, from, x.offset)
}

// read hashes the content of [from, to) without sending it.
func (x *exchange) read(ctx context.Context, from, to int64) error {
	buf := make([]byte, min(to-from, dataBytes))
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := int(min(to-from, int64(len(buf)), HashStep-from%HashStep))
		if err := x.readAt(buf[:n], from); err != nil {
			return err
		}
		from += int64(n)
		x.hash.Write(buf[:n])
		if from%HashStep == 0 {
			x.note(from)
		}
		x.now.Checking, x.now.Sent = true, from
		x.progress(x.now)
	}
	x.now.Checking = false
	return x.noted
}

func (x *exchange) readAt(p []byte, offset int64) error {
	n, err := x.u.Content.ReadAt(p, offset)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends at %d", ErrChanged, offset+int64(n))
	default:
		return fmt.Errorf("read %s: %w", x.u.File.Name, err)
	}
}

// note remembers the hash of the content before offset.
func (x *exchange) note(offset int64) {
	state, err := x.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err == nil {
		err = x.u.Hashes.record(offset, state)
	}
	if err != nil && x.noted == nil {
		x.noted = fmt.Errorf("save the hash at %d: %w", offset, err)
	}
}

// transfer sends the content and waits for the confirmation.
func (x *exchange) transfer(ctx context.Context) (Receipt, error) {
	acks := make(chan int64, 1)
	over := make(chan verdict, 1)
	go func() {
		v := x.listen(func(durable int64) {
			select { // the newest waits
			case <-acks:
			default:
			}
			acks <- durable
		})
		over <- v
		if v.err != nil {
			_ = x.raw.Close() // a write may be waiting for a receiver that is gone
		}
	}()
	sum, err := x.content(ctx, acks, over)
	if err == nil {
		err = x.out.message(frameEnd, end{SHA256: &sum})
	}
	if err != nil {
		return Receipt{}, x.verdictAfter(err, over)
	}
	for {
		select {
		case x.now.Durable = <-acks:
			x.progress(x.now)
		case v := <-over:
			return x.judge(v, sum)
		}
	}
}

// judge compares the receiver's verdict with the digest of what was sent.
func (x *exchange) judge(v verdict, sent Digest) (Receipt, error) {
	if v.err != nil {
		return Receipt{}, v.err
	}
	if v.receipt.SHA256 != sent {
		return Receipt{}, errorf(CodeMismatch, "the receiver confirms the SHA-256 %v, sent was %v", v.receipt.SHA256, sent)
	}
	return x.confirmed(v.receipt)
}

// content sends the frames and returns the digest of the whole file.
func (x *exchange) content(ctx context.Context, acks <-chan int64, over chan verdict) (Digest, error) {
	var steps []step
	if x.hash != nil {
		steps = append(steps, x.digest)
	}
	x.steps.start(x.u.File.Size-x.offset, steps...)
	err := x.frames(ctx, acks, over)
	if err := cmp.Or(err, x.steps.finish(), x.noted); err != nil {
		return Digest{}, err
	}
	if x.hash == nil {
		return *x.u.File.SHA256, nil
	}
	return Digest(x.hash.Sum(nil)), nil
}

// frames sends the content.
func (x *exchange) frames(ctx context.Context, acks <-chan int64, over chan verdict) error {
	most := x.frameBytes()
	for x.offset < x.u.File.Size {
		select {
		case v := <-over: // the receiver ends it
			over <- v
			return errorf(CodeProtocol, "DONE before the content has ended") // or what v says
		case x.now.Durable = <-acks:
		default:
		}
		n := int(min(x.u.File.Size-x.offset, int64(most), HashStep-x.offset%HashStep))
		if x.p.Pace != nil {
			n = min(n, int(x.piece.Load()))
		}
		buf := x.steps.buffer(headerBytes + n)
		frame := buf[:headerBytes+n]
		if err := x.readAt(frame[headerBytes:], x.offset); err != nil {
			return err
		}
		putHeader(frame, frameData)
		if err := x.out.frames(frame); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if err := x.steps.add(buf, frame[headerBytes:]); err != nil {
			return err
		}
		x.offset += int64(n)
		if at := x.offset; x.hash != nil && at%HashStep == 0 {
			x.steps.mark(func(error) { x.note(at) }) // hashing does not fail
		}
		x.now.Sent = x.offset
		x.progress(x.now)
		if x.p.Pace == nil {
			continue
		}
		if err := x.p.Pace(ctx, n); err != nil {
			return fmt.Errorf("pace: %w", err)
		}
	}
	return nil
}

// digest is the step of the pipeline when the digest is not known beforehand.
func (x *exchange) digest(p []byte) error {
	x.hash.Write(p)
	return nil
}

// frameBytes is the content of a DATA frame: whole pages, and little enough that
// one can be hashed while the next is sent.
func (x *exchange) frameBytes() int {
	n := min(dataBytes, x.p.BufferBytes/2-bufferUnit) / bufferUnit * bufferUnit
	if x.p.Pace != nil {
		n = min(n, x.p.PacedBytes)
	}
	return n
}

// listen takes the receiver's frames until one ends the exchange.
func (x *exchange) listen(acked func(durable int64)) verdict {
	for {
		t, payload, err := x.next()
		if err != nil {
			return verdict{err: fmt.Errorf("wait for the confirmation: %w", err)}
		}
		switch t {
		case frameAck:
			var a ack
			if err := decodeMessage(t, payload, &a); err != nil {
				return verdict{err: err}
			}
			acked(a.Offset)
		case frameDone:
			var d done
			if err := decodeMessage(t, payload, &d); err != nil {
				return verdict{err: err}
			}
			if d.SHA256 == nil {
				return verdict{err: errorf(CodeProtocol, "DONE without a SHA-256")}
			}
			return verdict{receipt: Receipt{Name: d.Name, SHA256: *d.SHA256}}
		default:
			return verdict{err: errorf(CodeProtocol, "%v frame where DONE is due", t)}
		}
	}
}

// verdictAfter returns why the listening ended when it has, which comes before
// err: the receiver's reason, or its silence. Else it returns err, and ends the
// listening.
func (x *exchange) verdictAfter(err error, over <-chan verdict) error {
	wait := time.NewTimer(finalWords)
	defer wait.Stop()
	select {
	case v := <-over:
		if v.err != nil && !errors.Is(err, ErrChanged) {
			return v.err
		}
	case <-wait.C:
		_ = x.conn.Close() // ends the listening
		<-over
	}
	return err
}

// lastWords returns the ERROR that the receiver may have sent before the
// connection broke with err, else err.
func (x *exchange) lastWords(err error) error {
	if x.conn.SetReadDeadline(time.Now().Add(finalWords)) != nil {
		return err
	}
	t, payload, rerr := x.in.next()
	if rerr == nil && t == frameError {
		x.answered = true
		return decodeFailure(payload)
	}
	return err
}

// confirmed passes a receipt on, if the file is still what was sent.
func (x *exchange) confirmed(r Receipt) (Receipt, error) {
	if x.u.Unchanged != nil {
		if err := x.u.Unchanged(); err != nil {
			return Receipt{}, err
		}
	}
	x.now.Sent, x.now.Durable = x.u.File.Size, x.u.File.Size
	x.progress(x.now)
	return r, nil
}
