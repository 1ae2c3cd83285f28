package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// narrowMargin is times the bitrate of the stream: a way that carries
	// more takes even its peaks.
	narrowMargin = 1.25

	// maxLag is how long a picture may wait for a way that is narrow, and keyLag
	// how long when the next IDR has come, which does without it.
	maxLag = 400 * time.Millisecond
	keyLag = 50 * time.Millisecond

	// lateAgain is how soon after the last time being late counts as being
	// late again.
	lateAgain = 10 * time.Second
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("stream reader closed")

// Reader is one consumer's view of a stream: a bounded queue of pictures that
// always begins with an IDR and has no hole in a group of pictures.
//
// When the queue is full, all that waits in it is dropped, an IDR is asked
// for, and the queue goes on with that one. Where the way to the reader's other
// end is known to be narrow, what waits too long is dropped likewise.
type Reader struct {
	stream *Stream
	limit  int    // pictures that may wait
	role   Role   // guarded by the stream's mutex
	name   string // for people; guarded by the stream's mutex

	mu      sync.Mutex
	queue   []*h264.AccessUnit // ring: queue[head], n pictures
	head, n int
	catchUp int  // of the n, those that came from the cache at the start
	need    bool // drop all until the next IDR
	ask     bool // ask for that IDR
	closed  bool
	dropped uint64
	afford  int       // bit/s, 0 without a limit; written with the stream's mutex held, too
	late    time.Time // when pictures were dropped last because they came too late
	gap     time.Time // the same, when no IDR had come yet

	direct  func(*h264.AccessUnit) bool // takes pictures while Next waits, nil without
	waiting bool                        // Next waits, and has to be woken for a picture

	ready chan struct{} // holds a token when Next may find something
}

func newReader(s *Stream, start Start, limit int) *Reader {
	return &Reader{
		stream: s, limit: limit, need: true, ask: start == AtOnce,
		queue: make([]*h264.AccessUnit, min(limit, 32)),
		ready: make(chan struct{}, 1),
	}
}

// start puts the cached group of pictures in front. A cut one is a still:
// the pictures that follow it don't belong to it.
func (r *Reader) start(gop []*h264.AccessUnit, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, au := range gop {
		r.put(au)
	}
	r.catchUp, r.need = len(gop), cut
	r.wake()
}

// push adds a picture. It reports false when the reader needs an IDR now, and
// au is none.
func (r *Reader) push(au *h264.AccessUnit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n-r.catchUp >= r.limit {
		r.drop(true)
	}
	if r.narrow() && r.catchUp == 0 && r.n > 0 {
		r.skip(au)
	}
	if r.need && !au.Key {
		r.dropped++
		return !r.ask
	}
	r.need = false
	if r.direct != nil && r.waiting && r.n == 0 && r.direct(au) {
		return true
	}
	r.put(au)
	r.wake()
	return true
}

// skip drops what waits if it has waited too long when au comes. r.mu is held.
func (r *Reader) skip(au *h264.AccessUnit) {
	lag, now := au.PTS-r.queue[r.head].PTS, time.Now()
	switch {
	case au.Key && lag > keyLag:
		// Else it would wait for them, and all that follow it for as long,
		// until they are too late as well.
		r.drop(false)
	case lag > maxLag:
		// Every IDR makes it worse for all. Who is late once more takes
		// the next that comes by itself.
		r.drop(now.Sub(r.gap) > lateAgain)
		r.gap = now
	default:
		return
	}
	r.late = now
}

// narrow tells whether the way to the other end carries hardly what the stream
// has. The stream's mutex is held.
func (r *Reader) narrow() bool {
	return r.afford > 0 && float64(r.afford) < narrowMargin*float64(r.stream.rate)
}

// drop empties the queue. The next picture in it will be an IDR, which is asked
// for or waited for.
func (r *Reader) drop(ask bool) {
	r.dropped += uint64(r.n)
	clear(r.queue)
	r.head, r.n, r.catchUp, r.need, r.ask = 0, 0, 0, true, ask
}

func (r *Reader) put(au *h264.AccessUnit) {
	if r.n == len(r.queue) {
		bigger := make([]*h264.AccessUnit, 2*len(r.queue))
		k := copy(bigger, r.queue[r.head:])
		copy(bigger[k:], r.queue[:r.head])
		r.queue, r.head = bigger, 0
	}
	r.queue[(r.head+r.n)%len(r.queue)] = au
	r.n++
}

func (r *Reader) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// Next returns the next picture; it waits for one until ctx ends. The error
// is ErrClosed or the context's.
func (r *Reader) Next(ctx context.Context) (*h264.AccessUnit, error) {
	for {
		if au, err := r.take(); au != nil || err != nil {
			return au, err
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			r.waiting = false
			return nil, ctx.Err()
		}
	}
}

// Direct lets take have the pictures that come while Next waits, before Publish
// returns: to wake another thread costs more than to send a picture. take
// reports whether it took the picture; one that it did not take is what Next
// returns. It is never called while Next does not wait.
//
// take must not wait for anything, and of the stream and its readers it may call
// RequestKeyframe only.
func (r *Reader) Direct(take func(au *h264.AccessUnit) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.direct = take
}

func (r *Reader) take() (*h264.AccessUnit, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	r.waiting = r.n == 0
	if r.waiting {
		return nil, nil
	}
	au := r.queue[r.head]
	r.queue[r.head] = nil
	r.head = (r.head + 1) % len(r.queue)
	r.n--
	r.catchUp = max(r.catchUp-1, 0)
	return au, nil
}

// Len returns how many pictures wait: after the first Next of a reader that
// started at once, those it has to catch up with.
func (r *Reader) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// Dropped returns how many pictures this reader lost since it began, those
// before its first IDR included.
func (r *Reader) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// RequestKeyframe asks the stream's source for an IDR.
func (r *Reader) RequestKeyframe() { r.stream.RequestKeyframe() }

// Late tells whether pictures are left out now, because the way to the reader's
// other end carries less than the stream has.
func (r *Reader) Late() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.late.IsZero() && time.Since(r.late) < lateAgain
}

// Close ends the reader: Next returns ErrClosed from now on. It may be called
// more than once.
func (r *Reader) Close() {
	r.stream.remove(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	clear(r.queue)
	r.n = 0
	r.wake()
}
