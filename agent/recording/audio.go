package recording

import (
	"time"

	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/capture/aac"
)

const (
	// maxAudio is how many frames of sound may wait while the disk is slow,
	// or for pictures that are behind: 20 s of 48 kHz.
	maxAudio = 1000

	// lateAudio is how long after its last picture a recording still takes
	// its sound, which muxers let lag.
	lateAudio = time.Second
)

// audioQueue are frames of sound that wait for the picture behind them. They go
// with the pre-roll.
type audioQueue struct {
	frames []*aac.Frame
	bytes  int
}

// size returns the bytes of memory that a frame takes.
func size(f *aac.Frame) int { return len(f.Data) + 128 }

func (s *audioQueue) add(f *aac.Frame) {
	s.frames = append(s.frames, f)
	s.bytes += size(f)
}

// before takes out the frames from before pts, also where one behind pts is
// among them: its time is wrong, and no reason to wait.
func (s *audioQueue) before(pts time.Duration, each func(*aac.Frame)) {
	kept := s.frames[:0]
	for _, f := range s.frames {
		if f.PTS >= pts {
			kept = append(kept, f)
			continue
		}
		s.bytes -= size(f)
		each(f)
	}
	clear(s.frames[len(kept):])
	s.frames = kept
}

// shorten drops the oldest frames beyond n, and returns how many they were.
func (s *audioQueue) shorten(n int) int {
	over := max(len(s.frames)-n, 0)
	for _, f := range s.frames[:over] {
		s.bytes -= size(f)
	}
	s.frames = append(s.frames[:0], s.frames[over:]...)
	return over
}

func (s *audioQueue) clear() { *s = audioQueue{} }

// collectAudio takes the sound that has come.
func (r *Recorder) collectAudio() {
	if r.audio == nil {
		return
	}
	for f := r.audio.Next(); f != nil; f = r.audio.Next() {
		r.newest, r.audioAt = f, time.Now()
		r.ring.audio.add(f)
	}
	if r.writer == nil {
		return // the ring has its own bound
	}
	lost := r.ring.audio.shorten(maxAudio)
	if n := r.audio.Dropped(); n > r.audioLost {
		lost += int(n - r.audioLost)
		r.audioLost = n
	}
	r.writer.DropAudio(lost)
}

// writeAudio writes the sound from before pts: no picture after it is written yet,
// so a player that starts at a picture finds the sound behind it.
func (r *Recorder) writeAudio(pts time.Duration) {
	r.ring.audio.before(pts, func(f *aac.Frame) {
		switch {
		case f.PTS >= r.begun:
			r.writer.WriteAudio(f)
		case r.late != nil:
			r.late.WriteAudio(f)
		}
	})
	if r.late != nil && (r.audioPassed(r.begun) || pts-r.begun >= lateAudio) {
		r.finishLate()
	}
}

// audioPassed reports whether the sound from before pts has come.
func (r *Recorder) audioPassed(pts time.Duration) bool { return r.newest != nil && r.newest.PTS >= pts }

// expectAudio gives a recording that begins a track for the sound that the one
// before had, although that may lag by more than a part.
func (r *Recorder) expectAudio(w *archive.Writer, now time.Time) {
	if r.newest != nil && now.Sub(r.audioAt) < silence {
		w.ExpectAudio(r.newest.Config)
	}
}

// finishLate finishes a recording that waited for its last sound.
func (r *Recorder) finishLate() {
	if w := r.late; w != nil {
		r.late = nil
		r.finishBeside(w)
	}
}
