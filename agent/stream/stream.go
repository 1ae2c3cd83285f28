// Package stream fans the access units of one camera out to its readers:
// viewers, pushes, recordings. Its sound goes a way of its own, to those who
// ask for it, so that it is nothing to all others.
//
// Data flows one way, from [Stream.Publish] to [Reader.Next]. What flows back
// are two small wishes: a keyframe, please, and this many bits per second,
// please. A reader owns a bounded queue; when it is full the reader, and only
// that reader, loses everything up to the next IDR. Publishing never waits for
// a reader.
//
// All readers share one encoder, so one rule makes one bitrate of their wishes:
// the slowest push decides; so does the slowest viewer, but not below half of
// what the best reader affords, for one bad network must not spoil the picture
// for all; and it stays between the bitrate that was asked for and the least
// that was allowed. It goes down at once and up by and by. A reader that
// affords less than that gets the first part of each group of pictures: intact
// pictures, only fewer.
//
// A stream keeps the current group of pictures, so that a reader can start at
// once at the IDR that is already there.
package stream

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lenscast/lenscast/capture/h264"
)

const (
	// maxGOPBytes bounds the memory of the group of pictures that is kept
	// for readers to come: 16 s of 8 Mbit/s. A group that outgrows it is
	// cut to its IDR, which a new reader then gets as a still.
	maxGOPBytes = 16 << 20
	maxGOPUnits = 1200

	// cheapGOPBytes and cheapGOPUnits tell when it is cheaper for everybody
	// to let a new reader catch up from the cache than to make the encoder
	// send all readers an extra IDR.
	cheapGOPBytes = 512 << 10
	cheapGOPUnits = 30

	// rateEvery is after how many pictures the bitrate is measured anew.
	rateEvery = 30

	// minKeyframeInterval is the least time between two keyframe wishes
	// that are passed on, however many readers ask.
	minKeyframeInterval = 250 * time.Millisecond
)

// Stream is the live H.264 of one camera. Its methods are safe for use by
// several goroutines, but only one publishes.
type Stream struct {
	wish keyframeWish

	mu      sync.Mutex
	readers map[*Reader]struct{}
	audio   map[*AudioReader]struct{}
	gop     []*h264.AccessUnit // from the last IDR on, empty before the first
	gopSize int                // bytes in gop
	cut     bool               // gop holds only the IDR, the rest was too much
	meter   meter
	rate    int // bit/s, measured now and then
	bitrate bitrateWish
	closed  bool
}

// New makes a stream that has no pictures yet.
func New() *Stream {
	return &Stream{readers: make(map[*Reader]struct{}), audio: make(map[*AudioReader]struct{})}
}

// Format returns what the newest pictures are like. The zero Format means that
// there are none: the source has not begun, or has stopped.
func (s *Stream) Format() h264.Format {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.gop) == 0 {
		return h264.Format{}
	}
	return s.meter.format
}

// OnKeyframeWish sets what is called when a reader needs an IDR. The function
// must not block. A nil function says that this source can't be asked.
func (s *Stream) OnKeyframeWish(force func()) { s.wish.set(force) }

// RequestKeyframe asks the source for an IDR, if it can make one. Requests
// closer together than 250 ms are answered by one keyframe.
func (s *Stream) RequestKeyframe() { s.wish.request() }

// Publish hands a picture to all readers. It does not block, and it does not
// allocate per reader. The stream owns au from here on.
func (s *Stream) Publish(au *h264.AccessUnit) {
	s.mu.Lock()
	defer s.mu.Unlock()

	size := au.Size()
	s.meter.add(au, size)
	switch {
	case au.Key:
		s.wish.done()
		// A new slice: readers that just joined hold parts of the old one.
		s.gop = append(make([]*h264.AccessUnit, 0, cap(s.gop)), au)
		s.gopSize, s.cut = size, false
	case len(s.gop) == 0 || s.cut:
	case s.gopSize+size > maxGOPBytes || len(s.gop) >= maxGOPUnits:
		s.gop, s.gopSize, s.cut = s.gop[:1:1], s.gop[0].Size(), true
	default:
		s.gop = append(s.gop, au)
		s.gopSize += size
	}

	if s.meter.total.Pictures%rateEvery == 0 {
		s.rate = int(s.meter.stats(s.meter.total.Last).Bitrate)
	}
	s.bitrate.raise(s.meter.total.Last)
	for r := range s.readers {
		if !r.push(au) {
			s.wish.request()
		}
	}
}

// Interrupt tells that the source has stopped: what is kept of it is not shown
// to new readers any more.
func (s *Stream) Interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gop, s.gopSize, s.cut = nil, 0, false
	s.meter.reset()
}

// Close ends the stream for good, as when its camera is taken out of the
// configuration: Next of all its readers returns ErrClosed, also of those that
// come later. What is published afterwards goes nowhere.
func (s *Stream) Close() {
	s.mu.Lock()
	s.closed = true
	readers := slices.Collect(maps.Keys(s.readers))
	s.mu.Unlock()
	for _, r := range readers {
		r.Close()
	}
}

// Start says where a reader begins.
type Start int

const (
	// AtOnce begins with the newest IDR and catches up from the cache, or
	// with a forced one, whichever costs all readers less.
	AtOnce Start = iota
	// AtNextKeyframe begins with the next IDR, without asking for one.
	AtNextKeyframe
)

// Subscribe adds a reader. The caller must call Close on it.
//
// queue is the number of pictures that may wait for Next beyond those that a
// reader catches up with; at least 1.
func (s *Stream) Subscribe(start Start, queue int) *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()

	r := newReader(s, start, max(queue, 1))
	if s.closed {
		r.closed = true
		return r
	}
	if start == AtOnce && len(s.gop) > 0 {
		cheap := !s.cut && s.gopSize <= cheapGOPBytes && len(s.gop) <= cheapGOPUnits
		switch {
		case cheap || !s.wish.possible():
			r.start(s.gop, s.cut)
		default:
			s.wish.request()
		}
	}
	s.readers[r] = struct{}{}
	s.reconsider()
	return r
}

// Stats returns what the stream carries now.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.meter.stats(time.Now())
	st.Readers = len(s.readers)
	st.KeyframeWishes = s.wish.count()
	if w := s.bitrate; w.to.Set != nil {
		st.Asked, st.Told, st.LimitedBy = w.to.Asked, w.now, w.by
	}
	return st
}

func (s *Stream) remove(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
	s.reconsider()
}

// keyframeWish passes requests for an IDR on, at most one in
// minKeyframeInterval. A request that comes too early waits for its turn, and
// is dropped when an IDR arrives before that.
type keyframeWish struct {
	mu     sync.Mutex
	force  func()
	last   time.Time
	timer  *time.Timer // non-nil while a request waits
	passed uint64
}

func (w *keyframeWish) set(force func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.force = force
	w.stopTimer()
}

func (w *keyframeWish) possible() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.force != nil
}

func (w *keyframeWish) request() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.force == nil || w.timer != nil {
		return
	}
	if wait := time.Until(w.last.Add(minKeyframeInterval)); wait > 0 {
		w.timer = time.AfterFunc(wait, w.fire)
		return
	}
	w.pass()
}

func (w *keyframeWish) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil { // stopped while this call was on its way
		return
	}
	w.timer = nil
	if w.force != nil {
		w.pass()
	}
}

func (w *keyframeWish) pass() {
	w.last = time.Now()
	w.passed++
	w.force()
}

// done tells that an IDR came, so that no waiting request needs another.
func (w *keyframeWish) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopTimer()
}

func (w *keyframeWish) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (w *keyframeWish) count() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}
