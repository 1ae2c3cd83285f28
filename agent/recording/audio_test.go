package recording_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/capture/aac"
)

var stereo = aac.Config{SampleRate: 48000, Channels: 2}

// feedBoth publishes pictures for d, in their time, and sound that comes by lag
// after its time, or before it.
func (r *rig) feedBoth(d time.Duration, audio *recordingtest.Audio, lag time.Duration) {
	for range int(d / r.src.Interval) {
		au := r.src.Next()
		r.stream.Publish(au)
		for audio.PTS()+lag <= au.PTS {
			r.stream.PublishAudio(audio.Next())
		}
		time.Sleep(r.src.Interval)
	}
	synctest.Wait()
}

// TestSoundIsRecordedWhole records over several cuts: no frame of the sound is
// missing or changed, and all are where they belong.
func TestSoundIsRecordedWhole(t *testing.T) {
	for _, test := range []struct {
		config aac.Config
		lag    time.Duration
	}{
		{stereo, 0},
		{stereo, 180 * time.Millisecond}, // as ffmpeg's muxer packs it
		{aac.Config{SampleRate: 44100, Channels: 1}, -300 * time.Millisecond},
		{aac.Config{SampleRate: 96000, Channels: 6}, 700 * time.Millisecond},
		{aac.Config{SampleRate: 8000, Channels: 1}, 50 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%v, %v late", test.config, test.lag), func(t *testing.T) {
			dir := t.TempDir()
			src := recordingtest.Clip(t, "320x180", 30, 2, "200k")
			audio := recordingtest.AudioClip(t, test.config, 3)
			var list []archive.Info
			synctest.Test(t, func(t *testing.T) {
				r := startIn(t, dir, src, recording.Params{Segment: 3 * time.Second, Audio: true})
				r.feedBoth(10*time.Second, audio, test.lag)
				r.stop()
				list = r.finished()
			})
			if len(list) != 4 {
				t.Fatalf("%d recordings of 3 s in 10 s", len(list))
			}
			sent := recordingtest.AudioClip(t, test.config, 3)
			n := 0
			begun := time.Duration(0) // PTS of the file's first picture
			for _, i := range list {
				file := filepath.Join(dir, i.ID+".mp4")
				if i.Audio == nil || i.Audio.SampleRate != test.config.SampleRate || i.Audio.Channels != test.config.Channels || i.Audio.Dropped != 0 {
					t.Fatalf("%s: audio %+v", i.ID, i.Audio)
				}
				got, err := recordingtest.FromADTS(run(t, "ffmpeg", "-v", "error", "-i", file, "-map", "0:a", "-c", "copy", "-f", "adts", "-"))
				if err != nil {
					t.Fatal(err)
				}
				times := packetTimes(t, file)
				for _, at := range times {
					want := sent.Next()
					if off := begun + at - want.PTS; off.Abs() > test.config.Time(aac.SamplesPerFrame/2)+time.Millisecond {
						t.Fatalf("frame %d is %v off", n, off)
					}
					if f := got.Next(); !bytes.Equal(f.Data, want.Data) {
						t.Fatalf("frame %d is not the one that was sent", n)
					}
					n++
				}
				begun += time.Duration(i.Duration)
				if out := run(t, "ffmpeg", "-v", "error", "-i", file, "-f", "null", "-"); len(out) > 0 {
					t.Errorf("%s: ffmpeg says %s", i.ID, out)
				}
			}
			// What comes in the last moment has nothing behind it.
			if missing := audio.PTS() - sent.PTS(); missing > 3*test.config.Time(aac.SamplesPerFrame)+max(0, -test.lag) {
				t.Errorf("the last %v are missing", missing)
			}
		})
	}
}

// run returns what a command prints, also what it complains of.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed")
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// packetTimes returns the times of the frames of sound that ffprobe finds.
func packetTimes(t *testing.T, file string) (times []time.Duration) {
	t.Helper()
	for line := range strings.Lines(string(run(t, "ffprobe", "-v", "quiet", "-select_streams", "a", "-show_entries", "packet=pts_time", "-of", "csv=p=0", file))) {
		s, err := strconv.ParseFloat(strings.Trim(line, ",\n"), 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Duration(s*float64(time.Second)))
	}
	return times
}

// TestPicturesNeverWaitForSound lets sound misbehave in all manners. The
// pictures must be recorded as if there were none: the same files, of the same
// parts, written at the same time.
func TestPicturesNeverWaitForSound(t *testing.T) {
	tests := []struct {
		name  string
		sound func(r *rig, audio *recordingtest.Audio, pts time.Duration) // called after each picture
		least float64                                                     // share of the time that has sound, at least
	}{
		{"none", func(*rig, *recordingtest.Audio, time.Duration) {}, 0},
		{"good", func(r *rig, a *recordingtest.Audio, pts time.Duration) { r.play(a, pts) }, 0.99},
		{"3 s late", func(r *rig, a *recordingtest.Audio, pts time.Duration) { r.play(a, pts-3*time.Second) }, 0.5},
		{"from the middle on", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			if pts > 20*time.Second {
				r.play(a, pts)
			}
		}, 0.3},
		{"until the middle", func(r *rig, a *recordingtest.Audio, pts time.Duration) { r.play(a, min(pts, 20*time.Second)) }, 0.45},
		{"comes and goes", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			if pts%(2*time.Second) < time.Second {
				r.play(a, pts)
			} else {
				a.Skip(pts)
			}
		}, 0.45},
		{"another rate and other channels", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			if pts > 15*time.Second {
				a.Change(aac.Config{SampleRate: 44100, Channels: 1})
			}
			r.play(a, pts)
		}, 0.7},
		{"another format with each frame", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			a.Change(aac.Config{SampleRate: 48000, Channels: 1 + r.stream.Stats().Readers + int(pts/time.Millisecond)%3})
			r.play(a, pts)
		}, 0},
		{"times all over", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			f := a.Next()
			f.PTS = pts + time.Duration(int64(pts)*7919%int64(10*time.Second)) - 5*time.Second
			r.stream.PublishAudio(f)
		}, 0},
		{"a time that stands still", func(r *rig, a *recordingtest.Audio, _ time.Duration) {
			f := a.Next()
			f.PTS = 5 * time.Second
			r.stream.PublishAudio(f)
		}, 0},
		{"one time far ahead", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			f := a.Next()
			if pts/time.Second%7 == 3 {
				f.PTS += 1000 * time.Hour
			}
			r.stream.PublishAudio(f)
			r.play(a, pts)
		}, 0.5},
		{"the least and greatest times", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			f := a.Next()
			f.PTS = -1 << 63
			if pts/time.Second%2 == 0 {
				f.PTS = 1<<63 - 1
			}
			r.stream.PublishAudio(f)
		}, 0},
		{"a flood", func(r *rig, a *recordingtest.Audio, pts time.Duration) {
			for range 3000 {
				f := a.Next()
				f.PTS = pts
				r.stream.PublishAudio(f)
			}
		}, 0},
	}
	clip, sine := recordingtest.Clip(t, "320x180", 30, 2, "100k"), recordingtest.AudioClip(t, stereo, 3)
	var want []string // of the recording without sound
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			src, audio := *clip, *sine
			var list []archive.Info
			synctest.Test(t, func(t *testing.T) {
				r := startIn(t, dir, &src, recording.Params{Segment: 10 * time.Second, Audio: true})
				for range 40 * 30 {
					au := r.src.Next()
					r.stream.Publish(au)
					test.sound(r, &audio, au.PTS)
					time.Sleep(r.src.Interval)
				}
				synctest.Wait()
				r.stop()
				list = r.finished()
			})
			var got []string
			sound := 0.0
			for _, i := range list {
				got = append(got, fmt.Sprintf("%d pictures, %v, from boot %v, gaps %v, parts %v", i.Pictures, seconds(i),
					time.Duration(i.Start.Boot), i.Gaps, partsOf(t, filepath.Join(dir, i.ID+".mp4"))))
				if i.Audio == nil {
					continue
				}
				sound += time.Duration(i.Audio.Duration).Seconds()
				file := filepath.Join(dir, i.ID+".mp4")
				if out := run(t, "ffmpeg", "-v", "error", "-i", file, "-f", "null", "-"); len(out) > 0 && !strings.Contains(test.name, "another") {
					t.Errorf("%s: ffmpeg says %s", i.ID, out)
				}
				end := time.Duration(0)
				for _, at := range packetTimes(t, file) {
					if at < end {
						t.Errorf("%s: sound at %v after %v", i.ID, at, end)
					}
					end = at
				}
				if end > time.Duration(i.Duration) {
					t.Errorf("%s lasts %v s, and its sound until %v", i.ID, seconds(i), end)
				}
			}
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("recorded were\n%s\nwithout sound it is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if sound < test.least*40 || sound > 40.1 {
				t.Errorf("%.1f s of sound in 40 s", sound)
			}
		})
	}
}

// play publishes the sound from before pts.
func (r *rig) play(a *recordingtest.Audio, pts time.Duration) {
	for a.PTS() <= pts {
		r.stream.PublishAudio(a.Next())
	}
}

// partsOf describes the pictures of each part of a file.
func partsOf(t *testing.T, file string) (parts []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rd, err := fmp4.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return parts
		} else if err != nil || !p.Whole {
			t.Fatalf("whole %v, %v", p.Whole, err)
		}
		if p.Pictures > 0 {
			parts = append(parts, fmt.Sprintf("%d+%d", p.Base, p.Duration))
		}
	}
}

func TestPreRollHasSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(30, 30, 500), archive.Retention{},
			recording.Params{Manual: true, PreRoll: 10 * time.Second, Audio: true})
		audio := recordingtest.SyntheticAudio(stereo, 300)
		r.feedBoth(30*time.Second, audio, 100*time.Millisecond)
		r.recorder.Start()
		r.feedBoth(5*time.Second, audio, 100*time.Millisecond)
		r.recorder.Stop()
		synctest.Wait()
		list := r.finished()
		if len(list) != 1 || list[0].Audio == nil || seconds(list[0]) < 15 {
			t.Fatalf("recorded %+v", list)
		}
		if got := time.Duration(list[0].Audio.Duration).Seconds(); got < seconds(list[0])-0.2 || got > seconds(list[0]) {
			t.Errorf("%.2f s of sound in %.2f s", got, seconds(list[0]))
		}
		r.stop()
	})
}

// Sound counts as memory of the pre-roll: 350 kB/s of it, and 15 of pictures.
func TestPreRollIsBoundedWithSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(30, 30, 500), archive.Retention{},
			recording.Params{Manual: true, PreRoll: time.Hour, PreRollSize: 2 << 20, Audio: true})
		r.feedBoth(time.Minute, recordingtest.SyntheticAudio(stereo, 7500), 0)
		if pre := time.Duration(r.recorder.Status().PreRoll); pre < 3*time.Second || pre > 6*time.Second {
			t.Errorf("pre-roll of %v in 2 MiB", pre)
		}
		r.stop()
	})
}

func TestSoundOfAnotherFormatBeginsWithTheNextRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(30, 30, 500), archive.Retention{},
			recording.Params{Segment: 10 * time.Second, Audio: true})
		r.feed(5 * time.Second)
		audio := recordingtest.SyntheticAudio(stereo, 300)
		audio.Start = 5 * time.Second
		r.feedBoth(10*time.Second, audio, 0)
		mono := aac.Config{SampleRate: 16000, Channels: 1}
		audio.Change(mono)
		r.feedBoth(10*time.Second, audio, 0)
		r.stop()
		list := r.finished()
		if len(list) != 3 || list[0].Audio != nil || list[1].Audio == nil || list[2].Audio == nil {
			t.Fatalf("recorded %+v", list)
		}
		if a := list[1].Audio; a.Channels != 2 || a.Dropped < 70 || !near(time.Duration(a.Duration).Seconds(), 5) {
			t.Errorf("the second has %+v", a)
		}
		if a := list[2].Audio; a.SampleRate != mono.SampleRate || a.Dropped != 0 || time.Duration(a.Duration) < 4900*time.Millisecond {
			t.Errorf("the third has %+v", a)
		}
	})
}

func TestSoundIsLeftOutIfNotWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(30, 30, 500), archive.Retention{}, recording.Params{})
		r.feedBoth(5*time.Second, recordingtest.SyntheticAudio(stereo, 300), 0)
		r.stop()
		if list := r.finished(); len(list) != 1 || list[0].Audio != nil {
			t.Errorf("recorded %+v", list)
		}
	})
}

// Sound that lags by more than a part is in all files but the first. A file
// that was made for sound which does not come has a moment of silence, so that
// no player meets a track without a sample.
func TestLateSoundIsExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, durabletest.NewDisk("/", 0), recordingtest.Synthetic(30, 30, 500), archive.Retention{},
			recording.Params{Segment: 10 * time.Second, Audio: true})
		audio := recordingtest.SyntheticAudio(stereo, 300)
		r.feedBoth(25*time.Second, audio, 1500*time.Millisecond)
		r.feed(15 * time.Second)
		r.stop()
		list := r.finished()
		if len(list) != 4 || list[0].Audio != nil || list[1].Audio == nil || list[2].Audio == nil || list[3].Audio == nil {
			t.Fatalf("recorded %+v", list)
		}
		for n, want := range []float64{9.56, 3.5, 0.02} {
			if got := time.Duration(list[n+1].Audio.Duration).Seconds(); !near(got, want) {
				t.Errorf("%.2f s of sound in file %d, want %.2f", got, n+1, want)
			}
		}
	})
}
