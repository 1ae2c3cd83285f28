package stream

import (
	"sync/atomic"

	"github.com/lenscast/lenscast/capture/aac"
)

// AudioReader is one consumer's view of the sound: a bounded queue of frames.
// When it is full the oldest is dropped.
//
// Nobody waits for sound: who wants it looks what has come, as often as there
// is a picture.
type AudioReader struct {
	stream  *Stream
	frames  chan *aac.Frame
	dropped atomic.Uint64
}

// SubscribeAudio adds a reader of the sound, of which so many frames may wait;
// at least 1. The caller must call Close on it.
func (s *Stream) SubscribeAudio(queue int) *AudioReader {
	r := &AudioReader{stream: s, frames: make(chan *aac.Frame, max(queue, 1))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.audio[r] = struct{}{}
	return r
}

// PublishAudio hands a frame of sound to the readers of the sound. It does not
// block. The stream owns f from here on.
func (s *Stream) PublishAudio(f *aac.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.audio {
		r.push(f)
	}
}

// push adds a frame. Only one goroutine at a time pushes.
func (r *AudioReader) push(f *aac.Frame) {
	for {
		select {
		case r.frames <- f:
			return
		default:
		}
		select {
		case <-r.frames:
			r.dropped.Add(1)
		default: // the reader was faster
		}
	}
}

// Next returns the next frame, nil when none waits.
func (r *AudioReader) Next() *aac.Frame {
	select {
	case f := <-r.frames:
		return f
	default:
		return nil
	}
}

// Dropped returns how many frames this reader lost since it began.
func (r *AudioReader) Dropped() uint64 { return r.dropped.Load() }

// Close ends the reader: nothing comes any more. It may be called more than
// once.
func (r *AudioReader) Close() {
	r.stream.mu.Lock()
	defer r.stream.mu.Unlock()
	delete(r.stream.audio, r)
}
