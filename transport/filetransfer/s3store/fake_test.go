package s3store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// fakeServer returns a server in this process, which takes parts of any size.
// It is gofakes3; it keeps no checksums, and completes uploads whatever
// If-None-Match says.
func fakeServer(t testing.TB) *server {
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	// Its own clock and this library's are the same one, also in a bubble.
	handler := gofakes3.New(backend, gofakes3.WithTimeSkewLimit(0)).Server()
	return &server{name: "gofakes3", endpoint: "https://store.test", part: 4096, transport: local{handler}}
}

// local carries requests to a handler in this process.
type local struct{ http.Handler }

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	if in.ContentLength >= 0 {
		in.Header.Set("Content-Length", fmt.Sprint(in.ContentLength))
	}
	body := &bounded{ReadCloser: in.Body, left: in.ContentLength}
	in.Body = body
	out := httptest.NewRecorder()
	l.ServeHTTP(out, in)
	if body.err != nil {
		return nil, body.err // the request was never whole, so there is no answer
	}
	return out.Result(), nil
}

// bounded ends where the request says, as on a network, and remembers what
// broke it.
type bounded struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); err != nil && b.left > 0 {
		b.err = errors.Join(io.ErrUnexpectedEOF, err)
		return n, b.err
	}
	return n, nil
}

var (
	errDead = errors.New("this process was killed")
	errLine = errors.New("connection reset by peer")
)

// process is the way to a server as one run of a program has it: it can be
// killed, and single calls can go wrong.
type process struct {
	way http.RoundTripper

	mu    sync.Mutex
	dead  bool
	calls []string
	// fault is asked before each call, and whether it is to be carried out
	// although it fails.
	fault func(call int) (err error, carryOut bool)
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
}

func (p *process) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	return nil
}

// errFull makes a call answer that there is no room.
var errFull = errors.New("full")

func (p *process) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.alive(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.calls = append(p.calls, r.Method+" "+r.URL.Path)
	call := len(p.calls)
	p.mu.Unlock()
	var fault error
	carryOut := true
	if p.fault != nil {
		fault, carryOut = p.fault(call)
	}
	if errors.Is(fault, errFull) {
		return &http.Response{
			StatusCode: http.StatusInsufficientStorage, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader("<Error><Code>XMinioStorageFull</Code></Error>")),
		}, nil
	}
	if !carryOut {
		return nil, fault
	}
	in := r.Clone(r.Context())
	if r.Body != nil {
		in.Body = &mortal{r.Body, p}
	}
	answer, err := p.way.RoundTrip(in)
	if err == nil {
		// The answer is whole before the next thing can happen.
		var content []byte
		content, err = io.ReadAll(answer.Body)
		answer.Body.Close()
		answer.Body = io.NopCloser(bytes.NewReader(content))
	}
	if aerr := p.alive(); err == nil && aerr != nil {
		err = aerr
	}
	if err = errors.Join(err, fault); err != nil {
		return nil, err
	}
	return answer, nil
}

// mortal is the content of a request of a process that may be killed.
type mortal struct {
	io.ReadCloser
	p *process
}

func (m *mortal) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	if aerr := m.p.alive(); aerr != nil {
		return 0, aerr
	}
	return n, err
}
