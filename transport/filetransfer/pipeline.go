package filetransfer

import (
	"sync"
	"sync/atomic"
)

const (
	// pipelinedBytes is the content from which on every step has a goroutine
	// of its own. For less, the hand-over costs more than it gains.
	pipelinedBytes = 256 << 10
	// maxBuffers bounds the buffers of a pipeline, besides their bytes.
	maxBuffers = 16
	// bufferUnit divides the size of every buffer.
	bufferUnit = 4 << 10
)

// pipeline takes a file's content through some steps, such as writing and
// hashing, beside what receives or sends it: all together take no longer than
// the slowest. It lends the buffers that the content is in, because it knows
// when one is free again. When none is, who wants one waits; so a pipeline is
// never longer than its buffers. Its methods are for one goroutine.
type pipeline struct {
	limit int   // bytes in buffers, if they are more than one
	room  *room // for buffers beyond the first; nil: no limit

	free  chan []byte
	count int // buffers, free or lent
	held  int // bytes in them
	taken int // of those, from room

	steps  []step
	queue  chan piece // of the first step; nil: no step has a goroutine
	ended  sync.WaitGroup
	failed atomic.Pointer[error] // of the first step that did
}

// step does something with the content, piece by piece in order.
type step func(content []byte) error

// piece is content on its way, or a place in it.
type piece struct {
	buf, content []byte      // content lies in buf
	mark         func(error) // instead
}

// room is what pipelines share. Each may have an equal part of it: one that came
// first gives back what it has more than that.
type room struct {
	size  int64 // bytes
	taken atomic.Int64
	users atomic.Int64 // pipelines at work
}

func (r *room) take(n int) bool {
	if r.taken.Add(int64(n)) > r.size {
		r.giveBack(n)
		return false
	}
	return true
}

func (r *room) giveBack(n int) { r.taken.Add(int64(-n)) }

func newPipeline(limit int, room *room) *pipeline {
	return &pipeline{limit: limit, room: room, free: make(chan []byte, maxBuffers)}
}

// most returns how many bytes there may be in buffers now.
func (p *pipeline) most() int {
	if p.room == nil {
		return p.limit
	}
	return min(p.limit, int(p.room.size/max(p.room.users.Load(), 1)))
}

// start begins a file of which size bytes are still to come.
func (p *pipeline) start(size int64, steps ...step) {
	p.steps = steps
	p.failed.Store(nil)
	if p.room != nil {
		p.room.users.Add(1)
	}
	if size < pipelinedBytes || len(steps) == 0 {
		return
	}
	var next chan piece
	for i := len(steps) - 1; i >= 0; i-- {
		from, to := make(chan piece, maxBuffers), next
		p.ended.Go(func() { p.run(steps[i], from, to) })
		next = from
	}
	p.queue = next
}

// run does one step with everything in from, and passes it on.
func (p *pipeline) run(do step, from <-chan piece, to chan<- piece) {
	for piece := range from {
		if piece.mark == nil {
			p.do(do, piece.content)
		}
		if to != nil {
			to <- piece
		} else {
			p.end(piece)
		}
	}
	if to != nil {
		close(to)
	}
}

// do does one step, unless one has failed.
func (p *pipeline) do(do step, content []byte) {
	if p.failed.Load() != nil {
		return
	}
	if err := do(content); err != nil {
		p.failed.CompareAndSwap(nil, &err)
	}
}

// end is after the last step.
func (p *pipeline) end(x piece) {
	switch {
	case x.mark != nil:
		x.mark(p.err())
	case x.buf != nil:
		p.free <- x.buf // does not wait: there are no more than maxBuffers
	}
}

// add takes the next content, which lies in the lent buffer buf, and buf. That is
// nil when content to come lies in the same buffer. It returns an error when a step has failed on this content or any before it.
func (p *pipeline) add(buf, content []byte) error {
	p.pass(piece{buf: buf, content: content})
	return p.err()
}

// mark calls f, maybe from another goroutine, when all that was added before
// has gone through all steps and nothing after it, or a step has failed.
func (p *pipeline) mark(f func(failed error)) { p.pass(piece{mark: f}) }

func (p *pipeline) pass(x piece) {
	if p.queue != nil {
		p.queue <- x
		return
	}
	if x.mark == nil {
		for _, do := range p.steps {
			p.do(do, x.content)
		}
	}
	p.end(x)
}

func (p *pipeline) err() error {
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// finish ends what start began: it waits until everything has gone through all
// steps, and returns the error of the first that failed. It keeps one buffer for
// the next file.
func (p *pipeline) finish() error {
	if p.queue != nil {
		close(p.queue)
		p.ended.Wait()
		p.queue = nil
	}
	if p.room != nil {
		p.room.users.Add(-1)
	}
	p.steps = nil
	var kept []byte
	select {
	case kept = <-p.free:
	default:
	}
	for len(p.free) > 0 {
		<-p.free
	}
	p.giveBack(p.taken) // what is kept is the first one now
	p.count, p.held = 0, 0
	if kept != nil {
		p.count, p.held = 1, len(kept)
		p.free <- kept
	}
	return p.err()
}

// buffer lends a buffer of n bytes or more.
func (p *pipeline) buffer(n int) []byte {
	n = max(n+bufferUnit-1, bufferUnit) / bufferUnit * bufferUnit
	for {
		var buf []byte
		select {
		case buf = <-p.free:
		default:
			if p.allot(n) {
				return make([]byte, n)
			}
			buf = <-p.free
		}
		if len(buf) >= n && (p.count == 1 || p.held <= p.most()) {
			return buf
		}
		p.release(len(buf))
	}
}

// allot tells whether there may be another buffer of n bytes. The first one may
// be always, or nothing would go on.
func (p *pipeline) allot(n int) bool {
	if p.count > 0 {
		if p.count == maxBuffers || p.held+n > p.most() {
			return false
		}
		if p.room != nil && !p.room.take(n) {
			return false
		}
		p.taken += n
	}
	p.count++
	p.held += n
	return true
}

// release forgets a buffer of n bytes.
func (p *pipeline) release(n int) {
	p.count--
	p.held -= n
	p.giveBack(min(n, p.taken))
}

func (p *pipeline) giveBack(n int) {
	if p.room != nil {
		p.room.giveBack(n)
	}
	p.taken -= n
}
