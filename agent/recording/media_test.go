package recording_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lenscast/lenscast/agent/recording"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/capture/h264"
)

// TestDurationsAddUp records an hour, or as many as LENSCAST_HOURS says, at
// 29.97 fps in bubble time. The durations add up to the stream's to within one
// picture, by the infos and by ffprobe.
func TestDurationsAddUp(t *testing.T) {
	hours := 1
	if s := os.Getenv("LENSCAST_HOURS"); s != "" {
		var err error
		if hours, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	day := time.Duration(hours) * time.Hour
	src := recordingtest.Synthetic(30000.0/1001, 60, 24)
	var list []archive.Info
	synctest.Test(t, func(t *testing.T) {
		r := startIn(t, dir, src, recording.Params{Segment: 10 * time.Minute, MaxLoss: 2 * time.Minute})
		r.feed(day)
		r.stop()
		list = r.finished()
	})
	var sum, probed time.Duration
	pictures := 0
	for _, i := range list {
		sum += time.Duration(i.Duration)
		pictures += i.Pictures
		probed += probe(t, filepath.Join(dir, i.ID+".mp4"))
	}
	if len(list) < 6*hours || pictures != int(day/src.Interval) {
		t.Errorf("%d recordings with %d pictures of %d", len(list), pictures, day/src.Interval)
	}
	total := time.Duration(pictures) * src.Interval
	for what, d := range map[string]time.Duration{"infos": sum, "ffprobe": probed} {
		if off := d - total; off.Abs() > src.Interval {
			t.Errorf("the durations by %s are off by %v in %v", what, off, day)
		}
	}
	t.Logf("%v: %d recordings, %d pictures, off by %v", day, len(list), pictures, sum-total)
}

// startIn starts a rig in a directory of the real file system.
func startIn(t *testing.T, dir string, src *recordingtest.Source, p recording.Params) *rig {
	t.Helper()
	return startAt(t, dir, forgetful{}, src, archive.Retention{}, p)
}

// probe returns the duration that ffprobe finds.
func probe(t *testing.T, file string) time.Duration {
	t.Helper()
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is not installed")
	}
	out, err := exec.Command(ffprobe, "-v", "error", "-show_entries", "stream=duration_ts", "-of", "csv=p=0", file).Output()
	ticks, perr := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err = errors.Join(err, perr); err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	return fmp4.Duration(ticks)
}

// TestEveryNALUnitIsRecorded compares what is in the files, byte for byte,
// with what the source gave, over the cuts between recordings.
func TestEveryNALUnitIsRecorded(t *testing.T) {
	dir := t.TempDir()
	src := recordingtest.Clip(t, "640x360", 30, 4, "2M")
	var list []archive.Info
	var want []*h264.AccessUnit
	synctest.Test(t, func(t *testing.T) {
		r := startIn(t, dir, src, recording.Params{Segment: 3 * time.Second})
		for range 300 {
			au := src.Next()
			want = append(want, au)
			r.stream.Publish(au)
			time.Sleep(src.Interval)
		}
		r.stop()
		list = r.finished()
	})
	if len(list) != 4 {
		t.Errorf("%d recordings of 3 s in 10 s", len(list))
	}
	n := 0
	for _, i := range list {
		file := filepath.Join(dir, i.ID+".mp4")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rd, err := fmp4.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for {
			p, err := rd.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			samples, err := p.Samples()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range samples {
				if n >= len(want) || len(s.NALUs) != len(want[n].NALUs) || s.Key != want[n].Key {
					t.Fatalf("picture %d differs", n)
				}
				for k := range s.NALUs {
					if !bytes.Equal(s.NALUs[k], want[n].NALUs[k]) {
						t.Fatalf("picture %d: NAL unit %d differs", n, k)
					}
				}
				n++
			}
		}
		if out, err := exec.Command("ffmpeg", "-v", "error", "-i", file, "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: ffmpeg: %v\n%s", i.ID, err, out)
		}
	}
	if n != len(want) {
		t.Errorf("%d pictures of %d", n, len(want))
	}
}
