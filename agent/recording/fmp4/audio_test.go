package fmp4_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/capture/aac"
)

// fileWithSound makes a file of n parts of a second, the first without sound,
// and one more of sound alone. It returns the number of frames, too.
func fileWithSound(t testing.TB, src *recordingtest.Source, audio *recordingtest.Audio, n int) (b []byte, frames int, keys []fmp4.Keyframe) {
	t.Helper()
	var sound fmp4.Audio
	for i := range n + 1 {
		var part []fmp4.Sample
		for j := range 30 {
			if i == n {
				break
			}
			au := src.Next()
			if i == 0 && j == 0 {
				sps, pps := au.ParameterSets()
				var err error
				if b, err = fmp4.Header(sps[0], pps[0], audio.Config, nil); err != nil {
					t.Fatal(err)
				}
			}
			part = append(part, fmp4.Sample{NALUs: au.NALUs, Key: au.Key, Duration: fmp4.Timescale / 30})
		}
		if i < n {
			keys = append(keys, fmp4.Keyframe{Time: int64(i) * fmp4.Timescale, Offset: int64(len(b))})
		}
		var err error
		if b, err = fmp4.AppendPart(b, uint32(i+1), int64(i)*fmp4.Timescale, part, sound); err != nil {
			t.Fatal(err)
		}
		frames += len(sound.Frames)
		// It comes a second late.
		sound = fmp4.Audio{Base: int64(frames) * aac.SamplesPerFrame}
		for audio.PTS() < time.Duration(i+1)*time.Second {
			sound.Frames = append(sound.Frames, fmp4.AudioFrame{Data: audio.Next().Data, Duration: aac.SamplesPerFrame})
		}
	}
	return b, frames, keys
}

func TestForeignToolsHear(t *testing.T) {
	src := recordingtest.Clip(t, "320x180", 30, 4, "500k")
	audio := recordingtest.AudioClip(t, aac.Config{SampleRate: 44100, Channels: 2}, 4)
	b, frames, keys := fileWithSound(t, src, audio, 4)
	player, err := fmp4.NewPlayer(bytes.NewReader(b), keys, int64(len(b)), 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	played, err := io.ReadAll(player)
	if err != nil {
		t.Fatal(err)
	}
	still, err := fmp4.Still(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	both := fmt.Sprintf("video,120\naudio,%d\n", frames)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"finished": {fmp4.AppendIndex(b, keys), both},
		"growing":  {b, both},
		"played":   {played, both},
		"still":    {still, "video,1\n"},
	} {
		path := filepath.Join(t.TempDir(), "f.mp4")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries",
			"stream=codec_type,nb_read_packets", "-of", "csv=p=0", path).CombinedOutput()
		if err != nil || string(out) != c.want {
			t.Errorf("%s: ffprobe says %q, %v; want %q", name, out, err, c.want)
		}
		out, err = exec.Command("ffmpeg", "-v", "error", "-i", path, "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: ffmpeg: %s %v", name, out, err)
		}
	}
}

func TestSoundIsRead(t *testing.T) {
	audio := recordingtest.SyntheticAudio(aac.Config{SampleRate: 48000, Channels: 1}, 200)
	b, frames, _ := fileWithSound(t, recordingtest.Synthetic(30, 30, 500), audio, 3)
	rd, err := fmp4.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	pictures := []int{30, 30, 30, 0}
	for i := 0; ; i++ {
		p, err := rd.Next()
		if errors.Is(err, io.EOF) && i == len(pictures) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !p.Whole || p.Pictures != pictures[i] || (p.Frames == 0) != (i == 0) || p.Key != (p.Pictures > 0) {
			t.Errorf("part %d: %d pictures, key %v, %d frames of sound", i, p.Pictures, p.Key, p.Frames)
		}
		if samples, err := p.Samples(); err != nil || len(samples) != p.Pictures {
			t.Errorf("part %d: %d samples, %v", i, len(samples), err)
		}
		frames -= p.Frames
	}
	if frames != 0 {
		t.Errorf("%d frames of sound too few", frames)
	}
	if len(b)%fmp4.Block != 0 {
		t.Errorf("the last part ends at %d, not at a block", len(b))
	}
}
