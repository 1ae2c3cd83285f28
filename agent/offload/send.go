package offload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/lenscast/lenscast/agent/retry"
	"github.com/lenscast/lenscast/transport/filetransfer"
)

// What cuts a transfer off, besides the end of Run. None of it is a failure.
var (
	errDropped = errors.New("dropped")
	errNetwork = errors.New("the network has changed")
)

// heldError is a rule that closed in the middle of a transfer.
type heldError struct{ reason string }

func (e *heldError) Error() string { return e.reason }

// attempt sends one recording once and takes note of how that ended.
func (q *Queue) attempt(ctx context.Context, e *entry, s *server) {
	if e.SHA256 == (filetransfer.Digest{}) {
		q.fail(e, errors.New("nothing is known that the server could confirm: the .json beside it has no SHA-256"))
		return
	}
	content, err := q.p.Archive.Open(e.ID)
	if errors.Is(err, ErrUnknown) {
		// Deleted or dropped meanwhile. The archive should know by now; if not,
		// this must not be a busy loop.
		q.mu.Lock()
		e.next = time.Now().Add(entryRetry.Cap)
		q.mu.Unlock()
		return
	} else if err != nil {
		q.fail(e, fmt.Errorf("open recording: %w", err))
		return
	}
	media := &reader{content: content}
	receipt, err := q.send(ctx, e, s, media)
	_ = content.Close() // it was only read
	switch {
	case err == nil:
		q.confirm(ctx, e, s, receipt)
	case media.err != nil:
		q.fail(e, fmt.Errorf("read recording: %w", media.err))
	default:
		q.failed(ctx, e, s, err)
	}
	q.mu.Lock()
	q.current = nil
	q.mu.Unlock()
}

// reader remembers what went wrong with reading: it is not the server's fault.
type reader struct {
	content io.ReaderAt
	err     error
}

// ReadAt implements io.ReaderAt.
func (r *reader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.content.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// send sends one recording. Its error may be what cut it off.
func (q *Queue) send(ctx context.Context, e *entry, s *server, media io.ReaderAt) (filetransfer.Receipt, error) {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	q.mu.Lock()
	if held := q.held; held != "" { // since it was chosen
		q.mu.Unlock()
		return filetransfer.Receipt{}, &heldError{held}
	}
	e.tries, e.next, q.tried = e.tries+1, time.Time{}, s
	q.current = &current{entry: e, server: s, cut: cut, moved: time.Now()}
	q.mu.Unlock()

	l, err := q.connect(s)
	if err != nil {
		return filetransfer.Receipt{}, err
	}
	digest := e.SHA256
	u := &filetransfer.Upload{
		File: filetransfer.File{
			ID: e.fileID(), Name: e.Name, Camera: e.Camera, Size: e.Size, Modified: e.Modified, SHA256: &digest,
		},
		Content: media,
	}
	receipt, err := l.sender.Send(ctx, u, q.moved)
	if err == nil && receipt.SHA256 != digest {
		err = &filetransfer.Error{Code: filetransfer.CodeMismatch, Reason: fmt.Sprintf("the server confirms the SHA-256 %v", receipt.SHA256)}
	}
	return receipt, err
}

// moved takes note of progress.
func (q *Queue) moved(p filetransfer.Progress) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.current
	c.entry.state, c.entry.reason = Sending, ""
	if p.Sent > c.progress.Sent || p.Durable > c.progress.Durable {
		if c.progress.Remote == "" { // the first word of this attempt
			c.measured = p.Resumed
		} else {
			c.server.backoff.Reset()
		}
		c.moved = time.Now()
	}
	c.progress = p
}

// confirm marks a recording as sent. Nothing else is sent until that is on the
// disk: there would be only more to mark.
func (q *Queue) confirm(ctx context.Context, e *entry, s *server, receipt filetransfer.Receipt) {
	q.mu.Lock()
	s.works()
	e.state, e.reason = Confirmed, ""
	q.logged = ""
	q.totals.recordings++
	q.totals.bytes += uint64(e.Size)
	q.totals.last = time.Now()
	tries := e.tries
	q.mu.Unlock()
	q.p.Log.Info("recording offloaded", "recording", e.ID, "server", s.params.Address, "name", receipt.Name,
		"bytes", e.Size, "tries", tries)
	backoff := retry.New(serverRetry)
	for {
		err := q.p.Archive.SetConfirmed(e.ID, s.params.Address, receipt)
		if err == nil || errors.Is(err, ErrUnknown) { // somebody deleted it
			return
		}
		q.note(e, Confirmed, "the server has it, but that can't be noted here: "+err.Error())
		q.p.Log.Warn("a recording is offloaded, but that can't be noted", "recording", e.ID, "error", err)
		if backoff.Wait(ctx) != nil {
			return // asked again after the next start, the server says that it has it
		}
	}
}

func (q *Queue) note(e *entry, state State, reason string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.state, e.reason = state, reason
}

// fail takes a recording out of the line until somebody says "again".
func (q *Queue) fail(e *entry, err error) {
	q.note(e, Failed, err.Error())
	q.p.Log.Error("a recording can't be offloaded", "recording", e.ID, "error", err)
}

// failed takes note of an attempt that was cut off or went wrong.
func (q *Queue) failed(ctx context.Context, e *entry, s *server, err error) {
	var held *heldError
	switch {
	case ctx.Err() != nil, errors.Is(err, errDropped), errors.Is(err, errNetwork):
		q.note(e, Waiting, "")
		return
	case errors.As(err, &held):
		q.note(e, Waiting, "")
		q.p.Log.Info("offload pauses", "reason", held.reason)
		return
	}
	fault, wait := judge(err)
	reason := inWords(s, err)
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	e.state, e.reason = Retrying, reason
	if fault == mismatch {
		e.mismatches++
	}
	switch {
	case fault == ofRecording, fault == mismatch && e.mismatches > 1:
		// The server works: what is wrong is this recording.
		e.state = Failed
		q.p.Log.Error("a recording can't be offloaded", "recording", e.ID, "server", s.params.Address, "error", reason)
		return
	case fault == refusal:
		s.pause(now, reason, refusedPause)
		s.refused = true
		e.next = s.until
	case fault == ofExchange, fault == mismatch:
		s.pause(now, reason, wait)
		e.next = now.Add(e.backoff.Next())
	default:
		s.pause(now, reason, wait)
	}
	if fault != refusal {
		s.refused = false
	}
	if q.logged != reason {
		q.logged = reason
		q.p.Log.Warn("offload failed, trying again", "recording", e.ID, "server", s.params.Address, "error", reason)
	}
}

// fault tells what a failure is the fault of, and so what waits for what.
type fault int

const (
	ofServer    fault = iota // or of the way there: all recordings wait
	refusal                  // of the server, until a person has changed something
	ofExchange               // of this recording or of the server, who knows
	mismatch                 // of the content: here, or on the way
	ofRecording              // no attempt with it can succeed
)

// judge tells whose fault an error is, and how long the server wants to be left
// alone.
func judge(err error) (fault, time.Duration) {
	var said *filetransfer.Error
	var stranger *tls.CertificateVerificationError
	switch {
	case errors.As(err, &stranger), errors.Is(err, filetransfer.ErrInsecure):
		return refusal, 0
	case errors.Is(err, filetransfer.ErrChanged):
		return ofRecording, 0
	case !errors.As(err, &said):
		return ofServer, 0
	}
	switch said.Code {
	case filetransfer.CodeDenied, filetransfer.CodeProtocol:
		return refusal, said.RetryAfter
	case filetransfer.CodeName, filetransfer.CodeTooLarge:
		return ofRecording, said.RetryAfter
	case filetransfer.CodeMismatch:
		return mismatch, said.RetryAfter
	case filetransfer.CodeBusy, filetransfer.CodeFull, filetransfer.CodeShutdown:
		return ofServer, said.RetryAfter
	default:
		return ofExchange, said.RetryAfter
	}
}

// inWords says what went wrong and what to do about it.
func inWords(s *server, err error) string {
	where := s.params.Address
	var stranger *tls.CertificateVerificationError
	var said *filetransfer.Error
	var unknown *net.DNSError
	switch {
	case errors.As(err, &stranger):
		return fmt.Sprintf("%s is not the server that was meant: %v; set pin in [offload] to what it prints at its start", where, stranger.Err)
	case errors.Is(err, filetransfer.ErrInsecure):
		return fmt.Sprintf("%s: %v; remove tls = \"off\" from [offload]", where, err)
	case errors.As(err, &said):
		return fmt.Sprintf("%s says: %v%s", where, said, advice(said.Code))
	case errors.Is(err, filetransfer.ErrChanged):
		return fmt.Sprintf("the recording is not what it was: %v", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("%s does not answer: is lenscast receive running there?", where)
	case errors.As(err, &unknown):
		return fmt.Sprintf("%s is not known: %v", where, unknown)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s has said nothing for %v: is it switched on, and is this the way there?", where, silence)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("%s has ended the connection", where)
	default:
		return fmt.Sprintf("%s: %v", where, err)
	}
}

// advice is what a person can do about an answer of the server.
func advice(code filetransfer.Code) string {
	switch code {
	case filetransfer.CodeDenied:
		return "; see token_file and agent in [offload], and -token-file or -agents of the server"
	case filetransfer.CodeFull:
		return "; make room there"
	case filetransfer.CodeMismatch:
		return "; the recording is damaged here, or was on the way"
	default:
		return ""
	}
}
