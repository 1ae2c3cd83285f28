package archive

import (
	"fmt"
	"math"
	"time"

	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/capture/aac"
)

// audioSlack is how far a frame may be from where the one before ends, in
// samples, and still follow it without a seam: timestamps are rounded, and
// jitter. It is less than a frame, so sound and picture are never apart by one.
const audioSlack = aac.SamplesPerFrame / 2

// maxSilence bounds the silence that is put where sound is missing. Browsers
// play one frame after the other, so without it all sound behind a lost packet
// would be too early. A longer gap stays one.
const maxSilence = 10 * time.Minute

// audioTrack collects the sound of a recording.
type audioTrack struct {
	config  aac.Config // zero: there is none
	part    fmp4.Audio // that is to be written
	start   int64      // of the last frame, ticks
	end     int64      // of it, where the next is expected
	frames  int64      // of all parts
	dropped int
}

// ExpectAudio gives the recording a track for sound before any has come. It
// works before the first part is written.
func (w *Writer) ExpectAudio(c aac.Config) {
	if w.number == 0 {
		w.audio.config = c
	}
}

// HasAudio reports whether the recording has a track for sound.
func (w *Writer) HasAudio() bool { return w.audio.config != aac.Config{} }

// WriteAudio adds a frame of sound to the part that collects, or leaves it out
// and counts it. It must not be of after the next picture.
//
// Whether the recording has sound, and which, is decided when its first part is
// written, by what has come until then. Later in another format, or where there
// was none, it has to wait for the next recording.
func (w *Writer) WriteAudio(f *aac.Frame) {
	a := &w.audio
	if w.number == 0 && f.Config != a.config {
		*a = audioTrack{config: f.Config, dropped: a.dropped + len(a.part.Frames)}
	}
	if f.Config != a.config {
		a.dropped++
		return
	}
	if t := a.config.Samples(f.PTS - w.first); t < 0 || !a.add(t, f.Data) {
		a.dropped++
		return
	}
	w.bytes += len(f.Data)
}

// DropAudio counts frames that were lost on the way.
func (w *Writer) DropAudio(n int) { w.audio.dropped += n }

// add takes a frame that begins at t, in ticks. It refuses one that begins
// before the last one ends.
func (a *audioTrack) add(t int64, data []byte) bool {
	if a.frames > 0 {
		a.fill(t)
		switch d := t - a.end; {
		case d < -audioSlack:
			return false
		case d <= audioSlack:
			t = a.end
		}
		// The last frame lasts until this one: longer before a gap. If it
		// was written already, the base of this part tells.
		if n := len(a.part.Frames); n > 0 {
			a.part.Frames[n-1].Duration = uint32(min(t-a.start, math.MaxUint32))
		}
	}
	a.append(t, data)
	return true
}

// fill puts silence where frames are missing before t.
func (a *audioTrack) fill(t int64) {
	silence := a.config.Silence()
	if silence == nil || t-a.end > a.config.Samples(maxSilence) {
		return
	}
	for t-a.end > audioSlack {
		a.append(a.end, silence)
	}
}

func (a *audioTrack) append(t int64, data []byte) {
	if len(a.part.Frames) == 0 {
		a.part.Base = t
	}
	a.part.Frames = append(a.part.Frames, fmp4.AudioFrame{Data: data, Duration: aac.SamplesPerFrame})
	a.start, a.end = t, t+aac.SamplesPerFrame
	a.frames++
}

// written forgets the part that was.
func (a *audioTrack) written() {
	clear(a.part.Frames) // let go of the sound
	a.part.Frames = a.part.Frames[:0]
}

// info describes the track, nil when there is none.
func (a *audioTrack) info() *Audio {
	if a.config == (aac.Config{}) {
		return nil
	}
	return &Audio{
		Codec: "mp4a.40.2", SampleRate: a.config.SampleRate, Channels: a.config.Channels,
		Duration: Seconds(a.config.Time(a.frames * aac.SamplesPerFrame)), Dropped: a.dropped,
	}
}

// lasting returns the description with the duration of n frames.
func (a *Audio) lasting(n int) *Audio {
	if a == nil || a.SampleRate <= 0 {
		return nil // a note that was spoiled
	}
	repaired := *a
	repaired.Duration = Seconds(aac.Config{SampleRate: a.SampleRate}.Time(int64(n) * aac.SamplesPerFrame))
	return &repaired
}

// addAudioTrack makes the header again with the track, if there is to be one,
// when the first part is written.
func (w *Writer) addAudioTrack() error {
	if a := &w.audio; w.HasAudio() && a.frames == 0 {
		// It was expected, and may yet come. If it does not, no player should
		// meet a track without a sample.
		if silence := a.config.Silence(); silence != nil {
			a.append(0, silence)
		} else {
			a.config = aac.Config{}
		}
	}
	if !w.HasAudio() {
		return nil
	}
	w.info.Audio = w.audio.info()
	header, err := w.makeHeader()
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	w.header = header
	return nil
}
