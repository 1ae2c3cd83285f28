package filetransfer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/lenscast/lenscast/transport/filetransfer/safename"
)

const (
	// legacyOK is the whole answer of the legacy exchange.
	legacyOK = "ok"
	// legacyQuiet ends a legacy name that has no delimiter: the sender waits
	// for the answer, so nothing more comes.
	legacyQuiet = 200 * time.Millisecond
	// LegacyAgent is the agent that files of the legacy exchange belong to:
	// it has no credentials that would tell more.
	LegacyAgent = "legacy"
)

// serveLegacy takes one file by the legacy exchange: a name, "ok", content up
// to the end of the stream. An end that comes too early looks like any other;
// that is why nobody may delete anything after it.
func (s *session) serveLegacy(ctx context.Context) error {
	name, head, err := s.legacyName()
	if err != nil {
		return err
	}
	if err := safename.Check(name); err != nil {
		return err
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.conn, legacyOK); err != nil {
		return fmt.Errorf("answer: %w", err)
	}

	f := File{Agent: LegacyAgent, ID: strings.ToLower(rand.Text()), Name: name, Size: -1, Modified: time.Now().UTC()}
	t := &transfer{file: f, remote: s.remote, interrupt: s.conn.interrupt, done: make(chan struct{})}
	if err := s.r.claim(ctx, t); err != nil {
		return err
	}
	defer s.r.release(t)
	in, err := s.r.p.Store.Open(ctx, f, 0)
	if err != nil {
		return err
	}
	receipt, err := s.legacyContent(ctx, t, in, head)
	if err != nil {
		s.r.total.broken.Add(1)
		// Nothing can resume it.
		return errors.Join(fmt.Errorf("receive %q: %w", name, err), in.Discard(), in.Close())
	}
	s.r.total.legacy.Add(1)
	s.log.Info("received by the legacy exchange", "file", receipt.Name, "bytes", t.received.Load())
	return in.Close()
}

func (s *session) legacyContent(ctx context.Context, t *transfer, in Incoming, head []byte) (Receipt, error) {
	s.conn.expect(s.r.p.MinProgress, s.r.p.ProgressWindow)
	sum := sha256.New()
	buf := make([]byte, dataBytes)
	n := copy(buf, head)
	for {
		if t.received.Add(int64(n)) > s.r.p.MaxFileSize {
			return Receipt{}, errorf(CodeTooLarge, "more than %d bytes", s.r.p.MaxFileSize)
		}
		s.r.total.bytes.Add(uint64(n))
		sum.Write(buf[:n])
		if _, err := in.Write(buf[:n]); err != nil {
			return Receipt{}, err
		}
		var err error
		if n, err = s.conn.Read(buf); n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				return in.Commit(ctx, Digest(sum.Sum(nil)))
			}
			return Receipt{}, err
		}
	}
}

// legacyName reads the name, and what may have come after it. The exchange has
// no delimiter: the sender stops after the name and waits for the answer. So
// the name is what has come when the line falls quiet, in however many
// segments. A sender that does not wait can end its name with a line feed or
// NUL; what follows is content then.
func (s *session) legacyName() (name string, head []byte, err error) {
	buf := make([]byte, 0, 4096)
	for {
		n, err := s.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if at := strings.IndexAny(string(buf), "\n\x00"); at >= 0 {
			return strings.TrimSuffix(string(buf[:at]), "\r"), buf[at+1:], nil
		}
		if len(buf) > safename.MaxBytes {
			return "", nil, errors.New("no file name in the first bytes: content that came without waiting for the answer can't be told from a name")
		}
		var slow *Error
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.As(err, &slow) && slow.Code == CodeSlow:
			if len(buf) > 0 {
				return string(buf), nil, nil
			}
			return "", nil, err
		default:
			return "", nil, err
		}
		s.conn.expect(safename.MaxBytes+1, legacyQuiet)
	}
}

// SendLegacy sends the file at path by the legacy exchange. That it returns nil
// says only that this side's system has taken the bytes: a receiver that dies
// goes unnoticed. Nothing may be deleted because of it.
func SendLegacy(ctx context.Context, address, path string, progress func(Progress)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() // opened for reading: nothing to lose
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err := safename.Check(info.Name()); err != nil {
		return err
	}
	conn, err := (&net.Dialer{KeepAliveConfig: keepAlive, Timeout: defaultTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()                                          // after the half-close below there is nothing to lose
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends whatever waits
	err = sendLegacy(conn.(*net.TCPConn), file, info, progress)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func sendLegacy(conn *net.TCPConn, file io.Reader, info os.FileInfo, progress func(Progress)) error {
	deadline := func() error { return conn.SetDeadline(time.Now().Add(defaultTimeout)) }
	if err := deadline(); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, info.Name()); err != nil {
		return fmt.Errorf("send the name: %w", err)
	}
	answer := make([]byte, len(legacyOK))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("wait for %q: %w", legacyOK, err)
	}
	if string(answer) != legacyOK {
		return fmt.Errorf("the receiver answered %q, not %q", answer, legacyOK)
	}
	p := Progress{File: info.Name(), Remote: conn.RemoteAddr().String(), Size: info.Size()}
	buf := make([]byte, dataBytes)
	for {
		n, err := file.Read(buf)
		if n > 0 {
			if err := deadline(); err != nil {
				return err
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return fmt.Errorf("send: %w", err)
			}
			p.Sent += int64(n)
			progress(p)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	// A receiver that is alive closes its side now; one that has died in the
	// meantime may be noticed here, or not.
	if err := deadline(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fmt.Errorf("wait for the receiver to close: %w", err)
	}
	return nil
}
