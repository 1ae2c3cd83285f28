package filetransfer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"hash"
	"io"
	"time"
)

// intake takes the content of one file from a session into the store.
type intake struct {
	*session
	*transfer
	file  Incoming
	hello *hello

	hash   hash.Hash // the pipeline's while content comes
	offset int64     // content that has come
	step   int64     // checkpoints are at multiples of it only; 0: anywhere

	saved        chan error // of a checkpoint beside the receiving; nil: none is on its way
	checkpointAt int64      // where the last one was begun
	checkpointed time.Time
}

// run offers, receives, verifies and confirms. When it returns an error, what
// had arrived is checkpointed or, if it can't be trusted, thrown away.
func (i *intake) run(ctx context.Context) error {
	if err := i.resume(); err != nil {
		return err
	}
	if err := i.offer(); err != nil {
		return err
	}
	stop := i.beat()
	defer stop()

	i.steps.start(i.transfer.file.Size-i.offset, i.write, i.digest)
	sum, err := i.content()
	done := i.steps.finish()
	failed := cmp.Or(done, i.settle())
	switch {
	case failed != nil:
		return cmp.Or(err, failed)
	case err == nil:
		return i.finish(ctx, sum)
	case i.step == 0 && i.offset > i.checkpointAt:
		// A cut costs nothing of what came whole before it.
		return errors.Join(err, i.save(i.offset, i.state()))
	default:
		return err
	}
}

// resume takes up where the store's checkpoint is.
func (i *intake) resume() error {
	i.hash = sha256.New()
	if stepped, ok := i.file.(Stepped); ok {
		i.step = stepped.Step()
	}
	offset, state := i.file.Resume()
	i.checkpointed = time.Now()
	if offset == 0 {
		return nil
	}
	if err := i.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		return errors.Join(errorf(CodeStorage, "the checkpoint is damaged: %v", err), i.file.Discard())
	}
	i.offset, i.checkpointAt, i.resumed = offset, offset, offset
	i.received.Store(offset)
	i.durable.Store(offset)
	return nil
}

// offer tells from where on the content is wanted.
func (i *intake) offer() error {
	if i.offset > 0 {
		return i.answer(i.hello, offer{State: offerPartial, Offset: i.offset})
	}
	o := offer{State: offerNew, Early: earlyBytes}
	if i.hello.Early {
		return i.out.hold(frameOffer, o) // nobody waits for it
	}
	return i.out.message(frameOffer, o)
}

// content receives the frames up to END and returns the digest that the sender
// says the file has.
func (i *intake) content() (*Digest, error) {
	i.conn.expect(i.r.p.MinProgress, i.r.p.ProgressWindow)
	for {
		t, payload, err := i.in.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		switch t {
		case frameData:
			if err := i.take(payload); err != nil {
				return nil, err
			}
		case frameEnd:
			var e end
			if err := decodeMessage(t, payload, &e); err != nil {
				return nil, err
			}
			if e.SHA256 == nil {
				return nil, errorf(CodeProtocol, "END without a SHA-256")
			}
			if i.offset != i.transfer.file.Size {
				return nil, errorf(CodeProtocol, "END after %d bytes of %d", i.offset, i.transfer.file.Size)
			}
			return e.SHA256, nil
		case frameError:
			return nil, decodeFailure(payload)
		default:
			return nil, errorf(CodeProtocol, "%v frame where DATA or END is due", t)
		}
	}
}

// take passes on p, which lies in a buffer of the pipeline, and stops for a
// checkpoint where one is due.
func (i *intake) take(p []byte) error {
	if int64(len(p)) > i.transfer.file.Size-i.offset {
		return errorf(CodeProtocol, "more content than the %d bytes announced", i.transfer.file.Size)
	}
	i.r.total.bytes.Add(uint64(len(p)))
	for rest := p; ; {
		n, buf := len(rest), p[:cap(p)]
		if left := i.step - i.offset%max(i.step, 1); i.step > 0 && left < int64(n) {
			n, buf = int(left), nil // it is still needed
		}
		if err := i.steps.add(buf, rest[:n]); err != nil {
			return err
		}
		i.offset += int64(n)
		i.received.Store(i.offset)
		if i.due() {
			if err := i.checkpoint(); err != nil {
				return err
			}
		}
		if rest = rest[n:]; len(rest) == 0 {
			return nil
		}
	}
}

// due tells whether it is time for a checkpoint.
func (i *intake) due() bool {
	switch {
	case i.offset == i.checkpointAt:
		return false
	case i.step > 0:
		return i.offset%i.step == 0
	default:
		return i.offset-i.checkpointAt >= i.r.p.CheckpointBytes || time.Since(i.checkpointed) >= checkpointEvery
	}
}

// write and digest are the steps of the pipeline.
func (i *intake) write(p []byte) error {
	if _, err := i.file.Write(p); err != nil {
		return asError(err, CodeStorage)
	}
	return nil
}

func (i *intake) digest(p []byte) error {
	i.hash.Write(p)
	return nil
}

// checkpoint makes what has come durable beside the receiving of what follows.
// When the one before is not through yet, the disk is the limit: then this
// waits, and so does the sender.
func (i *intake) checkpoint() error {
	if err := i.settle(); err != nil {
		return err
	}
	if _, err := i.authorize(i.hello.Agent, i.hello.Token); err != nil {
		return asError(err, CodeDenied)
	}
	offset, saved := i.offset, make(chan error, 1)
	i.checkpointAt, i.checkpointed, i.saved = offset, time.Now(), saved
	i.steps.mark(func(failed error) {
		if failed != nil {
			saved <- failed
			return
		}
		state := i.state()
		go func() {
			err := i.save(offset, state)
			if err == nil {
				// When the sender can't be told, receiving fails soon.
				_ = i.out.message(frameAck, ack{Offset: offset})
			}
			saved <- err
		}()
	})
	return nil
}

// settle waits for the checkpoint that is on its way, if there is one.
func (i *intake) settle() error {
	if i.saved == nil {
		return nil
	}
	err := <-i.saved
	i.saved = nil
	return err
}

func (i *intake) save(offset int64, state []byte) error {
	if err := i.file.Checkpoint(offset, state); err != nil {
		return asError(err, CodeStorage)
	}
	i.durable.Store(offset)
	return nil
}

// state returns the hash's state now.
func (i *intake) state() []byte {
	// crypto/sha256 documents that it can be marshalled, and that does not
	// fail; an empty state would be refused at the next Resume.
	state, _ := i.hash.(encoding.BinaryMarshaler).MarshalBinary()
	return state
}

// beat sends an ACK now and then, so that the sender knows that this side
// lives while it waits for a slow disk or has little to send. Most files are
// through before the first one is due, and have no goroutine for it.
func (i *intake) beat() (stop func()) {
	ended, over := make(chan struct{}), make(chan struct{})
	first := time.AfterFunc(heartbeat, func() {
		defer close(over)
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			// When it can't be sent, receiving fails as well.
			_ = i.out.message(frameAck, ack{Offset: i.durable.Load()})
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(ended)
		if !first.Stop() {
			<-over
		}
	}
}

// finish verifies, commits and confirms.
func (i *intake) finish(ctx context.Context, want *Digest) error {
	var sum Digest
	i.hash.Sum(sum[:0])
	announced := i.transfer.file.SHA256
	if sum != *want || announced != nil && sum != *announced {
		err := errorf(CodeMismatch, "the content's SHA-256 is %v, the sender says %v: it was thrown away", sum, want)
		return errors.Join(err, i.file.Discard())
	}
	receipt, err := i.file.Commit(ctx, sum)
	if err != nil {
		return asError(err, CodeStorage)
	}
	i.durable.Store(i.offset)
	i.r.total.files.Add(1)
	i.log.Info("received", "agent", i.transfer.file.Agent, "file", receipt.Name, "bytes", i.offset, "resumed", i.resumed)
	return i.out.message(frameDone, done{Name: receipt.Name, SHA256: &receipt.SHA256})
}
