package archive_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/lenscast/lenscast/agent/durable"
	"github.com/lenscast/lenscast/agent/durable/durabletest"
	"github.com/lenscast/lenscast/agent/recording/archive"
	"github.com/lenscast/lenscast/agent/recording/recordingtest"
	"github.com/lenscast/lenscast/capture/aac"
)

// promise is what an archive has said that it has.
type promise struct {
	finished map[uint64]string // SHA-256 by sequence
	written  map[uint64]int    // pictures that are durable, of what is not finished
}

// work does all that an archive does, and keeps book of what it promised.
// Errors are met as a recorder meets them: by beginning a new recording.
func work(a *archive.Archive, c *clock) promise {
	p := promise{finished: map[uint64]string{}, written: map[uint64]int{}}
	src := recordingtest.Synthetic(30, 15, 400)
	audio := recordingtest.SyntheticAudio(aac.Config{SampleRate: 48000, Channels: 2}, 50)
	var first archive.Info
	for n := range 4 {
		c.pass(time.Second)
		src.Skip(time.Second) // to the next IDR
		w, err := a.Create("hero", src.Next(), 0, time.Second)
		if err != nil {
			continue
		}
		// A recording that failed is known by its sequence alone.
		var running archive.Info
		for _, i := range a.List() {
			if i.Running {
				running = i
			}
		}
		for k := 1; k < 100 && err == nil; k++ {
			au := src.Next()
			if k == 50 {
				src.Skip(time.Second)
				au = src.Next()
				w.Gap(au.PTS, "test")
			}
			if n > 0 { // and one without sound
				for audio.Skip(au.PTS - time.Second/2); audio.PTS() < au.PTS; {
					w.WriteAudio(audio.Next())
				}
			}
			if err = w.Write(au); err == nil {
				p.written[running.Sequence] = max(p.written[running.Sequence], list(a, running.Sequence).Pictures)
			}
		}
		if err != nil {
			w.Abandon()
			continue
		}
		if n == 3 {
			break // the last one stays unfinished
		}
		if err = w.End(0); err != nil {
			w.Abandon()
			continue
		}
		w.WriteAudio(audio.Next()) // late
		if err := w.Finish(); err == nil {
			i := list(a, running.Sequence)
			p.finished[i.Sequence] = i.SHA256
			delete(p.written, i.Sequence)
			if n == 0 {
				first = i
			} else if a.SetOffloaded(first.ID, archive.Offloaded{To: "server"}) == nil {
				delete(p.finished, first.Sequence) // from here on it may be gone
				_ = a.Delete(first.ID, "test")
			}
		}
	}
	return p
}

// list returns the recording with a sequence.
func list(a *archive.Archive, sequence uint64) archive.Info {
	for _, i := range a.List() {
		if i.Sequence == sequence {
			return i
		}
	}
	return archive.Info{}
}

// check holds an archive to its promise.
func (p promise) check(a *archive.Archive, d *durabletest.Disk) error {
	found, running := map[uint64]archive.Info{}, map[uint64]bool{}
	for _, i := range a.List() {
		if i.Running {
			running[i.Sequence] = true
			continue
		}
		if err := checkFile(a, i); err != nil {
			return err
		}
		if _, twice := found[i.Sequence]; twice {
			return fmt.Errorf("%s: its sequence is there twice", i.ID)
		}
		found[i.Sequence] = i
	}
	for sequence, sum := range p.finished {
		if found[sequence].SHA256 != sum {
			return fmt.Errorf("finished recording %d is lost or changed: %+v", sequence, found[sequence])
		}
	}
	for sequence, pictures := range p.written {
		if found[sequence].Pictures < pictures && !running[sequence] {
			return fmt.Errorf("recording %d has %d pictures, %d were durable", sequence, found[sequence].Pictures, pictures)
		}
	}
	if media, infos := len(d.Files(".mp4")), len(d.Files("Z.json")); media != len(found) || infos < media {
		return fmt.Errorf("%d recordings, %d files, %d infos", len(found), media, infos)
	}
	return nil
}

// TestPowerCutAtEveryStep cuts the power before every single write, sync,
// rename and so on, and again while the damage is repaired.
func TestPowerCutAtEveryStep(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 5))
	total := cutAfter(t, 1<<30, chance)
	if total < 100 {
		t.Fatalf("only %d steps", total)
	}
	for step := range total {
		for range 3 {
			cutAfter(t, step, chance)
		}
	}
	t.Logf("power cut at each of %d steps", total)
}

// cutAfter cuts the power after so many steps, and returns how many it were.
func cutAfter(t *testing.T, steps int, chance *rand.Rand) int {
	t.Helper()
	cut := func(after int) func(string, string) error {
		n := 0
		return func(string, string) error {
			if n++; n > after {
				return durabletest.ErrPowerCut
			}
			return nil
		}
	}
	c := newClock()
	d := durabletest.NewDisk("/", 0)
	d.Fail = cut(steps)
	var p promise
	if a, err := archive.Open(archive.Params{Dir: root, FS: d, Clock: c, Log: quiet}); err == nil {
		p = work(a, c)
	}
	total := d.Ops()
	for again := chance.IntN(3); again > 0; again-- { // cut while it repairs
		d = d.AfterPowerCut(chance)
		d.Fail = cut(chance.IntN(30))
		c.BootID, c.Boot = fmt.Sprint("boot-", again), time.Second
		if a, err := archive.Open(archive.Params{Dir: root, FS: d, Clock: c, Log: quiet}); err == nil {
			settle(t, a)
		}
	}
	d = d.AfterPowerCut(chance)
	a := open(t, d, c, archive.Params{})
	settle(t, a)
	if err := p.check(a, d); err != nil {
		t.Fatalf("power cut after %d steps: %v", steps, err)
	}
	left := append(d.Files(".part"), d.Files(".tmp")...)
	if len(left) > 0 || len(d.Files("Z.json")) != len(d.Files(".mp4")) {
		t.Fatalf("power cut after %d steps: left over: %v, or an info", steps, left)
	}
	return total
}

// TestEveryFailure lets every step fail, once or for a while. What was
// called finished must be there and whole, also after a power cut.
func TestEveryFailure(t *testing.T) {
	chance := rand.New(rand.NewPCG(7, 11))
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO} {
		for _, length := range []int{1, 10} {
			for step := 0; ; step++ {
				c := newClock()
				d := durabletest.NewDisk("/", 0)
				n := 0
				d.Fail = func(string, string) error {
					if n++; n > step && n <= step+length {
						return fault
					}
					return nil
				}
				var p promise
				a, err := archive.Open(archive.Params{Dir: root, FS: d, Clock: c, Log: quiet})
				if err == nil {
					p = work(a, c)
					for a.Status().Repairing > 0 {
						settle(t, a)
					}
					if err := p.check(a, d); err != nil {
						t.Fatalf("%v at step %d: %v", fault, step, err)
					}
				} else if !errors.Is(err, fault) {
					t.Fatalf("%v at step %d: %v", fault, step, err)
				}
				failed := n > step
				d.Fail = nil
				d = d.AfterPowerCut(chance)
				a = open(t, d, c, archive.Params{})
				settle(t, a)
				if err := p.check(a, d); err != nil {
					t.Fatalf("%v at step %d, then a power cut: %v", fault, step, err)
				}
				if !failed {
					t.Logf("%v for %d steps at each of %d", fault, length, step)
					break
				}
			}
		}
	}
}

// TestWithoutSyncRecordingsAreLost shows that the disk above loses what is not
// synced: with syncs that do nothing, as many programs write, finished
// recordings are lost.
func TestWithoutSyncRecordingsAreLost(t *testing.T) {
	chance := rand.New(rand.NewPCG(3, 5))
	lost := 0
	for range 20 {
		c := newClock()
		d := durabletest.NewDisk("/", 0)
		a := open(t, noSync{d}, c, archive.Params{})
		p := work(a, c)
		d = d.AfterPowerCut(chance)
		a = open(t, d, c, archive.Params{})
		settle(t, a)
		if p.check(a, d) != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("20 power cuts without a sync lost nothing: the test can't fail")
	}
}

// noSync is a file system whose syncs do nothing.
type noSync struct{ *durabletest.Disk }

func (noSync) SyncDir(string) error { return nil }

func (n noSync) Create(name string) (durable.File, error) {
	f, err := n.Disk.Create(name)
	return noSyncFile{f}, err
}

type noSyncFile struct{ durable.File }

func (noSyncFile) Sync() error     { return nil }
func (noSyncFile) Datasync() error { return nil }
