package archive_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/fmp4"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/agent/wallclock"
	"github.com/lenscast/lenscast/capture/aac"
)

// clock is a clock that a test sets.
type clock struct{ wallclock.Reading }

func (c *clock) Read() wallclock.Reading { return c.Reading }

// pass lets time pass on both clocks.
func (c *clock) pass(d time.Duration) { c.Wall, c.Boot = c.Wall.Add(d), c.Boot+d }

func newClock() *clock {
	return &clock{wallclock.Reading{
		Wall: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC), Trusted: true, Boot: time.Hour, BootID: "boot-1",
	}}
}

const root = "/rec"

func open(t testing.TB, fsys durable.FS, c wallclock.Clock, p archive.Params) *archive.Archive {
	t.Helper()
	p.Dir, p.FS, p.Clock = root, fsys, c
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	a, err := archive.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// record makes a finished recording of n pictures at 30 fps.
func record(a *archive.Archive, c *clock, camera string, src *recordingtest.Source, n int) error {
	w, err := a.Create(camera, src.Next(), 0, time.Second)
	if err != nil {
		return err
	}
	for range n - 1 {
		if err := w.Write(src.Next()); err != nil {
			w.Abandon()
			return err
		}
	}
	c.pass(time.Duration(n) * src.Interval)
	return finish(w)
}

// settle lets Run do what there is to do.
func settle(t testing.TB, a *archive.Archive) {
	t.Helper()
	if err := a.Run(&once{Context: t.Context(), done: make(chan struct{})}); err != nil {
		t.Fatal(err)
	}
}

// checkFile tells what is wrong with a finished recording.
func checkFile(a *archive.Archive, i archive.Info) error {
	m, err := a.Media(i.ID)
	if err != nil {
		return err
	}
	defer m.Close()
	b, err := io.ReadAll(m.File())
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); int64(len(b)) != i.Size || hex.EncodeToString(sum[:]) != i.SHA256 {
		return fmt.Errorf("%s: %d bytes of %d, or another checksum", i.ID, len(b), i.Size)
	}
	rd, err := fmp4.NewReader(bytes.NewReader(b))
	if err != nil {
		return err
	}
	pictures, frames, duration := 0, int64(0), int64(0)
	for {
		p, err := rd.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("%s: %w", i.ID, err)
		}
		if !p.Whole || p.Pictures > 0 && p.Base != duration {
			return fmt.Errorf("%s: part %d damaged, or from %d instead of %d", i.ID, p.Number, p.Base, duration)
		}
		pictures += p.Pictures
		frames += int64(p.Frames)
		duration += p.Duration
	}
	if pictures != i.Pictures || fmp4.Duration(duration) != time.Duration(i.Duration) && i.Duration != archive.Seconds(fmp4.Duration(duration).Round(time.Microsecond)) {
		return fmt.Errorf("%s: %d pictures of %d, %v of %v", i.ID, pictures, i.Pictures, fmp4.Duration(duration), time.Duration(i.Duration))
	}
	if sound := i.Audio; (sound == nil) != (frames == 0) ||
		sound != nil && (time.Duration(sound.Duration)-aac.Config{SampleRate: sound.SampleRate}.Time(frames*aac.SamplesPerFrame)).Abs() > time.Microsecond {
		return fmt.Errorf("%s: %d frames of sound, but %+v", i.ID, frames, sound)
	}
	if keys, _, err := fmp4.ReadIndex(m.File(), i.Size); err != nil || len(keys) == 0 {
		return fmt.Errorf("%s: index of %d keyframes, %w", i.ID, len(keys), err)
	}
	return nil
}

func TestRecordingIsNamedListedAndFound(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{})
	if err := record(a, c, "hero", recordingtest.Synthetic(30, 30, 200), 300); err != nil {
		t.Fatal(err)
	}
	list := a.List()
	if len(list) != 1 {
		t.Fatalf("%d recordings", len(list))
	}
	i := list[0]
	if i.ID != "hero/2026-11-22/hero_20261122T143000Z" || i.Pictures != 300 || i.Width != 640 ||
		!i.WallTrusted || i.Running || i.Repaired {
		t.Errorf("%+v", i)
	}
	if d := time.Duration(i.Duration); d < 10*time.Second-time.Millisecond || d > 10*time.Second {
		t.Errorf("duration %v", d)
	}
	if err := checkFile(a, i); err != nil {
		t.Error(err)
	}
	if got := open(t, d, c, archive.Params{}).List(); !slices.EqualFunc(got, list, same) {
		t.Errorf("read again: %+v, want %+v", got, list)
	}
	if left := d.Files(".part"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func same(x, y archive.Info) bool {
	round := func(s archive.Seconds) time.Duration { return time.Duration(s).Round(time.Microsecond) }
	return x.ID == y.ID && x.Sequence == y.Sequence && x.SHA256 == y.SHA256 && x.Size == y.Size &&
		round(x.Duration) == round(y.Duration) && x.Start.Wall.Equal(y.Start.Wall)
}

func TestRunningRecordingIsListedAndItsFilePlays(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{})
	src := recordingtest.Synthetic(30, 30, 200)
	w, err := a.Create("hero", src.Next(), 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range 95 {
		if err := w.Write(src.Next()); err != nil {
			t.Fatal(err)
		}
	}
	list := a.List()
	if len(list) != 1 || !list[0].Running || list[0].Pictures != 90 {
		t.Fatalf("%+v", list)
	}
	files := d.Files(".mp4.part")
	if len(files) != 1 || len(d.Files(".mp4")) != 0 {
		t.Fatalf("files %v and %v", files, d.Files(".mp4"))
	}
	b, err := d.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmp4.Still(io.NewSectionReader(b, 0, 1<<20)); err != nil {
		t.Error(err)
	}
	if err := finish(w); err != nil {
		t.Error(err)
	}
}

// TestNamesFollowTheOrder lets the clock jump while it is not trusted: names
// go on in the order in which they were recorded, and are unique.
func TestNamesFollowTheOrder(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	c.Trusted = false
	src := recordingtest.Synthetic(30, 30, 100)
	wall := c.Wall
	var want int
	for _, jump := range []time.Time{
		wall, wall, wall.AddDate(-3, 0, 0), wall.AddDate(10, 0, 0), time.Unix(5, 0), wall,
	} {
		c.Wall = jump
		a := open(t, d, c, archive.Params{}) // also over a restart
		for range 2 {
			if err := record(a, c, "hero", src, 30); err != nil {
				t.Fatal(err)
			}
			want++
		}
		for _, i := range a.List()[:1] { // and when all but a few are gone
			if err := a.Delete(i.ID, "test"); err != nil {
				t.Fatal(err)
			}
			want--
		}
	}
	list := open(t, d, c, archive.Params{}).List()
	if len(list) != want {
		t.Fatalf("%d recordings, want %d", len(list), want)
	}
	for n, i := range list {
		if n > 0 && (i.ID <= list[n-1].ID || i.Sequence <= list[n-1].Sequence) {
			t.Errorf("%s comes after %s", i.ID, list[n-1].ID)
		}
		if d := time.Duration(i.Duration).Round(time.Millisecond); d != time.Second {
			t.Errorf("%s lasts %v", i.ID, d)
		}
		if took := i.End.Wall.Sub(i.Start.Wall).Round(time.Millisecond); took != time.Second {
			t.Errorf("%s from %v to %v", i.ID, i.Start.Wall, i.End.Wall)
		}
	}
}

// TestClockSetWhileRecording starts a recording in 1970 and lets NTP come
// before it ends: its start is told right.
func TestClockSetWhileRecording(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	right := c.Wall
	c.Wall, c.Trusted = time.Unix(3, 0), false
	a := open(t, d, c, archive.Params{})
	src := recordingtest.Synthetic(30, 30, 100)
	w, err := a.Create("hero", src.Next(), 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range 59 {
		if err := w.Write(src.Next()); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(2 * time.Second)
	c.Wall, c.Trusted = right.Add(2*time.Second), true
	if err := finish(w); err != nil {
		t.Fatal(err)
	}
	i := a.List()[0]
	if !i.WallTrusted || !i.Start.Wall.Equal(right) || i.ID != "hero/2026-11-22/hero_20261122T143000Z" {
		t.Errorf("%+v", i)
	}
	if d := time.Duration(i.Duration).Round(time.Millisecond); d != 2*time.Second {
		t.Errorf("lasts %v", d)
	}
}

func TestTemplates(t *testing.T) {
	check := func(name string) error {
		_, err := archive.Open(archive.Params{Dir: root, Name: name, FS: durabletest.NewDisk("/", 0), Clock: newClock()})
		return err
	}
	for _, name := range []string{"", "{camera}/{time}", "{camera}_{sequence}", "{camera}/{date}/{camera}_{time}", "a/{date}/{camera}-{time}"} {
		if err := check(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"hero", "{camera}", "{time}", "../{camera}_{time}", "/{camera}_{time}", "{camera}/./{time}", "{camera}_{time}_{what}", ".{camera}{time}",
	} {
		if err := check(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

func TestHostileCameraNamesAreRefused(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	a := open(t, d, c, archive.Params{})
	for _, camera := range []string{"", "..", "a/b", ".hidden", "{time}", strings.Repeat("x", 200)} {
		if err := record(a, c, camera, recordingtest.Synthetic(30, 30, 100), 30); err == nil {
			t.Errorf("camera %q is accepted", camera)
		}
	}
}

func TestLostStateIsMadeAnew(t *testing.T) {
	d, c := durabletest.NewDisk("/", 0), newClock()
	src := recordingtest.Synthetic(30, 30, 100)
	if err := record(open(t, d, c, archive.Params{}), c, "hero", src, 30); err != nil {
		t.Fatal(err)
	}
	if err := durable.Save(d, filepath.Join(root, ".state.json"), []byte("{rubbish")); err != nil {
		t.Fatal(err)
	}
	c.Wall, c.Trusted = time.Unix(0, 0), false
	a := open(t, d, c, archive.Params{})
	if err := record(a, c, "hero", src, 30); err != nil {
		t.Fatal(err)
	}
	list := a.List()
	if len(list) != 2 || list[1].Sequence != 2 || list[1].ID <= list[0].ID {
		t.Errorf("%+v", list)
	}
}

// TestTwoCamerasFinishAtOnce finishes recordings beside each other, over and
// over. All must be finished, none repaired.
func TestTwoCamerasFinishAtOnce(t *testing.T) {
	dir := t.TempDir()
	a, err := archive.Open(archive.Params{Dir: dir, Clock: newClock(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	const cameras, times = 4, 20
	var errs [cameras]error
	var running sync.WaitGroup
	for n := range cameras {
		running.Go(func() {
			for range times {
				src := recordingtest.Synthetic(30, 2, 50)
				w, err := a.Create(fmt.Sprint("camera", n), src.Next(), 0, time.Second)
				if err == nil {
					err = finish(w)
				}
				errs[n] = errors.Join(errs[n], err)
			}
		})
	}
	running.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	again, err := archive.Open(archive.Params{Dir: dir, Clock: newClock(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.List()); n != cameras*times {
		t.Errorf("%d recordings of %d", n, cameras*times)
	}
}
