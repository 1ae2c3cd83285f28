package aac_test

import (
	"bytes"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/lenscast/lenscast/capture/aac"
)

// adts makes a frame with another's code.
func adts(t *testing.T, objectType mpeg4audio.ObjectType, rate, channels, size int) []byte {
	t.Helper()
	b, err := mpeg4audio.ADTSPackets{{
		Type: objectType, SampleRate: rate, ChannelCount: channels, AU: make([]byte, size),
	}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseHeader(t *testing.T) {
	for _, rate := range []int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350} {
		for _, channels := range []int{1, 2, 3, 4, 5, 6, 8} {
			b := adts(t, mpeg4audio.ObjectTypeAACLC, rate, channels, 300)
			want := aac.Header{Config: aac.Config{SampleRate: rate, Channels: channels}, Size: 7, Frame: 307}
			if h, err := aac.ParseHeader(b); err != nil || h != want {
				t.Fatalf("%d Hz, %d channels: %+v, %v", rate, channels, h, err)
			}
			b[1] &^= 1 // protection_absent
			if h, err := aac.ParseHeader(b); err != nil || h.Size != 9 {
				t.Fatalf("with a CRC: %+v, %v", h, err)
			}
		}
	}
	good := adts(t, mpeg4audio.ObjectTypeAACLC, 48000, 2, 300)
	change := func(at int, b byte) []byte {
		out := append([]byte(nil), good...)
		out[at] = b
		return out
	}
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"short":              {good[:6], aac.ErrHeader},
		"no syncword":        {change(1, 0xe1), aac.ErrHeader},
		"MP3":                {change(1, 0xfb), aac.ErrHeader}, // layer
		"rate 15":            {change(2, good[2]|0x3c), aac.ErrHeader},
		"no content":         {adts(t, mpeg4audio.ObjectTypeAACLC, 48000, 2, 0), aac.ErrHeader},
		"AAC Main":           {adts(t, 1, 48000, 2, 300), aac.ErrUnsupported},
		"channels in frames": {adts(t, mpeg4audio.ObjectTypeAACLC, 48000, 0, 300), aac.ErrUnsupported},
		"two blocks":         {change(6, good[6]|1), aac.ErrUnsupported},
	} {
		if _, err := aac.ParseHeader(test.b); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// TestSilence lets ffmpeg decode it: without a word, and nothing is heard.
func TestSilence(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed")
	}
	for _, channels := range []int{1, 2} {
		var stream []byte
		for range 20 {
			frame := aac.Config{Channels: channels}.Silence()
			header := adts(t, mpeg4audio.ObjectTypeAACLC, 48000, channels, len(frame))[:aac.HeaderSize]
			stream = append(append(stream, header...), frame...)
		}
		cmd := exec.Command(ffmpeg, "-v", "error", "-f", "aac", "-i", "-", "-f", "s16le", "-")
		cmd.Stdin = bytes.NewReader(stream)
		var words bytes.Buffer
		cmd.Stderr = &words
		sound, err := cmd.Output()
		if err != nil || words.Len() > 0 {
			t.Fatalf("%d channels: ffmpeg: %v %s", channels, err, &words)
		}
		if want := 20 * aac.SamplesPerFrame * channels * 2; len(sound) != want || len(bytes.Trim(sound, "\x00")) > 0 {
			t.Errorf("%d channels: %d bytes of %d, or something is heard", channels, len(sound), want)
		}
	}
	if f := (aac.Config{Channels: 6}).Silence(); f != nil {
		t.Errorf("6 channels have %v", f)
	}
}

func TestTimeOfSamples(t *testing.T) {
	for _, rate := range []int{7350, 44100, 48000, 96000} {
		c := aac.Config{SampleRate: rate, Channels: 2}
		for _, n := range []int64{0, 1, 1023, 1024, 123456789, int64(rate) * 86400 * 365} {
			if got := c.Samples(c.Time(n)); got != n {
				t.Errorf("%d samples at %d Hz became %d", n, rate, got)
			}
		}
	}
	cd := aac.Config{SampleRate: 44100, Channels: 1}
	if d := cd.Time(44100 * 3600); d != time.Hour {
		t.Errorf("an hour of samples lasts %v", d)
	}
	if s := cd.String(); s != "AAC, 44.1 kHz, mono" {
		t.Errorf("it is called %q", s)
	}
}
