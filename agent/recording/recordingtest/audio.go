package recordingtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/lenscast/lenscast/capture/aac"
)

// Audio makes one frame of sound after the other.
type Audio struct {
	aac.Config
	Start time.Duration // PTS of the first frame

	clip    [][]byte
	n       int
	samples int64 // since Start
}

// Next returns the next frame. It begins where the last one ended.
func (a *Audio) Next() *aac.Frame {
	f := &aac.Frame{Config: a.Config, Data: a.clip[a.n%len(a.clip)], PTS: a.PTS()}
	a.n++
	a.samples += aac.SamplesPerFrame
	return f
}

// PTS returns that of the next frame.
func (a *Audio) PTS() time.Duration { return a.Start + a.Time(a.samples) }

// Change gives the frames to come another format.
func (a *Audio) Change(c aac.Config) {
	if c != a.Config {
		a.Start, a.samples, a.Config = a.PTS(), 0, c
	}
}

// Skip goes on at pts, if that is later.
func (a *Audio) Skip(pts time.Duration) {
	for a.PTS() < pts {
		a.Next()
	}
}

// SyntheticAudio makes frames of about size bytes, with no sound in them.
func SyntheticAudio(c aac.Config, size int) *Audio {
	chance := rand.New(rand.NewPCG(2, 2))
	a := &Audio{Config: c}
	for range 50 {
		frame := make([]byte, size/2+chance.IntN(size))
		for i := range frame {
			frame[i] = byte(chance.Uint32())
		}
		a.clip = append(a.clip, frame)
	}
	return a
}

// AudioClip makes real sound by ffmpeg. The test is skipped when there is no
// ffmpeg.
func AudioClip(tb testing.TB, c aac.Config, seconds int) *Audio {
	tb.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		tb.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("sine=beep_factor=4:sample_rate=%d", c.SampleRate),
		"-t", fmt.Sprint(seconds), "-ac", fmt.Sprint(c.Channels), "-c:a", "aac", "-f", "adts", "-")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stream, err := cmd.Output()
	if err != nil {
		tb.Fatalf("ffmpeg: %v\n%s", err, stderr.Bytes())
	}
	a, err := FromADTS(stream)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// FromADTS makes sound of an ADTS stream, over and over.
func FromADTS(stream []byte) (*Audio, error) {
	a := &Audio{}
	for len(stream) > 0 {
		h, err := aac.ParseHeader(stream)
		if err != nil || h.Frame > len(stream) {
			return nil, fmt.Errorf("frame %d of the ADTS stream: %w", len(a.clip), err)
		}
		a.Config = h.Config
		a.clip = append(a.clip, stream[h.Size:h.Frame])
		stream = stream[h.Frame:]
	}
	if len(a.clip) == 0 {
		return nil, fmt.Errorf("the ADTS stream is empty")
	}
	return a, nil
}
